"""Reading answers: real converted files give the recorded counts, odd ones are read or refused by name."""

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.data import queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.answers import Answer, from_episode, read_answers, read_finish
from toolslm_helpers.evaluation.rules import CHOSEN, PUBLISHED, WHOLE, WORDINGS, RuleJudge, passed_by_wording, read_counts
from toolslm_helpers.files import repository_root

needs_toolbench = pytest.mark.skipif("TOOLBENCH_DIR" not in os.environ, reason="TOOLBENCH_DIR, ToolBench's files, is not set")
ANSWER = Answer("G1_tool", "7", "How warm is Lisbon?", (), True, "give_answer", "19 degrees.", ("tool: weather {} -> 19",))


def node(role, message, *after):
    return {"role": role, "message": message, "next": list(after)}


def converted(last, final_answer, first="hm"):
    tree = node("system", "s", node("user", "u", node("assistant", first, last, node("assistant", "another branch"))))
    return {
        "query": "q",
        "available_tools": [],
        "answer": {"method": "m", "total_steps": 4, "final_answer": final_answer, "answer_details": [tree]},
    }


FINISH = {"name": "Finish", "arguments": "{}", "response": ""}
GIVEN = '{"return_type": "give_answer", "final_answer": "19"}'


@needs_toolbench
def test_the_real_answers_give_the_known_counts_in_every_set():
    answers = read_answers(Path(os.environ["TOOLBENCH_DIR"]) / "results_gpt-3.5-turbo_CoT")
    assert [sum(a.set_name == name for a in answers) for name in SETS] == [70, 70, 69, 70, 70, 70]
    passed = passed_by_wording(answers)
    assert list(passed[""].values()) == [47, 48, 46, 23, 17, 25]
    assert list(passed[CHOSEN].values()) == [42, 42, 44, 21, 14, 22]
    assert all(a.finished and a.text for a in answers if a.return_type == "give_answer"), "whoever answers ended by Finish"
    assert all(a.path and a.tools for a in answers)
    recorded = read_counts()
    assert recorded.passed == passed and sum(recorded.answers.values()) == len(answers), (
        "docs/results/rule_judge.json is of these files"
    )


@needs_toolbench
def test_stabletoolbenchs_own_answers_are_read_with_whole_messages():
    folder = Path(os.environ["TOOLBENCH_DIR"]) / "stabletoolbench" / "data_example" / "model_predictions_converted"
    for method in ("virtual_chatgpt_cot", "virtual_chatgpt_dfs"):
        answers = read_answers(folder / method)
        assert {a.query_id for a in answers} == {"1073", "608"} and all(a.answered for a in answers)
        assert all(any("Finish" in line for line in a.path) for a in answers)


@pytest.mark.parametrize(
    ("last", "final_answer", "finished", "kind", "text"),
    [
        (node("tool", FINISH), GIVEN, True, "give_answer", "19"),
        (node("tool", "{'name': 'Finish', 'arguments': '{}"), GIVEN, True, "give_answer", "19"),
        (node("tool", FINISH | {"name": "weather"}), "", False, None, ""),
        (node("tool", "{'name': 'Finisher', 'arguments'"), "", False, None, ""),
        (node("assistant", "Finish"), "", False, None, ""),
        (node("tool", FINISH), '{"return_type": "give_up_and_restart"}', True, "give_up_and_restart", ""),
    ],
)  # fmt: skip
def test_the_last_node_of_the_first_chain_decides(tmp_path, last, final_answer, finished, kind, text):
    (tmp_path / "G1_tool.json").write_text(json.dumps({"5": converted(last, final_answer)}))
    (answer,) = read_answers(tmp_path)
    assert (answer.set_name, answer.query_id, answer.finished, answer.return_type, answer.text) == (
        "G1_tool",
        "5",
        finished,
        kind,
        text,
    )
    assert "another branch" not in " ".join(answer.path) and answer.path[0] == "assistant: hm"


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("", (None, "")),
        ("[]", (None, "")),
        ('"give_answer"', (None, "")),
        ('{"return_type": "give_answer", "final_answer": "two\nlines"}', ("give_answer", "two\nlines")),
        ('{"return_type": "give_answer", "final_answer": "it\\\'s 19"}', ("give_answer", "it\\'s 19")),
        ('{"return_type": "give_answer", "final_answer": "cut off', ("give_answer", "cut off")),
        ('{"return_type": "give_answer", "final_answer": {"a": 1}}', ("give_answer", '{"a": 1}')),
        ('{"return_type": 3, "final_answer": null}', (None, "")),
        ("[" * 100_000, (None, "")),
    ],
)
def test_the_argument_of_finish_with_its_slips(arguments, read):
    assert read_finish(arguments) == read


