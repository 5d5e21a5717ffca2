"""Typed requests: all of a need is said, the grammar is whole, and no held-out wording can be grown from it."""

import random
import re
from itertools import chain

import pytest

from toolslm_helpers.data.queries import test_queries, typed_queries
from toolslm_helpers.data.typed import GRAMMAR, typed_request
from toolslm_helpers.data.wording import HELD_OUT, Need
from toolslm_helpers.data.world import SETS, build_world

test_queries.__test__ = False  # a function of the package, not a test
FILLED_IN = set("a e k ak x X via whom want w".split())  # what a need says, and the coined word
NEEDS = {
    "one": [Need("annual price", "hotel", "Kelmora", ("in 1987",))],
    "two": [Need("price", "hotel", "Kelmora"), Need("club", "player", "Dunmont Sea", ("on line Brot",))],
    "two of one": [Need("price", "hotel", "Kelmora", ("in zone Gant",)), Need("next chef", "hotel", "Kelmora")],
    "chain": [Need("age", "film", "Bonsea", ("at level 7",), via="director")],
    "forgetful": [Need("peak fee", "fund", "", ("in May",))],
}


@pytest.fixture(scope="module")
def typed():
    return [q.query.query for q in typed_queries(build_world(), 4_000)]


@pytest.mark.parametrize("needs", NEEDS.values(), ids=NEEDS)
def test_all_of_a_need_is_said(needs):
    for seed in range(400):
        text, template = typed_request(random.Random(seed), needs)
        assert template.startswith("typed|")
        for need in needs:
            wanted = [need.attribute, need.entity, need.via, *(extra.split()[-1] for extra in need.extras)]
            assert all(part.lower() in text.lower() for part in wanted), text
            assert all(text.count(extra.split()[-1]) == 1 for extra in need.extras), text
        assert not re.search(r"[{}]|  |^\s|\s$", text), text
        assert (text, template) == typed_request(random.Random(seed), needs)


def test_hardly_two_requests_are_worded_alike():
    """Of a thousand for the same need hardly any is said twice; without a name there is less to say."""
    for name, needs in NEEDS.items():
        said = {typed_request(random.Random(seed), needs)[0] for seed in range(1_000)}
        assert len(said) > (800 if name == "forgetful" else 950)


def test_every_symbol_has_forms_and_every_rule_is_reached():
    used = {symbol for form in chain(*GRAMMAR.values()) for symbol in re.findall(r"\{(\w+)\}", form)}
    roots = {"request", "follow-up", "forgetful", "and", "counted", "hi", "sep", "E"}
    assert used <= set(GRAMMAR) | FILLED_IN
    assert set(GRAMMAR) <= used | roots


def pattern_of(form):
    """A held-out form as a pattern: what it says itself, as whole words, with anything in its gaps."""
    said = [re.escape(part.strip(" ?.").lower()) for part in re.split(r"\{\w+\}", form)]
    return re.compile(".+".join(rf"(?<!\w){part}(?!\w)" if part else "" for part in said))


@pytest.mark.parametrize("part", ["frames", "forgetful", "phrases", "chains", "openings", "follow_ups", "endings"])
def test_no_held_out_wording_is_grown(part, typed):
    patterns = {
        form: pattern_of(form) for form in getattr(HELD_OUT, part) if re.search(r"[a-z]{3}", re.sub(r"\{\w+\}", "", form))
    }
    assert patterns
    for form, pattern in patterns.items():
        found = [text for text in typed if pattern.search(text.lower())]
        assert not found, (form, found[0])


def test_no_rule_holds_a_held_out_join():
    """Looked for in the rules, since a coined word may be "plus"."""
    patterns = [pattern_of(re.sub(r"\{\w+\}", " ", join)) for join in HELD_OUT.joins]
    assert not [form for form in chain(*GRAMMAR.values()) for pattern in patterns if pattern.search(form.lower())]


def test_the_patterns_find_the_test_queries():
    """The search above is not blind: nearly every test query has a frame that it finds."""
    patterns = [pattern_of(form) for form in (*HELD_OUT.frames, *HELD_OUT.forgetful)]
    queries = [q.query.query.lower() for name in SETS for q in test_queries(build_world(), name)]
    assert all(any(pattern.search(text) for pattern in patterns) for text in queries)
