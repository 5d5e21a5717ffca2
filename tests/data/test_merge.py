"""Merged examples: every target of every step row once, with all that stood before it, and nothing else."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.data.merge import MergedExample, merge_rows, merge_stream, plan_merge, step_rows, target, unmerge
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.files import DataError

ROLES = {"s": "system", "u": "user", "a": "assistant", "f": "function"}


def row(text: str, id_: str | None = None) -> Trajectory:
    """A row from words such as "s u a1 f a2": the letter is the role, the word the content."""
    messages = tuple(Message(role=ROLES[word[0]], content=word) for word in text.split())
    return Trajectory(id=id_ or text, query="q", functions=(), messages=messages)


def targets_of_rows(rows: list[Trajectory]) -> Counter[tuple[Message, ...]]:
    """What step rows train: each target, with all that stands before it."""
    return Counter(r.messages[: target(r.messages) + 1] for r in rows if target(r.messages) is not None)


def targets_of_examples(examples: list[MergedExample]) -> Counter[tuple[Message, ...]]:
    return Counter(e.trajectory.messages[: turn + 1] for e in examples for turn in e.supervised_turns)


# By hand


def test_the_rows_of_a_path_become_one_example() -> None:
    rows = [row("s u a1"), row("s u a1 f1 a2"), row("s u a1 f1 a2 f2 a3")]
    (example,) = merge_rows(rows)
    assert example.trajectory == rows[2] and example.id == "s u a1 f1 a2 f2 a3"
    assert example.supervised_turns == (2, 4, 6)
    assert example.absorbed == tuple(r.id for r in rows)
    assert merge_rows(list(reversed(rows))) == [example], "wherever they stand"


def test_rows_that_branch_stay_apart_and_share_no_target() -> None:
    # As in ToolBench: the third row keeps only the last prompt of the search, "u3", and no longer "u2".
    rows = [row("s u a1"), row("s u a1 f1 u2 a2"), row("s u a1 f1 a2 f2 u3 a3")]
    examples = merge_rows(rows)
    assert [e.trajectory for e in examples] == [rows[1], rows[2]]
    assert targets_of_examples(examples) == targets_of_rows(rows)
    # a1 is the target of one row: one of the two trains it. a2 stands in the last row, too, behind other words: no row trained it there.
    assert sorted(e.supervised_turns for e in examples) == [(2, 7), (5,)]


def test_a_prefix_that_no_row_ends_in_is_not_trained() -> None:
    (example,) = merge_rows([row("s u a1 f1 a2")])
    assert example.supervised_turns == (4,)


def test_a_word_more_in_the_middle_is_no_prefix() -> None:
    rows = [row("s u a1"), row("s u a1x f1 a2"), row("s u2 a1 f1 a2")]
    assert [e.absorbed for e in merge_rows(rows)] == [(r.id,) for r in rows]


def test_roles_and_borders_of_messages_count() -> None:
    beginnings = [[("user", "auser b")], [("user", "a"), ("user", "b")], [("system", "auser b")]]  # the same letters
    same_text = [
        Trajectory(
            id=str(number), query="q", functions=(),
            messages=tuple(Message(role=role, content=content) for role, content in [*said, ("assistant", "c")]),
        )
        for number, said in enumerate(beginnings, start=1)
    ]  # fmt: skip
    longer = [t.model_copy(update={"id": t.id + "+", "messages": (*t.messages, *row("f a").messages)}) for t in same_text]
    assert [e.absorbed for e in merge_rows([*same_text, *reversed(longer)])] == [("3", "3+"), ("2", "2+"), ("1", "1+")]


def test_equal_rows_are_trained_as_often_as_they_stand_there() -> None:
    short, long, other = row("s u a1"), row("s u a1 f1 a2"), row("s u a1 f2 a3")
    for rows, count in (([short] * 2, 2), ([short] * 3 + [long], 3), ([short] * 2 + [long, other], 2), ([long] * 2 + [short], 2)):
        examples = merge_rows(rows)
        assert len(examples) == count
        assert targets_of_examples(examples) == targets_of_rows(rows)


def test_rows_that_end_in_no_answer_are_left_as_they_are() -> None:
    rows = [row("s u a1"), row("s u a1 f1"), row("s u"), row("s u a1 f1 a2")]
    assert merge_rows(rows) == [
        MergedExample(rows[1], (2,), ("s u a1 f1",)),
        MergedExample(rows[2], (), ("s u",)),
        MergedExample(rows[3], (2, 4), ("s u a1", "s u a1 f1 a2")),
    ]


def test_upstreams_text_allows_no_merging() -> None:
    rows = [row("s u a1"), row("s u a1 f1 a2"), row("s u a1 f1")]
    examples = merge_rows(rows, compat=True)
    assert [(e.trajectory, e.supervised_turns, e.absorbed) for e in examples] == [
        (rows[0], (2,), (rows[0].id,)), (rows[1], (4,), (rows[1].id,)), (rows[2], (2,), (rows[2].id,)),
    ]  # fmt: skip


def test_a_row_that_does_not_fit_absorbs_nothing() -> None:
    rows = [row("s u a1"), row("s u a1 f1 a2"), row("s u a1 f1 a2 f2 a3")]
    examples = merge_rows(rows, fits=lambda trajectory: len(trajectory.messages) <= 5)
    assert [(e.trajectory, e.supervised_turns) for e in examples] == [(rows[1], (2, 4)), (rows[2], (6,))]


def test_a_trajectory_and_its_step_rows() -> None:
    trajectory = row("s u a1 f1 a2 u2 a3")
    rows = step_rows(trajectory)
    assert [r.messages for r in rows] == [row(text).messages for text in ("s u a1", "s u a1 f1 a2", "s u a1 f1 a2 u2 a3")]
    assert [r.id for r in rows] == ["Step 2: q", "Step 4: q", "Step 6: q"]
    (example,) = merge_rows(rows)
    assert example.trajectory.messages == trajectory.messages and example.supervised_turns == (2, 4, 6)
    assert step_rows(row("s u")) == []


def test_what_is_read_twice_must_be_the_same_twice() -> None:
    rows = [row("s u a1"), row("s u a1 f1 a2")]
    with pytest.raises(ValueError, match="rows are read twice"):
        list(merge_stream(iter(rows)))

    class Changing:
        """Rows that are others at the second reading."""

        def __init__(self, *readings: list[Trajectory]) -> None:
            self.readings = list(readings)

        def __iter__(self):
            return iter(self.readings.pop(0) if len(self.readings) else [])

    for again in (rows[:1], [*rows, rows[0]], [rows[0], row("s u a9")]):
        with pytest.raises(DataError, match="the rows are others than before"):
            list(merge_stream(Changing([], rows, again)))  # the first is asked only whether it is an iterator


# Any rows


@st.composite
def any_rows(draw: st.DrawFn) -> list[Trajectory]:
    """Rows that share beginnings: paths in a small tree, some of them twice, in any order."""
    rows = []
    for number in range(draw(st.integers(0, 12))):
        steps = draw(st.lists(st.sampled_from(["a1", "a2", "f1", "u1"]), max_size=7))
        rows.append(row(" ".join(["s", "u", *steps]), f"row {number}"))
    return rows


@settings(max_examples=200, deadline=None)
@given(any_rows())
def test_each_target_is_trained_once_with_all_that_stood_before_it(rows: list[Trajectory]) -> None:
    examples = merge_rows(rows)
    assert targets_of_examples(examples) == targets_of_rows(rows)
    assert sorted(id_ for e in examples for id_ in e.absorbed) == sorted(r.id for r in rows), "every row is accounted for, once"
    for example in examples:
        assert example.id == example.absorbed[-1] and list(example.supervised_turns) == sorted(set(example.supervised_turns))
    assert [e.id for e in examples] == sorted((e.id for e in examples), key=lambda id_: int(id_.split()[1])), "in the rows' order"


@settings(max_examples=100, deadline=None)
@given(any_rows())
def test_nothing_more_could_be_merged(rows: list[Trajectory]) -> None:
    examples = [e for e in merge_rows(rows) if e.trajectory.messages[-1].role == "assistant"]
    for short in examples:
        length = len(short.trajectory.messages)
        for long in examples:
            if long is not short and long.trajectory.messages[:length] == short.trajectory.messages:
                assert length - 1 in long.supervised_turns, "it could have been absorbed"


@settings(max_examples=100, deadline=None)
@given(any_rows(), st.randoms())
def test_merging_and_its_inverse(rows: list[Trajectory], random) -> None:
    examples = merge_rows(rows)
    again = [r for example in examples for r in unmerge(example)]
    by_id = {r.id: r for r in rows}
    assert sorted(again, key=lambda r: r.id) == sorted(by_id.values(), key=lambda r: r.id)
    random.shuffle(again)
    assert len(merge_rows(again)) == len(examples)


@settings(max_examples=200, deadline=None)
@given(any_rows())
def test_a_plan_needs_only_one_look_at_each_row(rows: list[Trajectory]) -> None:
    plan = plan_merge(r.messages for r in rows)
    assert plan.rows == len(rows)
    examples = merge_rows(rows)
    assert [rows[k].id for k in plan.kept] == [e.id for e in examples]
    assert [tuple(rows[k].id for k in group) for group in plan.kept.values()] == [e.absorbed for e in examples]
