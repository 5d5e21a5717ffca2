"""Win rate: which of two answers to the same query is better, as ToolEval decides it, and how sure the share of wins is.

Source: ToolBench, toolbench/tooleval/eval_preference.py. Where only one passes, it wins without being read. Where both pass or both fail a judge
compares them several times; the majority counts, and an even split is a tie that is reported apart.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from toolslm_helpers.evaluation.statistics import wilson

Side = Literal["a", "b", "tie"]
# What the judge is asked to weigh: passed answers by their content, failed ones by how far they came.
CRITERIA = {
    True: ("informativeness", "factuality", "reasoning"),
    False: ("milestones reached", "exploration of other tools", "cost: steps that were of no use"),
}


def preferred(a_passed: bool, b_passed: bool, comparisons: Sequence[Side] = ()) -> Side:
    """The winner of one query. ``comparisons`` are the judge's words where the labels are the same; without any it is a tie."""
    if a_passed != b_passed:
        return "a" if a_passed else "b"
    counted = Counter(comparisons)
    return "tie" if counted["a"] == counted["b"] else "a" if counted["a"] > counted["b"] else "b"


@dataclass(frozen=True)
class WinRate:
    """How often a won, lost and tied against b."""

    wins: int
    losses: int
    ties: int

    @property
    def n(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def rate(self) -> float:
        """ToolEval's win rate: wins among all queries. A tie is no win, so two equal systems do not get 50% each."""
        return self.wins / self.n

    @property
    def decided(self) -> float | None:
        """Wins among the queries that were decided; None where all are ties."""
        return self.wins / (self.wins + self.losses) if self.wins + self.losses else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of ``rate``."""
        return wilson(self.wins, self.n, confidence)


def win_rate(
    a_passed: Mapping[str, bool], b_passed: Mapping[str, bool], comparisons: Mapping[str, Sequence[Side]] | None = None
) -> WinRate:
    """{query id: passed} of two systems -> the win rate of the first. Raises ValueError where they were not judged on the same queries."""
    if set(a_passed) != set(b_passed) or not a_passed:
        odd = sorted(set(a_passed) ^ set(b_passed))[:3]
        raise ValueError(
            f"two systems on different queries ({', '.join(odd) or 'none at all'}); expected the same ones for both. "
            "A missing prediction is a failed one: give it False."
        )
    sides = Counter(preferred(a_passed[key], b_passed[key], (comparisons or {}).get(key, ())) for key in a_passed)
    return WinRate(sides["a"], sides["b"], sides["tie"])


def agreement(judge: Sequence[object], human: Sequence[object]) -> tuple[float, float]:
    """(share of equal labels, Cohen's kappa: what of it is more than chance). Raises ValueError for lists of different lengths or none.

    ToolBench reports shares only: 87.1% for passes, 80.3% for wins. A judge that always says what is most frequent can have a high share and
    a kappa of 0. Where both say one label throughout there is nothing to be explained by chance, and kappa is 1.
    """
    if len(judge) != len(human) or not judge:
        raise ValueError(
            f"{len(judge)} labels of the judge and {len(human)} of humans; expected the same queries for both, at least one."
        )
    n = len(judge)
    same = sum(a == b for a, b in zip(judge, human, strict=True)) / n
    by_judge, by_human = Counter(judge), Counter(human)
    chance = sum(by_judge[label] * by_human[label] for label in by_judge) / n**2
    return same, 1.0 if chance == 1 else (same - chance) / (1 - chance)
