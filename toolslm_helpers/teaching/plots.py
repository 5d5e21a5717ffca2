"""Figures of the lessons. Each comes with alt text computed from the same numbers, and is shown as ``<img alt="...">``.

Series differ in marker as well as in colour, so that a grey print still tells them apart.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#6b6b6b"
SERIES = ((GREY, "o"), (ORANGE, "s"), (BLUE, "D"), (GREEN, "^"), (PURPLE, "v"))  # colour, marker
BAND = "#f2f2f2"
FONT_SIZE = 14  # points on a figure 10 inches wide: readable from the last row


@dataclass(frozen=True)
class Plot:
    """A matplotlib figure and what it shows, in words."""

    figure: "Figure"
    alt: str

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png()).decode("ascii")
        style = "max-width:100%;background:#ffffff"
        return f'<img alt="{escape(self.alt, quote=True)}" src="data:image/png;base64,{data}" style="{style}">'

    def __repr__(self) -> str:
        return f"figure: {self.alt}"


def _figure(height: float, rows: int = 1) -> "tuple[Figure, Sequence[Axes]]":
    """A figure that no global state knows, so that notebooks neither show it twice nor keep it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    axes = [figure.add_subplot(rows, 1, k + 1) for k in range(rows)]
    for one in axes:
        one.tick_params(labelsize=FONT_SIZE)
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def learning_rate(rates: Sequence[float], warmup_steps: int) -> Plot:
    """The learning rate of every step, in the order of the steps; the end of the warm-up is marked."""
    figure, (axes,) = _figure(3.6)
    _draw_rates(axes, rates, warmup_steps)
    axes.set_xlabel("step", fontsize=FONT_SIZE)
    return Plot(figure, f"Learning rate over {len(rates)} steps. {_rate_words(rates, warmup_steps)}")


def loss_curve(steps: Sequence[int], losses: Sequence[float], rates: Sequence[float], warmup_steps: int) -> Plot:
    """Training loss (nats a supervised token) at ``steps``, above the learning rate of every step."""
    figure, (top, bottom) = _figure(6.2, rows=2)
    top.plot(steps, losses, color=BLUE, marker="o" if len(steps) <= 60 else None, linewidth=2)
    top.set_ylabel("loss (nats)", fontsize=FONT_SIZE)
    top.set_ylim(bottom=0)
    _draw_rates(bottom, rates, warmup_steps)
    bottom.set_xlabel("step", fontsize=FONT_SIZE)
    top.set_xlim(bottom.get_xlim())
    low = min(range(len(losses)), key=losses.__getitem__)
    alt = (
        f"Two curves over {len(rates)} steps. Above, the training loss: {losses[0]:.2f} nats at step {steps[0]}, "
        f"{losses[-1]:.2f} at step {steps[-1]}, lowest {losses[low]:.2f} at step {steps[low]}. "
        f"Below: {_rate_words(rates, warmup_steps)}"
    )
    return Plot(figure, alt)


def loss_curves(curves: Mapping[str, Sequence[tuple[int, float]]], guess: float) -> Plot:
    """{name: (step, loss in nats) points} on logarithmic scales; ``guess``, the loss of even guessing, is a dotted line.

    The scales are logarithmic so that a run of ten steps and one of ten thousand, a loss of 5 and one of 0.05, fit one picture. Raises
    ValueError for more curves than there are markers, and for a loss of 0 or less, which has no place on such a scale.
    """
    if len(curves) > len(SERIES):
        raise ValueError(f"loss_curves: {len(curves)} curves, at most {len(SERIES)} can be told apart. Draw two figures.")
    low = min(loss for points in curves.values() for _, loss in points)
    if low <= 0:
        raise ValueError(f"loss_curves: a loss of {low} cannot be drawn on a logarithmic scale; every loss must be above 0.")
    figure, (axes,) = _figure(4.6)
    axes.set(xscale="log", yscale="log")
    axes.axhline(guess, color=GREY, linestyle=":", linewidth=2)
    axes.annotate("even guessing", (1, guess), xycoords=axes.get_yaxis_transform(), xytext=(-6, 6), textcoords="offset points",
                  ha="right", fontsize=FONT_SIZE, color=GREY)  # fmt: skip
    words = []
    for (name, points), (colour, marker) in zip(curves.items(), SERIES, strict=False):
        steps, losses = zip(*points, strict=True)
        every = 1 if len(steps) <= 15 else 0.08  # 0.08: markers evenly spaced to the eye, not by step
        axes.plot(steps, losses, label=name, color=colour, marker=marker, markersize=7, markevery=every, linewidth=2)
        words.append(f"{name}: {losses[0]:.2f} nats at step {steps[0]}, {losses[-1]:.3f} at step {steps[-1]}")
    axes.set_ylim(top=guess * 2)
    axes.set_xlabel("step (each mark ten times the last)", fontsize=FONT_SIZE)
    axes.set_ylabel("loss (nats)", fontsize=FONT_SIZE)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(3, len(curves)), frameon=False)
    alt = f"Training loss on logarithmic scales, below a line at {guess:.2f} nats for even guessing. {'; '.join(words)}."
    return Plot(figure, alt)


def _draw_rates(axes: "Axes", rates: Sequence[float], warmup_steps: int) -> None:
    axes.plot(range(1, len(rates) + 1), rates, color=ORANGE, linestyle="-.", linewidth=2)
    axes.axvline(warmup_steps, color=GREY, linestyle=":", linewidth=2)
    axes.annotate("end of warm-up", (warmup_steps, 0), xytext=(6, 6), textcoords="offset points", fontsize=FONT_SIZE, color=GREY)
    axes.set_ylabel("learning rate", fontsize=FONT_SIZE)
    axes.set_ylim(bottom=0)


