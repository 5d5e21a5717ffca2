"""What solves a query of the embedded world: facts and the calls that yield them, or something to ask for, or nothing at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from toolslm_helpers.data.records import Query
from toolslm_helpers.data.wording import Need


@dataclass(frozen=True)
class Call:
    """One API call: tool, API, arguments."""

    tool_name: str
    api_name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True)
class Fact:
    """A value that the answer must contain, as said; any one of ``calls`` yields it."""

    value: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Goal:
    """What solves a query: facts to find, or something missing to ask for, or nothing, because no API can help.

    ``allowed`` are values that may stand in the answer without being asked for; ``missing`` the names of what the query lacks.
    """

    kind: Literal["answer", "ask", "give_up"]
    facts: tuple[Fact, ...] = ()
    allowed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanStep:
    """One value an expert would look up: what is needed, and the calls that yield it, in the order of the API list.

    Without ``calls`` it cannot be looked up: no API tells it, or the query does not say what the call needs (such as the entity, "").
    ``asked`` is an argument as the user said it where no API accepts it so: {"days": 30} where at most 7 are allowed.
    """

    need: Need
    value: object
    calls: tuple[Call, ...]
    asked: Mapping[str, object]


@dataclass(frozen=True)
class WorldQuery:
    """A query of the world: ToolBench's record, the goal for the judge, the plan for the expert, and where it comes from."""

    query: Query
    goal: Goal
    plan: tuple[PlanStep, ...]
    set_name: str
    template: str
    values: tuple[str, ...]  # what the query says of its own: names, numbers, dates