def test_files_that_cannot_be_judged_are_named(tmp_path):
    with pytest.raises(ValueError, match="no converted answers. Expected files such as G1_instruction.json"):
        read_answers(tmp_path)
    good = converted(node("tool", FINISH), GIVEN)
    (tmp_path / "G1_tool.json").write_text(json.dumps({"5": good, "6": good | {"query": 3}}))
    with pytest.raises(ValueError, match="G1_tool.json.*query"):
        read_answers(tmp_path)


def test_an_episode_becomes_an_answer_with_its_path_and_tools():
    query = queries.test_queries(build_world(0), "G1_tool")[0]
    steps = (Step("look", "weather", '{"city": "Oslo"}', "snow", 0), Step("", "Finish", "{}", "", 3))
    answer = from_episode(query, Episode(query.query.query_id, query.query.query, steps, "finish", "Snow.", "give_answer"))
    assert answer.path == ("assistant: look", 'tool: weather {"city": "Oslo"} -> snow', "tool: Finish {} -> ")
    assert answer.answered and answer.tools[-1].name == "Finish" and len(answer.tools) == len(query.query.api_list) + 1
    open_end = from_episode(query, Episode(query.query.query_id, query.query.query, (), "iterations", None, None))
    assert not open_end.finished and not open_end.answered


@pytest.mark.parametrize(
    ("changes", "label", "reason"),
    [
        ({}, "solved", "does not apologise"),
        ({"text": "I am SORRY, but"}, "unsolved", "says 'SORRY'"),
        ({"text": "Apologies."}, "unsolved", "'Apolog'"),
        ({"text": "unfortunately not"}, "unsolved", "unfortunately"),
        ({"text": ""}, "solved", "answers"),
        ({"return_type": "give_up_and_restart"}, "unsolved", "No answer"),
        ({"return_type": None}, "unsolved", "No answer"),
    ],
)
def test_the_rule_by_hand(changes, label, reason):
    vote = RuleJudge().vote(replace(ANSWER, **changes))
    assert vote.label == label and reason in vote.reason


def test_the_wording_moves_the_count_and_no_wording_passes_every_answer():
    answers = [
        replace(ANSWER, query_id=str(i), text=text)
        for i, text in enumerate(("19", "sorry", "I apologize", "Unfortunately 19", "cannot"))
    ]
    assert {w: c["G1_tool"] for w, c in passed_by_wording(answers).items()} == dict(
        zip(WORDINGS, (5, 4, 4, 3, 2, 1), strict=True)
    )
    assert [ballot.votes[0].label for ballot in RuleJudge("19").ballots(answers[:2])] == ["unsolved", "solved"]


def test_the_chosen_wording_is_the_one_nearest_to_the_published_column():
    def away(wording):
        return sum(abs(WHOLE[wording][name] - PUBLISHED[name]) for name in SETS)

    assert away(CHOSEN) == 1 and away("sorry") == 22


def test_the_recording_script_writes_what_is_read_back(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("rule_judge", repository_root() / "benchmarks" / "rule_judge.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = tmp_path / "results_gpt-3.5-turbo_CoT"
    folder.mkdir()
    (folder / "G1_tool.json").write_text(json.dumps({"5": converted(node("tool", FINISH), GIVEN)}))
    monkeypatch.setenv("TOOLBENCH_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["rule_judge.py", "--output", str(tmp_path)])
    script.main()
    recorded = read_counts(tmp_path)
    assert (
        recorded.answers == {"G1_tool": 1}
        and recorded.passed[CHOSEN] == {"G1_tool": 1}
        and list(recorded.files) == ["G1_tool.json"]
    )


def test_recorded_counts_are_whole_or_named(tmp_path):
    recorded = read_counts()
    assert set(recorded.passed) == set(WORDINGS) and set(recorded.answers) == set(SETS) and recorded.commit
    assert all(len(digest) == 64 for digest in recorded.files.values())
    assert read_counts(tmp_path) is None
    (tmp_path / "rule_judge.json").write_text('{"commit": "x"}')
    with pytest.raises(ValueError, match="rule_judge.json: source: Field required. Make it again"):
        read_counts(tmp_path)
