"""The toy that runs through the series is made of the same parts as everything else, and the lessons' numbers follow from it."""

import json

from toolslm_helpers.evaluation.judges import ExactJudge
from toolslm_helpers.teaching.toy import TOY_FUNCTION, toy_api, toy_cases, toy_trajectory
from toolslm_helpers.text.protocol import parse_action


def test_the_toy_has_all_roles_one_failed_call_and_one_answer():
    toy = toy_trajectory()
    assert [m.role for m in toy.messages] == ["system", "user", "assistant", "function", "assistant", "function", "assistant"]
    errors = [json.loads(m.content)["error"] for m in toy.messages if m.role == "function"]
    assert [bool(error) for error in errors] == [True, False]
    actions = [parse_action(m.content) for m in toy.messages if m.role == "assistant"]
    assert [a.action for a in actions] == [TOY_FUNCTION.name, TOY_FUNCTION.name, "Finish"]
    assert not any(a.problem for a in actions)
    assert TOY_FUNCTION.name in toy.messages[0].content and toy.query in toy.messages[1].content


def test_the_toy_api_answers_whatever_is_written():
    for text in ["", "{", "[]", "null", '{"city": 3}', '{"city": "Paris"}', '{"city": "Oslo", "x": 1}', "{" * 100_000]:
        reply = json.loads(toy_api(text))
        assert set(reply) == {"error", "response"} and reply["error"] and reply["response"] == "", text
    assert json.loads(toy_api('{"city": "Oslo"}')) == {"error": "", "response": {"sky": "snow", "celsius": -4}}


def test_the_five_answers_are_judged_as_lesson_11_says():
    verdicts = {case.name: ExactJudge().judge(case.world_query, case.episode).passed for case in toy_cases()}
    assert verdicts == {"A": True, "B": False, "C": False, "D": True, "E": True}
