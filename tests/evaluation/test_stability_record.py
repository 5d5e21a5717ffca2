"""The recorded grid of lesson 09: read back, compared in pairs of seeds, no more said than the spread carries; and still about what is here."""

import json
import math
import statistics

import pytest
from scipy.stats import t

from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation import stability
from toolslm_helpers.evaluation.recorded import prompts_hash, weights_hash
from toolslm_helpers.evaluation.stability import (
    difference,
    held_out,
    loss_difference,
    rate,
    rate_difference,
    read_grid,
    spread,
    verdict,
)
from toolslm_helpers.files import DataError
from toolslm_helpers.model.checkpoints import checkpoint_path
from toolslm_helpers.sizes import TINY
from toolslm_helpers.training.stability import GRID, Budget, Recipe, clipped_share

RECIPE = {"warmup": 0.05, "learning_rate": 5e-4, "clip": 1.0, "batch": 8, "epochs": 1, "weight_decay": 0.01, "rows": "merged"}


def run(variant="unchanged", seed=0, loss=0.1, passed=30, stopped=None, **changes):
    rates = {"passed": passed, "n": 60, "low": 0.0, "high": 1.0}
    judged = {"held_out": loss, "pass_rate": {"all": rates}, "ended": {"finish": 60}}
    if stopped:
        judged = dict.fromkeys(judged)
    return {
        "variant": variant, "group": variant, "seed": seed, "commit": "c", "recipe": RECIPE, "rows": 24, "batch_size": 8, "warmup_steps": 1,
        "planned_steps": 3, "stopped": stopped, "steps": 2 if stopped else 3, "final_loss": None if stopped else loss, "clipped": 1,
        "largest_norm": 2.0, "curve": {"step": [1, 2, 3], "loss": [3.0, 2.0, None], "norm": [2.0, 0.5, None]},
        "looks": [[0, 3.0], [3, loss]], "seconds": 5.0, "judging_seconds": 1.0,
    } | judged | changes  # fmt: skip


def written(folder, *runs):
    shared = {
        "device": "CPU", "versions": {"torch": "2"}, "budget": {"trajectories": 24, "held_out": 4, "queries": 10, "seeds": 3}, "cores": 1,
        "weights": "w", "prompts": "p",
    }  # fmt: skip
    (folder / "stability.json").write_text(json.dumps(shared | {"runs": list(runs)}))
    return folder


def seeds(variant, losses, passed=(30, 30, 30)):
    return [run(variant, seed, loss, many) for seed, (loss, many) in enumerate(zip(losses, passed, strict=True))]


def grid_of(folder, *runs):
    return read_grid(written(folder, *runs))


def test_what_is_written_is_read_back(tmp_path):
    grid = grid_of(tmp_path, run("batch 1", 1), run(seed=1), run(seed=0), run("batch 1", 0))
    assert grid.variants == ["batch 1", "unchanged"] and [one.seed for one in grid.of("unchanged")] == [0, 1]
    assert grid.group("batch 1") == ["unchanged", "batch 1"]
    one = grid.of("unchanged")[0]
    assert one.rate == 0.5 and one.looks == [(0, 3.0), (3, 0.1)] and one.curve.norm == [2.0, 0.5, None]
    with pytest.raises(KeyError, match="no variant of this record; it has batch 1, unchanged"):
        grid.of("batch 2")


def test_nothing_recorded_is_nothing_to_show(tmp_path):
    assert read_grid(tmp_path) is None


def test_a_damaged_record_names_the_field(tmp_path):
    damaged = run()
    del damaged["curve"]["norm"]
    with pytest.raises(DataError, match=r"runs\S*0\S*curve\S*norm: Field required.*benchmarks/stability.py"):
        read_grid(written(tmp_path, damaged))


def test_a_spread_counts_what_stopped(tmp_path):
    grid = grid_of(tmp_path, run("a", 0, 0.1), run("a", 1, 0.3), run("a", 2, stopped="loss not finite"), run("b", stopped="x"))
    found = spread(grid.of("a"), held_out)
    assert (found.mean, found.low, found.high, found.runs, found.missing) == (pytest.approx(0.2), 0.1, 0.3, 3, 1)
    assert str(found) == "0.2 (0.1 to 0.3, 1 of 3 stopped)"
    assert str(spread(grid.of("b"), held_out)) == "1 of 1 stopped" and math.isnan(spread(grid.of("b"), held_out).mean)


def test_runs_are_compared_in_pairs_of_seeds(tmp_path):
    """Seeds differ by a factor of ten, the variant by a factor of two within each: pairs see the two."""
    grid = grid_of(tmp_path, *seeds("unchanged", (0.01, 0.1, 1.0)), *seeds("a", (0.021, 0.2, 1.95)))
    found = loss_difference(grid, "a")
    logs = [math.log(ratio) for ratio in (2.1, 2.0, 1.95)]
    half = t.ppf(0.975, 2) * statistics.stdev(logs) / math.sqrt(3)
    assert found.mean == pytest.approx(math.exp(statistics.mean(logs)))
    assert (found.low, found.high) == (
        pytest.approx(math.exp(statistics.mean(logs) - half)),
        pytest.approx(math.exp(statistics.mean(logs) + half)),
    )
    assert found.told_apart and found.direction == "higher" and found.pairs == 3
    unpaired = difference(grid, "unchanged", held_out, ratio=True)
    assert unpaired.mean == 1.0 and not unpaired.told_apart


