"""Where a row's target stands, and what a cut leaves of it: by hand, and against flatten's own truncation."""

import json

import numpy as np
import pytest

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.merge import step_rows
from toolslm_helpers.data.prompt import _APIS
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError
from toolslm_helpers.text.flatten import flatten
from toolslm_helpers.text.lengths import RowLength, lengths_of_trees, recorded_lengths, row_length, rows_without_target

TURNS = [("system", "s\nl"), ("user", "u"), ("assistant", "\nQ"), ("function", "f"), ("assistant", "\nX")]
SMALL = Trajectory(
    id="small", query="", functions=(), messages=tuple(Message(role=role, content=content) for role, content in TURNS)
)


def test_a_row_in_numbers_by_hand(tiny_tokenizer) -> None:
    # </s> | System : Ġ s Ċ  l Ċ | User : Ġ u Ċ | Assistant : Ġ  Ċ Q </s> Ċ | F u n c tio n : Ġ f Ċ | Assistant : Ġ  Ċ X </s> Ċ
    row = row_length(SMALL, tiny_tokenizer)
    assert (row.name, row.tokens, row.characters) == ("small", 37, len(flatten(SMALL, tiny_tokenizer).text))
    assert (row.system, row.user, row.assistant, row.function) == (7, 5, 14, 10)
    assert (row.apis_start, row.apis) == (6, 2) and (row.target_start, row.target, row.supervised) == (33, 3, 6)
    assert row_length(SMALL, tiny_tokenizer, "other").name == "other"


@pytest.mark.parametrize(
    ("room", "right", "left"),  # tokens of the target at 33, 34, 35; of the APIs at 6, 7
    [(37, (3, 2), (3, 2)), (36, (3, 2), (3, 2)), (35, (2, 2), (3, 2)), (33, (0, 2), (3, 2)), (31, (0, 2), (3, 1)), (30, (0, 2), (3, 0)),
     (7, (0, 1), (3, 0)), (5, (0, 0), (3, 0)), (4, (0, 0), (2, 0)), (2, (0, 0), (0, 0)), (1, (0, 0), (0, 0))],
)  # fmt: skip
def test_what_a_cut_leaves_by_hand(tiny_tokenizer, room, right, left) -> None:
    row = row_length(SMALL, tiny_tokenizer)
    assert (row.target_left(room, "right"), row.apis_left(room, "right")) == right
    assert (row.target_left(room, "left"), row.apis_left(room, "left")) == left


def test_what_is_left_equals_flattens_own_truncation(small_tokenizer) -> None:
    rows = [row for t in gold_trajectories(build_world(), 12, "toolbench") for row in step_rows(t)]
    checked = 0
    for row in rows:
        length = row_length(row, small_tokenizer)
        whole = flatten(row, small_tokenizer, supervise="last")
        assert (length.tokens, length.target) == (len(whole), whole.supervised)
        assert length.target_start == np.flatnonzero(whole.loss_mask)[0]
        for side in ("right", "left"):
            for room in (length.tokens + 1, length.tokens - 1, length.target_start + 2, length.target_start, 700, 10):
                try:
                    kept = flatten(row, small_tokenizer, supervise="last", max_length=room, truncation=side).supervised
                except DataError:
                    kept = 0
                left = length.target_left(room, side)
                if side == "left" and left < length.target:
                    assert kept == 0, "flatten trains no turn that has lost its beginning"
                else:
                    assert left == kept, (side, room)
                checked += kept > 0
    assert checked > len(rows)
    assert rows_without_target([row_length(row, small_tokenizer) for row in rows], 700, "right") == len(rows)


@pytest.mark.parametrize("rendering", ["toolbench", "compact"])
def test_the_list_of_apis_begins_where_it_is_said(small_tokenizer, rendering) -> None:
    for trajectory in gold_trajectories(build_world(), 5, rendering):
        row, ids = row_length(trajectory, small_tokenizer), flatten(trajectory, small_tokenizer).input_ids
        apis = small_tokenizer.decode(ids[row.apis_start : row.apis_start + row.apis])
        listed = trajectory.messages[0].content
        listed = listed[listed.index(_APIS) + 1 :] if rendering == "toolbench" else listed.split("\n", 1)[1]
        assert apis == f"{listed}\n"


def test_a_wrong_cut_is_refused(tiny_tokenizer) -> None:
    row = row_length(SMALL, tiny_tokenizer)
    for room, side in ((0, "right"), (-3, "left"), (5, "middle")):
        with pytest.raises(ValueError, match="expected at least 1, 'right' or 'left'"):
            row.target_left(room, side)


def test_the_record_holds_numbers_only_and_can_be_read() -> None:
    record = recorded_lengths()
    assert record.usable <= record.trees and len(record.rows) >= record.usable > 0 and not record.commit.endswith("-dirty")
    for row in record.rows:
        assert row.tokens == 1 + row.system + row.user + row.assistant + row.function
        assert 0 < row.target <= row.supervised < row.assistant and row.target_start + row.target < row.tokens
        assert 1 < row.apis_start <= row.system
        text = {name: value for name, value in row.model_dump().items() if not isinstance(value, int)}
        assert set(text) == {"name"} and len(row.name) < 30


def test_a_damaged_record_says_what_to_do(tmp_path) -> None:
    content = recorded_lengths().model_dump(mode="json")
    content["rows"][0]["tokens"] = "many"
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"rows\.0\.tokens.*benchmarks/lengths\.py"):
        recorded_lengths(tmp_path / "damaged.json")


def test_the_record_is_that_of_the_real_rows(toolbench_dir, opt_tokenizer) -> None:
    found = lengths_of_trees(toolbench_dir, opt_tokenizer)
    recorded = {row.name: row for row in recorded_lengths().rows}
    rows: list[RowLength] = [row for rows in found.values() for row in rows]
    assert {row.name for row in rows} == set(recorded) and all(recorded[row.name] == row for row in rows)
