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


def test_needs_are_all_listed():
    forgetful = 0
    for text in texts(needs_listed):
        for question, answer in text.turns:
            for line in answer.splitlines():
                attribute, entity, extra = NEED.fullmatch(line).groups("")
                forgetful += not entity
                assert attribute in question and entity in question and extra in question
    assert forgetful > 20


def test_every_kind_comes():
    assert abs(sum(KINDS.values()) - 1) < 1e-9
    for kind in KINDS:
        assert len({str(text) for text in texts(kind, 30)}) == 30


def test_what_remains_is_the_first_that_is_not_known():
    finished = led = 0
    for text in texts(remaining):
        for question, answer in text.turns:
            asked, *known = question.splitlines()
            assert len(set(known)) == len(known) <= 3
            if answer == "That is all.":
                finished += 1
                assert known
            else:
                attribute, entity, extra = NEED.fullmatch(answer).groups("")
                assert attribute in asked and extra in asked and not any(f"{attribute} of {entity} " in line for line in known)
                led += entity not in asked  # the name that the thing before led to
                assert entity in question
    assert finished > 50 and led > 50


def test_replies_say_what_was_needed_and_nothing_else():
    for text in texts(replies):
        for question, answer in text.turns:
            lines = question.splitlines()
            expected = []
            for need, record in zip(lines[::2], lines[1::2], strict=True):
                attribute, entity = re.fullmatch(r"I need the (.+) of (.+)\.", need).groups()
                expected.append(sentence(attribute, entity, json.loads(record)[attribute.replace(" ", "_")]))
            assert answer == " ".join(expected)
