"""Texts in which something must be found by what it is for: dictionaries of made-up names, and forms to fill in.

They are what choosing a tool and writing its arguments will rest on: an entry is found by its description, its name copied to the letter,
its fields filled with what was said; and sometimes nothing fits, or something is missing.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from toolslm_helpers.data.tools import EXTRA_TYPES, describe, name_api
from toolslm_helpers.data.values import draw_extra_value, said_as
from toolslm_helpers.data.wording import Need, stated
from toolslm_helpers.data.words import EXTRA_PARAMETERS, MODIFIERS, article
from toolslm_helpers.training.texts import (
    Text,
    asked_as,
    coined_name,
    coined_word,
    draw_attribute,
    draw_attributes,
    draw_kind,
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
class Entry:
    """One entry of a dictionary: what it tells of what, its name, the field for the entity, and a further field that it may have."""

    attribute: str
    kind: str
    name: str
    field: str
    extra: str | None
    required: bool

    @property
    def meaning(self) -> tuple[str, str]:
        """What it tells, of what kind of thing."""
        return self.attribute, self.kind

    def line(self, rng: random.Random) -> str:
        """Its line in a dictionary: description, name, fields with their types."""
        described = describe(rng, self.attribute, self.kind, self.extra, self.required).rstrip(".")
        kind = "integer" if EXTRA_TYPES.get(self.extra or "") == "number" else "string"
        extra = f", {self.extra}:{kind}{'' if self.required else '?'}" if self.extra else ""
        return f"{described}: {self.name}({self.field}:string{extra})"

    def filled(self, rng: random.Random, entity: str) -> tuple[dict[str, object], tuple[str, ...]]:
        """(its fields, filled in for that entity, how a request says the further one); an optional field is left out now and then."""
        if not self.extra or not (self.required or rng.random() < 0.5):
            return {self.field: entity}, ()
        value = draw_extra_value(rng, self.extra, False)
        return {self.field: entity, self.extra: value}, (said_as(rng, self.extra, value),)

    def drawn_twin(self, rng: random.Random) -> "Entry":
        """Another entry that tells the same, under another name."""
        return replace(self, name=entry_name(rng, *self.meaning), field=rng.choice((self.kind, "name")))

    def refilled(self, filled: Mapping[str, object], entity: str) -> dict[str, object]:
        """Its fields, with what a twin's were ``filled`` with: the entity's first, then the further one."""
        return {self.field: entity} | {name: value for name, value in filled.items() if name == self.extra}


def draw_entry(rng: random.Random, attribute: str, kind: str) -> Entry:
    field = rng.choice((kind, kind, f"{kind}_name", "name", coined_word(rng)))
    extra = rng.choice(EXTRA_PARAMETERS)[0] if rng.random() < 0.35 else None
    return Entry(attribute, kind, entry_name(rng, attribute, kind), field, extra, extra is not None and rng.random() < 0.6)


def dictionary(rng: random.Random) -> Text:
    """A dictionary of made-up names with descriptions, then look-ups by what is needed: the answer states the need, then the entry's
    name, copied to the letter, and mostly its fields, filled in; or it says what is missing, or that no entry tells it. Of two entries
    that tell the same the first counts, until the question rules it out."""
    kind, other = draw_kind(rng), draw_kind(rng)
    entries = [draw_entry(rng, a, other if rng.random() < 0.25 else kind) for a, _ in draw_attributes(rng, rng.randint(2, 4))]
    if rng.random() < 0.4:
        entries.append(rng.choice(entries).drawn_twin(rng))
        rng.shuffle(entries)
    return Text(
        "\n".join(entry.line(rng) for entry in entries), tuple(_looked_up(rng, entries) for _ in range(rng.randint(3, 6)))
    )


def _looked_up(rng: random.Random, entries: list[Entry]) -> tuple[str, str]:
    """One request for something that an entry tells, or nearly, and the answer."""
    drawn, entity = rng.choice(entries), coined_name(rng)
    entry, *twins = [other for other in entries if other.meaning == drawn.meaning]
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
        entry, filled = twins[0], twins[0].refilled(filled, entity)
    answer = f"{stated(need)}\nEntry: {entry.name}"
    return asked_as(rng, need) + ruled_out, f"{answer}\nFields: {json.dumps(filled)}" if draw < 0.9 else answer


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
            said = (said_as(rng, extra, filled[extra]),)
        missing = rng.choice(list(filled)) if rng.random() < 0.15 and not fields.endswith("?") else None
        need = Need(draw_attribute(rng)[0], kind, "" if missing == key else entity, () if missing else said)
        answer = json.dumps(filled) if missing is None else f"Please tell me the {missing.replace('_', ' ')}."
        turns.append((f"{asked_as(rng, need)}\nForm: {titles[k]}", answer))
    return Text("\n".join(lines), tuple(turns))
