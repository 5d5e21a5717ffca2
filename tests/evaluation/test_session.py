"""`toolslm evaluate`: answers from a folder, every judge, what is counted and what is written."""

import importlib.util
import json
import sys

import pytest

from toolslm_helpers import cli
from toolslm_helpers.data.world import SETS
from toolslm_helpers.evaluation.session import chosen_policy, expected_queries, report
from toolslm_helpers.evaluation.votes import Ballot, Vote
from toolslm_helpers.files import WorkbookError, read_json, repository_root

spec = importlib.util.spec_from_file_location("slow_judge", repository_root() / "benchmarks" / "slow_judge.py")
slow_judge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slow_judge)


def entry(query, text, finished=True):
    last = {"role": "tool", "message": {"name": "Finish" if finished else "weather", "arguments": "", "response": ""}, "next": []}
    tree = [{"role": "user", "message": query, "next": [last]}]
    final = json.dumps({"return_type": "give_answer", "final_answer": text}) if finished else ""
    answer = {"method": "m", "total_steps": 2, "final_answer": final, "answer_details": tree}
    return {"query": query, "available_tools": [], "answer": answer}


@pytest.fixture
def answers(tmp_path):
    folder = tmp_path / "robin"
    folder.mkdir()
    for name in SETS[:3]:
        entries = {"1": entry("a", "19"), "2": entry("b", "sorry"), "3": entry("c", "", finished=False)}
        (folder / f"{name}.json").write_text(json.dumps(entries))
    ids = tmp_path / "toolbench" / "x" / "test_query_ids"
    ids.mkdir(parents=True)
    (ids / "G1_tool.json").write_text(json.dumps({str(k): 0 for k in range(1, 6)}))
    return folder


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["toolslm", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0


def test_the_rule_judges_a_folder_and_writes_table_votes_and_radar(monkeypatch, tmp_path, answers, capsys):
    out = tmp_path / "out"
    assert call(monkeypatch, "--data", "toolbench", "--answers", answers, "--judge", "rules", "--output", out) == 0
    said = capsys.readouterr().out
    assert "33.3% (3/9)" in said and "Judge rules, policy strict" in said and "robin" in said
    written = read_json(out / "evaluation.json")
    assert written["pass_rate"]["all"] | {"low": 0, "high": 0} == {"passed": 3, "n": 9, "low": 0, "high": 0, "dropped": 0}
    assert (written["system"], written["judge"], written["policy"]["tie"], len(written["queries"])) == (
        "robin",
        "rules",
        "fail",
        9,
    )
    assert written["queries"][1]["votes"] == [{"label": "unsolved", "task": "solvable", "reason": "It says 'sorry'."}]
    assert (out / "radar.png").read_bytes().startswith(b"\x89PNG")


def test_full_counts_the_queries_that_have_no_answer(monkeypatch, tmp_path, answers, capsys):
    monkeypatch.setenv("TOOLBENCH_DIR", str(tmp_path / "toolbench"))
    arguments = ["--data", "toolbench", "--answers", answers, "--judge", "rules", "--full", "--output", tmp_path / "out"]
    assert call(monkeypatch, *arguments) == 0
    rates = read_json(tmp_path / "out" / "evaluation.json")["pass_rate"]
    assert {name: rate["n"] for name, rate in rates.items()} == {"G1_tool": 5, "all": 5}
    assert "6 answers to queries that are not in the list" in capsys.readouterr().out
    assert call(monkeypatch, *arguments, "--policy", "upstream") == 0
    rate = read_json(tmp_path / "out" / "evaluation.json")["pass_rate"]["G1_tool"]
    assert (rate["n"], rate["dropped"]) == (3, 2) and "2 queries without a prediction were dropped" in capsys.readouterr().out
    assert expected_queries(tmp_path) == {"G1_tool": ["1", "2", "3", "4", "5"]}
    again = tmp_path / "toolbench" / "y" / "test_query_ids"
    again.mkdir(parents=True)
    (again / "G1_tool.json").write_text("{}")
    with pytest.raises(ValueError, match="several lists of test queries .*Name the folder"):
        expected_queries(tmp_path)


def test_a_language_model_judges_over_http_and_a_second_run_asks_nothing(monkeypatch, tmp_path, answers, capsys):
    pytest.importorskip("openai", reason="the extra [judge] is not installed")
    out = tmp_path / "out"
    with slow_judge.JudgeServer(slow_judge.solved(0.1, 0.1)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        arguments = ["--answers", answers, "--judge", "openai", "--judge-model", "slow", "--votes", "3", "--output", out]
        assert call(monkeypatch, *arguments) == 0
        assert len(server.answered) == 18, "two answers a set, three votes each; whoever did not finish is not asked about"
        assert call(monkeypatch, *arguments, "--policy", "half points") == 0 and len(server.answered) == 18
        new = [*arguments, "--votes", "9", "--price-in", "1000", "--ceiling", "3"]  # 0.1 dollars a reply, 1.8 are spent
        assert call(monkeypatch, *new) == 2 and "the ceiling of $3.00 is near" in capsys.readouterr().err
        assert 18 <= len(server.answered) <= 30
    written = read_json(out / "evaluation.json")
    assert written["pass_rate"]["all"]["passed"] == 6 and written["points_by_round"] == pytest.approx([2 / 3] * 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "gut"], "--judge 'gut': expected exact or rules or openai."),
        (["--data", "web"], "--data 'web': expected world or toolbench."),
        (["--policy", "kind"], "no policy 'kind'. Expected one of: upstream, upstream csv, strict, half points."),
        (["--data", "toolbench", "--judge", "rules"], "pass --answers FOLDER to judge answers that were played elsewhere"),
        (["--answers", "ANSWERS", "--judge", "exact"], "the exact judge needs the goals of our own world"),
        (["--answers", "ANSWERS", "--judge", "openai"], "no judge named. Pass --judge-model"),
        (["--answers", "ANSWERS", "--judge", "rules", "--full"], "set TOOLBENCH_DIR"),
        (["--answers", "ANSWERS", "--judge", "openai", "--ceiling", "2"], "--ceiling needs the judge's prices"),
    ],
)
def test_what_is_lacking_is_told_in_one_line(monkeypatch, tmp_path, answers, capsys, arguments, said):
    monkeypatch.delenv("TOOLBENCH_DIR", raising=False)
    monkeypatch.delenv("TOOLSLM_JUDGE", raising=False)
    shown = [answers if argument == "ANSWERS" else argument for argument in arguments]
    assert call(monkeypatch, *shown, "--output", tmp_path / "out") == 2
    assert said in capsys.readouterr().err


def test_sets_come_in_their_order_and_missing_queries_among_them():
    ballots = [Ballot("G3_instruction", "1", (Vote("solved"),)), Ballot("G1_tool", "2", (Vote("solved"),))]
    found = report(ballots, "rules", chosen_policy("strict"), 0, {"G1_tool": ["2", "3"]})
    assert list(found.rates) == ["G1_tool", "all"] and found.rates["G1_tool"].n == 2 and found.outside == 1
    assert list(report(ballots, "rules", chosen_policy("strict"), 0).rates) == ["G1_tool", "G3_instruction", "all"]
    with pytest.raises(WorkbookError, match="Expected one of"):
        chosen_policy("")
