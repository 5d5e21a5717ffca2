"""One evaluation from beginning to end: whose answers, which judge, which policy, and what is written. The CLI's `evaluate` in a function.

Whatever was paid for is kept in the output folder; the same call goes on from there (``ledger``).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.toolbench import read_query_ids
from toolslm_helpers.data.world import SETS
from toolslm_helpers.evaluation.answers import Answer, from_episode
from toolslm_helpers.evaluation.judges import ExactJudge, Verdict
from toolslm_helpers.evaluation.llm_judge import OpenAIJudge, Prices
from toolslm_helpers.evaluation.rules import RuleJudge
from toolslm_helpers.evaluation.votes import POLICIES, Ballot, Policy, Tally, Vote, disagreement, rounds, tally, with_missing
from toolslm_helpers.files import DataError, WorkbookError, atomic_write_json

JudgeName = Literal["exact", "rules", "openai"]


@dataclass(frozen=True)
class Report:
    """What an evaluation found: the votes one by one, and the rates under one policy."""

    judge: str
    policy: Policy
    ballots: tuple[Ballot, ...]
    rates: dict[str, Tally]
    outside: int = 0  # answers to queries that were not expected: not counted

    def as_json(self) -> dict[str, Any]:
        """Everything, for the file: rates, how the votes spread, and each vote."""
        return {
            "judge": self.judge,
            "policy": asdict(self.policy),
            "pass_rate": {name: asdict(rate) for name, rate in self.rates.items()},
            "points_by_round": rounds(self.ballots),
            "queries_with_differing_votes": disagreement(self.ballots),
            "queries": [asdict(ballot) for ballot in self.ballots],
        }


def chosen_policy(name: str) -> Policy:
    """A policy by its name. Raises WorkbookError that names those there are."""
    if name not in POLICIES:
        raise WorkbookError(f"no policy {name!r}. Expected one of: {', '.join(POLICIES)}.")
    return POLICIES[name]


Pairs = Iterable[tuple[WorldQuery, Episode]]  # queries, and the episodes that were played for them


def exact_ballots(played: Pairs) -> tuple[Ballot, ...]:
    """The exact judge's verdicts as ballots of one vote: it knows the facts, so a second vote would be the same."""
    judge = ExactJudge()
    return tuple(_exact_ballot(query, judge.judge(query, episode)) for query, episode in played)


def _exact_ballot(query: WorldQuery, verdict: Verdict) -> Ballot:
    vote = Vote("solved", None, verdict.reason) if verdict.passed else Vote("unsolved", "solvable", verdict.reason)
    return Ballot(query.set_name, str(query.query.query_id), (vote,))


def answers_of(played: Pairs) -> tuple[Answer, ...]:
    """The episodes as any other judge reads them."""
    return tuple(from_episode(query, episode) for query, episode in played)


def check_judge(judge: JudgeName, model: str | None, data: str = "toolbench") -> str:
    """The name of the language model that judges, "" where none does. Raises WorkbookError for a judge that cannot judge ``data``."""
    if judge == "exact" and data != "world":
        raise WorkbookError(
            "the exact judge needs the goals of our own world; answers from elsewhere have none. Use --judge rules or openai."
        )
    named = (model or os.environ.get("TOOLSLM_JUDGE", "")) if judge == "openai" else ""
    if judge == "openai" and not named:
        raise WorkbookError(
            "no judge named. Pass --judge-model, or set TOOLSLM_JUDGE; OPENAI_BASE_URL and OPENAI_API_KEY say where it is."
        )
    return named


def judge_answers(
    answers: Sequence[Answer],
    judge: JudgeName,
    votes: int,
    output: Path,
    model: str | None = None,
    at_once: int = 16,
    prices: Prices | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Ballot, ...]:
    """A ballot on each answer by the rule, or by the language model ``model`` at OPENAI_BASE_URL. Raises WorkbookError for what is lacking."""
    if judge == "rules":
        return RuleJudge().ballots(answers)
    judged_by = OpenAIJudge(check_judge(judge, model), output / "replies.jsonl", at_once=at_once, prices=prices or Prices())
    return judged_by.ballots(answers, votes, on_progress)


def expected_queries(folder: str | Path) -> dict[str, list[str]]:
    """{set: query ids} out of ``test_query_ids/<set>.json`` under ``folder``: who must be answered. Raises DataError where there is none."""
    paths = sorted(Path(folder).rglob("test_query_ids/*.json"))
    found = {path.stem: path for path in paths}
    if len(found) < len(paths):
        places = ", ".join(dict.fromkeys(str(path.parent) for path in paths))
        raise DataError(f"{folder}: several lists of test queries ({places}). Name the folder of the one that is meant.")
    if not found:
        raise DataError(
            f"{folder}: no test_query_ids/<set>.json. Expected ToolBench's or StableToolBench's lists of test queries."
        )
    return {name: [str(query_id) for query_id in read_query_ids(found[name])] for name in SETS if name in found}


def report(
    ballots: Sequence[Ballot], judge: str, policy: Policy, seed: int, expected: Mapping[str, Sequence[str]] | None = None
) -> Report:
    """Counts ballots under a policy. Of ``expected`` queries all are counted, also those without a ballot, and no others."""
    known = {(name, query_id) for name, ids in (expected or {}).items() for query_id in ids}
    counted = [ballot for ballot in ballots if expected is None or (ballot.set_name, ballot.query_id) in known]
    order = {name: k for k, name in enumerate(SETS)}
    complete = sorted(with_missing(counted, expected or {}), key=lambda ballot: order.get(ballot.set_name, len(order)))
    return Report(judge, policy, tuple(complete), tally(complete, policy, seed), len(ballots) - len(counted))


def write_report(found: Report, folder: Path, **about: Any) -> Path:
    """Writes ``evaluation.json`` whole: what was judged (``about``), then what was found."""
    return atomic_write_json(folder / "evaluation.json", {**about, **found.as_json()})
