"""What an episode is while it is played (``Conversation``) and afterwards (``Episode``): its steps and, where a search branched, its tree."""

from dataclasses import dataclass, field, replace
from typing import Literal

from toolslm_helpers.agent.virtual_api import Session
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import function_of
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.model.memory import Memory


@dataclass(frozen=True)
class Step:
    """One turn of the assistant and what it brought back. ``code`` is a ``virtual_api.Status``."""

    thought: str
    action: str
    action_input: str
    observation: str
    code: int


Ended = Literal["finish", "iterations", "context"]


@dataclass(frozen=True)
class Node:
    """A step of a search that branched, and the steps that were tried after it, in the order of trying."""

    step: Step
    children: tuple["Node", ...] = ()

    def __len__(self) -> int:
        return 1 + sum(map(len, self.children))


@dataclass(frozen=True)
class Episode:
    """One query, played.

    ``ended`` says how: by Finish, by the limit of iterations, or because the context was full. ``return_type`` and
    ``final_answer`` are Finish's arguments: None where the episode did not end by it, and no answer where it gave up.
    ``steps`` is the path that counts. Where a search branched, ``tree`` holds every step, this path's and the abandoned ones.
    """

    query_id: int
    query: str
    steps: tuple[Step, ...]
    ended: Ended
    final_answer: str | None
    return_type: str | None
    tree: tuple[Node, ...] = ()

    @property
    def turns(self) -> int:
        """How many turns were written for this query, those on abandoned branches included."""
        return sum(map(len, self.tree)) if self.tree else len(self.steps)


@dataclass
class Conversation:
    """An open episode: all that an agent may look at when it writes its next turn, and the random stream that is its own.

    ``turn`` counts the turns that were written for the query, on this branch or another. ``memory`` is what the agent's model has
    read so far; whoever copies the conversation shares it.
    """

    world_query: WorldQuery
    messages: list[Message]
    session: Session
    seed: int
    steps: list[Step] = field(default_factory=list)
    episode: Episode | None = None  # set when it ends
    turn: int = 0
    memory: Memory | None = field(default=None, repr=False)
    tools: tuple[tuple[str, str], ...] = ()  # (name, description) of those offered

    @property
    def so_far(self) -> Trajectory:
        """What was said until now, with the functions that may be called."""
        query = self.world_query.query
        functions = tuple(function_of(api) for api in query.api_list)
        messages = tuple(self.messages)
        return Trajectory(id=f"{query.query_id}", query=query.query, functions=functions, messages=messages, tools=self.tools)

    @property
    def turn_seed(self) -> tuple[int, int, int]:
        """Seed of the next turn: another one for each run, query and turn, whatever else is played beside it."""
        return self.seed, self.world_query.query.query_id, self.turn

    def fork(self) -> "Conversation":
        """A branch: it may go on in another way. The API is the same, and remembers the calls of all branches, as a server does."""
        return replace(self, messages=list(self.messages), steps=list(self.steps))

    def end(self, ended: Ended, final_answer: str | None = None, return_type: str | None = None) -> None:
        """Closes the episode."""
        query = self.world_query.query
        self.episode = Episode(query.query_id, query.query, tuple(self.steps), ended, final_answer, return_type)
