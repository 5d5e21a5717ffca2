"""From votes to a pass rate: what one vote says, how several make a verdict, and the rules that ToolEval's sources disagree about.

Votes are kept one by one. A ``Policy`` names every choice that turns them into a number, so that the same votes can be counted by
ToolBench's rules, by a strict majority, or by StableToolBench's points, and the reader sees what the choice alone is worth.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from toolslm_helpers.evaluation.statistics import bootstrap, wilson
from toolslm_helpers.files import DataError

Label = Literal["solved", "unsolved", "unsure"]
Task = Literal["solvable", "unsolvable", "unsure"]
POINTS: dict[Label, float] = {"solved": 1.0, "unsure": 0.5, "unsolved": 0.0}  # StableToolBench's


@dataclass(frozen=True)
class Vote:
    """One judge's word on one answer: is the query solved, and if not, could it have been? ``task`` is None where that was not asked."""

    label: Label
    task: Task | None = None
    reason: str = ""

    @property
    def passes(self) -> bool | None:
        """ToolEval's table: True or False, None where it throws a coin.

        Solved passes. Unsolved fails where the task was solvable and passes where it was not: nobody could have done better. Unsure passes
        where it was unsolvable. Everything else is a coin flip. (toolbench/tooleval/eval_pass_rate.py)
        """
        if self.label == "solved" or self.task == "unsolvable":
            return True
        return False if (self.label, self.task) == ("unsolved", "solvable") else None


@dataclass(frozen=True)
class Ballot:
    """All votes on one query; none where there was no prediction to vote on."""

    set_name: str
    query_id: str
    votes: tuple[Vote, ...]


@dataclass(frozen=True)
class Policy:
    """Every choice between votes and a rate.

    ``points``: the mean of the labels' points instead of a majority. ``undecided``: what a vote counts that ToolEval's table leaves to a
    coin. ``tie``: what an even split counts. ``missing``: what a query without a prediction counts.
    """

    name: str
    about: str
    undecided: Literal["coin", "fail"] = "coin"
    tie: Literal["coin", "pass", "fail", "half"] = "coin"
    missing: Literal["fail", "drop"] = "fail"
    points: bool = False


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("upstream", "ToolEval's printed rate: ties pass, queries without a prediction leave the denominator", tie="pass", missing="drop"),
        Policy("upstream csv", "the same votes in ToolEval's CSV: ties by a coin", tie="coin", missing="drop"),
        Policy("strict", "more than half of the votes must say passed; what is undecided or missing fails", undecided="fail", tie="fail"),
        Policy("half points", "StableToolBench's SoPR: solved 1, unsure 0.5, unsolved 0, the mean over the votes", points=True),
    )
}  # fmt: skip


def score(ballot: Ballot, policy: Policy, seed: int = 0) -> float | None:
    """What one query counts, from 0 to 1; None where the policy drops it. Coins come from ``seed`` and the query, so they never move."""
    if not ballot.votes:
        return None if policy.missing == "drop" else 0.0
    if policy.points:
        return sum(POINTS[vote.label] for vote in ballot.votes) / len(ballot.votes)
    coin = random.Random(f"{seed} {ballot.set_name} {ballot.query_id}")
    undecided = [coin.random() < 0.5 if policy.undecided == "coin" else False for _ in ballot.votes]
    passed = sum(flip if vote.passes is None else vote.passes for vote, flip in zip(ballot.votes, undecided, strict=True))
    if 2 * passed != len(ballot.votes):
        return float(2 * passed > len(ballot.votes))
    return {"pass": 1.0, "fail": 0.0, "half": 0.5, "coin": float(coin.random() < 0.5)}[policy.tie]


@dataclass(frozen=True)
class Tally:
    """The rate of one set under one policy: ``passed`` points of ``n`` queries, its 95% interval, and how many queries were dropped.

    The interval is Wilson's where every query counts 0 or 1, and a bootstrap over the queries where some count in between.
    """

    passed: float
    n: int
    low: float
    high: float
    dropped: int = 0

    @property
    def rate(self) -> float:
        return self.passed / self.n


def tally(ballots: Sequence[Ballot], policy: Policy, seed: int = 0) -> dict[str, Tally]:
    """{set: its rate} in the order in which the sets come, and "all" queries together. Raises DataError where a set loses every query."""
    by_set: dict[str, list[float]] = {}
    dropped: Counter[str] = Counter()
    for ballot in ballots:
        one = score(ballot, policy, seed)
        by_set.setdefault(ballot.set_name, [])
        if one is None:
            dropped[ballot.set_name] += 1
        else:
            by_set[ballot.set_name].append(one)
    result = {name: _tally({name: scores}, dropped[name], seed) for name, scores in by_set.items()}
    return result | {"all": _tally(by_set, sum(dropped.values()), seed)}


def _tally(by_set: Mapping[str, Sequence[float]], dropped: int, seed: int) -> Tally:
    scores = [one for scores in by_set.values() for one in scores]
    if not scores:
        raise DataError(
            f"{', '.join(by_set) or 'no set'}: no query is left. "
            "Usual cause: no predictions, and a policy that drops such queries. Choose one that counts them as failed."
        )
    total = sum(scores)
    if set(scores) <= {0.0, 1.0}:
        return Tally(int(total), len(scores), *wilson(int(total), len(scores)), dropped)
    return Tally(total, len(scores), *bootstrap(by_set, seed=seed), dropped)


def rounds(ballots: Iterable[Ballot]) -> list[float]:
    """Mean points of each round of votes (the first vote of every query, the second, ...): StableToolBench prints their mean and spread.

    Queries without a prediction count 0 in every round; only rounds in which every judged query has a vote are given.
    """
    ballots = list(ballots)
    n = min((len(ballot.votes) for ballot in ballots if ballot.votes), default=0)
    return [sum(POINTS[ballot.votes[k].label] for ballot in ballots if ballot.votes) / len(ballots) for k in range(n)]


def disagreement(ballots: Iterable[Ballot]) -> float:
    """Share of the queries with several votes whose labels are not all the same. StableToolBench found 10 to 21% between its rounds."""
    several = [ballot for ballot in ballots if len(ballot.votes) > 1]
    return sum(len({vote.label for vote in ballot.votes}) > 1 for ballot in several) / len(several) if several else 0.0


def with_missing(ballots: Iterable[Ballot], expected: Mapping[str, Sequence[str]]) -> tuple[Ballot, ...]:
    """``ballots``, and an empty one for each of the ``expected`` {set: query ids} that has none: a system that says nothing has not passed."""
    ballots = tuple(ballots)
    known = {(ballot.set_name, ballot.query_id) for ballot in ballots}
    missing = (Ballot(name, query_id, ()) for name, ids in expected.items() for query_id in ids if (name, query_id) not in known)
    return (*ballots, *missing)
