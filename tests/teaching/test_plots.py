"""Figures: the data are drawn as given, series differ without colour, alt text holds the numbers."""

import base64
import io
import re

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from toolslm_helpers.evaluation.tooleval import PassRate
from toolslm_helpers.teaching import plots

RATES = {
    "instruct": {"G1_tool": PassRate(0, 20, 0.0, 0.161), "all": PassRate(3, 40, 0.026, 0.199)},
    "sft": {"G1_tool": PassRate(20, 20, 0.839, 1.0), "all": PassRate(31, 40, 0.625, 0.877)},
}

BARS = {"small": {"layers": 3.0, "tables": 1.0}, "large": {"layers": 20.0, "tables": 0.0, "rest": 5.0}}


def every_plot():
    return {
        "learning_rate": plots.learning_rate([1.0, 2.0, 1.0, 0.0], 2),
        "loss_curve": plots.loss_curve([10, 20, 30], [3.0, 0.5, 0.75], [0.1] * 30, 4),
        "loss_curves": plots.loss_curves({"short": [(1, 6.0), (10, 2.0)], "long": [(50, 4.0), (5000, 0.05)]}, 6.9),
        "pass_rates": plots.pass_rates(RATES),
        "stacked_bars": plots.stacked_bars(BARS, "millions", "Where they are"),
        "by_layer": plots.by_layer({"post": [0.1, 0.01, 1.0], "pre": [0.5, 0.5, 0.5]}, "length", "Gradient"),
    }


every = pytest.mark.parametrize("plot", every_plot().values(), ids=every_plot().keys())


@every
def test_a_figure_is_shown_as_a_png_with_its_alt_text(plot):
    image = BeautifulSoup(plot._repr_html_(), "html.parser").find("img")
    assert image["alt"] == plot.alt and len(plot.alt) > 40
    picture = Image.open(io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))))
    assert 600 <= picture.width <= 1400
    assert plot.alt in repr(plot)


@every
def test_letters_are_large_enough_for_the_last_row(plot):
    for axes in plot.figure.axes:
        labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label, *axes.texts]
        assert all(label.get_fontsize() >= plots.FONT_SIZE for label in labels if label.get_text())


@every
def test_no_figure_is_left_in_pyplot(plot):
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_alt_text_cannot_break_out_of_its_attribute():
    plot = plots.pass_rates({'"><script>': RATES["sft"]})
    soup = BeautifulSoup(plot._repr_html_(), "html.parser")
    assert soup.find("script") is None and '"><script>' in soup.find("img")["alt"]


def test_the_loss_curve_draws_loss_above_rate_on_one_axis():
    plot = plots.loss_curve([10, 20, 30], [3.0, 0.5, 0.75], [k / 30 for k in range(30)], 4)
    top, bottom = plot.figure.axes
    assert list(top.lines[0].get_xdata()) == [10, 20, 30] and list(top.lines[0].get_ydata()) == [3.0, 0.5, 0.75]
    assert len(bottom.lines[0].get_xdata()) == 30 and top.get_xlim() == bottom.get_xlim()
    assert top.get_ylabel() == "loss (nats)" and top.get_ylim()[0] == 0
    assert "3.00 nats at step 10" in plot.alt and "0.75 at step 30" in plot.alt and "lowest 0.50 at step 20" in plot.alt


def test_loss_curves_share_one_picture_and_differ_without_colour():
    plot = plots.loss_curves({"short": [(1, 6.0), (10, 2.0)], "long": [(50, 4.0), (5000, 0.05)]}, 6.9)
    (axes,) = plot.figure.axes
    guess, *lines = axes.lines
    assert set(guess.get_ydata()) == {6.9} and axes.get_ylim()[1] > 6.9 and axes.get_ylim()[0] < 0.05
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in lines] == [
        ([1, 10], [6.0, 2.0]),
        ([50, 5000], [4.0, 0.05]),
    ]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log") and len({line.get_marker() for line in lines}) == 2
    assert "short: 6.00 nats at step 1, 2.000 at step 10; long: 4.00 nats at step 50, 0.050 at step 5000." in plot.alt
    assert "6.90 nats for even guessing" in plot.alt


