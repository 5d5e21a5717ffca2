"""A streamed file: what is whole comes out, what is damaged is set aside with its place, and nothing is lost count of."""

import itertools
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.data import window
from toolslm_helpers.data.names import function_of
from toolslm_helpers.data.prompt import system_prompt, user_prompt
from toolslm_helpers.data.records import Api, Message, Query
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.stream import Account, QueryStream, RowStream, SetAside
from toolslm_helpers.data.trees import Row
from toolslm_helpers.files import DataError

TEXTS = ["s", 'u "quoted" {"id": "x", "conversations": []} ]}, é 多 😀\n', "\nThought: \\ \u2028", ""]


def row(number: int, turns: int = 2) -> Row:
    roles = ("system", "user", "assistant", "function")
    messages = tuple(Message(role=roles[k % 4], content=f"{TEXTS[(number + k) % 4]}{number}.{k}") for k in range(turns + 1))
    return Row(id=f"Step {number}: what?", conversations=messages)


def dump(record: Row) -> dict:
    return record.model_dump(mode="json", by_alias=True)


ROWS = [row(number, number % 3 + 1) for number in range(7)]
LAYOUTS: dict[str, Callable[[object], str]] = {
    "compact": json.dumps,
    "tight": lambda value: json.dumps(value, separators=(",", ":")),
    "indented": lambda value: json.dumps(value, indent=2),
    "readable": lambda value: json.dumps(value, ensure_ascii=False),
    "crlf": lambda value: json.dumps(value, indent=1).replace("\n", "\r\n"),
}


