"""How sure a rate is, and whether two rates differ: intervals, tests, the noise of votes, power. The formulas are statsmodels' and scipy's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


def _check_counts(passed: int, n: int) -> None:
    if not 0 <= passed <= n or n == 0:
        raise ValueError(f"{passed} passed of {n}; expected n >= 1 and 0 <= passed <= n. Usual cause: an empty set of queries.")


def wilson(passed: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (low, high) of the rate ``passed / n``, as fractions of 1.

    Unlike rate +- 1.96 standard errors it stays within 0 and 1 and has a width at 0 of n and n of n. Raises ValueError for n = 0.
    """
    from statsmodels.stats.proportion import proportion_confint  # 1.5 s to import, so only where an interval is asked for

    _check_counts(passed, n)
    low, high = proportion_confint(passed, n, alpha=1 - confidence, method="wilson")
    return (float(low) if passed else 0.0), (float(high) if passed < n else 1.0)  # exactly, where rounding leaves 3e-17


@dataclass(frozen=True)
class Comparison:
    """Rate a minus rate b (fractions of 1), Newcombe's interval of that difference, and two tests of "the rates are equal"."""

    difference: float
    low: float
    high: float
    z: float  # standard errors, with the pooled rate
    p_value: float  # two-sided, from z: good for large counts
    p_value_exact: float  # Fisher's exact test: good for small ones too


def compare_rates(passed_a: int, n_a: int, passed_b: int, n_b: int, confidence: float = 0.95) -> Comparison:
    """Compares two rates measured on different queries. (On the same queries, pairs tell more: that is McNemar's test.)

    Where nobody or everybody passed there is no evidence of a difference: z is 0 and both p-values are 1.
    """
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    _check_counts(passed_a, n_a)
    _check_counts(passed_b, n_b)
    low, high = confint_proportions_2indep(
        passed_a, n_a, passed_b, n_b, compare="diff", method="newcomb", alpha=1 - confidence
    )  # fmt: skip
    z, p_value = 0.0, 1.0
    if 0 < passed_a + passed_b < n_a + n_b:
        z, p_value = proportions_ztest(np.array([passed_a, passed_b]), np.array([n_a, n_b]))
    exact = fisher_exact([[passed_a, n_a - passed_a], [passed_b, n_b - passed_b]]).pvalue
    return Comparison(passed_a / n_a - passed_b / n_b, float(low), float(high), float(z), float(p_value), float(exact))


def bootstrap(
    by_set: Mapping[str, Sequence[float]],
    mean: Literal["all", "unweighted"] = "all",
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile interval (low, high) of a mean score: the queries of each set are drawn again with replacement, set by set.

    For scores that are no counts (half points) and for the unweighted mean of the sets, where Wilson does not apply. ``all`` weighs every
    query the same, ``unweighted`` every set. A query is drawn with all its votes: votes on one query are no independent queries.
    Raises ValueError for an empty set. Scores that are all equal give an interval without a width: there, prefer Wilson.
    """
    from scipy.stats import bootstrap as resample

    samples = [np.asarray(scores, dtype=float) for scores in by_set.values()]
    if not samples or not all(len(sample) for sample in samples):
        raise ValueError("an empty set of queries; expected at least one score in each set. Leave the empty set out.")
    if all(np.ptp(sample) == 0 for sample in samples):
        only = _mean_of_sets(*samples, mean=mean)
        return float(only), float(only)
    result = resample(
        samples,
        lambda *drawn, axis: _mean_of_sets(*drawn, axis=axis, mean=mean),
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _mean_of_sets(*sets: np.ndarray, axis: int = -1, mean: str) -> np.ndarray:
    rates = np.array([one.mean(axis=axis) for one in sets])
    weights = [one.shape[axis] if mean == "all" else 1 for one in sets]
    return np.average(rates, axis=0, weights=weights)


@dataclass(frozen=True)
class Paired:
    """Two systems on the same queries: how many only a passed, how many only b, and McNemar's exact test of "they are equal"."""

    only_a: int
    only_b: int
    n: int
    p_value: float  # two-sided

    @property
    def difference(self) -> float:
        """Rate of a minus rate of b, as a fraction of 1."""
        return (self.only_a - self.only_b) / self.n


def compare_pairs(passed_a: Sequence[bool], passed_b: Sequence[bool]) -> Paired:
    """McNemar's exact test: element i of both says whether query i was passed. Queries on which both agree say nothing about a difference.

    Raises ValueError where the lists differ in length: pair the queries first, a missing prediction is a failure.
    """
    if len(passed_a) != len(passed_b) or not passed_a:
        raise ValueError(
            f"{len(passed_a)} and {len(passed_b)} verdicts; expected the same queries for both, at least one. "
            "Usual cause: a missing prediction was dropped from one of them. Count it as failed."
        )
    only_a = sum(a and not b for a, b in zip(passed_a, passed_b, strict=True))
    only_b = sum(b and not a for a, b in zip(passed_a, passed_b, strict=True))
    return Paired(only_a, only_b, len(passed_a), _mcnemar(only_a, only_b))


def _mcnemar(only_a: int, only_b: int) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue) if only_a + only_b else 1.0


