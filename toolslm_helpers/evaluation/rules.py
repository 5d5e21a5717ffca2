"""ToolLLM's first judge, a rule: the episode ended by an answer, and the answer does not apologise. It reads no facts and costs nothing.

Its score depends on which words count as an apology. That list was never published with the first paper; ``WORDINGS`` holds six of them, and
``CHOSEN`` was chosen among them by looking at the published column, which a lesson must say beside its number.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from toolslm_helpers.data.records import Record
from toolslm_helpers.data.world import SETS
from toolslm_helpers.evaluation.answers import Answer
from toolslm_helpers.evaluation.recorded import results_folder
from toolslm_helpers.evaluation.votes import Ballot, Vote
from toolslm_helpers.files import DataError, read_json

CHOSEN = "sorry|apolog|unfortunately"
WORDINGS = (
    "",
    "sorry",
    "apolog",
    "sorry|apolog",
    CHOSEN,
    CHOSEN + "|unable|cannot",
)  # "" is no rule about words: any answer passes

# The published rule-based column for ChatGPT-CoT, passed of 100 in each set, and what two wordings give on all 600 answers that ToolBench
# stores (counted once from the whole files; a part of them is enough for a reader, and for tests).
PUBLISHED = dict(zip(SETS, (56, 62, 66, 28, 22, 30), strict=True))
WHOLE = {
    CHOSEN: dict(zip(SETS, (56, 62, 67, 28, 22, 30), strict=True)),
    "sorry": dict(zip(SETS, (61, 68, 68, 30, 24, 35), strict=True)),
}


@dataclass(frozen=True)
class RuleJudge:
    """Passes an answer that does not match ``wording`` (a regular expression, letter case ignored). A rule never changes its mind: one vote."""

    wording: str = CHOSEN

    def vote(self, answer: Answer) -> Vote:
        """Its vote, and the word that decided."""
        if answer.return_type != "give_answer":
            return Vote("unsolved", "solvable", "No answer was given.")
        found = re.search(self.wording, answer.text, re.IGNORECASE) if self.wording else None
        return (
            Vote("unsolved", "solvable", f"It says {found[0]!r}.")
            if found
            else Vote("solved", None, "It answers and does not apologise.")
        )

    def ballots(
        self, answers: Sequence[Answer], votes: int = 1, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[Ballot, ...]:
        """One ballot an answer, in their order, with a single vote each: ``votes`` more of them would say the same."""
        return tuple(Ballot(*answer.key, (self.vote(answer),)) for answer in answers)


def passed_by_wording(answers: Sequence[Answer], wordings: Sequence[str] = WORDINGS) -> dict[str, dict[str, int]]:
    """{wording: {set: answers that pass}}: how much the choice of words moves the score."""
    sets = dict.fromkeys(answer.set_name for answer in answers)
    return {
        wording: {name: sum(RuleJudge(wording).vote(a).label == "solved" for a in answers if a.set_name == name) for name in sets}
        for wording in wordings
    }


class RecordedCounts(Record):
    """What the rule counted on recorded answers that are not part of this repository (docs/results/rule_judge.json)."""

    commit: str
    source: str  # whose answers, from where
    files: dict[str, str]  # {file name: SHA-256}
    answers: dict[str, int]  # {set: how many there are}
    passed: dict[str, dict[str, int]]  # {wording: {set: passed}}


def read_counts(folder: Path | None = None) -> RecordedCounts | None:
    """The recorded counts; None where nothing was recorded. Raises DataError that names the field of a damaged file."""
    path = (folder or results_folder()) / "rule_judge.json"
    if not path.is_file():
        return None
    try:
        return RecordedCounts.model_validate(read_json(path))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"{path}: {field}: {error.errors()[0]['msg']}. Make it again with benchmarks/rule_judge.py.") from error
