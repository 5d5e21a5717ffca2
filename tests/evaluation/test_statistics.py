import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from toolslm_helpers.evaluation.statistics import (
    bootstrap,
    compare_pairs,
    compare_rates,
    flip_chance,
    holm,
    majority_chance,
    mcnemar_bounds,
    pairs_needed,
    power_of,
    queries_needed,
    tie_chance,
    wilson,
)


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


def test_bootstrap_agrees_with_wilson_on_counts_and_keeps_sets_apart():
    scores = {"a": [1] * 120 + [0] * 80, "b": [1] * 30 + [0] * 70}
    low, high = bootstrap(scores)
    assert (low, high) == pytest.approx(wilson(150, 300), abs=0.012) and bootstrap(scores) == (low, high)
    low, high = bootstrap(scores, "unweighted")
    assert low < 0.45 < high, "the mean of 60% and 30%"
    stratified = bootstrap({"a": [1.0] * 50, "b": [0.0] * 49 + [1.0]})
    assert stratified[1] - stratified[0] < 0.06, "a set without spread adds none: drawing over both sets would give 0.19"


def test_bootstrap_of_equal_scores_and_of_none():
    assert bootstrap({"a": [0.5, 0.5], "b": [1.0]}) == pytest.approx((2 / 3, 2 / 3))
    assert bootstrap({"a": [0.5, 0.5], "b": [1.0]}, "unweighted") == (0.75, 0.75)
    for empty in ({}, {"a": []}, {"a": [1], "b": []}):
        with pytest.raises(ValueError, match="empty set"):
            bootstrap(empty)


def test_pairs_count_only_where_they_differ():
    a, b = [True] * 9 + [False] * 11, [True] * 4 + [False] * 15 + [True]
    result = compare_pairs(a, b)
    assert (result.only_a, result.only_b, result.n, result.difference) == (5, 1, 20, 0.2)
    assert result.p_value == pytest.approx(14 / 64) == pytest.approx(binomtest(1, 6, 0.5).pvalue)
    assert compare_pairs(b, a).p_value == result.p_value and compare_pairs(a, a).p_value == 1.0
    with pytest.raises(ValueError, match="20 and 19 verdicts.*missing prediction"):
        compare_pairs(a, b[1:])


def test_bounds_of_mcnemar_from_published_totals():
    most, least = mcnemar_bounds(332, 286, 1100)
    assert (most.only_a, most.only_b, least.only_a, least.only_b) == (46, 0, 332, 286)
    assert most.p_value == pytest.approx(2 * 0.5**46) and least.p_value == pytest.approx(0.07, abs=0.005)
    most, least = mcnemar_bounds(853, 286, 1100)
    assert (least.only_a, least.only_b) == (814, 247) and 1e-72 < least.p_value < 1e-70
    some = Random(0)
    for _ in range(20):  # any real pairing lies between the two
        a, b = ([some.random() < rate for _ in range(60)] for rate in (0.5, 0.3))
        low, high = mcnemar_bounds(sum(a), sum(b), 60)
        assert low.p_value <= compare_pairs(a, b).p_value <= high.p_value


def test_holm_by_hand():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06}) and holm({}) == {}
    assert 1 - 0.95**6 == pytest.approx(0.26, abs=0.01), "six looks, one chance in four"


def test_votes_and_their_ties():
    assert majority_chance(0.5, 4, "pass") == 0.6875 and majority_chance(0.5, 4, "fail") == 0.3125
    assert majority_chance(0.5, 4, "half") == 0.5 and tie_chance(0.5, 4) == 0.375
    for tie in ("pass", "fail", "half"):
        assert majority_chance(0.7, 3, tie) == pytest.approx(0.7**3 + 3 * 0.7**2 * 0.3), "an odd number cannot tie"
        assert (majority_chance(0, 4, tie), majority_chance(1, 4, tie)) == (0, 1)
    assert (
        flip_chance(0.5, 4) == 0.5 and flip_chance(1, 4) == 0 and flip_chance(0.9, 7) < flip_chance(0.9, 1) == pytest.approx(0.18)
    )
    for vote, votes in ((1.1, 4), (0.5, 0)):
        with pytest.raises(ValueError, match="at least one vote"):
            majority_chance(vote, votes, "half")


def test_power_is_what_repeated_experiments_find():
    n = queries_needed(0.30, 0.26)
    assert 1900 < n < 2050 and power_of(0.30, 0.26, n) == pytest.approx(0.8, abs=0.001)
    generator = np.random.default_rng(0)
    a, b = generator.binomial(n, 0.30, 4000), generator.binomial(n, 0.26, 4000)
    pooled = (a + b) / (2 * n)
    z = (a - b) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.025)
    with pytest.raises(ValueError, match="different rates"):
        queries_needed(0.3, 0.3)


def test_pairs_need_fewer_queries():
    n = pairs_needed(0.10, 0.06)
    assert n < queries_needed(0.30, 0.26)
    drawn = np.random.default_rng(0).multinomial(n, [0.10, 0.06, 0.84], 4000)
    z = (drawn[:, 0] - drawn[:, 1]) / np.sqrt(drawn[:, 0] + drawn[:, 1])
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.025)
    for shares in ((0.1, 0.1), (0.9, 0.2), (-0.1, 0.1)):
        with pytest.raises(ValueError, match="two different shares"):
            pairs_needed(*shares)
