import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.goals import Call, Fact, Goal
from toolslm_helpers.data.records import Api, Parameter, Query
from toolslm_helpers.evaluation.judges import ExactJudge, contains, leaves, observed_values

PRICE, STOCK = (
    Api(category_name="Shops", tool_name="Zelvora", api_name=name, required_parameters=(Parameter(name="product"),))
    for name in ("price", "stock")
)
QUERY = Query(query_id=7, query="What does the Kelmora Lamp of 1987 cost, and how many are there?", api_list=(PRICE, STOCK))
PRICE_CALLS = (
    Call("Zelvora", "price", {"product": "Kelmora Lamp", "year": 1987}),
    Call("Zelvora", "price", {"product": "Kelmora Lamp"}),
)
FACTS = (Fact("48", PRICE_CALLS), Fact("12.5", (Call("Zelvora", "stock", {"product": "Kelmora Lamp"}),)))
ANSWER, ASK, GIVE_UP = (
    SimpleNamespace(query=QUERY, goal=goal)
    for goal in (
        Goal("answer", facts=FACTS, allowed=("Kelmora Lamp", "")),
        Goal("ask", missing=("product name", "lamp")),
        Goal("give_up"),
    )
)

PRICE_STEP = Step(
    "", "price_for_zelvora", '{"product": "Kelmora Lamp"}', '{"error": "", "response": {"price": 48, "maker": "Lamp"}}', 0
)  # fmt: skip
STOCK_STEP = Step(
    "", "stock_for_zelvora", '{"product":"Kelmora Lamp"}',
    '{"error": "", "response": {"stock": 12.5, "seen": [1987, 3125, "Broken Lane"], "new": true, "note": null, "tag": ""}}', 0,
)  # fmt: skip
GOOD = "The Kelmora Lamp costs 48. In stock: 12.5."


def ended(steps=(PRICE_STEP, STOCK_STEP), answer=GOOD, return_type="give_answer", how="finish"):
    finish = Step("", "Finish", "", "", Status.FINAL_ANSWER if return_type == "give_answer" else Status.GAVE_UP)
    return Episode(7, QUERY.query, (*steps, finish) if how == "finish" else tuple(steps), how, answer, return_type)


def judge(world_query, **episode):
    return ExactJudge().judge(world_query, ended(**episode))


def altered(step, **changes):
    return Step(**(vars(step) | changes))


def test_looked_up_and_said_is_a_pass():
    assert judge(ANSWER) == judge(ANSWER, answer="12.5 pieces, at 48 each, in 1987")
    verdict = judge(ANSWER)
    assert verdict.passed and verdict.reason == "Looked up and said all 2 facts, and nothing else that it saw."


@pytest.mark.parametrize(
    "arguments",
    ['{"product": "Kelmora Lamp", "year": 1987.0}', '{"year":1987, "product": "Kelmora Lamp"}', '{"product": "Kelmora Lamp"}'],
)
def test_any_one_of_the_calls_counts_however_it_is_spelled(arguments):
    assert judge(ANSWER, steps=(altered(PRICE_STEP, action_input=arguments), STOCK_STEP)).passed


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"action_input": '{"product": "Kelmora lamp"}'}, "other case"),
        ({"action_input": '{"product": "Kelmora Lamp", "year": 1988}'}, "other value"),
        ({"action_input": '{"product": "Kelmora Lamp", "year": "1987"}'}, "text for a number"),
        ({"action_input": '{"product": "Kelmora Lamp", "size": 1}'}, "an argument more"),
        ({"action_input": "not JSON"}, "not JSON"),
        ({"action": "stock_for_zelvora"}, "other API"),
        ({"action": "price_for_somebody"}, "not in the list"),
        ({"code": 10}, "the call failed"),
        ({"code": 11}, "the call failed"),
    ],
)
def test_a_fact_that_was_not_looked_up_fails_even_if_it_is_right(change, why):
    verdict = judge(ANSWER, steps=(altered(PRICE_STEP, **change), STOCK_STEP))
    assert not verdict.passed, why
    assert verdict.reason.startswith("Never looked up '48': no answered call of price of Zelvora with {")


@pytest.mark.parametrize(
    "answer", ["It costs 48.", "48 and 12", "48 and 112.5", "48 and 12.55", "480, 12.5", "4-8, 12.5", "48.12.5", "", None]
)
def test_an_answer_without_a_fact_fails(answer):
    verdict = judge(ANSWER, answer=answer, return_type="give_answer")
    assert not verdict.passed and "The answer lacks" in verdict.reason


@pytest.mark.parametrize("extra", ["3125", "Broken Lane"])
def test_an_answer_that_says_more_of_what_it_saw_fails(extra):
    verdict = judge(ANSWER, answer=f"{GOOD} Also {extra}.")
    assert not verdict.passed and verdict.reason == f"The answer also says {extra!r}, which was observed but not asked for."
    assert judge(ANSWER, answer=f"{GOOD} Also x{extra}x.").passed, "only whole values count"


