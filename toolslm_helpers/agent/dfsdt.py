"""DFSDT, ToolBench's depth-first search: try, look, and where a path ends badly go back and try another action from an earlier state.

The order is preorder: a first action is followed to its end before a second one is tried. After Finish the search goes back two states,
not one: the action right before a give-up is rarely what was wrong. The first answer stops it.
Source: ToolBench, toolbench/inference/Algorithms/DFS.py (without filter, "DFS_woFilter_w2").
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from toolslm_helpers.agent.episode import Conversation, Episode, Node, Step
from toolslm_helpers.agent.search import Search, single_chain, take_turn
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.records import Message
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.protocol import Rendering, diversity_text

_STOP = 1_000_000  # states to go back: past the first one, so that every level returns


@dataclass(frozen=True)
class Dfsdt:
    """The search and its limits. A ``Search``: call it with an open conversation.

    ``max_depth`` counts calls on one path. Upstream's limit of 12 counts nodes, two for each call and a third where it thinks, which
    leaves four to six calls. ``max_turns`` is the budget of one query, upstream's max_query_count.
    """

    rendering: Rendering = "compact"
    width: int = 2
    back_off: int = 2
    max_depth: int = 6
    max_turns: int = 200

    def __post_init__(self) -> None:
        for name in ("width", "back_off", "max_depth", "max_turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")

    def __call__(self, start: Conversation) -> Generator[Conversation, str | None, Episode]:
        walk = _Walk(self)
        tree: list[_Try] = []
        yield from walk.explore(start, 0, tree)
        end = walk.answer or walk.gave_up or walk.last or start
        if end.episode is None:
            end.end("context" if walk.no_room and walk.last is None else "iterations")
        episode = end.episode
        branched = tuple(one.node() for one in tree)
        return Episode(**{**vars(episode), "tree": branched})


@dataclass
class _Try:
    """A step and what was tried after it, while the search still grows."""

    step: Step
    children: list["_Try"] = field(default_factory=list)

    def node(self) -> Node:
        return Node(self.step, tuple(child.node() for child in self.children))


@dataclass
class _Walk:
    """One query's search as it goes on: the turns that it used, and the ends of paths that it found."""

    limits: Dfsdt
    turns: int = 0
    answer: Conversation | None = None
    gave_up: Conversation | None = None  # the first of them
    last: Conversation | None = None  # the last path that ended otherwise
    no_room: bool = False

    def explore(self, state: Conversation, depth: int, tried: list[_Try]) -> Generator[Conversation, str | None, int]:
        """Tries actions from ``state``, appending them to ``tried``; returns how many states to go back from it."""
        for _ in range(self.limits.width):
            if self.turns >= self.limits.max_turns:
                return _STOP
            asked = state.fork()
            asked.turn = self.turns
            if tried:  # said to the model for this one turn; a path that goes on from it looks as if it had been walked straight
                text = diversity_text([one.step for one in tried], _observation(state), self.limits.rendering)
                asked.messages.append(Message(role="user", content=text))
            written = yield asked
            self.turns += 1
            state.memory = asked.memory
            if written is None:
                self.no_room = True
                return 1
            child = state.fork()
            child.turn = self.turns - 1
            take_turn(child, written)
            tried.append(_Try(child.steps[-1]))
            if child.episode is not None:
                if child.steps[-1].code == Status.FINAL_ANSWER:
                    self.answer = child
                    return _STOP
                self.gave_up = self.gave_up or child
                back = self.limits.back_off
            elif depth + 1 >= self.limits.max_depth:
                self.last, back = child, 1
            else:
                self.last = child
                back = yield from self.explore(child, depth + 1, tried[-1].children)
            if back > 1:
                return back - 1
        return 1


def _observation(state: Conversation) -> str:
    return state.steps[-1].observation if state.steps else ""


def path_to(tree: Sequence[Node], steps: Sequence[Step]) -> tuple[Node, ...]:
    """The nodes of ``tree`` along ``steps``, a path from its top; where equal steps were tried twice, the last such path.

    Raises ValueError where the tree holds no such path.
    """
    if not steps:
        return ()
    for node in reversed(tree):
        if node.step == steps[0]:
            try:
                return (node, *path_to(node.children, steps[1:]))
            except ValueError:
                continue
    raise ValueError(f"no path of {len(steps)} steps begins with {steps[0].action!r} here")


SEARCHES = ("cot", "dfsdt")


def search_named(name: str, size: Size) -> Search:
    """``cot``: one chain of the size's iterations; ``dfsdt``: the tree. Raises WorkbookError that lists the two."""
    if name == "cot":
        return single_chain(size.max_iterations)
    if name == "dfsdt":
        return Dfsdt(size.rendering)
    raise WorkbookError(f"search is {name!r}; expected one of {', '.join(map(repr, SEARCHES))}.")
