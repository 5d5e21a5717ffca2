"""The form of a turn: which texts it holds, which pieces may come next."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.agent.gold import gold_trajectory
from toolslm_helpers.agent.virtual_api import check_arguments
from toolslm_helpers.data import queries
from toolslm_helpers.data.names import FINISH, function_name, function_of
from toolslm_helpers.data.records import Function
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.text.grammar import (
    TEXT,
    Constraint,
    OneOf,
    Pieces,
    Some,
    advance,
    arguments_form,
    longest,
    may_end,
    turn_form,
)
from toolslm_helpers.text.protocol import parse_action
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
QUERIES = [query for name in SETS for query in queries.test_queries(WORLD, name)[:5]]
TOKENIZER = load_small_tokenizer()
PIECES = Pieces(TOKENIZER)


def holds(form, text):
    """Whether ``text`` is a whole text of ``form``."""
    return any(map(may_end, advance(frozenset({form}), text)))


def begins(form, text):
    return bool(advance(frozenset({form}), text))


def function(required=(), optional=(), **types):
    properties = {name: {"type": types.get(name, "string")} for name in (*required, *optional)}
    return Function(name="f", parameters={"type": "object", "properties": properties, "required": list(required)})


def test_parts_by_hand():
    form = ("a", Some("xy", 2, least=1), OneOf((("b",), ("bc",), ())), "!")
    whole = {"ax!", "axy!", "axb!", "ayxbc!"}
    assert {text for text in (*whole, "a!", "axyx!", "axz!", "axc!", "ax", "x!", "") if holds(form, text)} == whole
    assert all(begins(form, text[:k]) for text in whole for k in range(len(text) + 1))
    assert not begins(form, "ab") and not begins(form, "ax!!")
    assert longest(form) == len("ayxbc!")
    assert (
        may_end(())
        and may_end((Some("x", 3), OneOf((("a",), ()))))
        and not may_end((Some("x", 3, least=1),))
        and not may_end(("a",))
    )


@pytest.mark.parametrize(
    ("wanted", "inputs"),
    [
        (function(["city"]), ['{"city": "Oslo"}']),
        (function(["city"], ["year"], year="integer"), ['{"city": "Oslo"}', '{"city": "Oslo", "year": 1987}']),
        (function([], ["a", "b"]), ["{}", '{"a": "x"}', '{"b": "x"}', '{"a": "x", "b": "y"}']),
        (function(["on"], on="boolean"), ['{"on": true}', '{"on": false}']),
        (function(["n"], n="integer"), ['{"n": 0}', '{"n": 7}', '{"n": 123456}']),
        (function(), ["{}"]),
    ],
)
def test_arguments_are_those_of_the_function(wanted, inputs):
    for text in inputs:
        assert holds(arguments_form(wanted), text), text
        json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["{}", '{"year": 1987}', '{"city": ""}', '{"city": 5}', '{"town": "Oslo"}', '{"city": "Oslo", "year": "1987"}', '{"city": "Os"lo"}',
     '{"city": "Oslo", "city": "Oslo"}', '{"city": "Oslo", "year": 01}', '{"city": "Oslo", "year": 1234567}', '{"city": "a\\nb"}'],
)  # fmt: skip
def test_other_arguments_are_not(text):
    assert not holds(arguments_form(function(["city"], ["year"], year="integer")), text)


def test_every_gold_turn_is_well_formed():
    """What fine-tuning teaches can be written under the constraint: it costs a right model nothing."""
    for query in QUERIES:
        form = turn_form([function_of(api) for api in query.query.api_list])
        for message in gold_trajectory(WORLD, query, "compact").messages:
            if message.role == "assistant":
                assert holds(form, message.content), message.content


def test_gold_turns_can_be_written_in_the_tokenizer_s_own_pieces():
    """Or the model would have to spell what it has only seen whole. (A name that is settled in the middle of a word may split it.)"""
    pieces, others = 0, []
    for query in QUERIES:
        form = turn_form([function_of(api) for api in query.query.api_list])
        for message in gold_trajectory(WORLD, query, "compact").messages:
            if message.role == "assistant":
                allowed, ids = Constraint(form, PIECES), TOKENIZER.encode(message.content, add_special_tokens=False)
                others += [PIECES.texts[id_] for k, id_ in enumerate(ids) if id_ not in allowed(ids[:k])]
                assert allowed(ids) == [TOKENIZER.eos_token_id]
                pieces += len(ids)
    assert pieces > 1000 and len(others) < 0.02 * pieces, others


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(QUERIES))
def test_whatever_is_chosen_among_the_allowed_pieces_the_turn_is_a_call_that_can_be_made(seed, query):
    """A model that chooses at random writes no call that the API would refuse, and it always comes to an end."""
    rng = random.Random(seed)
    apis = {function_name(api): api for api in query.query.api_list}
    form = turn_form([function_of(api) for api in query.query.api_list])
    allowed, written = Constraint(form, PIECES), []
    while not written or written[-1] != TOKENIZER.eos_token_id:
        written.append(rng.choice(allowed(written)))
    text = TOKENIZER.decode(written[:-1], clean_up_tokenization_spaces=False)
    assert len(written) <= longest(form) + 1
    action = parse_action(text)
    assert action.problem is None and action.action in {*apis, FINISH.name}
    if action.action in apis:
        check_arguments(apis[action.action], action.arguments)  # raises for a missing, unknown or mistyped argument
    else:
        ends = action.arguments["return_type"], bool(action.arguments.get("final_answer"))
        assert ends in {("give_answer", True), ("give_up_and_restart", False)}


def test_all_choices_are_really_open():
    """Every offered name, Finish in both ways, and text of any length can be reached: the constraint decides nothing."""
    query = next(query for query in QUERIES if len(query.query.api_list) >= 3)
    functions = [function_of(api) for api in query.query.api_list]
    form = turn_form(functions)
    for wanted in functions:
        assert begins(form, f"\nThought: \nAction: {wanted.name}\nAction Input: {{")
    assert begins(form, '\nThought: x\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}')
    assert not begins(form, "\nThought: x\nAction: get_weather_for_nobody")
    inside = advance(frozenset({form}), "\nThought: I")
    free = {id_ for id_, text in PIECES.texts.items() if set(text) <= set(TEXT)}
    assert set(PIECES.fitting(inside)) == free | {
        id_ for id_, text in PIECES.texts.items() if begins(form, f"\nThought: I{text}") and id_ not in free
    }
    assert TOKENIZER.convert_tokens_to_ids("\nAction: ") in PIECES.fitting(inside)


def test_fitting_is_what_taking_away_every_piece_finds():
    """The short cuts (text inside free text, first characters) against the definition."""
    form = turn_form([function_of(api) for api in QUERIES[0].query.api_list])
    for text in (
        "\nThought: " + "x" * 54,
        "\nThought: a\nAction: ",
        '\nThought: a\nAction: Finish\nAction Input: {"return_type": "give_',
    ):
        state = advance(frozenset({form}), text)
        assert len(state) > 1 or not isinstance(next(iter(state))[0], str), "a place where something is open"
        assert PIECES.fitting(state) == sorted(id_ for id_, piece in PIECES.texts.items() if advance(state, piece))


def test_settled_text_is_written_in_the_tokenizer_s_pieces():
    form = turn_form([function_of(api) for api in QUERIES[0].query.api_list])
    state = advance(frozenset({form}), "\nThought: a\nAction: Finish")
    assert [PIECES.texts[id_] for id_ in PIECES.fitting(state)] == ["\nAction Input: "]


def test_after_its_end_only_the_end_token_and_after_a_wrong_piece_an_error():
    allowed = Constraint(("{}",), PIECES)
    ids = TOKENIZER("{}", add_special_tokens=False)["input_ids"]
    assert allowed(ids) == [TOKENIZER.eos_token_id]
    with pytest.raises(ValueError, match="no beginning of the form"):
        allowed([*ids, ids[0]])
    with pytest.raises(ValueError, match="no beginning of the form"):
        Constraint(("{}",), PIECES)([TOKENIZER.eos_token_id])
