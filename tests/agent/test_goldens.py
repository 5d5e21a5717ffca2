"""Upstream's own inputs: each is read as upstream reads it, or stands in a table here that says what we do instead, and why."""

import json

import pytest

from toolslm_helpers.agent.virtual_api import Status, VirtualApi
from toolslm_helpers.data.records import Query
from toolslm_helpers.files import read_json
from toolslm_helpers.text.protocol import parse_action

# Turns that upstream's parser reads as something, or reads wrongly: it cuts at the labels wherever they stand and has no path for a text
# without them. {turn: (our action, the beginning of our complaint; None where we have none)}
MENDED_TURNS = {
    "Action: a\nAction Input: {}": ("a", None),  # upstream: the thought is "a\nAction Input: {"
    "Thought: says Action: inline\nAction: a\nAction Input: {}": ("a", None),  # upstream: the action is "inline\nAction: a"
    "Thought: t only": ("", '"Action:" is missing.'),  # upstream: the action is ": t onl"
    "": ("", '"Action:" is missing.'),
    "Thought: t\nAction: a": ("", '"Action Input:" is missing.'),  # upstream: the input is "tion: a"
    "thought: lower\naction: a": ("", '"Action:" is missing.'),
    "Thought: t\nAction: a\nAction Input: {}\nThought: again\nAction: b\nAction Input: {}": (
        "a",
        "Something follows the Action Input",
    ),
}

# Finish inputs that are cut off: upstream looks for words in them and takes a half answer for an answer. {input: (upstream's code, ours)}
MENDED_FINISHES = {
    '{"return_type": "give_answer", "final_answer": "unterminated': (3, 2),
    '{"return_type": "give_up_and_restart", "reason": "x': (4, 2),
}


def test_every_turn_is_read_alike_or_listed(toolbench_dir):
    seen = set()
    for case in read_json(toolbench_dir / "golden" / "react_parser.json"):
        read = parse_action(case["text"])
        alike = (read.thought, read.action, read.action_input) == (case["thought"], case["action"], case["action_input"])
        if alike and read.problem is None:
            assert case["text"] not in MENDED_TURNS
            continue
        assert case["text"] in MENDED_TURNS, f"{case['text']!r}: {read} against {case}"
        action, complaint = MENDED_TURNS[case["text"]]
        assert read.action == action
        assert read.problem is None if complaint is None else read.problem.startswith(complaint)
        seen.add(case["text"])
    assert seen == set(MENDED_TURNS), "listed, but not among upstream's turns"


def test_every_finish_has_upstreams_code_or_is_listed(toolbench_dir):
    session = VirtualApi(None).session(Query(query_id=1, query="q", api_list=()))
    seen = set()
    for case in read_json(toolbench_dir / "golden" / "finish_parsing.json"):
        observation = session.call(case.get("action_name", "Finish"), case["input"])
        expected = MENDED_FINISHES.get(case["input"], (case["code"], case["code"]))
        assert (case["code"], observation.code) == expected, case
        said = json.loads(
            observation.text
        )  # upstream's own observations of errors are no JSON: {error:"must have "final_answer""}
        assert bool(said["error"]) == (observation.code in (Status.UNKNOWN_FUNCTION, Status.BAD_FINISH))
        assert bool(observation.arguments) == (observation.code in (Status.FINAL_ANSWER, Status.GAVE_UP))
        seen |= {case["input"]} & set(MENDED_FINISHES)
    assert seen == set(MENDED_FINISHES)


@pytest.mark.parametrize("name", ["react_parser", "finish_parsing", "process_error", "cache_check_result"])
def test_the_goldens_are_there(toolbench_dir, name):
    assert len(read_json(toolbench_dir / "golden" / f"{name}.json")) >= 15
