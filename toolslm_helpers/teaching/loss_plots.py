"""The figure of lesson 07: for each way to break the labels, three numbers, and whether any of them looks different."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolslm_helpers.teaching.plots import BLUE, FONT_SIZE, GREY, ORANGE, Plot

LINEAR = 0.03  # nats below which the scale of losses is linear, so that a loss of exactly 0 has a place


@dataclass(frozen=True)
class Outcome:
    """What one run came to: its own training loss, the loss of what should be graded on fresh text (both in nats), its pass rate."""

    training_loss: float
    held_out_loss: float
    pass_rate: Any  # passed, n, low, high


def which_number_notices(outcomes: Mapping[str, Outcome], reference: str) -> Plot:
    """Three panels with a line for each run: training loss, held-out loss, pass rate with its interval. ``reference`` is the right run.

    The reference is a diamond, with a dotted line through its value; the others are circles. Losses stand on a scale that is linear
    near 0 and logarithmic above. Raises KeyError where ``reference`` is no run.
    """
    from matplotlib.figure import Figure

    right = outcomes[reference]
    figure = Figure(figsize=(12, 1.9 + 0.52 * len(outcomes)), layout="constrained")
    training, held_out, passed = figure.subplots(1, 3, sharey=True)
    names = list(outcomes)
    for k, (name, outcome) in enumerate(outcomes.items()):
        colour, marker, size = (ORANGE, "D", 10) if name == reference else (BLUE, "o", 9)
        for axes, loss in ((training, outcome.training_loss), (held_out, outcome.held_out_loss)):
            axes.plot(loss, k, color=colour, marker=marker, markersize=size)
            _annotate(axes, f"{loss:.3f}", loss, k)
        rate, middle = outcome.pass_rate, 100 * outcome.pass_rate.passed / outcome.pass_rate.n
        sides = [[max(0.0, middle - 100 * rate.low)], [max(0.0, 100 * rate.high - middle)]]
        passed.errorbar(middle, k, xerr=sides, color=colour, marker=marker, markersize=size, capsize=5, linewidth=2)
        _annotate(passed, f"{middle:.0f}%", 100 * rate.high, k)
    for axes, value in ((training, right.training_loss), (held_out, right.held_out_loss)):
        axes.axvline(value, color=GREY, linestyle=":", linewidth=2, zorder=0)
        axes.set_xscale("symlog", linthresh=LINEAR)
        most = max(outcome.training_loss if axes is training else outcome.held_out_loss for outcome in outcomes.values())
        axes.set_xlim(-LINEAR / 4, 8 * max(most, 1))
        axes.set_xticks([0, 0.03, 0.3, 3], ["0", "0.03", "0.3", "3"])
        axes.minorticks_off()
        axes.set_xlabel("nats a token that it grades" if axes is training else "nats a supervised token", fontsize=FONT_SIZE)
    passed.axvline(100 * right.pass_rate.passed / right.pass_rate.n, color=GREY, linestyle=":", linewidth=2, zorder=0)
    passed.set_xlim(-3, 125)
    passed.set_xticks([0, 50, 100])
    passed.set_xlabel("queries passed (%)", fontsize=FONT_SIZE)
    titles = ("training loss, at the end", "held out, rightly masked", "pass rate, 95% interval")
    for axes, title in zip((training, held_out, passed), titles, strict=True):
        axes.set_title(title, fontsize=FONT_SIZE, loc="left")
        axes.tick_params(labelsize=FONT_SIZE)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    training.set_yticks(range(len(names)), names, fontsize=FONT_SIZE)
    training.set_ylim(len(names) - 0.5, -0.5)
    words = "; ".join(_words(name, outcome) for name, outcome in outcomes.items())
    return Plot(figure, f"Three numbers of {len(names)} runs; {reference} is the reference. {words}.")


def _annotate(axes: Any, text: str, x: float, y: float) -> None:
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # a dotted line must not cross a number out
    axes.annotate(
        text, (x, y), xytext=(10, 0), textcoords="offset points", va="center", fontsize=FONT_SIZE - 1, bbox=behind, zorder=1
    )


def _words(name: str, outcome: Outcome) -> str:
    rate = outcome.pass_rate
    return (
        f"{name}: training loss {outcome.training_loss:.3f}, held out {outcome.held_out_loss:.3f}, passed {rate.passed} of {rate.n} "
        f"({100 * rate.low:.0f} to {100 * rate.high:.0f}%)"
    )