@pytest.fixture(params=[None, 1, 100], ids=lambda size: f"chunk {size}")
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place in a file is the end of a chunk once."""
    if request.param:
        monkeypatch.setattr(window, "CHUNK", request.param)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    return path


def read(path: Path, start: int = 0) -> tuple[list[Row], RowStream]:
    stream = RowStream(path, start)
    return list(stream), stream


# What is whole


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
def test_every_row_comes_out_once_and_in_order(tmp_path: Path, chunk: None, layout: str, bom: bytes) -> None:
    path = written(tmp_path / "rows.json", bom + LAYOUTS[layout]([dump(r) for r in ROWS]).encode())
    rows, stream = read(path)
    assert rows == ROWS
    assert stream.account == Account(len(ROWS), len(ROWS), ())
    assert list(stream) == ROWS and stream.read == len(ROWS), "iterated again, it starts anew"
    assert list(RowStream(written(tmp_path / "none.json", bom + b"[ ]\n"))) == []


def test_a_row_longer_than_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 64)
    long = Row(id="long", conversations=(Message(role="user", content='x" {' * 5_000),))
    rows, stream = read(written(tmp_path / "rows.json", json.dumps([dump(r) for r in (ROWS[0], long, ROWS[1])])))
    assert rows == [ROWS[0], long, ROWS[1]] and stream.set_aside == []


def test_the_file_is_never_whole_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 1 << 14)
    path = written(tmp_path / "rows.json", json.dumps([dump(r) for r in ROWS * 2_000]))
    tracemalloc.start()
    count = sum(1 for _ in RowStream(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 14_000 and peak < path.stat().st_size / 4


def test_a_reader_that_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    texts = [json.dumps(dump(r)) for r in ROWS]
    texts[1], texts[4] = texts[1][:40], texts[4].replace('"system"', '"tool"')
    path = written(tmp_path / "rows.json", f"[{', '.join(texts)}]")
    whole, of_whole = read(path)
    assert [s.position for s in of_whole.set_aside] == [1, 4]
    for stop in range(len(ROWS) + 1):
        first = RowStream(path)
        got = []
        for one in first:
            if first.position > stop:  # this one is not taken any more
                break
            got.append(one)
        rest, stream = read(path, start=stop)
        assert got + rest == whole
        assert [s for s in of_whole.set_aside if s.position >= stop] == stream.set_aside
        assert stream.account.read == len(ROWS) - stop and stream.position == len(ROWS)
    with pytest.raises(ValueError, match="start is -1"):
        RowStream(path, -1)


# What is damaged

# name: what it does to the JSON text of one record, the field that is named, the reason that is given
DAMAGES: dict[str, tuple[Callable[[str], str], str, str]] = {
    "a field is missing": (lambda text: text.replace('"conversations"', '"messages"'), "conversations", "Field required"),
    "another role": (lambda text: text.replace('"user"', '"tool"'), "conversations[1].from", "found 'tool'"),
    "a number for a text": (lambda text: text.replace('"Step', '7, "x": "Step'), "id", "valid string, found 7"),
    "no conversation": (lambda text: text[: text.index('[{"from"')] + "[]}", "conversations", "at least 1 item"),
    "bytes that are no UTF-8": (lambda text: text[:-4] + "\udcff" + text[-4:], "conversations[1].value", "no UTF-8"),
    "half a character": (lambda text: text.replace("what", "wh\\ud83d"), "id", "half of a"),
    "null": (lambda text: "null", "", "valid dictionary or instance of Row, found None"),
    "a number": (lambda text: "12", "", "found 12"),
    "a text": (lambda text: '"row"', "", "found 'row'"),
    "not a number": (lambda text: text.replace('"Step', 'NaN, "x": "Step'), "id", "found nan"),
    "cut in the middle": (lambda text: text[: len(text) // 2], "", "broken JSON|next record begins"),
    "cut at its head": (lambda text: text[:3], "", "broken JSON|next record begins"),
    "its head is missing": (lambda text: text[8:], "", "broken JSON|found"),
    "its first field is cut": (lambda text: text[text.index('"Step') :], "", "found 'Step"),
    "its last bracket is missing": (lambda text: text[:-1], "", "broken JSON"),
    "all its last brackets are missing": (lambda text: text[:-2], "", "next record begins before this one ends"),
    "it ends inside a text": (lambda text: text[:-4], "", "broken JSON"),
    "its end comes too early": (lambda text: text.replace(', "conversations"', '}, "conversations"'), "conversations", "required"),
    "marks in a text are not marked": (lambda text: text.replace("Step", 'St"ep'), "", "Expecting ',' delimiter"),
    "a line break in a text": (lambda text: text.replace("Step", "St\nep"), "", "Invalid control character"),
    "rubbish": (lambda text: "\udcff\x00 rubbish \udcfe", "", "Expecting value"),
    "brackets without end": (lambda text: text.replace('"Step', "[" * 100_000 + '"Step'), "", "nested too deep"),
    "a number of 5,000 digits": (lambda text: text.replace('"Step', "9" * 5_000 + ', "x": "Step'), "", "4300 digits"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("where", [0, 3, 6], ids=["first", "middle", "last"])
@pytest.mark.parametrize("between", [",", " ,\n  "], ids=["tight", "lines"])
def test_one_damaged_record_is_one_set_aside_and_no_other_is_lost(
    tmp_path: Path, chunk: None, damage: str, where: int, between: str
) -> None:
    spoil, field, reason = DAMAGES[damage]
    rows = [row(number, 1) for number in range(0, 28, 4)]  # plain texts: what quotes JSON has a test of its own
    texts = [json.dumps(dump(r)) for r in rows]
    texts[where] = spoil(texts[where])
    path = written(tmp_path / "rows.json", f"[{between.join(texts)}\n]\n")
    out, stream = read(path)
    assert out == rows[:where] + rows[where + 1 :]
    assert stream.account.read == len(rows) and len(stream.set_aside) == 1
    (aside,) = stream.set_aside
    offset = len(f"[{between.join([*texts[:where], ''])}".encode("utf-8", "surrogateescape"))
    assert (aside.file, aside.position, aside.offset, aside.field) == (str(path), where, offset, field)
    assert re.search(reason if where < 6 else f"{reason}|the file ends", aside.reason)
    assert "\n" not in str(aside) and f"rows.json: [{where}]" in str(aside) and len(str(aside)) < 400


def test_an_offset_counts_the_bytes_of_the_file(tmp_path: Path, chunk: None) -> None:
    rows = [dump(r) for r in ROWS]
    rows[2]["id"] = rows[5]["id"] = 7
    text = json.dumps(rows, ensure_ascii=False).replace('"Step 4', '"Step\n4')
    path = written(tmp_path / "rows.json", b"\xef\xbb\xbf" + text.encode())
    out, stream = read(path)
    assert len(out) == 4
    heads = [path.read_bytes()[aside.offset :][:14] for aside in stream.set_aside]
    assert heads == [b'{"id": 7, "con', b'{"id": "Step\n4', b'{"id": 7, "con']
    place = int(re.search(r"byte ([\d,]+)", stream.set_aside[1].reason)[1].replace(",", ""))
    assert path.read_bytes()[place : place + 2] == b"\n4"


def test_two_damaged_records_side_by_side_are_two(tmp_path: Path, chunk: None) -> None:
    for first, second in itertools.product(["cut in the middle", "its last bracket is missing", "another role"], repeat=2):
        texts = [json.dumps(dump(row(number, 1))) for number in range(0, 28, 4)]
        texts[2], texts[3] = DAMAGES[first][0](texts[2]), DAMAGES[second][0](texts[3])
        out, stream = read(written(tmp_path / "rows.json", f"[{', '.join(texts)}]"))
        assert [r.id for r in out] == [f"Step {k}: what?" for k in (0, 4, 16, 20, 24)]
        assert [s.position for s in stream.set_aside] == [2, 3]


def test_brackets_lost_in_one_record_and_doubled_in_another_swallow_none_between(tmp_path: Path, chunk: None) -> None:
    texts = [json.dumps(dump(row(number, 1))) for number in range(0, 28, 4)]
    texts[1], texts[4] = texts[1][:-2], texts[4] + "]}"
    out, stream = read(written(tmp_path / "rows.json", f"[{', '.join(texts)}]"))
    assert [r.id for r in out] == [f"Step {k}: what?" for k in (0, 8, 12, 16, 20, 24)]
    assert [(s.position, s.reason) for s in stream.set_aside] == [(1, window.NOT_CLOSED)]


@pytest.mark.parametrize("between", ["", " ", ",,", " , , ", "}, ", "]},\n", "], ["])
def test_commas_and_brackets_between_records_harm_none(tmp_path: Path, chunk: None, between: str) -> None:
    out, stream = read(written(tmp_path / "rows.json", f"[{between.join(json.dumps(dump(r)) for r in ROWS)},]"))
    assert out == ROWS and stream.set_aside == []


@pytest.mark.parametrize(
    ("cut", "kept", "reason"),
    [
        (-1, 7, "the file ends before its list does"),
        (-2, 6, "the file ends in the middle of this record"),
        (-30, 6, "the file ends in the middle of this record"),
        (1, 0, "the file ends before its list does"),
        (2, 0, "the file ends in the middle of this record"),
    ],
)
def test_a_file_that_is_cut_off_says_so(tmp_path: Path, chunk: None, cut: int, kept: int, reason: str) -> None:
    out, stream = read(written(tmp_path / "rows.json", json.dumps([dump(r) for r in ROWS])[:cut]))
    assert out == ROWS[:kept]
    assert [s.position for s in stream.set_aside] == [kept] and stream.set_aside[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "rows.json: the file is empty"),
        (b"\xef\xbb\xbf \r\n", "the file is empty"),
        (b'{"id": "x", "conversations": []}\n{"id"', 'expected a list, found \'{"id": "x", "convers'),
        (b"nothing", "expected a list, found 'nothing'"),
        ("[]".encode("utf-16"), "expected a list"),
    ],
)
def test_what_is_no_list_of_records_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint.replace("{", r"\{")):
        list(RowStream(written(tmp_path / "rows.json", content)))
    with pytest.raises(DataError, match="no such file"):
        list(RowStream(tmp_path / "missing.json"))
    with pytest.raises(DataError, match="could not be read"):
        list(RowStream(tmp_path))


def test_a_thousand_damaged_records(tmp_path: Path) -> None:
    kinds = list(DAMAGES.values())
    texts = [json.dumps(dump(row(4 * number, 1))) for number in range(5_000)]
    damaged = range(2, 5_000, 5)
    for number, k in enumerate(damaged):
        texts[k] = kinds[number % len(kinds)][0](texts[k])
    out, stream = read(written(tmp_path / "rows.json", "[\n  " + ",\n  ".join(texts) + "\n]"))
    assert [s.position for s in stream.set_aside] == list(damaged)
    assert [r.id for r in out] == [f"Step {4 * k}: what?" for k in range(5_000) if k not in damaged]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_happens_to_the_bytes_of_one_record_the_others_come_out(tmp_path_factory, data: st.DataObject) -> None:
    texts = [LAYOUTS[data.draw(st.sampled_from(["compact", "indented", "readable"]))](dump(r)).encode() for r in ROWS]
    where = data.draw(st.integers(0, len(ROWS) - 1))
    text = texts[where]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 60)))
    marks = st.sampled_from([b'"', b"{", b"}", b"[", b"]", b"\\", b",", b":", b"\xff", b"\n", b"x", b"0", b'"id"', b"\xc3"])
    texts[where] = text[:begin] + b"".join(data.draw(st.lists(marks, max_size=5))) + text[end:]
    path = written(tmp_path_factory.mktemp("any") / "rows.json", b"[" + b", ".join(texts) + b"]")
    out, stream = read(path)
    others = ROWS[:where] + ROWS[where + 1 :]
    assert [r for r in out if r in others] == others
    assert stream.account.yielded == len(out) and len(out) <= len(ROWS)
    assert list(RowStream(path, start=stream.read)) == []


def test_an_account_adds_up() -> None:
    aside = SetAside("f.json", 1, 10, "id", "Field required")
    assert str(aside) == "f.json: [1].id: Field required (byte 10)"
    assert str(SetAside("f.json", 1, 10, "", "broken")) == "f.json: [1]: broken (byte 10)"
    with pytest.raises(ValueError, match="3 records in, 1 out and 1 set aside: they do not add up"):
        Account(3, 1, (aside,))


# Other records


def test_trajectories_set_aside_what_has_no_functions(tmp_path: Path) -> None:
    api = Api(category_name="c", tool_name="shop", api_name="price")
    system, user = system_prompt((function_of(api),), [("shop", "sells")]), user_prompt("What?")
    roles = ("system", "user", "assistant")
    good = {"id": "good", "conversations": [{"from": r, "value": v} for r, v in zip(roles, (system, user, "a"), strict=True)]}
    no_list = {"id": "cut", "conversations": [{"from": "system", "value": system[:-9]}, *good["conversations"][1:]]}
    no_system = {"id": "user first", "conversations": good["conversations"][1:]}
    stream = TrajectoryStream(written(tmp_path / "rows.json", json.dumps([no_list, good, no_system, {"id": "x"}])))
    (trajectory,) = stream
    assert (trajectory.id, trajectory.query, trajectory.functions) == ("good", "What?", (function_of(api),))
    assert [(s.position, s.field) for s in stream.set_aside] == [
        (0, "conversations[0].value"), (2, "conversations"), (3, "conversations"),
    ]  # fmt: skip
    assert "not a Python list" in stream.set_aside[0].reason and "begins with user, assistant" in stream.set_aside[1].reason
    assert stream.account.read == 4


def test_queries_are_streamed_too(tmp_path: Path, chunk: None) -> None:
    api = Api(category_name="c", tool_name="t", api_name='{"query_id": 1, "query": "x"}')
    queries = [Query(query_id=k, query='{"api_list": []}', api_list=(api,), relevant_apis=(("t", "a"),)) for k in range(5)]
    texts = [json.dumps(query.model_dump(mode="json", by_alias=True)) for query in queries]
    texts[1], texts[3] = texts[1].replace('"query_id": 1', '"query_id": "1"'), texts[3][:-30]
    stream = QueryStream(written(tmp_path / "q.json", f"[{', '.join(texts)}]"))
    assert list(stream) == [queries[k] for k in (0, 2, 4)]
    assert [(s.position, s.field) for s in stream.set_aside] == [(1, "query_id"), (3, "")]
