"""The figures of lesson 09: a step that is too large, Adam's first steps, the noise of a batch, and the recorded grid, group by group."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolslm_helpers.evaluation.stability import Grid, RecordedRun, final_loss, held_out, rate, spread
from toolslm_helpers.teaching.plots import BLUE, FONT_SIZE, GREEN, GREY, ORANGE, PURPLE, Plot
from toolslm_helpers.training.stability import POINTS, Run, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ((GREY, "o", "-"), (ORANGE, "s", "--"), (BLUE, "D", "-."), (GREEN, "^", ":"), (PURPLE, "v", "-"))
FEW = 10  # epochs whose borders are drawn
SMOOTH = 9  # points of a curve that are averaged where it is drawn bold: single batches are noisy


def walks(paths: Mapping[str, Sequence[float]]) -> Plot:
    """{name: positions x, from the start on} of descents of x * x; the lowest point is the line at 0."""
    figure, (axes,) = _panels(1, (10, 4.4))
    axes.axhline(0, color=GREY, linewidth=1)
    for (name, path), (colour, marker, line) in zip(paths.items(), STYLES, strict=False):
        axes.plot(range(len(path)), path, label=name, color=colour, marker=marker, linestyle=line, markersize=8, linewidth=2)
    axes.set_xlabel("step", fontsize=FONT_SIZE)
    axes.set_ylabel("x", fontsize=FONT_SIZE)
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(4, len(paths)), frameon=False)
    words = "; ".join(f"{name}: from {path[0]:g} to {path[-1]:.3g} in {len(path) - 1} steps" for name, path in paths.items())
    return Plot(figure, f"Positions on the parabola x times x, step by step. {words}.")


def step_lengths(lengths: Mapping[str, Sequence[float]]) -> Plot:
    """{name: length of each of an optimiser's steps, as a share of what it would be if every weight moved by the rate}."""
    figure, (axes,) = _panels(1, (10, 4.2))
    for (name, values), (colour, marker, line) in zip(lengths.items(), STYLES, strict=False):
        axes.plot(range(1, len(values) + 1), values, label=name, color=colour, marker=marker, linestyle=line, linewidth=2)
    axes.set_ylim(0, 1.1 * max(max(values) for values in lengths.values()))
    axes.set_xlabel("step", fontsize=FONT_SIZE)
    axes.set_ylabel("length of the step", fontsize=FONT_SIZE)
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=len(lengths), frameon=False)
    words = "; ".join(
        f"{name}: {values[0]:.2f} at step 1, {values[-1]:.2f} at step {len(values)}" for name, values in lengths.items()
    )
    return Plot(figure, f"Lengths of an optimiser's steps, 1 where every weight moves by the rate. {words}.")


def noise(measured: Mapping[int, float]) -> Plot:
    """{batch size: measured variance of the batch's gradient} on logarithmic scales, beside the first one divided by the batch size."""
    figure, (axes,) = _panels(1, (10, 4.2))
    sizes, values = list(measured), list(measured.values())
    expected = [values[0] * sizes[0] / size for size in sizes]
    axes.plot(sizes, expected, color=GREY, linestyle="--", linewidth=2, label="the first one, divided by the batch size")
    axes.plot(sizes, values, color=BLUE, marker="D", markersize=10, linestyle="", label="measured")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("trajectories in a batch", fontsize=FONT_SIZE)
    axes.set_ylabel("variance of its gradient", fontsize=FONT_SIZE)
    axes.legend(fontsize=FONT_SIZE, frameon=False)
    words = ", ".join(f"{value:.3g} at {size}" for size, value in measured.items())
    return Plot(
        figure, f"Variance of a batch's gradient against the batch size, beside a line that falls as one over it: {words}."
    )


