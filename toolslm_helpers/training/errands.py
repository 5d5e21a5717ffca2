"""Texts in which several things are to be found one after another: what is needed first, what is known already, what comes next.

They are what a chain of calls will rest on. Dictionaries, entries and fields are those of ``lookups``.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from toolslm_helpers.data.values import sentence
from toolslm_helpers.data.wording import Need, planned, stated
from toolslm_helpers.training.lookups import Entry, draw_entry
from toolslm_helpers.training.texts import (
    Text,
    asked_as,
    coined_name,
    draw_attribute,
    draw_attributes,
    draw_kind,
    next_of,
    training_value,
)


@dataclass(frozen=True)
class _Step:
    """One thing to find: the entry that tells it, its fields filled in, the need that it answers, and the value that it will give."""

    entry: Entry
    filled: Mapping[str, object]
    need: Need
    value: object


@dataclass(frozen=True)
class _Dictionary:
    """Entries in the order of the text; of those that tell the same the ``first_of`` counts. ``chain`` is () or two of them, where the
    first tells a name that the second asks about. ``kinds`` are the attributes' kinds of value."""

    entries: Sequence[Entry]
    first_of: Sequence[Entry]
    chain: Sequence[Entry]
    kinds: Mapping[str, str]


def errands(rng: random.Random) -> Text:
    """A dictionary, and requests for one to three things that its entries tell, some of which are known already: the answer states what
    is needed next and fills in the entry for it, or says that this is all. Where one thing leads to the other, the way there comes
    first, and the name that was found goes into what comes next."""
    kind = draw_kind(rng)
    kinds = dict(draw_attributes(rng, rng.randint(2, 4)))
    entries = [draw_entry(rng, attribute, kind) for attribute in kinds]
    chain: list[Entry] = []
    if rng.random() < 0.5 and (via := draw_attribute(rng)[0].split()[-1]) not in kinds and via != kind:
        (attribute, value_kind), kinds[via] = draw_attribute(rng), "p"
        if attribute not in kinds:
            kinds[attribute] = value_kind
            chain = [replace(draw_entry(rng, via, kind), extra=None, required=False), draw_entry(rng, attribute, via)]
    entries += chain
    if rng.random() < 0.3:
        entries.append(rng.choice(entries).drawn_twin(rng))
    rng.shuffle(entries)
    context = "\n".join(entry.line(rng) for entry in entries)
    first_of = {entry.meaning: entry for entry in reversed(entries)}
    book = _Dictionary(entries, list(first_of.values()), [first_of[entry.meaning] for entry in chain], kinds)
    return Text(context, tuple(_errand(rng, book) for _ in range(rng.randint(2, 4))))


def _errand(rng: random.Random, book: _Dictionary) -> tuple[str, str]:
    """One request, with what is known of it, and what to look up next."""
    chained = bool(book.chain) and rng.random() < 0.5
    steps = _steps(rng, book, chained)
    needs = asked = [step.need for step in steps]
    if chained:
        way, end = needs
        asked = [Need(end.attribute, way.kind, way.entity, end.extras, via=way.attribute)]
    known, in_words, plan = rng.randint(0, len(steps)), rng.random() < 0.5, planned(*needs, chained=chained)
    lines = [asked_as(rng, *asked), *([plan] if known and rng.random() < 0.7 else [])]
    for step in steps[:known]:
        lines += _found(rng, step, list(book.kinds), in_words)
    answer = next_of(plan, needs, known)
    if known == len(steps):
        return "\n".join(lines), answer
    entry, need, filled = steps[known].entry, steps[known].need, steps[known].filled
    twins = [other for other in book.entries if other.meaning == entry.meaning and other is not entry]
    if rng.random() < (0.5 if twins else 0.08):
        lines.append(f"Not {entry.name}.")
        if not twins:
            return "\n".join(lines), f"{stated(need)} No entry tells it."
        answer, entry, filled = stated(need), twins[0], twins[0].refilled(filled, need.entity)
    return "\n".join(lines), f"{answer}\nEntry: {entry.name}\nFields: {json.dumps(filled)}"


def _steps(rng: random.Random, book: _Dictionary, chained: bool) -> list[_Step]:
    """Up to three things of the dictionary, now and then two about one entity, or the two of its chain."""
    steps: list[_Step] = []
    for entry in book.chain if chained else rng.sample(book.first_of, min(len(book.first_of), rng.choice((1, 2, 2, 3)))):
        entity = coined_name(rng)
        if steps and (chained or (entry.kind == steps[-1].entry.kind and rng.random() < 0.3)):
            entity = str(steps[-1].value) if chained else steps[-1].need.entity
        filled, said = entry.filled(rng, entity)
        value = training_value(rng, "p" if chained and not steps else book.kinds[entry.attribute])
        steps.append(_Step(entry, filled, Need(entry.attribute, entry.kind, entity, said), value))
    return steps


def _found(rng: random.Random, step: _Step, attributes: list[str], in_words: bool) -> list[str]:
    """What was found in a step: a sentence, or the need and a record that tells it, beside something else at times."""
    record = {step.need.attribute: step.value}
    if rng.random() < 0.5:
        record = {rng.choice(attributes): training_value(rng, rng.choice("nmdp"))} | record
        record = {step.need.attribute: step.value} | record
    shuffled = list(record.items())
    rng.shuffle(shuffled)
    if in_words:
        return [sentence(step.need.attribute, step.need.entity, step.value)]
    return [stated(step.need), json.dumps({attribute.replace(" ", "_"): value for attribute, value in shuffled})]