def test_loss_curves_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="6 curves, at most 5"):
        plots.loss_curves({str(k): [(1, 1.0)] for k in range(6)}, 6.9)
    with pytest.raises(ValueError, match="a loss of 0.0 cannot be drawn"):
        plots.loss_curves({"done": [(1, 1.0), (2, 0.0)]}, 6.9)


def test_the_end_of_the_warm_up_is_marked_where_it_is():
    plot = plots.learning_rate([1.0, 2.0, 1.0, 0.0], 2)
    (axes,) = plot.figure.axes
    assert list(axes.lines[0].get_ydata()) == [1.0, 2.0, 1.0, 0.0] and set(axes.lines[1].get_xdata()) == {2}
    assert "rises to 2 at step 2" in plot.alt and "to 0 at step 4" in plot.alt


def test_pass_rates_draw_each_interval_and_tell_models_apart_without_colour():
    plot = plots.pass_rates(RATES, "Title")
    (axes,) = plot.figure.axes
    lines = [container.lines for container in axes.containers]
    assert [list(data.get_xdata()) for data, _, _ in lines] == [[0.0, 7.5], [100.0, 77.5]]
    bars = [[segment[:, 0].tolist() for segment in bar.get_segments()] for _, _, (bar,) in lines]
    assert bars[0][1] == pytest.approx([2.6, 19.9]) and bars[1][0] == pytest.approx([83.9, 100.0])
    assert len({data.get_marker() for data, _, _ in lines}) == 2 and len({data.get_color() for data, _, _ in lines}) == 2
    heights = [y for data, _, _ in lines for y in data.get_ydata()]
    assert len(set(heights)) == 4, "two models of one set must not lie on one another"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["G1_tool", "all"]
    assert "sft: G1_tool 100.0% (83.9 to 100.0), all 77.5% (62.5 to 87.7)" in plot.alt


def test_markers_and_colours_of_the_palette_are_all_different():
    for kind in zip(*plots.SERIES, strict=True):
        assert len(set(kind)) == len(plots.SERIES)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour, _ in plots.SERIES)


def test_more_models_than_markers_are_refused():
    with pytest.raises(ValueError, match="6 models, at most 5"):
        plots.pass_rates({str(k): RATES["sft"] for k in range(6)})


def test_stacked_bars_lie_end_to_end_and_differ_without_colour():
    plot = plots.stacked_bars(BARS, "millions", "Where they are")
    (axes,) = plot.figure.axes
    pieces = [[(bar.get_x(), bar.get_width()) for bar in container] for container in axes.containers]
    assert pieces == [[(0.0, 3.0), (0.0, 20.0)], [(3.0, 1.0), (20.0, 0.0)], [(4.0, 0.0), (20.0, 5.0)]]
    assert len({container[0].get_hatch() for container in axes.containers}) == 3
    assert [text.get_text() for text in axes.texts] == ["4", "25"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["small", "large"]
    low, high = axes.get_ylim()
    assert low > high, "the first bar is on top"
    assert "small 4 (layers 3, tables 1); large 25 (layers 20, rest 5)" in plot.alt and "in millions" in plot.alt


def test_by_layer_draws_each_value_from_before_the_first_layer_on():
    plot = plots.by_layer({"post": [0.1, 0.01, 1.0], "pre": [0.5, 0.5, 0.5]}, "length", "Gradient")
    (axes,) = plot.figure.axes
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines] == [
        ([0, 1, 2], [0.1, 0.01, 1.0]),
        ([0, 1, 2], [0.5, 0.5, 0.5]),
    ]
    assert axes.get_yscale() == "log" and len({line.get_marker() for line in axes.lines}) == 2
    assert "post: 0.1 before layer 1, 0.01 after it, 1 after layer 2; pre: 0.5" in plot.alt


def test_more_parts_or_curves_than_can_be_told_apart_are_refused():
    many = {str(k): 1.0 for k in range(6)}
    with pytest.raises(ValueError, match="6 parts, at most 5"):
        plots.stacked_bars({"bar": many}, "millions", "Too many")
    with pytest.raises(ValueError, match="6 curves, at most 5"):
        plots.by_layer({name: [1.0, 1.0] for name in many}, "length", "Too many")
