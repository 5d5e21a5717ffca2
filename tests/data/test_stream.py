"""A streamed file: what is whole comes out, what is damaged is set aside with its place, and nothing is lost count of."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolslm_helpers.data import window
from toolslm_helpers.data.records import Message
from toolslm_helpers.data.stream import Account, RowStream
from toolslm_helpers.data.trees import Row

TEXTS = ["s", 'u "quoted" {"id": "x", "conversations": []} ]}, é 多 😀\n', "\nThought: \\ \u2028", ""]


def row(number: int, turns: int = 2) -> Row:
    roles = ("system", "user", "assistant", "function")
    messages = tuple(Message(role=roles[k % 4], content=f"{TEXTS[(number + k) % 4]}{number}.{k}") for k in range(turns + 1))
    return Row(id=f"Step {number}: what?", conversations=messages)


def dump(record: Row) -> dict:
    return record.model_dump(mode="json", by_alias=True)


ROWS = [row(number, number % 3 + 1) for number in range(12)]
LAYOUTS: dict[str, Callable[[list], str]] = {
    "compact": json.dumps,
    "tight": lambda value: json.dumps(value, separators=(",", ":")),
    "indented": lambda value: json.dumps(value, indent=2),
    "readable": lambda value: json.dumps(value, ensure_ascii=False),
    "crlf": lambda value: json.dumps(value, indent=1).replace("\n", "\r\n"),
}


@pytest.fixture(params=[None, 1, 7, 100], ids=lambda size: f"chunk {size}")
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place in a file is the end of a chunk once."""
    if request.param:
        monkeypatch.setattr(window, "CHUNK", request.param)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
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
    assert list(RowStream(written(tmp_path / "none.json", "[ ]"))) == []