def mcnemar_bounds(passed_a: int, passed_b: int, n: int) -> tuple[Paired, Paired]:
    """The smallest and the largest p-value that McNemar's test can have where only the two totals were published.

    How many queries both passed is unknown; it lies between two bounds. The more they share, the fewer queries they differ on, and the
    clearer the same gap. Returns (most overlap, least overlap).
    """
    _check_counts(passed_a, n)
    _check_counts(passed_b, n)
    both = min(passed_a, passed_b), max(0, passed_a + passed_b - n)
    most, least = (Paired(passed_a - k, passed_b - k, n, _mcnemar(passed_a - k, passed_b - k)) for k in both)
    return most, least


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """{name: its p-value after Holm's correction for having looked at all of them}. Six looks find a p of .05 by luck one time in four."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return {}
    return dict(zip(p_values, map(float, multipletests(list(p_values.values()), method="holm")[1]), strict=True))


Tie = Literal["pass", "fail", "half"]


def majority_chance(vote: float, votes: int, tie: Tie) -> float:
    """Chance that a query passes by majority, if each of ``votes`` independent votes says "pass" with chance ``vote``.

    An even number of votes can tie; ``tie`` says what it counts as ("half": a coin, or half a point). With 4 votes of chance .5 the rule
    alone decides between .313 and .688. Raises ValueError for a chance outside 0 and 1 or no votes.
    """
    from scipy.stats import binom

    tied = tie_chance(vote, votes)
    return float(binom.sf(votes // 2, votes, vote)) + {"pass": 1.0, "fail": 0.0, "half": 0.5}[tie] * tied


def tie_chance(vote: float, votes: int) -> float:
    """Chance that ``votes`` independent votes split evenly; 0 for an odd number."""
    from scipy.stats import binom

    if not 0 <= vote <= 1 or votes < 1:
        raise ValueError(f"{votes} votes that pass with chance {vote}; expected at least one vote and a chance between 0 and 1.")
    return float(binom.pmf(votes // 2, votes, vote)) if votes % 2 == 0 else 0.0


def flip_chance(vote: float, votes: int) -> float:
    """Chance that two rounds of ``votes`` votes each give one query different labels (ties by a coin)."""
    passes = majority_chance(vote, votes, "half")
    return 2 * passes * (1 - passes)


def queries_needed(rate_a: float, rate_b: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Queries that each of two systems must answer (different queries) so that a two-sided test finds the difference with chance ``power``."""
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    if rate_a == rate_b or not (0 <= min(rate_a, rate_b) and max(rate_a, rate_b) <= 1):
        raise ValueError(
            f"rates {rate_a} and {rate_b}; expected two different rates between 0 and 1: no number of queries tells equal ones apart."
        )
    effect = abs(proportion_effectsize(rate_a, rate_b))
    return math.ceil(NormalIndPower().solve_power(effect_size=effect, alpha=alpha, power=power, ratio=1))


def power_of(rate_a: float, rate_b: float, n: int, alpha: float = 0.05) -> float:
    """Chance that a two-sided test finds the difference with ``n`` queries for each system (different queries)."""
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    return float(NormalIndPower().power(abs(proportion_effectsize(rate_a, rate_b)), n, alpha, ratio=1))


def pairs_needed(only_a: float, only_b: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Queries that two systems must share so that McNemar's test finds the difference with chance ``power``.

    ``only_a`` and ``only_b`` are the shares of queries that only one of them passes (Connor 1987, Biometrics 43: 207-211).
    Raises ValueError where they are equal or do not fit into 1.
    """
    from scipy.stats import norm

    if only_a == only_b or min(only_a, only_b) < 0 or only_a + only_b > 1:
        raise ValueError(f"shares {only_a} and {only_b}; expected two different shares of at least 0 that add up to at most 1.")
    differ, gap = only_a + only_b, only_a - only_b
    root = norm.ppf(1 - alpha / 2) * math.sqrt(differ) + norm.ppf(power) * math.sqrt(differ - gap**2)
    return math.ceil(root**2 / gap**2)
