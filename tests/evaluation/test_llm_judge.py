"""The judge over HTTP, against a real server on this machine that is late, refuses, breaks, talks nonsense or hangs."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from toolslm_helpers.evaluation.answers import Answer
from toolslm_helpers.evaluation.ledger import Ledger, Reply
from toolslm_helpers.evaluation.llm_judge import CeilingReached, JudgeFailed, OpenAIJudge, Prices
from toolslm_helpers.evaluation.replies import read_verdict
from toolslm_helpers.evaluation.votes import Vote
from toolslm_helpers.files import DataError, WorkbookError, repository_root

pytest.importorskip("openai", reason="the extra [judge] is not installed")
spec = importlib.util.spec_from_file_location("slow_judge", repository_root() / "benchmarks" / "slow_judge.py")
slow_judge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slow_judge)
ANSWERS = [Answer("G1_tool", str(i), f"query {i}", (), True, "give_answer", f"answer {i}", ()) for i in range(6)]


def says(label, reason="so"):
    return json.dumps({"reason": reason, "label": label})


@pytest.fixture
def serve(tmp_path):
    """serve(plan) -> (a judge on a server that follows the plan, the server)."""
    opened = []

    def start(plan, delay=0.0, **settings):
        server = slow_judge.JudgeServer(plan, delay).__enter__()
        opened.append(server)
        return OpenAIJudge("m", tmp_path / "replies.jsonl", base_url=server.base_url, api_key="none", **settings), server

    yield start
    for server in opened:
        server.__exit__()


def material(body):
    return json.loads(body["messages"][1]["content"])


def test_votes_are_what_the_endpoint_said_in_the_order_of_the_answers(serve):
    def plan(number, body):
        shown = material(body)
        if "tools" in shown:
            return 200, says("solvable")
        if shown["query"] == "query 2":
            return 200, says("solved" if "steps" in shown else "unsure")
        return 200, says("unsolved" if shown["query"] == "query 1" else "solved")

    judge, server = serve(plan)
    told = []
    ballots = judge.ballots(
        [*ANSWERS[:3], replace(ANSWERS[3], finished=False)], 2, on_progress=lambda *progress: told.append(progress)
    )
    assert [ballot.query_id for ballot in ballots] == ["0", "1", "2", "3"] and told[-1] == (8, 8)
    assert [ballot.votes[0].label for ballot in ballots] == ["solved", "unsolved", "solved", "unsolved"]
    assert ballots[1].votes == (Vote("unsolved", "solvable", "so"),) * 2
    assert len(server.answered) == 2 * (1 + 2 + 2 + 0), "no question whose answer is known"
    schema = server.answered[0]["response_format"]
    assert schema["type"] == "json_schema" and schema["json_schema"]["strict"] is True
    again = judge.ballots([*ANSWERS[:3], replace(ANSWERS[3], finished=False)], 2)
    assert again == ballots and len(server.answered) == 10, "all from the ledger"


def test_429_and_500_and_broken_bodies_are_tried_again(serve):
    def plan(number, body):
        return (429, "slow down") if number % 5 == 1 else (500, "oops") if number % 5 == 3 else (200, says("solved"))

    judge, server = serve(plan)
    ballots = judge.ballots(ANSWERS, 2)
    assert (
        all(vote.label == "solved" for ballot in ballots for vote in ballot.votes) and len(server.answered) == 12 < server.count
    )


def test_a_reply_that_is_no_verdict_is_asked_again_and_given_up_in_the_end(serve):
    nonsense = iter(["hm", says("yes"), f"Well. {says('Unsolved ')} I think.", says("solvable")])
    judge, server = serve(lambda number, body: (200, next(nonsense)))
    (ballot,) = judge.ballots(ANSWERS[:1], 1)
    assert ballot.votes == (Vote("unsolved", "solvable", "so"),) and len(server.answered) == 4
    judge, server = serve(lambda number, body: (200, "hm" if "query 1" in str(body) else says("solved")))
    with pytest.raises(
        JudgeFailed, match="1 of 3 votes could not be had.*no verdict in 3 replies, the last was 'hm'.*asks for the rest only"
    ):
        judge.ballots(ANSWERS[:3], 1)
    judge, server = serve(lambda number, body: (200, says("solved")))
    assert len(judge.ballots(ANSWERS[:3], 1)) == 3
    assert [material(body)["query"] for body in server.answered] == ["query 1"], "the rest only"


@pytest.mark.parametrize(
    "body", [b"<html>busy</html>", b"", b"{", b"\xff\xfe", b"[]", b'"solved"', b"null", b'{"choices": null}',
             b'{"choices": [{"message": null}]}',
             b'{"choices": [{"message": {"content": 7}}], "usage": {"prompt_tokens": "many"}}'],
)  # fmt: skip
def test_a_body_that_is_no_completion_is_no_verdict(serve, body):
    judge, server = serve(lambda number, asked: (200, body if number < 2 else says("solved")), nonsense=3)
    assert judge.ballots(ANSWERS[:1], 1)[0].votes[0].label == "solved" and server.count == 3


def test_an_endpoint_that_hangs_is_given_up_and_asked_again(serve):
    judge, server = serve(lambda number, body: (200, None if number == 0 else says("solved")), timeout=0.5)
    assert judge.ballots(ANSWERS[:1], 1)[0].votes[0].label == "solved" and server.count == 2
    judge, server = serve(lambda number, body: (200, None), timeout=0.3, retries=1)
    with pytest.raises(JudgeFailed, match="1 of 1 votes could not be had.*APITimeoutError"):
        judge.ballots(ANSWERS[1:2], 1)


def test_an_endpoint_without_schemas_is_asked_without(serve):
    judge, server = serve(
        lambda number, body: (400, "response_format?") if "response_format" in body else (200, says("solved")), at_once=1
    )
    assert len(judge.ballots(ANSWERS[:2], 1)) == 2 and server.count == 3, "it is found out once"


def test_a_wrong_key_stops_the_run_at_once(serve):
    judge, server = serve(lambda number, body: (401, "who are you?"), at_once=2)
    with pytest.raises(JudgeFailed, match="24 of 24 votes.*AuthenticationError"):
        judge.ballots(ANSWERS, 4)
    assert server.count <= 2


def test_the_ceiling_holds_over_runs_and_counts_nonsense(serve):
    prices = Prices(tokens_in=1000.0, tokens_out=0.0, ceiling=3.0)  # 0.1 dollars a reply; at most one for each character sent
    judge, server = serve(lambda number, body: (200, says("solved")), at_once=1, prices=prices)
    with pytest.raises(CeilingReached, match="votes could not be had; the first problem: the ceiling of \\$3.00 is near"):
        judge.ballots(ANSWERS, 10)
    spent = len(server.answered)
    assert 5 < spent <= 30
    with pytest.raises(CeilingReached):
        judge.ballots(ANSWERS, 10)
    assert len(server.answered) == spent, "the ledger remembers what was spent"
    cheap, other = serve(
        lambda number, body: (200, "hm"), at_once=1, prices=replace(prices, ceiling=0.1 * spent + 2), nonsense=99
    )
    with pytest.raises(CeilingReached):
        cheap.ballots([replace(ANSWERS[0], query="new")], 1)
    with Ledger(cheap.ledger) as ledger:
        assert ledger.tokens_in == 100 * (spent + len(other.answered)) and len(other.answered) > 1


def test_no_more_at_once_than_allowed_and_no_more_a_minute(serve):
    running, most = Counter(), []

    def plan(number, body):
        running["now"] += 1
        most.append(running["now"])
        time.sleep(0.02)
        running["now"] -= 1
        return 200, says("solved")

    judge, server = serve(plan, at_once=3)
    judge.ballots(ANSWERS, 3)
    assert 1 < max(most) <= 3
    began = time.monotonic()
    replace(judge, per_minute=600, model="other").ballots(ANSWERS, 1)
    assert time.monotonic() - began >= 0.5, "six requests, a tenth of a second apart: a lower bound, whatever the machine does"


def test_a_notebook_with_a_running_loop_may_call_it(serve):
    import asyncio

    judge, _ = serve(lambda number, body: (200, says("solved")))

    async def cell():
        return judge.ballots(ANSWERS[:1], 1)

    assert asyncio.run(cell())[0].votes[0].label == "solved"


def test_comparisons_show_either_side_first_equally_often(serve):
    judge, server = serve(lambda number, body: (200, says("a")), at_once=1)
    (words,) = judge.compare([(ANSWERS[0], ANSWERS[1], True)], 4)
    assert words == ("a", "b", "a", "b"), "a judge that always likes the first says nothing"
    shown = [material(body)["a"]["final_answer"] for body in server.answered]
    assert shown == ["answer 0", "answer 1"] * 2


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"label": "solved", "reason": "r"}', ("solved", "r")), ('{"label": "SOLVED"}', ("solved", "")), ("solved", None), ("", None),
        ('{"label": "yes"}', None), ('{"label": ["solved"]}', None), ("[1]", None), ("{" * 20_000 + "}", None), ("} {", None),
        ('```json\n{"reason": "two\nlines", "label": "unsure"}\n```', ("unsure", "two\nlines")),
    ],
)  # fmt: skip
def test_verdicts_are_read_out_of_what_models_write(text, verdict):
    assert read_verdict(text, ("solved", "unsolved", "unsure")) == verdict


def test_a_missing_key_and_a_missing_package_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(WorkbookError, match="judge m has no key.*Set OPENAI_API_KEY; a local server takes any text"):
        OpenAIJudge("m", tmp_path / "r.jsonl").ballots(ANSWERS, 1)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(WorkbookError, match=r"needs the package openai. Install it: pip install 'toolslm-helpers\[judge\]'"):
        OpenAIJudge("m", tmp_path / "r.jsonl", api_key="x").ballots(ANSWERS, 1)


def test_a_ledger_survives_a_cut_line_and_names_a_damaged_one(tmp_path):
    path = tmp_path / "r.jsonl"
    with Ledger(path) as ledger:
        ledger.add(Reply(key="a", label="solved", tokens_in=3))
        ledger.add(Reply(key="b", label="", tokens_in=4))
        with pytest.raises(WorkbookError, match="used by one run at a time"):
            Ledger(path).__enter__()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "c", "lab')
    with Ledger(path) as ledger:
        assert set(ledger.replies) == {"a"} and ledger.tokens_in == 7
    assert path.read_bytes() == whole
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(DataError, match="line 1 is no reply"):
        Ledger(path).__enter__()


RUN = """
import sys
from pathlib import Path
from toolslm_helpers.evaluation.answers import Answer
from toolslm_helpers.evaluation.llm_judge import OpenAIJudge
answers = [Answer("G1_tool", str(i), f"query {i}", (), True, "give_answer", f"answer {i}", ()) for i in range(30)]
judge = OpenAIJudge("m", Path(sys.argv[2]), base_url=sys.argv[1], api_key="none", at_once=4)
print(sum(len(ballot.votes) for ballot in judge.ballots(answers, 4)))
"""


def test_a_kill_anywhere_loses_nothing_and_repeats_no_vote(tmp_path):
    ledger = tmp_path / "replies.jsonl"

    def recorded():
        return ledger.read_bytes().splitlines() if ledger.exists() else []

    with slow_judge.JudgeServer(slow_judge.solved(0.03, 0.03), 0.02) as server:
        command = [sys.executable, "-c", RUN, server.base_url, str(ledger)]
        environment = os.environ | {"PYTHONPATH": str(repository_root())}
        for stop_at in (7, 50):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
            while len(recorded()) < stop_at and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert stop_at <= len(recorded()) < 120
            before, asked = len([line for line in recorded() if line.endswith(b"}")]), len(server.answered)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.stdout.strip() == "120", done.stderr
        assert len(server.answered) - asked <= 120 - before + 4, "the rest, and those that were on their way at the kill"
    keys = [json.loads(line)["key"] for line in recorded()]
    assert len(keys) == len(set(keys)) == 120
