"""What the texts of both stages before fine-tuning are made of: a text with its questions, and draws of what it speaks of.

Kinds of thing and attributes are real words or coined ones, half and half, and values are the world's: all from the training side of
every split.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from toolslm_helpers.data.values import draw_extra, draw_value
from toolslm_helpers.data.wording import TRAINING, Need, request, stated
from toolslm_helpers.data.words import MODIFIERS, SEEN_THEMES, SHARED_ATTRIBUTES, coin_word, odd_word


@dataclass(frozen=True)
class Text:
    """A text to read, and turns of (what is asked, what is answered) about it. A text without turns is prose or a list."""

    context: str
    turns: tuple[tuple[str, str], ...] = ()


_KINDS = tuple(kind for theme in SEEN_THEMES for kind in theme.kinds)
_ATTRIBUTES = tuple(a for theme in SEEN_THEMES for a in theme.attributes) + SHARED_ATTRIBUTES


def coined_word(rng: random.Random) -> str:
    """A coined word, one in eight an odd one: whoever has copied those to the letter can copy a word never met before."""
    return odd_word(rng) if rng.random() < 0.12 else coin_word(rng, False)


def coined_name(rng: random.Random) -> str:
    """A coined proper name of one or two capitalised words."""
    return " ".join(coined_word(rng).capitalize() for _ in range(rng.choice((1, 1, 1, 2))))


def draw_kind(rng: random.Random) -> str:
    return rng.choice(_KINDS) if rng.random() < 0.5 else coined_word(rng)


def draw_attribute(rng: random.Random) -> tuple[str, str]:
    """(phrase, value kind): a real noun or a coined one, with a modifier more often than not."""
    noun, value_kind = rng.choice(_ATTRIBUTES)
    if rng.random() < 0.1:
        value_kind = "l"  # lists are rare among the world's attributes, and a list in JSON is read in a way of its own
    if rng.random() < 0.45:
        noun = coined_word(rng)
    return (f"{rng.choice(MODIFIERS)} {noun}" if rng.random() < 0.55 else noun), value_kind


def draw_attributes(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """``count`` different attributes; now and then two that differ in their modifier only, so that every word must be read."""
    found = dict([draw_attribute(rng)])
    while len(found) < count:
        if rng.random() < 0.25:
            last = list(found)[-1]
            found.setdefault(f"{rng.choice(MODIFIERS)} {last.split()[-1]}", found[last])
        else:
            found.update([draw_attribute(rng)])
    return list(found.items())


def training_value(rng: random.Random, kind: str) -> object:
    return draw_value(rng, kind, held_out=False)


def asked_as(rng: random.Random, *needs: Need) -> str:
    return request(rng, needs, TRAINING)[0]


def maybe_extra(rng: random.Random) -> tuple[str, ...]:
    return (draw_extra(rng, False)[2],) if rng.random() < 0.25 else ()


def next_of(plan: str, needs: Sequence[Need], known: int) -> str:
    """What comes next where ``known`` of the needs are: at the beginning the whole plan, then the next need, or that nothing does."""
    if known == len(needs):
        return "That is all."
    return stated(needs[known]) if known else plan
