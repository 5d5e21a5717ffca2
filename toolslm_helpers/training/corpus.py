"""The text opt-mini is pre-trained and instruction-tuned on: general text of the world, without any tool call.

Pre-training texts exercise what a language model needs before it can use tools: copying names it has never seen, looking an entry up
by what it does, filling in a JSON object from a sentence, reading one value out of a record, noticing that something is missing. The
words Thought, Action and Finish, and the tool-calling format, do not occur.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from toolslm_helpers.data.records import Message
from toolslm_helpers.data.values import draw_extra, draw_value, sentence, spoken
from toolslm_helpers.data.wording import TRAINING, Need, phrase, request
from toolslm_helpers.data.words import MODIFIERS, SEEN_THEMES, SHARED_ATTRIBUTES, article, coin_name, coin_word


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
    for _ in range(rng.randint(2, 3)):
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
    a, k = _snake(attribute), _snake(kind)
    name = rng.choice((f"get_{a}", f"{a}_lookup", f"find_{a}", f"{k}_{a}", f"{a}_by_{k}", f"fetch_{a}", a, f"read_{a}", f"check_{a}",
                       f"{a}_of_{k}", f"{a}_info", f"v{rng.randint(1, 9)}_{coin_word(rng, False)}", f"entry_{rng.randint(1, 99)}"))  # fmt: skip
    return f"{name}_{rng.choice(('in', 'from', 'for', 'of'))}_{coin_word(rng, False)}"


def describe(rng: random.Random, attribute: str, kind: str) -> str:
    """A description of an entry that holds an attribute of a kind of thing."""
    return rng.choice((f"{attribute.capitalize()} of {article(kind)}.", f"Returns the {attribute} of {article(kind)}.",
                       f"Get the {attribute} for {article(kind)}.", f"The {attribute} of one {kind}.", f"{attribute.capitalize()} by {kind}.",
                       f"Look up the {attribute} of any {kind}.", f"Holds the {attribute} for each {kind}."))  # fmt: skip


def dictionary(rng: random.Random) -> Text:
    """A dictionary of made-up names with descriptions, then look-ups by what is needed: the answer is a name, copied to the letter."""
    kind = _kind(rng)
    entries = {a: entry_name(rng, a, kind) for a, _ in _attributes(rng, rng.randint(2, 5))}
    lines, turns = [], []
    for a, name in entries.items():
        fields = [_snake(kind)] + [draw_extra(rng, False)[0]] * (rng.random() < 0.3)
        lines.append(f"{name}({', '.join(fields)}): {describe(rng, a, kind)}")
    for _ in range(rng.randint(2, 3)):
        attribute = rng.choice(list(entries))
        need, name = Need(attribute, kind, coin_name(rng, False)), entries[attribute]
        if rng.random() < 0.15:
            need, name = Need(_attribute(rng)[0], kind, need.entity), "none"
        if rng.random() < 0.7:
            turns.append((_ask(rng, need), f"Need: the {need.attribute} of {need.entity}.\nEntry: {name}"))
        else:
            turns.append((f"Need: the {need.attribute} of {article(kind)}.", f"Entry: {name}"))
    return Text("\n".join(lines), tuple(turns))


def forms(rng: random.Random) -> Text:
    """A form with named fields, a request, and the form filled in as JSON: names and numbers are copied, a missing field is said."""
    turns = []
    for _ in range(rng.randint(2, 3)):
        kind, attribute, entity = _kind(rng), _attribute(rng)[0], coin_name(rng, False)
        key = rng.choice((_snake(kind), f"{_snake(kind)}_name", "name", coin_word(rng, False)))
        filled: dict[str, object] = {key: entity}
        extras = []
        if rng.random() < 0.45:
            name, value, said = draw_extra(rng, False)
            filled[name] = value
            extras.append(said)
        missing = rng.choice(list(filled)) if rng.random() < 0.2 else None
        need = Need(attribute, kind, "" if missing == key else entity, () if missing and missing != key else tuple(extras))
        answer = json.dumps(filled) if missing is None else f"Please tell me the {missing.replace('_', ' ')}."
        turns.append((f"Fields: {', '.join(filled)}.\n{_ask(rng, need)}", answer))
    return Text("", tuple(turns))


def needs_listed(rng: random.Random) -> Text:
    """Requests, each followed by what it asks for, one line a need: wording is peeled off, what matters stays."""
    turns = []
    for _ in range(rng.randint(3, 4)):
        kind = _kind(rng)
        needs = [Need(_attribute(rng)[0], kind, coin_name(rng, False)) for _ in range(rng.choice((1, 1, 2)))]
        turns.append((_ask(rng, *needs), "\n".join(f"Need: the {n.attribute} of {n.entity}." for n in needs)))
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
    records: 0.26, dictionary: 0.28, forms: 0.18, needs_listed: 0.06, chains: 0.08, repeats: 0.07, story: 0.07,
}  # fmt: skip


# Instruction tuning dwells on what takes longest to learn: finding the one entry that fits, and copying its name to the letter.
ASKED: dict[Callable[[random.Random], Text], float] = {
    dictionary: 0.5,
    forms: 0.22,
    records: 0.14,
    chains: 0.09,
    needs_listed: 0.05,
}


def pretraining_texts(seed: str) -> Iterator[str]:
    """An endless, seeded stream of pre-training documents: one text of the kinds above, or two, so that lengths vary."""
    rng = random.Random(f"pretraining {seed}")
    while True:
        texts = [kind(rng) for kind in rng.choices(list(KINDS), list(KINDS.values()), k=rng.choice((1, 1, 1, 2)))]
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
