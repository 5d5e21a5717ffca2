"""Step rows become merged examples: a conversation is trained once, on every turn that some row had as its target.

ToolBench writes a training row for each call of a trajectory, holding all that was said before it, and trains the row on its last turn.
A row whose messages are an exact prefix of another row's adds nothing to read: in a causal model its target, inside the longer row, has
the same tokens before it. So the longer row absorbs it and is trained on that turn too. The loss summed over supervised tokens and its
gradient stay what they were (with dropout 0, and nothing cut off); the tokens to be read shrink by more than half.

Which turns an example is trained on must be kept with it. Rows branch (a later row keeps only the last failed user turn of the search),
and a turn that two branches share was the target of one row, so it belongs to one of the two examples only.

That a step row's context is the merged example's holds because ``text.flatten`` ends every assistant turn with ``</s>``, in step rows
too. Upstream writes one ``</s>``, after a row's last turn: there the longer row lacks a token that the shorter one is trained on, and
``compat=True`` merges nothing.
"""

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.files import DataError

_DIGEST = 16  # bytes; among a million prefixes two different ones agree with probability 1e-27


@dataclass(frozen=True)
class MergedExample:
    """A conversation, and which of its messages are trained: ``supervised_turns`` are indices of assistant turns, in rising order.

    ``absorbed`` are the ids of the rows that it stands for, its own the last; each had the turn at the same place as its target.
    """

    trajectory: Trajectory
    supervised_turns: tuple[int, ...]
    absorbed: tuple[str, ...]

    @property
    def id(self) -> str:
        """The id of the longest row."""
        return self.trajectory.id


@dataclass(frozen=True)
class MergePlan:
    """Which of ``rows`` rows stay: {index of a row that stays: indices of the rows that it stands for, shortest first, itself the last}."""

    rows: int
    kept: dict[int, tuple[int, ...]]


def merge_rows(
    rows: Sequence[Trajectory], *, compat: bool = False, fits: Callable[[Trajectory], bool] | None = None
) -> list[MergedExample]:
    """The merged examples of step rows, in the order of the rows that stay. Rows of one conversation may stand anywhere.

    Every row has its target trained exactly once: of two equal rows one stays by itself, unless two longer rows absorb both. A row
    that ends in another message than an assistant's is left as it is, trained on its last assistant turn.

    ``fits`` says whether a row can be trained whole. One that cannot stays by itself: what is cut from a merged example on the left
    would be targets. ``compat=True`` merges nothing, since upstream's text does not allow it.
    """
    return list(merge_stream(rows, compat=compat, fits=fits))


def merge_stream(
    rows: Iterable[Trajectory], *, compat: bool = False, fits: Callable[[Trajectory], bool] | None = None
) -> Iterator[MergedExample]:
    """``merge_rows`` for rows that do not fit into memory: they are read twice, first to plan, then to take out those that stay.

    So rows of one conversation are found wherever they stand in the file; between the passes a few hundred bytes a row are kept. ``rows``
    starts anew when it is iterated again, as a ``TrajectoryStream`` and a list do. Raises ValueError for an iterator, which does not,
    and DataError where the second reading gives other rows than the first.
    """
    if iter(rows) is rows:
        raise ValueError("rows are read twice, and an iterator can be read once. Give the list or the stream itself.")
    ids: list[str] = []
    targets = array("q")

    def conversations() -> Iterator[Sequence[Message]]:
        for row in rows:
            ids.append(row.id)
            turn = target(row.messages)
            targets.append(-1 if turn is None else turn)
            yield row.messages if fits is None or fits(row) else ()

    plan = plan_merge(conversations(), compat=compat)
    count = 0
    for index, row in enumerate(rows):
        count = index + 1
        if count > plan.rows or row.id != ids[index]:
            break
        if stands_for := plan.kept.get(index):
            turns = tuple(targets[k] for k in stands_for if targets[k] >= 0)
            yield MergedExample(row, turns, tuple(ids[k] for k in stands_for))
    else:
        if count == plan.rows:
            return
    raise DataError(
        f"row {count}: read again, the rows are others than before. Usual cause: the file was written meanwhile. Start anew."
    )


def target(messages: Sequence[Message]) -> int | None:
    """The index of the message that a step row is trained on: its last assistant turn. None where it has none."""
    return next((index for index in range(len(messages) - 1, -1, -1) if messages[index].role == "assistant"), None)


def plan_merge(conversations: Iterable[Sequence[Message]], *, compat: bool = False) -> MergePlan:
    """What ``merge_rows`` does, from the messages alone, each row seen once and none kept: a few hundred bytes a row.

    An empty conversation stands for a row that is to stay by itself.
    """
    trie, rows = _Trie(), 0
    alone: list[int] = []
    for rows, messages in enumerate(conversations, start=1):
        if compat or not messages or messages[-1].role != "assistant":
            alone.append(rows - 1)
        else:
            trie.add(rows - 1, messages)
    groups = [*trie.groups(), *((index,) for index in alone)]
    return MergePlan(rows, {group[-1]: group for group in sorted(groups, key=lambda group: group[-1])})


class _Trie:
    """Conversations by what they begin with: a node for each beginning that ends in an assistant turn, known by its digest."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, int] = {}
        self._parents: list[int] = []
        self._ends: defaultdict[int, list[int]] = defaultdict(list)  # node: rows that end there

    def add(self, row: int, messages: Sequence[Message]) -> None:
        """Adds a row. It ends in an assistant turn."""
        digest, node = hashlib.blake2b(digest_size=_DIGEST), -1
        for message in messages:
            content = message.content.encode("utf-8", "surrogatepass")
            digest.update(f"{message.role} {len(content)} ".encode())  # with its length, two messages are never one
            digest.update(content)
            if message.role == "assistant":
                parent, node = node, self._nodes.setdefault(digest.digest(), len(self._parents))
                if node == len(self._parents):
                    self._parents.append(parent)
        self._ends[node].append(row)

    def groups(self) -> Iterator[tuple[int, ...]]:
        """The rows that each example stands for, shortest first. As few groups as can be: every one is a path, longest row last.

        From the leaves up: at a node, its rows are given to the groups that pass through it, one row to a group; those left over
        begin groups of their own.
        """
        passing: defaultdict[int, list[list[int]]] = defaultdict(list)  # node: groups, each longest row first
        done: list[list[int]] = []
        for node in range(len(self._parents) - 1, -1, -1):  # a parent has a lower number than its children
            groups = passing.pop(node, [])
            for k, row in enumerate(self._ends.get(node, ())):
                if k < len(groups):
                    groups[k].append(row)
                else:
                    groups.append([row])
            (done if self._parents[node] < 0 else passing[self._parents[node]]).extend(groups)
        return (tuple(reversed(group)) for group in done)


def step_rows(trajectory: Trajectory) -> list[Trajectory]:
    """The step rows of a whole trajectory, as ToolBench would write them: one for each assistant turn, which it ends in."""
    return [
        _row(trajectory, turn, f"Step {turn}: {trajectory.query}")
        for turn, message in enumerate(trajectory.messages)
        if message.role == "assistant"
    ]


def unmerge(example: MergedExample) -> list[Trajectory]:
    """The step rows that an example stands for, under their own ids: ``merge_rows`` of them is the example again."""
    shorter = zip(example.supervised_turns[:-1], example.absorbed[:-1], strict=True)
    return [*(_row(example.trajectory, turn, id_) for turn, id_ in shorter), example.trajectory]


def _row(trajectory: Trajectory, turn: int, id_: str) -> Trajectory:
    return trajectory.model_copy(update={"id": id_, "messages": trajectory.messages[: turn + 1]})