def group(grid: Grid, names: Sequence[str], live: Mapping[str, Run] | None = None) -> Plot:
    """Variants of the grid: training loss along the run, and below it held-out loss and pass rate at its end, a mark for each seed.

    Thin lines are single seeds, the bold one their mean, smoothed. ``live`` are runs of the reader's own, {name: run}, drawn
    alike, with crosses. Along the run one reads how many trajectories were passed over, since variants differ in the size of their steps.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 0.5 + 0.17 * len(names)))
    curves = top.subplots()
    losses, passed = bottom.subplots(1, 2, sharey=True)
    for name, (colour, marker, line) in zip(names, STYLES, strict=False):
        runs = grid.of(name)
        for run in runs:
            curves.plot(*_along(grid, run.curve.step, run.curve.loss, run), color=colour, linewidth=0.7, alpha=0.35)
        curves.plot(*_mean_curve(grid, runs), color=colour, linestyle=line, linewidth=3, label=name)
        row = names.index(name)
        for axes, measure, scale in ((losses, held_out, 1), (passed, rate, 100)):
            values = [scale * value for run in runs if (value := measure(run)) is not None]
            axes.plot(
                values,
                [row] * len(values),
                color=colour,
                marker=marker,
                linestyle="",
                markersize=10,
                fillstyle="none",
                markeredgewidth=2,
            )
            if values:
                axes.plot([statistics.mean(values)] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=3)
        if gone := sum(run.stopped is not None for run in runs):
            losses.annotate(f"{gone} of {len(runs)} stopped", (0.5, row), xycoords=losses.get_yaxis_transform(), fontsize=FONT_SIZE,
                            va="bottom", ha="center")  # fmt: skip
    for (name, run), colour in zip((live or {}).items(), (PURPLE, GREEN), strict=False):
        steps, losses_of = zip(*thinned(run.losses), strict=True) if run.losses else ((), ())
        curves.plot(*_along(grid, steps, losses_of, run), color=colour, linewidth=0.7, alpha=0.6)
        bold = _along(grid, steps, smoothed(losses_of), run)
        curves.plot(*bold, color=colour, marker="x", markevery=max(1, len(steps) // 20), linewidth=2, label=name)
    curves.set_yscale("log")
    curves.yaxis.set_major_formatter("{x:g}")
    curves.set_ylabel("training loss (nats)", fontsize=FONT_SIZE)
    curves.set_xlabel("trajectories passed over", fontsize=FONT_SIZE)
    curves.legend(fontsize=FONT_SIZE, frameon=False, ncols=2)
    _log_ticks(losses, [value for name in names for run in grid.of(name) if (value := held_out(run)) is not None])
    losses.set_xlabel("held-out loss (nats)", fontsize=FONT_SIZE)
    passed.set_xlim(-3, 103)
    passed.set_xlabel("queries passed (%)", fontsize=FONT_SIZE)
    losses.set_yticks(range(len(names)), names)
    losses.set_ylim(len(names) - 0.5, -0.5)
    for axes in (curves, losses, passed):
        _plain(axes)
    words = "; ".join(_words(grid, name) for name in names)
    mine = "".join(f" {name}: {_ending(run)}." for name, run in (live or {}).items())
    return Plot(figure, f"Training loss, held-out loss and pass rate of {len(names)} variants, means over seeds. {words}.{mine}")


def norms(grid: Grid, names: Sequence[str]) -> Plot:
    """A panel for each variant: the norm of the gradient at single steps, the clipping threshold as a line, steps above it crossed."""
    figure, panels = _panels(len(names))
    words = []
    every = [norm for name in names for run in grid.of(name) for norm in (*run.curve.norm, run.recipe.clip) if norm]
    for name, axes in zip(names, panels, strict=True):
        runs = grid.of(name)
        clip = runs[0].recipe.clip
        for run in runs:
            points = [(x, norm) for x, norm in zip(*_along(grid, run.curve.step, run.curve.norm, run), strict=True) if norm]
            cut = [point for point in points if clip is not None and point[1] > clip]
            kept = [point for point in points if clip is None or point[1] <= clip]
            for some, colour, marker in ((kept, BLUE, "o"), (cut, ORANGE, "x")):
                axes.plot([x for x, _ in some], [y for _, y in some], color=colour, marker=marker, linestyle="", markersize=5)
        share = sum(run.clipped for run in runs) / max(1, sum(run.steps for run in runs))
        if clip is not None:
            axes.axhline(clip, color="black", linestyle="--", linewidth=2)
        said = "nothing is cut" if clip is None else f"cut above {clip:g}: {share:.0%} of steps"
        axes.set_title(f"{name}\n{said}", fontsize=FONT_SIZE, loc="left")
        axes.set_yscale("log")
        axes.set_ylim(0.8 * min(every, default=0.1), 1.3 * max(every, default=10))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("trajectories passed", fontsize=FONT_SIZE)
        words.append(f"{name}: {said}, largest norm {max((run.largest_norm or math.inf for run in runs), default=math.nan):.3g}")
    panels[0].set_ylabel("norm of the gradient", fontsize=FONT_SIZE)
    return Plot(figure, f"Gradient norms along the run, crosses where they are cut. {'; '.join(words)}.")


def seen_and_fresh(grid: Grid, names: Sequence[str]) -> Plot:
    """A panel for each variant: its training loss, and the loss on fresh trajectories at a few points of the run, means over the seeds.

    Dotted upright lines part the epochs where there are few of them.
    """
    figure, panels = _panels(len(names))
    words, lowest = [], math.inf
    for name, axes in zip(names, panels, strict=True):
        runs = grid.of(name)
        x, seen = _mean_curve(grid, runs)
        looks = looks_of(runs)
        places, fresh = _along(grid, *zip(*looks, strict=True), runs[0])
        axes.plot(x, seen, color=ORANGE, linestyle="--", linewidth=2.5, label="training loss")
        axes.plot(places, fresh, color=BLUE, marker="D", linewidth=2.5, label="on fresh trajectories")
        for k in range(1, runs[0].recipe.epochs if runs[0].recipe.epochs <= FEW else 1):
            axes.axvline(k * grid.budget.trajectories / runs[0].recipe.epochs, color=GREY, linestyle=":", linewidth=1)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title(f"{name}\n{runs[0].rows:,} different rows", fontsize=FONT_SIZE, loc="left")
        axes.set_xlabel("trajectories passed", fontsize=FONT_SIZE)
        lowest = min([lowest, *seen, *(loss for _, loss in looks)])
        best = min(looks, key=lambda look: look[1])
        words.append(
            f"{name}: training loss {seen[-1]:.3f} at the end, fresh {looks[-1][1]:.3f}, lowest {best[1]:.3f} at step {best[0]}"
        )
    for axes in panels:
        axes.set_ylim(bottom=0.8 * lowest)
    panels[0].set_ylabel("loss (nats)", fontsize=FONT_SIZE)
    panels[0].legend(fontsize=FONT_SIZE, frameon=False)
    return Plot(figure, f"Loss on what is trained on and on fresh trajectories, means over seeds. {'; '.join(words)}.")


def looks_of(runs: Sequence[RecordedRun]) -> list[tuple[int, float]]:
    """[(step, mean over the seeds of the loss on fresh trajectories)] at the steps at which every run has one."""
    by_step: dict[int, list[float]] = {}
    for run in runs:
        for step, loss in run.looks:
            if loss is not None:
                by_step.setdefault(step, []).append(loss)
    return [(step, statistics.mean(losses)) for step, losses in sorted(by_step.items()) if len(losses) == len(runs)]


def smoothed(values: Sequence[float], width: int = SMOOTH) -> list[float]:
    """The mean of each value and its neighbours, ``width`` in all; fewer at the ends."""
    half = width // 2
    return [statistics.mean(values[max(0, k - half) : k + half + 1]) for k in range(len(values))]


def _mean_curve(grid: Grid, runs: Sequence[RecordedRun]) -> tuple[list[float], list[float]]:
    """(trajectories passed, training loss): the mean over the runs that got that far, smoothed.

    Runs of unequal length (step rows) share no step, but places along the run; so it is those that are averaged.
    """
    width = grid.budget.trajectories / POINTS
    by_place: dict[int, list[float]] = {}
    for run in runs:
        for passed, loss in zip(*_along(grid, run.curve.step, run.curve.loss, run), strict=True):
            if loss is not None:
                by_place.setdefault(math.ceil(passed / width - 1e-9), []).append(loss)
    places = sorted(by_place)
    return [width * place for place in places], smoothed([statistics.mean(by_place[place]) for place in places])


def _along(grid: Grid, steps: Sequence[int], values: Sequence[Any], run: RecordedRun | Run) -> tuple[list[float], list[Any]]:
    """Steps as trajectories passed over: a run passes the budget's, in however many steps."""
    planned = run.planned_steps if isinstance(run, RecordedRun) else run.steps
    passed = grid.budget.trajectories if isinstance(run, RecordedRun) else run.trajectories
    return [passed * step / planned for step in steps], list(values)


