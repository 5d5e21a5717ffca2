"""Views of lesson 04: a conversation as the pieces that its one text is laid out of, and what a cut leaves of a row's parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any, Literal

import numpy as np

from toolslm_helpers.teaching.views import (
    ALARM,
    CHIP,
    LINE,
    PLAIN,
    ROLE_TINTS,
    SUPERVISED_LINE,
    View,
    aligned,
    box,
    grid,
    visible,
)
from toolslm_helpers.text.flatten import ROLES
from toolslm_helpers.text.tokenizer import END

# --- the layout of a conversation

Kind = Literal["start", "delimiter", "content", "end", "line break"]


@dataclass(frozen=True)
class Piece:
    """One piece of the flat text: what it is for, whose message it belongs to ("start" for the very first), and its letters."""

    kind: Kind
    role: str
    text: str

    @property
    def graded(self) -> bool:
        """Whether the model is trained to write it: an assistant's content and the end of its turn."""
        return self.role == "assistant" and self.kind in ("content", "end")


def layout(messages: Iterable[Any]) -> list[Piece]:
    """The pieces of ``text.flatten``'s text, in order: joined, they are that text. Messages have ``role`` and ``content``."""
    pieces = [Piece("start", "start", END)]
    for message in messages:
        pieces.append(Piece("delimiter", message.role, f"{message.role.capitalize()}: "))
        pieces.append(Piece("content", message.role, message.content))
        if message.role == "assistant":
            pieces.append(Piece("end", message.role, END))
        pieces.append(Piece("line break", message.role, "\n"))
    return pieces


def sequence(messages: Iterable[Any]) -> View:
    """A conversation as one text, each piece in a box of its own: role by colour and word, kind by word, graded by a solid border."""
    pieces = layout(messages)
    chips, lines = [], []
    for number, piece in enumerate(pieces):
        border = f"2px solid {SUPERVISED_LINE}" if piece.graded else f"1px dashed {LINE}"
        style = f"{CHIP};text-align:left;white-space:pre-wrap;overflow-wrap:anywhere;border:{border}"
        chips.append(
            f'<span style="{style};background:{ROLE_TINTS.get(piece.role, PLAIN)}">'
            f'<span style="font-size:12px">{piece.kind}</span><br>{escape(visible(piece.text))}</span>'
        )
        graded = "graded" if piece.graded else ""
        lines.append([str(number), piece.role, piece.kind, graded, visible(piece.text)])
    roles = dict.fromkeys(piece.role for piece in pieces)
    key = " ".join(f'<span style="background:{ROLE_TINTS.get(role, PLAIN)};padding:1px 6px">{role}</span>' for role in roles)
    count = f"{len(pieces)} pieces, {sum(piece.graded for piece in pieces)} of them graded: solid border."
    html = f"<div>{key} · in each box: what it is for, its text</div>{''.join(chips)}<div>{count}</div>"
    head = ["piece", "role", "kind", "", "text"]
    return View(box(html), "\n".join([*aligned([head, *lines]), count]))


# --- what a cut leaves

PARTS = ("instructions", "APIs", "user", "earlier turns", "observations", "target")
_TINTS = (ROLE_TINTS["system"], "#cfcfcf", ROLE_TINTS["user"], "#e9f4fc", ROLE_TINTS["function"], ROLE_TINTS["assistant"])


def part_of_each(roles: np.ndarray, target: np.ndarray, apis_start: int) -> np.ndarray:
    """(T,) the index in ``PARTS`` of each token of a flat row. A delimiter belongs to its message's part.

    ``roles`` (T,) are a ``FlatExample``'s, ``target`` (T,) says which tokens are the target; from position ``apis_start`` on, the system
    message lists APIs, and what stands before that, the leading ``</s>`` included, are the instructions.
    """
    of_role = {
        "start": "instructions",
        "system": "APIs",
        "user": "user",
        "assistant": "earlier turns",
        "function": "observations",
    }
    parts = np.array([PARTS.index(of_role[role]) for role in ROLES])[np.asarray(roles)]
    parts[:apis_start] = PARTS.index("instructions")
    parts[np.asarray(target)] = PARTS.index("target")
    return parts


def count_parts(parts: np.ndarray) -> dict[str, int]:
    """{part: how many tokens} of (T,) indices in ``PARTS``, or of those of them that are left."""
    return dict(zip(PARTS, np.bincount(parts, minlength=len(PARTS)).tolist(), strict=True))


@dataclass(frozen=True)
class Left:
    """What one way of cutting leaves of one part: ``tokens`` of ``whole``."""

    way: str
    part: str
    tokens: int
    whole: int

    @property
    def words(self) -> str:
        """Such as "1,699", "210 of 1,699" or "lost: 0 of 45"; "" for a part that the row never had."""
        if not self.whole:
            return ""
        if self.tokens == self.whole:
            return f"{self.tokens:,}"
        return f"{'lost: ' if not self.tokens else ''}{self.tokens:,} of {self.whole:,}"


def left_rows(whole: Mapping[str, int], ways: Mapping[str, Mapping[str, int]]) -> list[list[Left]]:
    """A line for each way, a ``Left`` for each part of ``whole``. Raises ValueError where a way leaves more of a part than there was."""
    rows = [[Left(way, part, kept.get(part, 0), tokens) for part, tokens in whole.items()] for way, kept in ways.items()]
    for one in (one for row in rows for one in row):
        if not 0 <= one.tokens <= one.whole:
            raise ValueError(f"{one.way}: {one.tokens} tokens of {one.part}, expected 0 to {one.whole}.")
    return rows


def what_is_left(whole: Mapping[str, int], ways: Mapping[str, Mapping[str, int]], max_length: int) -> View:
    """A row's parts, whole and after each way of making it fit ``max_length`` tokens: bars to one scale, and a table with the numbers.

    A part of which nothing is left is named and struck out.
    """
    everything = {"the whole row": whole, **ways}
    total = max(sum(whole.values()), max_length)
    bars, lines = [], []
    for row in left_rows(whole, everything):
        tokens, lost = sum(one.tokens for one in row), [one.part for one in row if one.whole and not one.tokens]
        segments = "".join(
            f'<span title="{escape(one.part)}: {one.words}" style="box-sizing:border-box;overflow:hidden;white-space:nowrap;'
            f'height:1.6em;width:{100 * one.tokens / total:.3f}%;border:1px solid {LINE};background:{tint}">{escape(one.part)}</span>'
            for one, tint in zip(row, cycle(_TINTS), strict=False)
            if one.tokens
        )
        mark = f'<span style="background:{ALARM};padding:0 6px"><s>{escape(", ".join(lost))}</s> lost</span>' if lost else ""
        bars.append(f'<div>{escape(row[0].way)} {mark}</div><div style="display:flex">{segments}</div>')
        lines.append([row[0].way, *(one.words for one in row), f"{tokens:,}", "yes" if tokens <= max_length else "no"])
    limit = f"room for {max_length:,} tokens"
    bars.append(
        f'<div style="border-top:3px solid {SUPERVISED_LINE};width:{100 * max_length / total:.3f}%;margin-top:6px">{limit}</div>'
    )
    table = grid(["way", *whole, "tokens", "fits"], lines)
    return View(box("".join(bars)) + table.html, f"{table.text}\n{limit}")
