import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolslm_helpers.evaluation.statistics import compare_rates, wilson


def test_wilson_by_hand():
    low, high = wilson(8, 10)
    z = 1.959964  # the 97.5% point of the normal distribution
    centre, half = (0.8 + z**2 / 20) / (1 + z**2 / 10), z * math.sqrt(0.16 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-6)
    narrow = wilson(8, 10, confidence=0.5)
    assert low < narrow[0] < 0.8 < narrow[1] < high


@given(st.integers(1, 2000), st.data())
def test_wilson_stays_within_0_and_1_and_has_a_width(n, data):
    passed = data.draw(st.integers(0, n))
    low, high = wilson(passed, n)
    assert 0 <= low <= passed / n <= high <= 1 and high - low > 0
    assert wilson(n - passed, n) == pytest.approx((1 - high, 1 - low))  # failures are the mirror image of passes


@pytest.mark.parametrize(("passed", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_cannot_be_are_refused(passed, n):
    with pytest.raises(ValueError, match=f"{passed} passed of {n}"):
        wilson(passed, n)
    with pytest.raises(ValueError, match=f"{passed} passed of {n}"):
        compare_rates(1, 2, passed, n)


def test_two_rates_by_hand():
    result = compare_rates(332, 1100, 286, 1100)  # ToolLLaMA-DFS against ChatGPT-CoT in the paper's Table 2
    pooled = (332 + 286) / 2200
    by_hand = (332 - 286) / 1100 / math.sqrt(pooled * (1 - pooled) * 2 / 1100)
    assert result.z == pytest.approx(by_hand) == pytest.approx(2.18, abs=0.005)
    assert result.p_value == pytest.approx(math.erfc(by_hand / math.sqrt(2))) == pytest.approx(0.029, abs=0.0005)
    assert result.difference == pytest.approx(46 / 1100) and 0 < result.low < result.difference < result.high
    assert compare_rates(22, 100, 5, 100).p_value_exact == pytest.approx(0.0007, abs=0.00005)  # the same pair in G3
    swapped = compare_rates(286, 1100, 332, 1100)
    assert (swapped.z, swapped.low, swapped.high) == pytest.approx((-result.z, -result.high, -result.low))


def test_rates_without_evidence_do_not_differ():
    for passed in (0, 50):
        result = compare_rates(passed, 50, passed, 50)
        assert (result.difference, result.z, result.p_value, result.p_value_exact) == (0, 0, 1, 1)
        assert result.low < 0 < result.high
