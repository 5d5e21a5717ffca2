"""Texts in which something must be found by what it is for: dictionaries of made-up names, and forms to fill in.

They are what choosing a tool and writing its arguments will rest on: an entry is found by its description, its name copied to the letter,
its fields filled with what was said; and sometimes nothing fits, or something is missing.
"""

import json
import random
from dataclasses import dataclass, replace

from toolslm_helpers.data.tools import EXTRA_TYPES, describe, name_api
from toolslm_helpers.data.values import draw_extra_value, sentence
from toolslm_helpers.data.wording import Need, planned, stated
from toolslm_helpers.data.words import EXTRA_PARAMETERS, MODIFIERS, article
from toolslm_helpers.training.texts import (
    Text,
    asked_as,
    coined_name,
    coined_word,
    draw_attribute,
    draw_attributes,
    draw_kind,
    next_of,
    training_value,
)


def entry_name(rng: random.Random, attribute: str, kind: str) -> str:
    """A made-up name of an entry: mostly it speaks of what it holds, sometimes it is opaque and only its description tells."""
    return f"{name_api(rng, attribute, kind)}_{rng.choice(('in', 'from', 'for', 'of'))}_{coined_word(rng)}"


def _fields(rng: random.Random, kind: str, extra: str | None) -> str:
    """The fields of an entry with their types: one for the entity, and now and then a further one that may be optional."""
    field = rng.choice((kind, kind, f"{kind}_name", "name", coined_word(rng)))
    text = f"{field}:string"
    if extra:
        text += f", {extra}:{'integer' if EXTRA_TYPES[extra] == 'number' else 'string'}{rng.choice(('', '?'))}"
    return text


@dataclass(frozen=True)
class _Entry:
    """One entry of a dictionary: what it tells of what, its name, the field for the entity, and a further field that it may have."""

    attribute: str
    kind: str
    name: str
    field: str
    extra: str | None
    required: bool

    def line(self, rng: random.Random) -> str:
        described = describe(rng, self.attribute, self.kind, self.extra, self.required).rstrip(".")
        kind = "integer" if EXTRA_TYPES.get(self.extra or "") == "number" else "string"
        extra = f", {self.extra}:{kind}{'' if self.required else '?'}" if self.extra else ""
        return f"{described}: {self.name}({self.field}:string{extra})"

    def filled(self, rng: random.Random, entity: str) -> tuple[dict[str, object], tuple[str, ...]]:
        """(its fields, filled in for that entity, how a request says the further one); an optional field is left out now and then."""
        if not self.extra or not (self.required or rng.random() < 0.5):
            return {self.field: entity}, ()
        value = draw_extra_value(rng, self.extra, False)
        form = rng.choice([form for name, _, form in EXTRA_PARAMETERS if name == self.extra])
        return {self.field: entity, self.extra: value}, (form.format(value),)


def _entry(rng: random.Random, attribute: str, kind: str) -> _Entry:
    field = rng.choice((kind, kind, f"{kind}_name", "name", coined_word(rng)))
    extra = rng.choice(EXTRA_PARAMETERS)[0] if rng.random() < 0.35 else None
    return _Entry(attribute, kind, entry_name(rng, attribute, kind), field, extra, extra is not None and rng.random() < 0.6)


def dictionary(rng: random.Random) -> Text:
    """A dictionary of made-up names with descriptions, then look-ups by what is needed: the answer states the need, then the entry's
    name, copied to the letter, and mostly its fields, filled in; or it says what is missing, or that no entry tells it. Of two entries
    that tell the same the first counts, until the question rules it out."""
    kind, other = draw_kind(rng), draw_kind(rng)
    entries = [_entry(rng, a, other if rng.random() < 0.25 else kind) for a, _ in draw_attributes(rng, rng.randint(2, 4))]
    if rng.random() < 0.4:
        twin = rng.choice(entries)
        entries.append(replace(twin, name=entry_name(rng, twin.attribute, twin.kind), field=rng.choice((twin.kind, "name"))))
        rng.shuffle(entries)
    return Text(
        "\n".join(entry.line(rng) for entry in entries), tuple(_looked_up(rng, entries) for _ in range(rng.randint(3, 6)))
    )