def _words(grid: Grid, name: str) -> str:
    runs = grid.of(name)
    share = spread(runs, lambda run: None if run.rate is None else 100 * run.rate)
    return f"{name}: training loss {spread(runs, final_loss)}, held out {spread(runs, held_out)}, passed {share}%"


def _ending(run: Run) -> str:
    return (
        f"{run.stopped} after {len(run.losses)} steps"
        if run.stopped
        else f"training loss {run.final_loss:.3g} after {run.steps} steps"
    )


def _panels(count: int, size: tuple[float, float] | None = None) -> "tuple[Figure, Sequence[Axes]]":
    """A figure and ``count`` panels, three in a row."""
    from matplotlib.figure import Figure

    columns, rows = min(3, count), math.ceil(count / 3)
    figure = Figure(figsize=size or (4.2 * columns, 4.2 * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    for one in axes:
        _plain(one)
    return figure, axes


def _log_ticks(axes: "Axes", values: Sequence[float]) -> None:
    """A logarithmic x axis that is labelled in plain numbers, few enough to be read, also where it spans less than a decade."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    axes.set_xscale("log")
    narrow = bool(values) and max(values) < 5 * min(values)
    axes.xaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def _plain(axes: "Axes") -> None:
    axes.tick_params(labelsize=FONT_SIZE)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
