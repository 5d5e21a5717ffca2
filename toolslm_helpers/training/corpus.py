"""The text opt-mini is pre-trained and instruction-tuned on: general text of the world, without any tool call.

Pre-training texts exercise what a language model needs before it can use tools: copying names it has never seen, looking an entry up
by what it does, filling in a JSON object from a sentence, reading one value out of a record, noticing that something is missing. The
words Thought, Action and Finish, and the tool-calling format, do not occur.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from toolslm_helpers.data.records import Message
from toolslm_helpers.data.tools import EXTRA_TYPES, describe, name_api
from toolslm_helpers.data.values import draw_extra, draw_extra_value, draw_value, sentence, spoken
from toolslm_helpers.data.wording import TRAINING, Need, phrase, request, stated
from toolslm_helpers.data.words import (
    EXTRA_PARAMETERS,
    MODIFIERS,
    SEEN_THEMES,
    SHARED_ATTRIBUTES,
    article,
    coin_name,
    coin_word,
)


@dataclass(frozen=True)
class Text:
    """A text to read, and turns of (what is asked, what is answered) about it. A text without turns is prose or a list."""

    context: str
    turns: tuple[tuple[str, str], ...] = ()


_KINDS = tuple(kind for theme in SEEN_THEMES for kind in theme.kinds)
_ATTRIBUTES = tuple(a for theme in SEEN_THEMES for a in theme.attributes) + SHARED_ATTRIBUTES


def _kind(rng: random.Random) -> str:
    return rng.choice(_KINDS) if rng.random() < 0.5 else coin_word(rng, False)


def _attribute(rng: random.Random) -> tuple[str, str]:
    """(phrase, value kind): a real noun or a coined one, with a modifier more often than not."""
    noun, value_kind = rng.choice(_ATTRIBUTES)
    if rng.random() < 0.1:
        value_kind = "l"  # lists are rare among the world's attributes, and a list in JSON is read in a way of its own
    if rng.random() < 0.45:
        noun = coin_word(rng, False)
    return (f"{rng.choice(MODIFIERS)} {noun}" if rng.random() < 0.55 else noun), value_kind


def _attributes(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """``count`` different attributes; now and then two that differ in their modifier only, so that every word must be read."""
    found = dict([_attribute(rng)])
    while len(found) < count:
        if rng.random() < 0.25:
            last = list(found)[-1]
            found.setdefault(f"{rng.choice(MODIFIERS)} {last.split()[-1]}", found[last])
        else:
            found.update([_attribute(rng)])
    return list(found.items())


def _value(rng: random.Random, kind: str) -> object:
    return draw_value(rng, kind, held_out=False)


def _ask(rng: random.Random, *needs: Need) -> str:
    return request(rng, needs, TRAINING)[0]


def records(rng: random.Random) -> Text:
    """Records in one of four layouts, then questions about them; one or two things are asked at a time, some are not there."""
    kind, layout = _kind(rng), rng.randrange(4)
    attributes = _attributes(rng, rng.randint(2, 4))
    table = {coin_name(rng, False): {a: _value(rng, k) for a, k in attributes} for _ in range(rng.randint(1, 3))}
    lines, turns = [], []
    for entity, values in table.items():
        if layout == 0:
            lines.append(f"{entity}, {article(kind)}: " + ", ".join(f"{a} {spoken(v)}" for a, v in values.items()) + ".")
        elif layout == 1:
            lines.append(" ".join(sentence(a, entity, v) for a, v in values.items()))
        else:
            record = {_snake(a): v for a, v in values.items()}
            lines.append(json.dumps({kind: entity} | record if layout == 2 else {entity: record}))
    cells = [(entity, a, v) for entity, values in table.items() for a, v in values.items()]
    for _ in range(rng.randint(3, 6)):
        asked = rng.sample(cells, min(len(cells), rng.choice((1, 1, 2))))
        needs = [Need(a, kind, entity) for entity, a, _ in asked]
        answer = " ".join(sentence(a, entity, v) for entity, a, v in asked)
        if rng.random() < 0.12:
            needs = [Need(_attribute(rng)[0] if rng.random() < 0.5 else asked[0][1], kind, coin_name(rng, False))]
            answer = f"The {needs[0].attribute} of {needs[0].entity} is not known."
        turns.append((_ask(rng, *needs), answer))
    return Text("\n".join(lines), tuple(turns))


def _snake(text: str) -> str:
    return text.replace(" ", "_")


def entry_name(rng: random.Random, attribute: str, kind: str) -> str:
    """A made-up name of an entry: mostly it speaks of what it holds, sometimes it is opaque and only its description tells."""
    return f"{name_api(rng, attribute, kind)}_{rng.choice(('in', 'from', 'for', 'of'))}_{coin_word(rng, False)}"


def _fields(rng: random.Random, kind: str, extra: str | None) -> str:
    """The fields of an entry with their types: one for the entity, and now and then a further one that may be optional."""
    field = rng.choice((kind, kind, f"{kind}_name", "name", coin_word(rng, False)))
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


def _entry(rng: random.Random, attribute: str, kind: str) -> _Entry:
    field = rng.choice((kind, kind, f"{kind}_name", "name", coin_word(rng, False)))
    extra = rng.choice(EXTRA_PARAMETERS)[0] if rng.random() < 0.35 else None
    return _Entry(attribute, kind, entry_name(rng, attribute, kind), field, extra, extra is not None and rng.random() < 0.6)


def dictionary(rng: random.Random) -> Text:
    """A dictionary of made-up names with descriptions, then look-ups by what is needed: the answer states the need, then the entry's
    name, copied to the letter, and mostly its fields, filled in; or it says what is missing, or that no entry tells it. Of two entries
    that tell the same the first counts, until the question rules it out."""
    kind, other = _kind(rng), _kind(rng)
    entries = [_entry(rng, a, other if rng.random() < 0.25 else kind) for a, _ in _attributes(rng, rng.randint(2, 4))]
    if rng.random() < 0.4:
        twin = rng.choice(entries)
        entries.append(replace(twin, name=entry_name(rng, twin.attribute, twin.kind), field=rng.choice((twin.kind, "name"))))
        rng.shuffle(entries)
    return Text(
        "\n".join(entry.line(rng) for entry in entries), tuple(_looked_up(rng, entries) for _ in range(rng.randint(3, 6)))
    )


def _looked_up(rng: random.Random, entries: list[_Entry]) -> tuple[str, str]:
    """One request for something that an entry tells, or nearly, and the answer."""
    drawn, entity = rng.choice(entries), coin_name(rng, False)
    entry, *twins = [other for other in entries if (other.attribute, other.kind) == (drawn.attribute, drawn.kind)]
    filled: dict[str, object] = {entry.field: entity}
    said: tuple[str, ...] = ()
    if entry.extra and (entry.required or rng.random() < 0.5):
        filled[entry.extra] = draw_extra_value(rng, entry.extra, False)
        said = (rng.choice([form for name, _, form in EXTRA_PARAMETERS if name == entry.extra]).format(filled[entry.extra]),)
    draw = rng.random()
    if draw < 0.12:  # something else is needed, now and then by its modifier only
        noun = entry.attribute.split()[-1] if rng.random() < 0.3 else _attribute(rng)[0]
        unknown = f"{rng.choice(MODIFIERS)} {noun}" if " " not in noun and rng.random() < 0.6 else noun
        if all(unknown != other.attribute for other in entries):
            need = Need(unknown, entry.kind, entity, said)
            return _ask(rng, need), f"{stated(need)} No entry tells it."
    if draw < 0.24:
        missing = entry.extra if said and entry.required and rng.random() < 0.6 else entry.kind
        need = Need(entry.attribute, entry.kind, *(("", ()) if missing == entry.kind else (entity, ())))
        return _ask(rng, need), f"{stated(need)} The {missing} is missing."
    need, ruled_out = Need(entry.attribute, entry.kind, entity, said), ""
    if draw < 0.34:
        return f"I need the {need.attribute} of {article(need.kind)}.", f"Entry: {entry.name}"
    if draw < (0.7 if twins else 0.42):
        ruled_out = f"\nNot {entry.name}."
        if not twins:
            return _ask(rng, need) + ruled_out, f"{stated(need)} No entry tells it."
        filled[twins[0].field] = filled.pop(entry.field)
        filled = dict(sorted(filled.items(), key=lambda item: item[0] == entry.extra))  # the entity's field stands first
        entry = twins[0]
    answer = f"{stated(need)}\nEntry: {entry.name}"
    return _ask(rng, need) + ruled_out, f"{answer}\nFields: {json.dumps(filled)}" if draw < 0.9 else answer


def _said(rng: random.Random) -> tuple[str, ...]:
    return (draw_extra(rng, False)[2],) if rng.random() < 0.25 else ()


def forms(rng: random.Random) -> Text:
    """Forms with named fields, and requests that fill one of them in as JSON: names and numbers are copied, a missing field is said."""
    kind, lines, turns = _kind(rng), [], []
    titles = [entry_name(rng, a, kind) for a, _ in _attributes(rng, rng.randint(1, 3))]
    signatures: list[tuple[str, str | None]] = []
    for title in titles:
        extra = rng.choice(EXTRA_PARAMETERS)[0] if rng.random() < 0.6 else None
        signatures.append((_fields(rng, kind, extra), extra))
        lines.append(f"{title}({signatures[-1][0]})")
    for _ in range(rng.randint(3, 6)):
        k = rng.randrange(len(titles))
        fields, extra = signatures[k]
        key = fields.split(":")[0]
        entity, said = coin_name(rng, False), ()
        filled: dict[str, object] = {key: entity}
        if extra and (not fields.endswith("?") or rng.random() < 0.5):
            filled[extra] = draw_extra_value(rng, extra, False)
            said = (rng.choice([form for name, _, form in EXTRA_PARAMETERS if name == extra]).format(filled[extra]),)
        missing = rng.choice(list(filled)) if rng.random() < 0.15 and not fields.endswith("?") else None
        need = Need(_attribute(rng)[0], kind, "" if missing == key else entity, () if missing else said)
        answer = json.dumps(filled) if missing is None else f"Please tell me the {missing.replace('_', ' ')}."
        turns.append((f"{_ask(rng, need)}\nForm: {titles[k]}", answer))
    return Text("\n".join(lines), tuple(turns))


def needs_listed(rng: random.Random) -> Text:
    """Requests, each followed by what it asks for, one line a need: wording is peeled off, what matters stays."""
    turns = []
    for _ in range(rng.randint(4, 7)):
        kind = _kind(rng)
        needs = [Need(_attribute(rng)[0], kind, coin_name(rng, False), _said(rng)) for _ in range(rng.choice((1, 1, 2, 3)))]
        if rng.random() < 0.12:
            needs = [Need(_attribute(rng)[0], kind, "")]
        turns.append((_ask(rng, *needs), "\n".join(map(stated, needs))))
    return Text("", tuple(turns))


def remaining(rng: random.Random) -> Text:
    """Requests for several things, some of which are known already: the answer says what comes next, or that nothing does. Where one
    thing leads to the other, the way there comes first, and its name goes into what comes next."""
    turns = []
    for _ in range(rng.randint(3, 5)):
        kind, (attribute, value_kind) = _kind(rng), _attribute(rng)
        if rng.random() < 0.35:
            via, entity, between = _attribute(rng)[0].split()[-1], coin_name(rng, False), coin_name(rng, False)
            asked = _ask(rng, last := Need(attribute, kind, entity, _said(rng), via=via))
            steps = [(Need(via, kind, entity), between), (replace(last, entity=between, via=""), _value(rng, value_kind))]
        else:
            steps = [
                (Need(a, kind, coin_name(rng, False), _said(rng)), _value(rng, k))
                for a, k in _attributes(rng, rng.choice((1, 2, 2, 3)))
            ]
            asked = _ask(rng, *(need for need, _ in steps))
        known = rng.randint(0, len(steps))
        lines = [asked, *(sentence(need.attribute, need.entity, value) for need, value in steps[:known])]
        turns.append(("\n".join(lines), stated(steps[known][0]) if known < len(steps) else "That is all."))
    return Text("", tuple(turns))


def replies(rng: random.Random) -> Text:
    """What somebody needed and the records that came, as JSON: the answer says each value that was needed, and nothing else."""
    turns = []
    for _ in range(rng.randint(3, 4)):
        lines, answer = [], []
        for _ in range(rng.choice((1, 1, 2, 3))):
            entity, attributes = coin_name(rng, False), _attributes(rng, rng.randint(1, 3))
            record = {a: _value(rng, k) for a, k in attributes}
            wanted = rng.choice(attributes)[0]
            lines += [f"I need the {wanted} of {entity}.", json.dumps({_snake(a): v for a, v in record.items()})]
            answer.append(sentence(wanted, entity, record[wanted]))
        turns.append(("\n".join(lines), " ".join(answer)))
    return Text("", tuple(turns))


def chains(rng: random.Random) -> Text:
    """Facts that lead from one name to the next, and questions that follow them for two steps."""
    kind, lines, turns = _kind(rng), [], []
    for _ in range(rng.randint(2, 3)):
        via, (attribute, value_kind) = _attribute(rng)[0].split()[-1], _attribute(rng)
        entity, person = coin_name(rng, False), coin_name(rng, False)
        steps = sentence(via, entity, person), sentence(attribute, person, _value(rng, value_kind))
        lines += steps
        turns.append((_ask(rng, Need(attribute, kind, entity, via=via)), " ".join(steps)))
    rng.shuffle(lines)
    rng.shuffle(turns)
    return Text("\n".join(lines), tuple(turns))


def repeats(rng: random.Random) -> Text:
    """A list of names, words and numbers, said again: plain copying, the root of all the other skills."""
    items = [rng.choice((lambda: coin_name(rng, False), lambda: entry_name(rng, *(_attribute(rng)[0], _kind(rng))),
                         lambda: spoken(_value(rng, rng.choice("nmdt")))))() for _ in range(rng.randint(4, 9))]  # fmt: skip
    again = rng.choice((items, items[::-1], rng.sample(items, len(items))))
    label = "Backwards" if again == items[::-1] else "Again" if again == items else "Mixed"
    return Text(f"{', '.join(items)}.\n{label}: {', '.join(again)}.")


def story(rng: random.Random) -> Text:
    """A few sentences of prose about one thing, in varied wording; names and values come back later in the text."""
    kind, entity = _kind(rng), coin_name(rng, False)
    attributes = [(a, _value(rng, k)) for a, k in _attributes(rng, rng.randint(2, 4))]
    lines = [
        rng.choice(
            (
                f"{entity} is {article(kind)}.",
                f"There is {article(kind)} called {entity}.",
                f"Many people know the {kind} {entity}.",
            )
        )
    ]
    for a, v in attributes:
        lines.append(
            rng.choice(
                (
                    f"Its {a} is {spoken(v)}.",
                    f"The {a} is {spoken(v)}.",
                    f"People say its {a} is {spoken(v)}.",
                    f"If you ask for the {a}, the answer is {spoken(v)}.",
                    f"With a {a} of {spoken(v)}, it is well known.",
                )
            )
        )
    a, v = rng.choice(attributes)
    text, _ = phrase(rng, Need(a, kind, entity), TRAINING)
    lines.append(
        rng.choice((f"So {text} is {spoken(v)}.", f"Remember {text}: {spoken(v)}.", f"Now we know {text}. It is {spoken(v)}."))
    )
    return Text(" ".join(lines))


KINDS: dict[Callable[[random.Random], Text], float] = {
    records: 0.16, dictionary: 0.30, forms: 0.12, replies: 0.12, remaining: 0.09, needs_listed: 0.06, chains: 0.07, repeats: 0.04, story: 0.04,
}  # fmt: skip


# Instruction tuning dwells on what takes longest to learn: finding the one entry that fits, and copying its name to the letter.
ASKED: dict[Callable[[random.Random], Text], float] = {
    dictionary: 0.40, forms: 0.10, replies: 0.16, records: 0.08, remaining: 0.13, chains: 0.05, needs_listed: 0.08,
}  # fmt: skip


def pretraining_texts(seed: str) -> Iterator[str]:
    """An endless, seeded stream of pre-training documents: one text of the kinds above, or two, so that lengths vary."""
    rng = random.Random(f"pretraining {seed}")
    while True:
        texts = [kind(rng) for kind in rng.choices(list(KINDS), list(KINDS.values()), k=rng.choice((1, 1, 1, 1, 1, 2)))]
        yield (
            "\n\n".join("\n".join(filter(None, [t.context, *(part for turn in t.turns for part in turn)])) for t in texts) + "\n"
        )


def instructions(seed: str) -> Iterator[list[Message]]:
    """An endless, seeded stream of conversations without tools: the same skills, asked by a user, answered by an assistant."""
    rng = random.Random(f"instructions {seed}")
    while True:
        text = rng.choices(list(ASKED), list(ASKED.values()))[0](rng)
        system = rng.choice(("Answer the user.", "Answer from the text.", "Be brief."))
        messages = [Message(role="system", content="\n".join(filter(None, [system, text.context])))]
        for question, answer in text.turns:
            messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
        yield messages