def _rate_words(rates: Sequence[float], warmup_steps: int) -> str:
    peak = f"The learning rate rises to {max(rates):.2g} at step {warmup_steps}"
    return f"{peak} and falls in a straight line to {rates[-1]:.2g} at step {len(rates)}."


def pass_rates(rates: Mapping[str, Mapping[str, Any]], title: str = "Pass rate by set, with 95% interval") -> Plot:
    """{model: {set: result with passed, n, low, high}}: a row for each set, a marker and an interval for each model.

    Raises ValueError for more models than there are markers.
    """
    models, sets = list(rates), list(dict.fromkeys(s for by_set in rates.values() for s in by_set))
    if len(models) > len(SERIES):
        raise ValueError(f"pass_rates: {len(models)} models, at most {len(SERIES)} can be told apart. Draw two figures.")
    figure, (axes,) = _figure(1.6 + len(sets) * max(0.5, 0.22 * len(models)))
    for k in range(0, len(sets), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=BAND, zorder=0)
    for m, model in enumerate(models):
        colour, marker = SERIES[m]
        offset = (m - (len(models) - 1) / 2) * 0.8 / len(models)
        known = [(k, rates[model][s]) for k, s in enumerate(sets) if s in rates[model]]
        middle = [100 * r.passed / r.n for _, r in known]
        # At 0% and 100% rounding can make a side -1e-15 long, which matplotlib refuses.
        left = [max(0.0, m - 100 * r.low) for m, (_, r) in zip(middle, known, strict=True)]
        right = [max(0.0, 100 * r.high - m) for m, (_, r) in zip(middle, known, strict=True)]
        axes.errorbar(
            middle, [k + offset for k, _ in known], xerr=[left, right], label=model,
            color=colour, marker=marker, markersize=9, linestyle="none", capsize=5, linewidth=2,
        )  # fmt: skip
    axes.grid(axis="y", visible=False)
    axes.set_yticks(range(len(sets)), sets, fontsize=FONT_SIZE)
    axes.set_ylim(len(sets) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("queries passed (%)", fontsize=FONT_SIZE)
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left")
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(3, len(models)), frameon=False)
    words = [f"{m}: {', '.join(f'{s} {_rate_and_interval(r)}' for s, r in by_set.items())}" for m, by_set in rates.items()]
    return Plot(figure, f"{title}. {'; '.join(words)}.")


def _rate_and_interval(result: Any) -> str:
    return f"{100 * result.passed / result.n:.1f}% ({100 * result.low:.1f} to {100 * result.high:.1f})"


HATCHES = ("", "///", "...", "xxx", "---")


def stacked_bars(bars: Mapping[str, Mapping[str, float]], unit: str, title: str) -> Plot:
    """{bar: {part: value}}: one horizontal bar each, its parts end to end in the order of the first bar, its sum at the end.

    Parts differ in hatching as well as in colour. Raises ValueError for more parts than there are hatches.
    """
    parts = list(dict.fromkeys(part for values in bars.values() for part in values))
    if len(parts) > len(HATCHES):
        raise ValueError(f"stacked_bars: {len(parts)} parts, at most {len(HATCHES)} can be told apart. Put some together.")
    figure, (axes,) = _figure(1.7 + 0.75 * len(bars))
    left = dict.fromkeys(bars, 0.0)
    for part, (colour, _), hatch in zip(parts, SERIES, HATCHES, strict=False):
        values = [by_part.get(part, 0.0) for by_part in bars.values()]
        axes.barh(
            list(bars), values, left=list(left.values()), label=part, color=colour, hatch=hatch, edgecolor="white", height=0.62
        )
        left = {bar: start + value for (bar, start), value in zip(left.items(), values, strict=True)}
    for k, total in enumerate(left.values()):
        axes.annotate(f"{total:,.0f}", (total, k), xytext=(6, 0), textcoords="offset points", va="center", fontsize=FONT_SIZE)
    axes.grid(axis="y", visible=False)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(bars)), list(bars), fontsize=FONT_SIZE)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, max(left.values()) * 1.12)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(unit, fontsize=FONT_SIZE)
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left")
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(3, len(parts)), frameon=False, handleheight=1.4)
    words = [f"{bar} {left[bar]:,.0f} ({', '.join(f'{p} {v:,.0f}' for p, v in by.items() if v)})" for bar, by in bars.items()]
    return Plot(figure, f"{title}, in {unit}. {'; '.join(words)}.")


def by_layer(curves: Mapping[str, Sequence[float]], quantity: str, title: str) -> Plot:
    """{name: a positive number for each layer, from layer 0 (before the first)} on a logarithmic scale.

    Raises ValueError for more curves than there are markers.
    """
    if len(curves) > len(SERIES):
        raise ValueError(f"by_layer: {len(curves)} curves, at most {len(SERIES)} can be told apart. Draw two figures.")
    figure, (axes,) = _figure(4.8)
    words = []
    for (name, values), (colour, marker) in zip(curves.items(), SERIES, strict=False):
        axes.plot(range(len(values)), values, label=name, color=colour, marker=marker, markersize=7, linewidth=2)
        words.append(
            f"{name}: {values[0]:.2g} before layer 1, {values[1]:.2g} after it, {values[-1]:.2g} after layer {len(values) - 1}"
        )
    axes.set_yscale("log")
    axes.set_xlabel("after layer (0: before the first)", fontsize=FONT_SIZE)
    axes.set_ylabel(quantity, fontsize=FONT_SIZE)
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left")
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(2, len(curves)), frameon=False)
    return Plot(figure, f"{title}, on a logarithmic scale. {'; '.join(words)}.")
