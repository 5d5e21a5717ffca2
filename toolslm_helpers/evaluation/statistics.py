"""How sure a rate is: Wilson intervals and the comparison of two rates. The formulas are statsmodels' and scipy's."""

from dataclasses import dataclass

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
