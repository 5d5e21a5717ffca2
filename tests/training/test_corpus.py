"""Pre-training and instruction texts: what they answer is in the text, and no tool-calling format is in them."""

import itertools
import json
import random
import re
from collections import Counter

import pytest

from toolslm_helpers.data.values import sentence
from toolslm_helpers.data.words import EXTRA_PARAMETERS
from toolslm_helpers.training.corpus import (
    KINDS,
    chains,
    dictionary,
    errands,
    forms,
    instructions,
    needs_listed,
    pretraining_texts,
    records,
    remaining,
    replies,
)

# A need, stated: its attribute, of whom, and what else was said ("in 1987").
EXTRA = "|".join(form.split("{")[0] for *_, form in EXTRA_PARAMETERS)
NEED = re.compile(rf"I need the (.+?)(?: of ([A-Z]\w*(?: [A-Z]\w*)?)(?: ((?:{EXTRA}).+?))?)?\.")
PROTOCOL = re.compile(r"Thought|Action|Finish|Observation|return_type|final_answer|\"error\"|\btool", re.IGNORECASE)


def texts(kind, count=200):
    rng = random.Random(f"test {kind.__name__}")
    return [kind(rng) for _ in range(count)]


def test_no_tool_calling_format_before_fine_tuning():
    seen = list(itertools.islice(pretraining_texts("test"), 300))
    seen += ["\n".join(m.content for m in conversation) for conversation in itertools.islice(instructions("test"), 300)]
    assert not [match.group() for text in seen if (match := PROTOCOL.search(text))]


def test_an_entry_is_the_first_that_is_described_so_and_not_ruled_out():
    seen = Counter()
    for text in texts(dictionary):
        lines = [re.fullmatch(r"(.+): (\w+)\((.+)\)", line).groups() for line in text.context.splitlines()]
        for question, answer in text.turns:
            need = NEED.match(answer)
            if need is None:
                assert answer.removeprefix("Entry: ") in [name for _, name, _ in lines]
                continue
            attribute, entity, extra = need.groups("")
            assert all(part in question for part in (attribute, entity, extra))
            ruled_out = question.rpartition("\nNot ")[2].rstrip(".")
            fitting = [
                line for line in lines if re.search(rf"(^|the ){attribute}( of| for)", line[0], re.I) and line[1] != ruled_out
            ]
            seen["ruled out"] += ruled_out != question.rstrip(".")
            if answer.endswith(" No entry tells it."):
                seen["unknown"] += 1
                assert not fitting
            elif missing := re.search(r" The (\w+) is missing\.$", answer):
                seen["missing"] += 1
                assert not (extra if f" by {missing[1]}" in fitting[0][0] else entity)
            else:
                assert re.search(r"\nEntry: (\w+)", answer)[1] == fitting[0][1], (text, answer)
            if filled := re.search(r"\nFields: (.+)$", answer):
                seen["filled"] += 1
                fields = dict(field.split(":") for field in fitting[0][2].split(", "))
                values = json.loads(filled[1])
                assert (
                    values.keys() <= fields.keys()
                    and {f for f, kind in fields.items() if not kind.endswith("?")} <= values.keys()
                )
                assert all(str(value) in question for value in values.values())
    assert min(seen.values()) > 20 and len(seen) == 4


def test_a_form_is_filled_with_what_was_said():
    asked_back = 0
    for text in texts(forms):
        signatures = dict(re.fullmatch(r"(\w+)\((.+)\)", line).groups() for line in text.context.splitlines())
        for question, answer in text.turns:
            fields = dict(field.split(":") for field in signatures[question.rpartition("Form: ")[2]].split(", "))
            if answer.startswith("Please tell me the "):
                asked_back += 1
                assert answer.removeprefix("Please tell me the ").rstrip(".").replace(" ", "_") in fields
                continue
            filled = json.loads(answer)
            assert filled.keys() <= fields.keys() and {f for f, kind in fields.items() if not kind.endswith("?")} <= filled.keys()
            assert all(str(value) in question for value in filled.values())
            assert all(isinstance(filled[f], int if fields[f].startswith("integer") else str) for f in filled)
    assert asked_back > 10


@pytest.mark.parametrize("kind", [records, chains])
def test_an_answer_is_in_the_text(kind):
    for text in texts(kind):
        for question, answer in text.turns:
            for fact in re.findall(r"The (.+?) of ([A-Z][\w ]+?) (?:is|are) (.+?)\.(?= The|$)", answer):
                attribute, entity, value = fact
                if value == "not known":
                    assert entity not in text.context
                    continue
                assert entity in text.context and re.search(attribute.replace(" ", "[ _]"), text.context, re.IGNORECASE)
                assert all(part in text.context for part in re.split(r", | and ", value)), (fact, text)
            assert "The " in answer and question


