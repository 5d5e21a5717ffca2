"""The figures of lesson 09: what they draw is what the record holds, and their words say the same."""

import pytest

from toolslm_helpers.evaluation.stability import Grid
from toolslm_helpers.teaching import stability_plots as plots
from toolslm_helpers.training.stability import Run

RECIPE = {"warmup": 0.05, "learning_rate": 5e-4, "clip": 1.0, "batch": 8, "epochs": 1, "weight_decay": 0.01, "rows": "merged"}


def run(variant, seed, losses, norms, held_out, passed, **recipe):
    rates = {"all": {"passed": passed, "n": 10, "low": 0.0, "high": 1.0}}
    return {
        "variant": variant, "group": "g", "seed": seed, "commit": "c", "recipe": RECIPE | recipe, "rows": 32, "batch_size": 8,
        "warmup_steps": 1, "planned_steps": 4, "stopped": None if held_out else "loss not finite", "steps": len(losses),
        "final_loss": losses[-1] if held_out else None, "clipped": sum(norm > 1 for norm in norms), "largest_norm": max(norms),
        "curve": {"step": list(range(1, len(losses) + 1)), "loss": losses, "norm": norms},
        "looks": [(0, 4.0), (2, 1.0), (4, held_out)] if held_out else [(0, 4.0)], "seconds": 1.0, "judging_seconds": 1.0,
        "held_out": held_out, "pass_rate": rates if held_out else None, "ended": {"finish": 10} if held_out else None,
    }  # fmt: skip


GRID = Grid.model_validate({
    "device": "CPU", "versions": {}, "budget": {"trajectories": 32, "held_out": 4, "queries": 2, "seeds": 2}, "cores": 1, "weights": "w",
    "prompts": "p", "runs": [
        run("unchanged", 0, [4.0, 2.0, 1.0, 0.5], [3.0, 2.0, 1.0, 0.5], 0.4, 6),
        run("unchanged", 1, [4.0, 3.0, 2.0, 1.0], [3.0, 1.5, 0.9, 0.5], 0.6, 8),
        run("2 epochs", 0, [4.0, 2.0, 0.5, 0.1], [3.0, 2.0, 1.0, 0.5], 1.5, 2, epochs=2),
        run("2 epochs", 1, [4.0, 2.0, 0.5, 0.1], [3.0, 2.0, 1.0, 0.5], 2.5, 0, epochs=2),
        run("lost", 0, [9.0, 20.0], [8.0, 90.0], None, None, clip=None),
        run("lost", 1, [9.0, 20.0], [8.0, 90.0], None, None, clip=None),
    ],
})  # fmt: skip
LIVE = Run(4, (5.0, 4.0, 3.0, 2.0), (1.0,) * 4, (), None, 1.0, trajectories=16)


def points(axes, k):
    """(x, y) of the k-th line."""
    line = axes.lines[k]
    return [*zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True)]


def test_walks_and_lengths_draw_every_position():
    plot = plots.walks({"rate 0.25": [1.0, 0.5, 0.25], "rate 1.5": [1.0, -2.0, 4.0]})
    assert points(plot.figure.axes[0], 2) == [(0, 1.0), (1, -2.0), (2, 4.0)]
    assert "rate 1.5: from 1 to 4 in 2 steps" in plot.alt
    plot = plots.step_lengths({"a": [1.0, 0.5]})
    assert points(plot.figure.axes[0], 0) == [(1, 1.0), (2, 0.5)] and "1.00 at step 1, 0.50 at step 2" in plot.alt


def test_noise_stands_beside_one_over_the_batch():
    plot = plots.noise({2: 8.0, 4: 5.0, 8: 1.0})
    expected, measured = (points(plot.figure.axes[0], k) for k in (0, 1))
    assert expected == [(2, 8.0), (4, 4.0), (8, 2.0)] and measured == [(2, 8.0), (4, 5.0), (8, 1.0)]
    assert "8 at 2, 5 at 4, 1 at 8" in plot.alt