def _looked_up(rng: random.Random, entries: list[_Entry]) -> tuple[str, str]:
    """One request for something that an entry tells, or nearly, and the answer."""
    drawn, entity = rng.choice(entries), coined_name(rng)
    entry, *twins = [other for other in entries if (other.attribute, other.kind) == (drawn.attribute, drawn.kind)]
    filled, said = entry.filled(rng, entity)
    draw = rng.random()
    if draw < 0.12:  # something else is needed, now and then by its modifier only
        noun = entry.attribute.split()[-1] if rng.random() < 0.3 else draw_attribute(rng)[0]
        unknown = f"{rng.choice(MODIFIERS)} {noun}" if " " not in noun and rng.random() < 0.6 else noun
        if all(unknown != other.attribute for other in entries):
            need = Need(unknown, entry.kind, entity, said)
            return asked_as(rng, need), f"{stated(need)} No entry tells it."
    if draw < 0.24:
        missing = entry.extra if said and entry.required and rng.random() < 0.6 else entry.kind
        need = Need(entry.attribute, entry.kind, *(("", ()) if missing == entry.kind else (entity, ())))
        return asked_as(rng, need), f"{stated(need)} The {missing} is missing."
    need, ruled_out = Need(entry.attribute, entry.kind, entity, said), ""
    if draw < 0.34:
        return f"I need the {need.attribute} of {article(need.kind)}.", f"Entry: {entry.name}"
    if draw < (0.7 if twins else 0.42):
        ruled_out = f"\nNot {entry.name}."
        if not twins:
            return asked_as(rng, need) + ruled_out, f"{stated(need)} No entry tells it."
        filled[twins[0].field] = filled.pop(entry.field)
        filled = dict(sorted(filled.items(), key=lambda item: item[0] == entry.extra))  # the entity's field stands first
        entry = twins[0]
    answer = f"{stated(need)}\nEntry: {entry.name}"
    return asked_as(rng, need) + ruled_out, f"{answer}\nFields: {json.dumps(filled)}" if draw < 0.9 else answer


def errands(rng: random.Random) -> Text:
    """A dictionary, and requests for one to three things that its entries tell, some of which are known already: the answer states what
    is needed next and fills in the entry for it, or says that this is all. Where one thing leads to the other, the way there comes
    first, and the name that was found goes into what comes next."""
    kind = draw_kind(rng)
    attributes = dict(draw_attributes(rng, rng.randint(2, 4)))
    entries = [_entry(rng, attribute, kind) for attribute in attributes]
    chain: list[_Entry] = []
    if rng.random() < 0.5 and (via := draw_attribute(rng)[0].split()[-1]) not in attributes and via != kind:
        last, attributes[via] = draw_attribute(rng), "p"
        if last[0] not in attributes:
            attributes[last[0]] = last[1]
            chain = [replace(_entry(rng, via, kind), extra=None, required=False), _entry(rng, last[0], via)]
    entries += chain
    if rng.random() < 0.3:
        twin = rng.choice(entries)
        entries.append(replace(twin, name=entry_name(rng, twin.attribute, twin.kind), field=rng.choice((twin.kind, "name"))))
    rng.shuffle(entries)
    context = "\n".join(entry.line(rng) for entry in entries)
    first_of = {(e.attribute, e.kind): e for e in reversed(entries)}  # of two entries that tell the same the first counts
    chain = [first_of[e.attribute, e.kind] for e in chain]
    return Text(
        context, tuple(_errand(rng, entries, list(first_of.values()), chain, attributes) for _ in range(rng.randint(2, 4)))
    )