def test_a_difference_that_the_seeds_do_not_carry_is_not_claimed(tmp_path):
    grid = grid_of(
        tmp_path, *seeds("unchanged", (0.1, 0.1, 0.1)), *seeds("a", (0.2, 0.11, 0.09)), *seeds("b", (0.05, 0.051, 0.049))
    )
    assert loss_difference(grid, "a").direction == "not told apart" and loss_difference(grid, "a").mean > 1
    assert loss_difference(grid, "b").direction == "lower"
    assert "1.26 times" in verdict(grid, "a") and "not told apart" in verdict(grid, "a").split(";")[0]


def test_equal_counts_by_luck_are_no_proof(tmp_path):
    usual, two_more, many_more = (seeds(n, (0.1,) * 3, (k,) * 3) for n, k in (("unchanged", 30), ("a", 32), ("b", 40)))
    grid = grid_of(tmp_path, *usual, *two_more, *many_more)
    assert rate_difference(grid, "a").mean == pytest.approx(2 / 60) and not rate_difference(grid, "a").told_apart
    assert rate_difference(grid, "b").direction == "higher"
    assert difference(grid, "a", rate, ratio=False).told_apart, "without the grain three equal counts look like certainty"


def test_a_verdict_says_what_stopped_and_what_can_be_compared(tmp_path):
    lost = [run("a", seed, stopped="loss not finite") for seed in range(3)]
    some = [run("b", 0, stopped="loss not finite"), run("b", 1, 0.2), run("b", 2, 0.2)]
    grid = grid_of(tmp_path, *seeds("unchanged", (0.1, 0.1, 0.1)), *lost, *some, run("c", 0))
    assert verdict(grid, "a") == "a: 3 of 3 runs stopped (loss not finite, after 2, 2, 2 of 3 steps)."
    assert verdict(grid, "b").startswith("b: 1 of 3 runs stopped") and "2.00 times" in verdict(grid, "b")
    assert verdict(grid, "c") == "c: too few runs to compare."
    assert loss_difference(grid, "b").pairs == 2 and rate_difference(grid, "a") is None


def test_no_more_points_are_said_than_there_are(tmp_path):
    usual, other = (
        [run(name, seed, 0.1, many) for seed, many in enumerate(counts)]
        for name, counts in (("unchanged", (0, 60)), ("a", (60, 30)))
    )
    assert "[-100, +100] points, not told apart" in verdict(grid_of(tmp_path, *usual, *other), "a")


# --- what is recorded in docs/results

GRID_HERE = read_grid()
recorded = pytest.mark.skipif(GRID_HERE is None, reason="docs/results/stability.json is not recorded yet")


@recorded
def test_the_record_is_the_grid_with_its_budget_and_every_seed():
    budget = Budget()
    assert GRID_HERE.budget.model_dump() == {name: getattr(budget, name) for name in GRID_HERE.budget.model_dump()}
    assert GRID_HERE.variants == [variant.name for variant in GRID]
    for variant in GRID:
        runs = GRID_HERE.of(variant.name)
        assert [one.seed for one in runs] == list(range(budget.seeds)), variant.name
        assert all(Recipe(**one.recipe.model_dump()) == variant.recipe and one.group == variant.group for one in runs)


@recorded
def test_the_record_started_from_the_shipped_checkpoint_and_asked_today_s_queries():
    assert GRID_HERE.weights == weights_hash(checkpoint_path("instruct") / "model.safetensors")
    asked = [query for name in SETS for query in queries_of(build_world(), name)[: GRID_HERE.budget.queries]]
    assert GRID_HERE.prompts == prompts_hash(build_world(), asked, TINY.rendering)


@recorded
def test_the_record_agrees_with_itself():
    for one in GRID_HERE.runs:
        assert one.steps == one.planned_steps or (one.stopped and one.steps < one.planned_steps)
        assert (one.held_out is None) == (one.pass_rate is None) == bool(one.stopped)
        assert len(one.curve.step) == len(one.curve.loss) == len(one.curve.norm) <= 120
        if one.curve.step == list(range(1, one.steps + 1)) and None not in one.curve.norm:
            share = clipped_share(one.curve.norm, one.recipe.clip)
            assert share == pytest.approx(one.clipped / one.steps, abs=1.5 / one.steps)  # norms are rounded
        assert one.pass_rate is None or one.pass_rate["all"].n == 6 * GRID_HERE.budget.queries


@recorded
def test_the_record_is_small():
    assert (stability.results_folder() / "stability.json").stat().st_size < 400_000