def needs_of(plan):
    """(attribute, whose, extra) of each need of a plan; whose is "its" where the one before leads to it."""
    first, *rest = re.split(r"(?<=\.) Then ", plan)
    found = [NEED.fullmatch(first).groups("")]
    for need in rest:
        its = need.startswith("its ")
        attribute, entity, extra = (
            NEED.fullmatch(f"I need the {need[4:-1]}{' of Its' * its}.").groups("")
            if not its
            else (*re.fullmatch(rf"its (.+?)(?: ((?:{EXTRA}).+?))?\.", need).groups(""), "")
        )
        found.append((attribute, "its", entity) if its else (attribute, entity, extra))
    return found


def test_needs_are_all_listed():
    seen = Counter()
    for text in texts(needs_listed):
        for question, answer in text.turns:
            needs = needs_of(answer)
            seen[len(needs)] += 1
            for attribute, entity, extra in needs:
                seen[entity if entity in ("", "its") else "named"] += 1
                assert attribute in question and extra in question and (entity in question or entity == "its")
    assert min(seen[k] for k in (1, 2, 3, "", "its", "named")) > 20


def test_every_kind_comes():
    assert abs(sum(KINDS.values()) - 1) < 1e-9
    for kind in KINDS:
        assert len({str(text) for text in texts(kind, 30)}) == 30


def test_what_remains_is_the_first_that_is_not_known():
    seen = Counter()
    for text in texts(remaining):
        for question, answer in text.turns:
            asked, *known = question.splitlines()
            planned = bool(known) and known[0].startswith("I need")
            facts = known[planned:]
            assert len(set(facts)) == len(facts) <= 3 and (facts or not planned)
            if answer == "That is all.":
                seen["finished"] += 1
                assert facts and (not planned or len(needs_of(known[0])) == len(facts))
                continue
            needs = needs_of(answer)
            assert len(needs) == 1 or not facts  # the plan is made once, at the beginning
            attribute, entity, extra = needs[0]
            assert attribute in asked and extra in asked and not any(f"{attribute} of {entity} " in line for line in facts)
            assert entity in question
            seen["led"] += entity not in asked  # the name that the thing before led to
            seen["planned"] += planned
            if planned:
                assert needs_of(known[0])[len(facts)][0] == attribute
    assert min(seen.values()) > 50 and len(seen) == 3


def test_an_errand_s_next_step_is_the_first_that_is_not_known():
    seen = Counter()
    for text in texts(errands):
        lines = [re.fullmatch(r"(.+): (\w+)\((.+)\)", line).groups() for line in text.context.splitlines()]
        for question, answer in text.turns:
            asked, *history = question.splitlines()
            if answer == "That is all.":
                seen["finished"] += 1
                assert history
                continue
            if answer.endswith(" No entry tells it."):
                seen["nothing fits"] += 1
                assert history[-1].startswith("Not ")
                continue
            plan, entry, fields = answer.split("\n")
            (attribute, entity, extra), *later = needs_of(plan)
            assert attribute in asked and entity in question and not (later and any(h.startswith("I need") for h in history))
            seen["led"] += entity not in asked
            name = entry.removeprefix("Entry: ")
            ruled_out = [line.removeprefix("Not ").rstrip(".") for line in history if line.startswith("Not ")]
            fitting = [
                line for line in lines if re.search(rf"(^|the ){attribute}( of| for)", line[0], re.I) and line[1] not in ruled_out
            ]
            assert name == fitting[0][1], (text, question)
            values, offered = (
                json.loads(fields.removeprefix("Fields: ")),
                dict(field.split(":") for field in fitting[0][2].split(", ")),
            )
            assert (
                values.keys() <= offered.keys() and {f for f, kind in offered.items() if not kind.endswith("?")} <= values.keys()
            )
            assert all(str(value) in question for value in values.values()) and entity in values.values()
            seen["second choice"] += bool(ruled_out)
    assert min(seen.values()) > 10 and len(seen) == 4


def test_replies_say_what_was_needed_and_nothing_else():
    for text in texts(replies):
        for question, answer in text.turns:
            lines = question.splitlines()
            expected = []
            for need, record in zip(lines[::2], lines[1::2], strict=True):
                attribute, entity = re.fullmatch(r"I need the (.+) of (.+)\.", need).groups()
                expected.append(sentence(attribute, entity, json.loads(record)[attribute.replace(" ", "_")]))
            assert answer == " ".join(expected)