def _errand(
    rng: random.Random, entries: list[_Entry], choice: list[_Entry], chain: list[_Entry], kinds: dict[str, str]
) -> tuple[str, str]:
    """One request over ``choice``, or along the ``chain``, with what is known of it, and what to look up next."""
    steps: list[tuple[_Entry, Need, object]] = []  # entry, need, and the value that it will tell
    fills: list[dict[str, object]] = []
    chained = bool(chain) and rng.random() < 0.5
    for entry in chain if chained else rng.sample(choice, min(len(choice), rng.choice((1, 2, 2, 3)))):
        entity = coined_name(rng)
        if steps and (chained or (entry.kind == steps[-1][0].kind and rng.random() < 0.3)):
            entity = str(steps[-1][2]) if chained else steps[-1][1].entity
        filled, said = entry.filled(rng, entity)
        fills.append(filled)
        value_kind = "p" if chained and not steps else kinds[entry.attribute]
        steps.append((entry, Need(entry.attribute, entry.kind, entity, said), training_value(rng, value_kind)))
    needs = [need for _, need, _ in steps]
    asked = (
        [Need(needs[1].attribute, needs[0].kind, needs[0].entity, needs[1].extras, via=needs[0].attribute)] if chained else needs
    )
    known, in_words, plan = rng.randint(0, len(steps)), rng.random() < 0.5, planned(*needs, chained=chained)
    lines = [asked_as(rng, *asked), *([plan] if known and rng.random() < 0.7 else [])]
    for _, need, value in steps[:known]:
        beside = {rng.choice(list(kinds)): training_value(rng, rng.choice("nmdp"))} if rng.random() < 0.5 else {}
        record = list(({need.attribute: value} | {a: v for a, v in beside.items() if a != need.attribute}).items())
        rng.shuffle(record)
        lines += (
            [sentence(need.attribute, need.entity, value)]
            if in_words
            else [stated(need), json.dumps({a.replace(" ", "_"): v for a, v in record})]
        )
    answer = next_of(plan, needs, known)
    if known == len(steps):
        return "\n".join(lines), answer
    (entry, need, _), filled = steps[known], fills[known]
    twins = [e for e in entries if (e.attribute, e.kind) == (entry.attribute, entry.kind) and e is not entry]
    if rng.random() < (0.5 if twins else 0.08):
        lines.append(f"Not {entry.name}.")
        if not twins:
            return "\n".join(lines), f"{stated(need)} No entry tells it."
        entry, answer = twins[0], stated(need)
        filled = {entry.field: need.entity} | {name: value for name, value in filled.items() if name == entry.extra}
    return "\n".join(lines), f"{answer}\nEntry: {entry.name}\nFields: {json.dumps(filled)}"


def forms(rng: random.Random) -> Text:
    """Forms with named fields, and requests that fill one of them in as JSON: names and numbers are copied, a missing field is said."""
    kind, lines, turns = draw_kind(rng), [], []
    titles = [entry_name(rng, a, kind) for a, _ in draw_attributes(rng, rng.randint(1, 3))]
    signatures: list[tuple[str, str | None]] = []
    for title in titles:
        extra = rng.choice(EXTRA_PARAMETERS)[0] if rng.random() < 0.6 else None
        signatures.append((_fields(rng, kind, extra), extra))
        lines.append(f"{title}({signatures[-1][0]})")
    for _ in range(rng.randint(3, 6)):
        k = rng.randrange(len(titles))
        fields, extra = signatures[k]
        key = fields.split(":")[0]
        entity, said = coined_name(rng), ()
        filled: dict[str, object] = {key: entity}
        if extra and (not fields.endswith("?") or rng.random() < 0.5):
            filled[extra] = draw_extra_value(rng, extra, False)
            said = (rng.choice([form for name, _, form in EXTRA_PARAMETERS if name == extra]).format(filled[extra]),)
        missing = rng.choice(list(filled)) if rng.random() < 0.15 and not fields.endswith("?") else None
        need = Need(draw_attribute(rng)[0], kind, "" if missing == key else entity, () if missing else said)
        answer = json.dumps(filled) if missing is None else f"Please tell me the {missing.replace('_', ' ')}."
        turns.append((f"{asked_as(rng, need)}\nForm: {titles[k]}", answer))
    return Text("\n".join(lines), tuple(turns))
