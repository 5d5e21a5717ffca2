"""The text opt-mini is pre-trained and instruction-tuned on: general text of the world, without any tool call.

Pre-training texts exercise what a language model needs before it can use tools: copying names it has never seen, looking an entry up
by what it does, filling in a JSON object from a sentence, reading one value out of a record, noticing that something is missing. The
words Thought, Action and Finish, and the tool-calling format, do not occur.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from toolslm_helpers.data.records import Message
from toolslm_helpers.data.values import sentence, spoken
from toolslm_helpers.data.wording import TRAINING, Need, phrase, planned
from toolslm_helpers.data.words import article
from toolslm_helpers.training.errands import errands
from toolslm_helpers.training.lookups import dictionary, entry_name, forms
from toolslm_helpers.training.texts import (
    Text,
    asked_as,
    coined_name,
    draw_attribute,
    draw_attributes,
    draw_kind,
    maybe_extra,
    next_of,
    training_value,
)


def records(rng: random.Random) -> Text:
    """Records in one of four layouts, then questions about them; one or two things are asked at a time, some are not there."""
    kind, layout = draw_kind(rng), rng.randrange(4)
    attributes = draw_attributes(rng, rng.randint(2, 4))
    table = {coined_name(rng): {a: training_value(rng, k) for a, k in attributes} for _ in range(rng.randint(1, 3))}
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
            needs = [Need(draw_attribute(rng)[0] if rng.random() < 0.5 else asked[0][1], kind, coined_name(rng))]
            answer = f"The {needs[0].attribute} of {needs[0].entity} is not known."
        turns.append((asked_as(rng, *needs), answer))
    return Text("\n".join(lines), tuple(turns))


def _snake(text: str) -> str:
    return text.replace(" ", "_")


def needs_listed(rng: random.Random) -> Text:
    """Requests, each followed by what it asks for, in the order in which it can be found: wording is peeled off, what matters stays."""
    turns = []
    for _ in range(rng.randint(4, 7)):
        kind = draw_kind(rng)
        needs = [
            Need(draw_attribute(rng)[0], kind, coined_name(rng), maybe_extra(rng)) for _ in range(rng.choice((1, 1, 2, 2, 3)))
        ]
        if rng.random() < 0.12:
            needs = [Need(draw_attribute(rng)[0], kind, "")]
        if len(needs) == 2 and rng.random() < 0.6:
            way = Need(draw_attribute(rng)[0].split()[-1], kind, needs[0].entity)
            chain = replace(needs[1], entity=way.entity, via=way.attribute)
            turns.append((asked_as(rng, chain), planned(way, chain, chained=True)))
        else:
            turns.append((asked_as(rng, *needs), planned(*needs)))
    return Text("", tuple(turns))


def remaining(rng: random.Random) -> Text:
    """Requests for several things, some of which are known already: the answer says what comes next, or that nothing does. Where one
    thing leads to the other, the way there comes first, and its name goes into what comes next."""
    turns = []
    for _ in range(rng.randint(3, 5)):
        kind, (attribute, value_kind) = draw_kind(rng), draw_attribute(rng)
        chained = rng.random() < 0.35
        if chained:
            via, entity, between = draw_attribute(rng)[0].split()[-1], coined_name(rng), coined_name(rng)
            asked = asked_as(rng, last := Need(attribute, kind, entity, maybe_extra(rng), via=via))
            steps = [(Need(via, kind, entity), between), (replace(last, entity=between, via=""), training_value(rng, value_kind))]
        else:
            steps = [
                (Need(a, kind, coined_name(rng), maybe_extra(rng)), training_value(rng, k))
                for a, k in draw_attributes(rng, rng.choice((1, 2, 2, 3)))
            ]
            asked = asked_as(rng, *(need for need, _ in steps))
        known = rng.randint(0, len(steps))
        plan = planned(*(need for need, _ in steps), chained=chained)
        lines = [asked, *([plan] if known and rng.random() < 0.7 else [])]
        lines += [sentence(need.attribute, need.entity, value) for need, value in steps[:known]]
        turns.append(("\n".join(lines), next_of(plan, [need for need, _ in steps], known)))
    return Text("", tuple(turns))


def replies(rng: random.Random) -> Text:
    """What somebody needed and the records that came, as JSON: the answer says each value that was needed, and nothing else."""
    turns = []
    for _ in range(rng.randint(3, 4)):
        lines, answer = [], []
        for _ in range(rng.choice((1, 1, 2, 3))):
            entity, attributes = coined_name(rng), draw_attributes(rng, rng.randint(1, 3))
            record = {a: training_value(rng, k) for a, k in attributes}
            wanted = rng.choice(attributes)[0]
            lines += [f"I need the {wanted} of {entity}.", json.dumps({_snake(a): v for a, v in record.items()})]
            answer.append(sentence(wanted, entity, record[wanted]))
        turns.append(("\n".join(lines), " ".join(answer)))
    return Text("", tuple(turns))


def chains(rng: random.Random) -> Text:
    """Facts that lead from one name to the next, and questions that follow them for two steps."""
    kind, lines, turns = draw_kind(rng), [], []
    for _ in range(rng.randint(2, 3)):
        via, (attribute, value_kind) = draw_attribute(rng)[0].split()[-1], draw_attribute(rng)
        entity, person = coined_name(rng), coined_name(rng)
        steps = sentence(via, entity, person), sentence(attribute, person, training_value(rng, value_kind))
        lines += steps
        turns.append((asked_as(rng, Need(attribute, kind, entity, via=via)), " ".join(steps)))
    rng.shuffle(lines)
    rng.shuffle(turns)
    return Text("\n".join(lines), tuple(turns))


def repeats(rng: random.Random) -> Text:
    """A list of names, words and numbers, said again: plain copying, the root of all the other skills."""
    items = [rng.choice((lambda: coined_name(rng), lambda: entry_name(rng, *(draw_attribute(rng)[0], draw_kind(rng))),
                         lambda: spoken(training_value(rng, rng.choice("nmdt")))))() for _ in range(rng.randint(4, 9))]  # fmt: skip
    again = rng.choice((items, items[::-1], rng.sample(items, len(items))))
    label = "Backwards" if again == items[::-1] else "Again" if again == items else "Mixed"
    return Text(f"{', '.join(items)}.\n{label}: {', '.join(again)}.")


def story(rng: random.Random) -> Text:
    """A few sentences of prose about one thing, in varied wording; names and values come back later in the text."""
    kind, entity = draw_kind(rng), coined_name(rng)
    attributes = [(a, training_value(rng, k)) for a, k in draw_attributes(rng, rng.randint(2, 4))]
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
    records: 0.12, dictionary: 0.22, errands: 0.18, forms: 0.09, replies: 0.13, remaining: 0.06, needs_listed: 0.06, chains: 0.05,
    repeats: 0.06, story: 0.03,
}  # fmt: skip


# Instruction tuning dwells on what takes longest to learn: finding the one entry that fits, and copying its name to the letter.
ASKED: dict[Callable[[random.Random], Text], float] = {
    dictionary: 0.27, errands: 0.30, forms: 0.08, replies: 0.16, records: 0.05, remaining: 0.05, chains: 0.03, needs_listed: 0.06,
}  # fmt: skip


def pretraining_texts(seed: str) -> Iterator[str]:
    """An endless, seeded stream of pre-training documents: one text of the kinds above, or two, so that lengths vary."""
    rng = random.Random(f"pretraining {seed}")
    while True:
        texts = [kind(rng) for kind in rng.choices(list(KINDS), list(KINDS.values()), k=1 + (rng.random() < 0.12))]
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
