"""Agents that take longer than a lesson has: played once by a script in benchmarks/, recorded, and shown as recorded.

docs/results/controls.json, baselines.json and mutations.json hold {"agents": {name: what became of it and how it was played}}.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from toolslm_helpers.agent.search import opening_messages
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.records import Record
from toolslm_helpers.data.world import World
from toolslm_helpers.evaluation.tooleval import Judged, PassRate, pass_rates
from toolslm_helpers.files import DataError, read_json, repository_root
from toolslm_helpers.text.protocol import Rendering


class RecordedRate(Record):
    """``passed`` of ``n`` queries, with the bounds of the 95% Wilson interval."""

    passed: int
    n: int
    low: float
    high: float


class RecordedAgent(Record):
    """What an agent passed, and all that is needed to play it again."""

    about: str  # a sentence: what it is, and what it lacks
    commit: str
    device: str
    versions: dict[str, str]
    size: str
    seed: int
    temperature: float
    max_iterations: int
    examples: int  # before the conversation, as long as they fit
    examples_shown: float  # how many of them stood there at the first turn, on average
    weights: str  # SHA-256 of the file with the model's weights
    prompts: str  # SHA-256 of what the queries show a model first: it says whether they are still the same
    seconds: float
    ended: dict[str, int]  # how many episodes ended by finish, iterations, context
    pass_rate: dict[str, RecordedRate]

    @property
    def pass_rates(self) -> dict[str, PassRate]:
        """{set: its pass rate}, and "all"."""
        return {name: PassRate(rate.passed, rate.n, rate.low, rate.high) for name, rate in self.pass_rate.items()}


class Graded(Record):
    """One line of a ledger (``model.loss.Entry``) as it was recorded: tokens of a kind, those graded, and the nats that they cost."""

    kind: str
    tokens: int
    graded: int
    nats: float


class RecordedMutation(RecordedAgent):
    """A model that was fine-tuned on mutated labels: the run, and what it costs on fresh trajectories under the right mask.

    ``weights`` are those that the run started from.
    """

    trajectories: int
    refused: str | None  # what the check of every batch says to its rows
    rows: int
    tokens: int
    supervised_tokens: int
    steps: int
    final_loss: float  # nats a token that this run graded, over the last logged steps
    curve: list[list[float]]  # [step, that loss]
    held_out: list[Graded]
    evaluation_seconds: float

    @property
    def held_out_loss(self) -> float:
        """Nats a supervised token on trajectories that the run never saw."""
        return sum(line.nats for line in self.held_out) / sum(line.graded for line in self.held_out)


Kind = TypeVar("Kind", bound=RecordedAgent)


def results_folder() -> Path:
    """Where recorded results lie."""
    return repository_root() / "docs" / "results"


def read_recorded(name: str, folder: Path | None = None, kind: type[Kind] = RecordedAgent) -> dict[str, Kind]:
    """{agent: its record} of ``<name>.json``; empty where nothing was recorded. Raises DataError that names the field for a damaged file."""
    path = (folder or results_folder()) / f"{name}.json"
    if not path.is_file():
        return {}
    content = read_json(path)
    agents = content.get("agents") if isinstance(content, dict) else None
    if not isinstance(agents, dict):
        raise DataError(f"{path}: no field 'agents'. Make it again with benchmarks/{name}.py.")
    try:
        return {agent: kind.model_validate(record) for agent, record in agents.items()}
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"{path}: {field}: {error.errors()[0]['msg']}. Make it again with benchmarks/{name}.py.") from error


def outcome(judged: Sequence[Judged]) -> dict[str, Any]:
    """The fields ``pass_rate`` and ``ended`` of a record."""
    by_set: dict[str, list] = {}
    for one in judged:
        by_set.setdefault(one.world_query.set_name, []).append(one.verdict)
    rates = {name: {"passed": r.passed, "n": r.n, "low": r.low, "high": r.high} for name, r in pass_rates(by_set).items()}
    return {"ended": dict(Counter(one.episode.ended for one in judged)), "pass_rate": rates}


def weights_hash(path: Path) -> str:
    """SHA-256 of a file of weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prompts_hash(world: World, queries: Sequence[WorldQuery], rendering: Rendering) -> str:
    """SHA-256 of the opening messages of all ``queries``, in their order."""
    digest = hashlib.sha256()
    for query in queries:
        for message in opening_messages(world, query.query, rendering):
            digest.update(f"{message.role}\0{message.content}\0".encode())
    return digest.hexdigest()
