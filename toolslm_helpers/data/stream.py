"""Records one after the other, from a file that is too large for memory, whatever is damaged in it.

ToolBench's train file is one JSON list of 2 GB. ``FileStream`` keeps about a megabyte of it, decodes record by record with the standard
library, and goes on behind a damaged record: what is wrong is set aside with its file, position and field, and counted.

Two kinds of damage are survived: a record whose fields are wrong, and bytes that are no JSON. After the second, reading goes on where
the next record begins, which is recognised by the first fields of a record (``starts``); a streaming parser such as ijson stops there.
Commas and brackets that are missing or doubled between records harm no record and are passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from toolslm_helpers.data.records import Query, Record, RecordError, field_name, first_problem
from toolslm_helpers.data.trees import Row
from toolslm_helpers.data.window import NOT_CLOSED, Window

R = TypeVar("R")
Value = tuple[int, Any, str]  # (byte offset, what was decoded, what is wrong); where something is wrong, the second means nothing

# Where a row begins. Inside a valid string every quotation mark has a backslash, so that no text of a conversation looks like this; but
# damage may take those marks away, so "id" alone is believed only where the row before it ends.
_ROW_STARTS = re.compile(
    r'\]\s*\}\s*,?\s*(?=\{\s*"id"\s*:)|(?=\{\s*"id"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*"conversations"\s*:)|(?=\{\s*"conversations"\s*:\s*\[)'
)
_FIELD = re.compile(r'\s*,\s*"(?:[^"\\]|\\.)*"\s*:')
_SURROGATE = re.compile("[\ud800-\udfff]")
_QUERY_STARTS = re.compile(r'(?=\{\s*"(?:api_list|query_id|query|relevant APIs)"\s*:)')


@dataclass(frozen=True)
class SetAside:
    """A record that was not read, and why. ``position`` counts the file's records from 0, ``offset`` its bytes."""

    file: str
    position: int
    offset: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: [{self.position}]{self.field and f'.{self.field}'}: {self.reason} (byte {self.offset:,})"


@dataclass(frozen=True)
class Account:
    """What became of the records of a file: ``read`` of them came in, ``yielded`` went out, the rest is set aside."""

    read: int
    yielded: int
    set_aside: tuple[SetAside, ...]

    def __post_init__(self) -> None:
        if self.read != self.yielded + len(self.set_aside):
            raise ValueError(
                f"{self.read} records in, {self.yielded} out and {len(self.set_aside)} set aside: they do not add up."
            )


class RecordStream(Generic[R]):
    """Records from anywhere, counted; starts anew each time it is iterated.

    ``start`` records are passed over first, without being checked: a reader that was stopped goes on at ``stream.position``.
    ``read``, ``yielded`` and ``set_aside`` are the account of this iteration so far.
    """

    def __init__(self, name: str, start: int = 0) -> None:
        if start < 0:
            raise ValueError(f"start is {start}; expected 0 or more.")
        self.name, self.start = name, start
        self._begin()

    def _begin(self) -> None:
        self.read = self.yielded = 0
        self.set_aside: list[SetAside] = []
        self.position = self.start

    @property
    def account(self) -> Account:
        """The account so far."""
        return Account(self.read, self.yielded, tuple(self.set_aside))

    def __iter__(self) -> Iterator[R]:
        self._begin()
        for position, (offset, value, problem) in enumerate(self._values()):
            if position < self.start:
                continue
            self.read, self.position, field = self.read + 1, position + 1, ""
            if not problem:
                try:
                    record = self._record(value)
                except ValidationError as error:
                    field, problem = first_problem(error)
                except RecordError as error:
                    field, problem = error.field, error.reason
            if problem:
                self.set_aside.append(SetAside(self.name, position, offset, field, problem))
            else:
                self.yielded += 1
                yield record

    def _values(self) -> Iterator[Value]:
        """What is there, from the beginning."""
        raise NotImplementedError

    def _record(self, value: Any) -> R:
        """The record of a value. Raises ValidationError or RecordError."""
        raise NotImplementedError


class FileStream(RecordStream[R]):
    """The records of one JSON list in a file.

    Raises DataError, when iterated, for what is no list of records at all: no file, an empty one, another kind of JSON.
    """

    brackets = "[]"  # around all records
    first = "{"  # what a record begins with

    def __init__(self, path: str | Path, kind: type[Record], starts: re.Pattern[str], key: str, start: int = 0) -> None:
        super().__init__(str(path), start)
        self._kind, self._starts = kind, starts
        self._key = f'"{key}"'  # a field that every record has once
        self._required = {field.alias or name for name, field in kind.model_fields.items() if field.is_required()}

    def _record(self, value: Any) -> R:
        if (path := _half_character(value)) is not None:
            field, reason = field_name(path), "bytes that are no UTF-8, or half of a \\u pair: no tokenizer takes them"
            raise RecordError(f"{field}: {reason}", field, reason)
        return self._kind.model_validate(value)

    def _decode(self, window: Window) -> tuple[Any, int, str]:
        """(value, end, problem) of the record that comes next, as ``Window.decode`` gives them."""
        return window.decode(self._starts)

    def _values(self) -> Iterator[Value]:
        window = Window(Path(self.name), self.brackets)
        with window.file:
            window.open()
            more = True
            while more:
                window.pass_between()
                offset = window.offset()
                if window.ended:
                    if not window.closed:
                        yield offset, None, "the file ends before its list does: at least one record is missing"
                    return
                value, end, problem = self._decode(window)
                if not problem and self._holds_another(window, end):
                    problem = NOT_CLOSED
                if problem:
                    more = window.find(self._starts)
                else:
                    window.at = end
                    if not isinstance(value, dict) or not value.keys() >= self._required:
                        more = self._pass_rest(window, value)
                yield offset, value, problem

    def _holds_another(self, window: Window, end: int) -> bool:
        """Whether another record begins in the one before ``end``: where brackets are lost in one record and doubled in a later one."""
        once = window.text.find(self._key, window.at, end)
        twice = once >= 0 and window.text.find(self._key, once + 1, end) >= 0
        return twice and bool(self._starts.search(window.text, window.at + 1, end))

    def _pass_rest(self, window: Window, value: Any) -> bool:
        """Passes what is left of a record whose end came too early: that and its rest are one damage. False if no record follows."""
        if isinstance(value, dict):
            window.pass_between()
            rest = not window.ended and window.text[window.at] != self.first
        else:  # a value of its own, or what is left of a record whose first bracket is missing: then a field follows
            window.pass_space()
            rest = not window.ended and (window.text[window.at] not in f",{self.brackets[1]}" or window.follows(_FIELD))
        return window.find(self._starts) if rest else True


def _half_character(value: Any) -> tuple[str | int, ...] | None:
    """Where the first text in ``value`` is that holds a lone surrogate. None where there is none."""
    if isinstance(value, str):
        return () if not value.isascii() and _SURROGATE.search(value) else None
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        if (path := _half_character(inner)) is not None:
            return (key, *path)
    return None


class RowStream(FileStream[Row]):
    """The training rows of a file such as toolllama_G123_dfs_train.json."""

    def __init__(self, path: str | Path, start: int = 0) -> None:
        super().__init__(path, Row, _ROW_STARTS, "conversations", start)


class QueryStream(FileStream[Query]):
    """The queries of a file such as G1_query.json."""

    def __init__(self, path: str | Path, start: int = 0) -> None:
        super().__init__(path, Query, _QUERY_STARTS, "query_id", start)
