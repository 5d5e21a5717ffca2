"""Figures of lesson 11: the paper's radar, and what a radar hides."""

import math
from collections.abc import Mapping
from typing import Any

from toolslm_helpers.teaching.plots import BLUE, FONT_SIZE, GREY, ORANGE, SERIES, Plot, _figure


def radar(rates: Mapping[str, Mapping[str, Any]], title: str = "Pass rate (%)") -> Plot:
    """{system: {set: result with passed, n}} as closed polygons, one spoke a set, in the way of the paper's Figure 1.

    The order of the spokes and the area are the chart's own, not the data's: ``plots.pass_rates`` shows the same numbers without them.
    Raises ValueError for more systems than there are markers, fewer than three sets, or systems on different sets.
    """
    from matplotlib.figure import Figure

    sets = list(next(iter(rates.values()), {}))
    if len(rates) > len(SERIES):
        raise ValueError(f"radar: {len(rates)} systems, at most {len(SERIES)} can be told apart. Draw two figures.")
    if len(sets) < 3 or any(list(by_set) != sets for by_set in rates.values()):
        raise ValueError(
            "radar: expected the same three or more sets, in the same order, for every system. A polygon has no gaps."
        )
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    angles = [2 * math.pi * k / len(sets) for k in range(len(sets))]
    for (name, by_set), (colour, marker) in zip(rates.items(), SERIES, strict=False):
        values = [100 * by_set[s].passed / by_set[s].n for s in sets]
        around = [*angles, angles[0]], [*values, values[0]]
        axes.plot(*around, label=name, color=colour, marker=marker, markersize=8, linewidth=2)
        axes.fill(*around, color=colour, alpha=0.12)
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, sets, fontsize=FONT_SIZE)
    axes.tick_params(axis="x", pad=22)
    axes.set_ylim(0, 100)
    axes.set_yticks([25, 50, 75, 100], ["25", "50", "75", "100"], fontsize=FONT_SIZE, color=GREY)
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left", pad=24)
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=min(3, len(rates)), frameon=False)
    words = [f"{m}: {', '.join(f'{s} {100 * r.passed / r.n:.1f}' for s, r in by_set.items())}" for m, by_set in rates.items()]
    return Plot(figure, f"Radar chart. {title}. {'; '.join(words)}.")


def radar_area(values: "list[float] | tuple[float, ...]") -> float:
    """Area of the polygon with these radii on evenly spaced spokes, in units of radius squared: it depends on their order."""
    step = math.sin(2 * math.pi / len(values)) / 2
    return sum(a * b * step for a, b in zip(values, [*values[1:], values[0]], strict=True))


def vote_curves(curves: Mapping[str, Mapping[float, float]], title: str) -> Plot:
    """{rule: {chance that one vote says passed: chance that the query passes}}; the dotted diagonal is a single vote.

    Raises ValueError for more rules than there are markers.
    """
    if len(curves) > len(SERIES):
        raise ValueError(f"vote_curves: {len(curves)} rules, at most {len(SERIES)} can be told apart. Draw two figures.")
    figure, (axes,) = _figure(4.8)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=2, label="one vote")
    words = []
    for (name, curve), (colour, marker) in zip(curves.items(), [(BLUE, "D"), (ORANGE, "s"), *SERIES[3:]], strict=False):
        axes.plot(list(curve), list(curve.values()), label=name, color=colour, marker=marker, markersize=7, linewidth=2)
        words.append(f"{name}: {', '.join(f'{chance:.1f} gives {passed:.2f}' for chance, passed in curve.items())}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel("chance that one vote says passed", fontsize=FONT_SIZE)
    axes.set_ylabel("chance that the query passes", fontsize=FONT_SIZE)
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left")
    figure.legend(fontsize=FONT_SIZE, loc="outside lower center", ncols=3, frameon=False)
    return Plot(figure, f"{title}. {'; '.join(words)}.")
