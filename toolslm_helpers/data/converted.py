"""Answers as ToolEval reads them: ``<set>.json``, one object from query id to answer, made by its conversion program."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from toolslm_helpers.data.records import Function, Record, _as_tuple
from toolslm_helpers.data.stream import FileStream
from toolslm_helpers.data.window import Window

_STARTS = re.compile(
    r'(?="[^"\\]*"\s*:\s*\{\s*"query"\s*:\s*")'
)  # an API's parameter may be called query, too: its value is no string


class ToolMessage(Record):
    """A call and what came back. In the published results it is cut to a string of 100 characters."""

    name: str
    arguments: str
    response: str


class AnswerStep(Record):
    """One node of an answer: what was said, and what was said next (several nodes where the search branched)."""

    role: Literal["system", "user", "assistant", "tool"]
    message: str | ToolMessage
    next: Annotated[tuple["AnswerStep", ...], BeforeValidator(_as_tuple)] = ()

    def chain(self) -> Iterator["AnswerStep"]:
        """This node, and the first of what came next each time: the path that ToolEval judges."""
        node: AnswerStep | None = self
        while node:
            yield node
            node = node.next[0] if node.next else None


class AnswerRecord(Record):
    """The answer itself. ``final_answer`` is the argument text of Finish, or "" where there was none; ``total_steps`` counts all nodes."""

    method: str
    total_steps: int
    final_answer: str
    answer_details: Annotated[tuple[AnswerStep, ...], BeforeValidator(_as_tuple)]


class ConvertedAnswer(Record):
    """One entry of a file of converted answers, with its key."""

    query_id: str
    query: str
    available_tools: Annotated[tuple[Function, ...], BeforeValidator(_as_tuple)]
    answer: AnswerRecord


class ConvertedStream(FileStream[ConvertedAnswer]):
    """The answers of a converted file, one after the other; damaged ones are set aside as in every stream."""

    brackets = "{}"
    first = '"'

    def __init__(self, path: str | Path, start: int = 0) -> None:
        super().__init__(path, ConvertedAnswer, _STARTS, "available_tools", start)
        self._required -= {"query_id"}
        self._query_id = ""

    def _decode(self, window: Window) -> tuple[Any, int, str]:
        key, end, problem = window.decode(self._starts)
        if problem or not isinstance(key, str):
            return None, 0, problem or f"expected a query id, found {str(key)[:40]!r}"
        window.at = end
        window.pass_space()
        if window.ended or window.text[window.at] != ":":
            return None, 0, f"expected a colon after {key[:40]!r}"
        window.at += 1
        window.pass_space()
        self._query_id = key
        return window.decode(self._starts)

    def _record(self, value: Any) -> ConvertedAnswer:
        if isinstance(value, dict):
            value = {**value, "query_id": self._query_id}
        return super()._record(value)
