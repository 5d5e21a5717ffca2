"""The figure of float16's range, and what of a set of numbers it cannot hold."""

import numpy as np
import pytest

from toolslm_helpers.teaching.training_plots import lost_in_half, magnitudes


def test_what_is_lost_is_counted_without_zeros():
    # 2^-25 lies half-way between 0 and the smallest float16, 2^-24, and is rounded to even: to 0.
    assert lost_in_half(np.array([0.0, 2.0**-24, -(2.0**-25), 1.0, 1e-9])) == 0.5
    assert lost_in_half(np.array([2.0**-25 * 1.01])) == 0.0 and lost_in_half(np.array([0.0])) == 0.0


def test_the_figure_says_what_it_shows():
    small = np.array([2.0**-30, 2.0**-28, 2.0**-20, 0.0])
    plot = magnitudes({"as they are": small, "times 65,536": small * 2.0**16})
    assert "as they are: half of them below 2 to the -28, 66.7% become 0" in plot.alt
    assert "times 65,536: half of them below 2 to the -12, 0.0% become 0" in plot.alt
    assert plot.png().startswith(b"\x89PNG")
    [axes] = plot.figure.axes
    assert {round(line.get_xdata()[0]) for line in axes.lines} == {-24, -14, 16}
    with pytest.raises(ValueError, match="can be told apart"):
        magnitudes({str(k): small for k in range(9)})
