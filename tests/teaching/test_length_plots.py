"""Histograms of lengths: what is beyond the limit is drawn apart, and said."""

from io import BytesIO

import pytest
from PIL import Image

from toolslm_helpers.teaching.length_plots import BIN, Lengths, histograms

SETS = {"short": Lengths([100, 768, 300], 768), "long": Lengths([2048, 2049, 4000, 4000], 2048)}


def test_longer_and_words():
    assert [one.longer for one in SETS.values()] == [0, 3]
    assert SETS["short"].words == "3 rows of 100 to 768 tokens, median 300; 0 longer than 768"
    assert SETS["long"].words == "4 rows of 2,048 to 4,000 tokens, median 3,024; 3 longer than 2,048"


def test_a_panel_each_and_no_bar_on_both_sides_of_a_limit():
    plot = histograms(SETS)
    short, long = plot.figure.axes
    assert short.get_xlim() == long.get_xlim() and short.get_title(loc="left") == "short: 0 of 3 longer than 768"
    for axes, one in zip((short, long), SETS.values(), strict=True):
        bars = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height(), bar.get_hatch()) for bar in axes.patches]
        inside = sum(height for _, end, height, hatch in bars if not hatch and end <= one.limit + 0.5)
        beyond = sum(height for start, _, height, hatch in bars if hatch and start >= one.limit + 0.5)
        assert (inside, beyond) == (len(one.tokens) - one.longer, one.longer)
    assert all(limit % BIN == 0 for limit in (768, 1024, 2048))
    assert all(one.words in plot.alt for one in SETS.values())
    assert Image.open(BytesIO(plot.png())).width > 800


def test_a_set_without_rows_is_refused():
    for sets in ({}, {"none": Lengths([], 768)}):
        with pytest.raises(ValueError, match="at least one row"):
            histograms(sets)
