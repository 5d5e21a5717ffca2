"""Figures of lesson 08: how large the numbers of a backward pass are, against what sixteen bits can hold."""

import math
from collections.abc import Mapping

import numpy as np

from toolslm_helpers.teaching.plots import BLUE, FONT_SIZE, GREY, HATCHES, ORANGE, Plot

SMALLEST, SMALLEST_WHOLE, LARGEST = (
    -24,
    -14,
    16,
)  # powers of two: float16's smallest number, the smallest with all its bits, its end

LOOKS = ((GREY, "-"), (BLUE, "--"), (ORANGE, "-."))  # colour, line


def lost_in_half(values: np.ndarray) -> float:
    """Share of the numbers other than 0 that become 0 in float16."""
    values = np.asarray(values, dtype=np.float32).ravel()
    values = values[values != 0]
    return float((values.astype(np.float16) == 0).mean()) if len(values) else 0.0


def magnitudes(series: Mapping[str, np.ndarray]) -> Plot:
    """{name: numbers of any shape}: how many are of which size, in powers of two, between the limits of float16.

    Zeros are left out. Raises ValueError for more series than can be told apart.
    """
    from matplotlib.figure import Figure

    if len(series) > len(LOOKS):
        raise ValueError(f"magnitudes: {len(series)} series, at most {len(LOOKS)} can be told apart. Draw two figures.")
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    bins = np.arange(-60, 25)
    axes.axvspan(bins[0], SMALLEST, color=ORANGE, alpha=0.14, linewidth=0)
    axes.axvspan(SMALLEST, SMALLEST_WHOLE, color=GREY, alpha=0.14, linewidth=0)
    words = []
    for (name, values), (colour, line), hatch in zip(series.items(), LOOKS, HATCHES[1:], strict=False):
        values = np.abs(np.asarray(values, dtype=np.float32).ravel())
        values = values[values > 0]
        sizes = np.log2(values, dtype=np.float64)
        shares = np.histogram(sizes, bins)[0] / len(sizes) * 100
        axes.stairs(shares, bins, fill=True, facecolor=colour, alpha=0.35, hatch=hatch, edgecolor=colour)
        axes.stairs(shares, bins, color=colour, linestyle=line, linewidth=2, label=name)
        words.append(
            f"{name}: half of them below 2 to the {math.floor(np.median(sizes))}, {100 * lost_in_half(values):.1f}% become 0"
        )
    top = axes.get_ylim()[1] * 1.22
    for power, text in ((SMALLEST, "smallest\nfloat16"), (SMALLEST_WHOLE, "smallest with\nall its bits"), (LARGEST, "largest")):
        axes.axvline(power, color=GREY, linestyle=":", linewidth=2)
        axes.annotate(
            text, (power, top), xytext=(-5, -4), textcoords="offset points", ha="right", va="top", fontsize=FONT_SIZE - 2
        )
    axes.set_xlim(-46, 20)
    axes.set_ylim(0, top)
    axes.set_xticks(range(-40, 21, 10), [f"2^{k}" for k in range(-40, 21, 10)])
    axes.set_xlabel("size of the number", fontsize=FONT_SIZE)
    axes.set_ylabel("share of numbers (%)", fontsize=FONT_SIZE)
    axes.tick_params(labelsize=FONT_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(3, len(series)), frameon=False)
    return Plot(figure, f"How large numbers are, beside float16's range from 2 to the -24 to 2 to the 16. {'; '.join(words)}.")