def test_a_group_draws_each_seed_its_mean_and_a_live_run_by_trajectories():
    plot = plots.group(GRID, ["unchanged", "lost"], {"live: mine": LIVE})
    curves, losses, passed = plot.figure.axes
    assert points(curves, 0) == [(8, 4.0), (16, 2.0), (24, 1.0), (32, 0.5)], "32 trajectories in 4 steps"
    assert [y for _, y in points(curves, 2)] == plots.smoothed([4.0, 2.5, 1.5, 0.75]), "the mean of the two seeds"
    assert points(curves, 6) == [(4, 5.0), (8, 4.0), (12, 3.0), (16, 2.0)], "a live run passes over its own number"
    assert points(losses, 0) == [(0.4, 0), (0.6, 0)] and points(losses, 1)[0][0] == pytest.approx(0.5)
    assert [x for x, _ in points(passed, 0)] == [60, 80] and [x for x, _ in points(passed, 1)] == [70, 70]
    assert [text.get_text() for text in losses.texts] == ["2 of 2 stopped"]
    assert "passed 70 (60 to 80)%" in plot.alt and "lost: training loss 2 of 2 stopped" in plot.alt
    assert "live: mine: training loss 2 after 4 steps." in plot.alt


def test_a_live_run_that_stopped_is_said_to_have():
    lost = Run(4, (5.0,), (1.0,), (), "loss not finite", 1.0, trajectories=16)
    plot = plots.group(GRID, ["unchanged"], {"live: mine": lost})
    assert "live: mine: loss not finite after 1 steps." in plot.alt and points(plot.figure.axes[0], 3) == [(4, 5.0)]


def test_norms_above_the_threshold_are_crossed():
    plot = plots.norms(GRID, ["unchanged", "lost"])
    first, second = plot.figure.axes
    kept, cut = points(first, 0), points(first, 1)
    assert [y for _, y in kept] == [1.0, 0.5] and [y for _, y in cut] == [3.0, 2.0], "1.0 itself is left as it is"
    assert (first.lines[0].get_marker(), first.lines[1].get_marker()) == ("o", "x")
    assert len(points(second, 0)) == 2 and not points(second, 1), "nothing is cut without clipping"
    assert first.get_title(loc="left") == "unchanged\ncut above 1: 50% of steps" and "nothing is cut" in second.get_title(
        loc="left"
    )
    assert "lost: nothing is cut, largest norm 90" in plot.alt


def test_seen_and_fresh_are_means_over_the_seeds_and_epochs_are_parted():
    plot = plots.seen_and_fresh(GRID, ["unchanged", "2 epochs"])
    first, second = plot.figure.axes
    assert points(second, 1) == [(0, 4.0), (16, 1.0), (32, 2.0)], "trajectories passed, mean of 1.5 and 2.5"
    assert len(first.lines) == 2 and len(second.lines) == 3, "one line between two epochs"
    assert second.lines[2].get_xdata()[0] == 16
    assert "2 epochs: training loss" in plot.alt and "fresh 2.000, lowest 1.000 at step 2" in plot.alt


def test_looks_are_kept_where_every_seed_has_one():
    short = GRID.of("unchanged") + GRID.of("lost")
    assert plots.looks_of(short) == [(0, 4.0)] and plots.looks_of(GRID.of("unchanged")) == [(0, 4.0), (2, 1.0), (4, 0.5)]


def test_smoothing_is_the_mean_of_the_neighbours():
    assert plots.smoothed([1.0, 2.0, 6.0], width=3) == [1.5, 3.0, 4.0]
    assert plots.smoothed([5.0]) == [5.0]


@pytest.mark.parametrize(
    "plot",
    [
        plots.group(GRID, ["unchanged", "2 epochs", "lost"]),
        plots.norms(GRID, ["unchanged"]),
        plots.seen_and_fresh(GRID, ["2 epochs"]),
    ],
)
def test_a_figure_can_be_drawn(plot):
    assert plot.png().startswith(b"\x89PNG") and plot.alt
