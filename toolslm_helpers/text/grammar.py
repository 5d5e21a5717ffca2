"""Constrained decoding: after each piece of a turn, which pieces may come next if it is to end as a well-formed turn.

A form says which texts are well formed: its parts stand one after the other. Taking one character away from the front of a form leaves
the form of what may still follow (a derivative: Brzozowski, Journal of the ACM 1964). So the state after any text is a set of forms, and
a piece of the tokenizer may come next exactly where taking away its characters, one by one, leaves something.

Well formed is not right: a form knows the names that are offered and the types of their arguments, not which of them would help.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.records import Function

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Some:
    """``least`` to ``most`` characters, each of them one of ``characters``."""

    characters: str
    most: int
    least: int = 0


@dataclass(frozen=True)
class OneOf:
    """Any one of several forms."""

    forms: tuple["Form", ...]


Form = tuple[str | Some | OneOf, ...]
"""Parts, one after the other; a string is itself. The empty form is the end of the text."""

State = frozenset[Form]
"""What may follow a text: several forms where it may still become one thing or another, none where it is no beginning of anything."""


def after(form: Form, character: str) -> Iterator[Form]:
    """What may follow once ``character`` is taken from the front of ``form``; nothing where it may not stand there."""
    if not form:
        return
    first, rest = form[0], form[1:]
    if isinstance(first, str):
        if first == character:
            yield rest
        elif first[:1] == character:
            yield (first[1:], *rest)
    elif isinstance(first, OneOf):
        for choice in first.forms:
            yield from after((*choice, *rest), character)
    else:
        if first.most and character in first.characters:
            yield (Some(first.characters, first.most - 1, max(first.least - 1, 0)), *rest)
        if not first.least:
            yield from after(rest, character)


def advance(state: State, text: str) -> State:
    """The state after ``text``: every form that is left when its characters are taken away one by one."""
    for character in text:
        state = frozenset(left for form in state for left in after(form, character))
        if not state:
            break
    return state


def may_end(form: Form) -> bool:
    """Whether nothing more need be written."""
    return all(
        not part.least if isinstance(part, Some) else isinstance(part, OneOf) and any(map(may_end, part.forms)) for part in form
    )


def longest(form: Form) -> int:
    """Characters of the longest text that ``form`` allows, and so a bound for its tokens."""
    return sum(
        part.most if isinstance(part, Some) else max(map(longest, part.forms)) if isinstance(part, OneOf) else len(part)
        for part in form
    )


# --- the form of a turn

# What free text may hold: printable ASCII that a JSON string takes as it stands. A line break would begin the next field.
TEXT = "".join(chr(code) for code in range(32, 127) if chr(code) not in '"\\')
DIGITS = "0123456789"

# Characters. The longest in 2,000 gold trajectories: a thought 152, an argument 19, an answer 162.
THOUGHT, VALUE, ANSWER = 160, 32, 170

_WHOLE_NUMBER = OneOf((("0",), (Some(DIGITS[1:], 1, least=1), Some(DIGITS, 5))))
_STRING: Form = ('"', Some(TEXT, VALUE, least=1), '"')
_VALUES: dict[str, Form] = {"integer": (_WHOLE_NUMBER,), "boolean": (OneOf((("true",), ("false",))),)}


def arguments_form(function: Function) -> Form:
    """A JSON object with the function's parameters in its own order: all the required ones, and any of the others."""
    properties = function.parameters.get("properties", {})
    required = [name for name in properties if name in function.parameters.get("required", ())]
    optional = [name for name in properties if name not in required]

    def member(name: str, comma: str) -> Form:
        return (f'{comma}"{name}": ', *_VALUES.get(properties[name].get("type"), _STRING))

    def perhaps(names: Sequence[str]) -> Form:
        return tuple(OneOf((member(name, ", "), ())) for name in names)

    if required:
        members = [part for k, name in enumerate(required) for part in member(name, ", " if k else "")]
        return ("{", *members, *perhaps(optional), "}")
    starts = [(*member(name, ""), *perhaps(optional[k + 1 :])) for k, name in enumerate(optional)]
    return ("{", OneOf(((), *starts)), "}")


def turn_form(functions: Sequence[Function]) -> Form:
    """A turn that calls one of ``functions`` with arguments of its names and types, or ends with Finish; as ``write_action`` writes it."""
    ends = (
        ('give_answer", "final_answer": "', Some(TEXT, ANSWER, least=1), '"}'),
        ('give_up_and_restart"}',),
    )
    finish = (f'{FINISH.name}\nAction Input: {{"return_type": "', OneOf(ends))
    calls = [(f"{f.name}\nAction Input: ", *arguments_form(f)) for f in functions if f.name != FINISH.name]
    return ("\nThought: ", Some(TEXT, THOUGHT), "\nAction: ", OneOf((*calls, finish)))


# --- pieces that fit


class Pieces:
    """The pieces of a tokenizer as text, and which of them fit a state.

    Left out are special tokens and pieces that are not ASCII: a byte of a longer character is no text of its own. So forms are ASCII too;
    every single character of them is a piece of a byte-level tokenizer, and there is always one that fits.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast"):
        special = set(tokenizer.all_special_ids)
        self.end_id: int = tokenizer.eos_token_id
        self.texts: dict[int, str] = {}
        self._starting: dict[str, list[int]] = {}  # first character -> ids
        for id_ in range(len(tokenizer)):
            text = tokenizer.decode([id_], clean_up_tokenization_spaces=False)
            if id_ not in special and text and text.isascii():
                self.texts[id_] = text
                self._starting.setdefault(text[0], []).append(id_)
        self._inside = lru_cache(maxsize=256)(self._made_of)
        self._next_piece = lru_cache(maxsize=4096)(lambda text: tokenizer.encode(text, add_special_tokens=False)[0])

    def _made_of(self, characters: str, most: int) -> frozenset[int]:
        return frozenset(id_ for id_, text in self.texts.items() if len(text) <= most and set(text) <= set(characters))

    def fitting(self, state: State) -> list[int]:
        """The ids of the pieces after which the text is still a beginning; the end token's where it may end here.

        Where the form leaves no choice, it is the tokenizer's own next piece: the model has seen "Action Input: " as one piece, and spelt
        in letters it would be another text to it.
        """
        if len(state) == 1:
            settled = "".join(takewhile(lambda part: isinstance(part, str), next(iter(state))))
            if settled:
                return [self._next_piece(settled)]
        ids: set[int] = set()
        for form in state:
            if form and isinstance(form[0], Some):  # most pieces lie within free text: those need no taking away
                ids |= self._inside(form[0].characters, form[0].most)
        for character, starting in self._starting.items():
            if advance(state, character):
                ids.update(id_ for id_ in starting if id_ not in ids and advance(state, self.texts[id_]))
        return sorted(ids | {self.end_id}) if any(map(may_end, state)) else sorted(ids)


class Constraint:
    """Follows one text as it is written, and says which ids may come next."""

    def __init__(self, form: Form, pieces: Pieces):
        self.pieces, self.state, self._read = pieces, frozenset({form}), 0

    def __call__(self, written: Sequence[int]) -> list[int]:
        """The ids that may follow ``written``, which must go on where the last call's ended.

        Raises ValueError where ``written`` is no beginning of the form.
        """
        for id_ in written[self._read :]:
            self.state = advance(self.state, self.pieces.texts.get(id_, "\0"))
        self._read = len(written)
        if not self.state:
            raise ValueError(f"ids {list(written)}: their text is no beginning of the form. Write only ids that were allowed.")
        return self.pieces.fitting(self.state)
