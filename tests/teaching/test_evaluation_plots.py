"""Lesson 11's figures: drawn as given, told apart without colour, with the numbers in words."""

import math

import pytest

from toolslm_helpers.evaluation.tooleval import PassRate
from toolslm_helpers.teaching import evaluation_plots as plots

SETS = ("a", "b", "c", "d")
RATES = {"one": {s: PassRate(k, 4, 0, 1) for k, s in enumerate(SETS)}, "two": {s: PassRate(2, 4, 0, 1) for s in SETS}}


def test_a_radar_is_a_closed_polygon_of_percentages():
    plot = plots.radar(RATES, "Two systems")
    axes = plot.figure.axes[0]
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn == {"one": [0, 25, 50, 75, 0], "two": [50] * 5} and axes.get_ylim() == (0, 100)
    assert len({line.get_marker() for line in axes.lines}) == 2 and "one: a 0.0, b 25.0" in plot.alt
    assert all(label.get_fontsize() >= plots.FONT_SIZE for label in axes.get_xticklabels())


def test_what_a_radar_cannot_show_is_refused():
    with pytest.raises(ValueError, match="same three or more sets"):
        plots.radar({"one": RATES["one"], "two": {"a": PassRate(1, 2, 0, 1)}})
    with pytest.raises(ValueError, match="at most"):
        plots.radar({str(k): RATES["one"] for k in range(9)})


def test_the_area_depends_on_the_order_of_the_spokes():
    assert plots.radar_area([1, 1, 1, 1]) == pytest.approx(2) and plots.radar_area([2] * 6) == pytest.approx(6 * math.sqrt(3))
    assert plots.radar_area([1, 0, 1, 0]) == 0 < plots.radar_area([1, 1, 0, 0])


def test_vote_curves_name_every_point():
    plot = plots.vote_curves({"tie passes": {0.0: 0.0, 0.5: 0.69}, "tie fails": {0.0: 0.0, 0.5: 0.31}}, "Votes")
    assert [line.get_label() for line in plot.figure.axes[0].lines] == ["one vote", "tie passes", "tie fails"]
    assert "tie fails: 0.0 gives 0.00, 0.5 gives 0.31" in plot.alt
    with pytest.raises(ValueError, match="at most"):
        plots.vote_curves({str(k): {0.5: 0.5} for k in range(9)}, "Votes")