def test_what_may_be_said_besides_the_facts():
    assert judge(ANSWER, answer=f"{GOOD} That is for 1987.").passed, "values of the query are the user's own"
    assert judge(ANSWER, answer=f"{GOOD} true, null").passed, "booleans and null cannot be told from words"
    assert judge(ANSWER, answer=f"{GOOD} Maker: Lamp.").passed, "even where an API said them too"
    failed = altered(STOCK_STEP, code=11, observation='{"error": "x", "response": {"y": "costs"}}')
    assert judge(ANSWER, steps=(PRICE_STEP, failed, STOCK_STEP)).passed, "what came with an error is no answer of the API"


def test_a_value_inside_a_fact_is_not_another_value():
    goal = Goal("answer", facts=(Fact("Oru Vale", FACTS[0].calls),))
    step = altered(PRICE_STEP, observation='{"error": "", "response": {"street": "Oru Vale", "town": "Vale"}}')
    world_query = SimpleNamespace(query=QUERY, goal=goal)
    assert judge(world_query, steps=(step,), answer="It stands in Oru Vale.").passed
    assert not judge(world_query, steps=(step,), answer="It stands in Oru Vale, Vale.").passed


def test_asking_back():
    asked = "Please tell me the product name."
    assert judge(ASK, steps=(), answer=asked).passed
    assert judge(ASK, steps=(), answer="Which LAMP do you mean?").passed
    for slip in (Step("", "Finish", "{}", "", Status.BAD_FINISH), Step("hm", "", "", "", Status.UNKNOWN_FUNCTION)):
        assert judge(ASK, steps=(slip,), answer=asked).passed, "a slip is no call"
    for steps in ((PRICE_STEP,), (altered(PRICE_STEP, code=12),), (altered(PRICE_STEP, code=1),)):
        verdict = judge(ASK, steps=steps, answer=asked)
        assert not verdict.passed and verdict.reason.startswith("Called an API although the query does not say the product name")
    for answer in ("What do you mean?", "Which lampshade?", "", None):
        verdict = judge(ASK, steps=(), answer=answer)
        assert not verdict.passed and verdict.reason == "Did not ask for what the query lacks: the product name or lamp."
    assert not judge(ASK, steps=(), answer=None, return_type="give_up_and_restart").passed
    assert not judge(ANSWER, steps=(), answer=asked).passed and not judge(GIVE_UP, steps=(), answer=asked).passed


def test_giving_up():
    assert judge(GIVE_UP, steps=(), answer=None, return_type="give_up_and_restart").passed
    assert judge(GIVE_UP, steps=(altered(PRICE_STEP, code=6),), answer=None, return_type="give_up_and_restart").passed
    verdict = judge(ANSWER, answer=None, return_type="give_up_and_restart")
    assert not verdict.passed and verdict.reason == "Gave up, but the query can be answered."
    assert judge(GIVE_UP).reason == "Gave an answer, but no API in the list could help: the right end was to give up."


@pytest.mark.parametrize(("how", "why"), [("iterations", "after the last iteration"), ("context", "the context was full")])
def test_an_episode_without_finish_fails(how, why):
    for world_query in (ANSWER, ASK, GIVE_UP):
        verdict = judge(world_query, how=how, answer=None, return_type=None)
        assert not verdict.passed and why in verdict.reason


def test_values_are_found_as_wholes():
    for text in ("It is 12.", "12, 13", "(12)", "12's", '"12"'):
        assert contains(text, "12")
    for text in ("3125", "12.5", "1.12", "12:30", "1987-12-03", "a12", "12a", "_12", "1,12"):
        assert not contains(text, "12")
    assert contains("a [x] b", "[x]") and not contains("kelmora", "Kelmora")


@given(st.text(alphabet="ab1 .,-:"), st.text(alphabet="ab1", min_size=1))
def test_a_value_on_its_own_is_always_found(text, value):
    assert contains(f"{value} is it", value) and contains(f"{text} {value} {text}", value)


def test_leaves_and_observed_values():
    assert list(leaves({"a": [1, 2.5, {"b": "x y"}], "c": True, "d": None, "e": " "})) == ["1", "2.5", "x y"]
    assert list(leaves("plain")) == ["plain"]
    steps = (PRICE_STEP, altered(PRICE_STEP, observation=PRICE_STEP.observation[:30] + "..."), STOCK_STEP, STOCK_STEP)
    assert observed_values(steps) == ["48", "Lamp", "12.5", "1987", "3125", "Broken Lane"]


@pytest.mark.parametrize("observation", ["", "...", "0", "null", "[1]", "{}", '"x"', '{"response": nul'])
def test_an_observation_of_another_shape_holds_no_values(observation):
    assert observed_values([altered(PRICE_STEP, observation=observation)]) == []


OBSERVATIONS = st.text() | st.text().map(lambda said: json.dumps({"error": "", "response": said}))
ACTIONS = st.sampled_from(["price_for_zelvora", "Finish", ""])
STEPS = st.builds(Step, st.just(""), ACTIONS, st.text(), OBSERVATIONS, st.integers(0, 12))


@given(st.lists(STEPS), st.text())
def test_any_episode_gets_a_verdict(steps, answer):
    for world_query in (ANSWER, ASK, GIVE_UP):
        assert judge(world_query, steps=tuple(steps), answer=answer).reason
