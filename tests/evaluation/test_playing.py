"""What `toolslm evaluate` plays: ToolBench's queries against a server, a model behind an endpoint, the embedded world elsewhere."""

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from toolslm_helpers import cli
from toolslm_helpers.agent.search import opening_messages
from toolslm_helpers.data.names import function_name, identifier
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.playing import Playing
from toolslm_helpers.evaluation.released import ReleasedApi, read_released
from toolslm_helpers.files import DataError, WorkbookError, read_json, repository_root
from toolslm_helpers.sizes import get_size

spec = importlib.util.spec_from_file_location("slow_judge", repository_root() / "benchmarks" / "slow_judge.py")
slow_judge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slow_judge)

GIVE_UP = 'Thought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}'
ANSWER = 'Thought: Yes.\nAction: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "sunny"}'


def api(category, tool, name, **parameters):
    required = [{"name": key, "type": kind, "description": "", "default": ""} for key, kind in parameters.items()]
    entry = {"category_name": category, "tool_name": tool, "api_name": name, "api_description": "", "method": "GET"}
    return entry | {"required_parameters": required, "optional_parameters": []}


# Two tools of one name in two categories, and a parameter whose type nobody keeps to: both occur in ToolBench.
QUERIES = {
    "G1_tool": [{"query_id": 7, "query": "Lisbon?", "api_list": [api("Weather", "Sky Lark", "Get Weather", City="NUMBER")]}],
    "G3_instruction": [
        {"query_id": 7, "query": "News?", "api_list": [api("News, Media", "Sky Lark", "Get Weather", City="STRING")]}
    ],
}
RECORDED = {
    "Weather": {"error": "", "response": "sunny"},
    "News_Media": {"error": "", "response": "no news"},
}


@pytest.fixture
def folder(tmp_path):
    """A folder with ToolBench's queries and one of its two tools, and beside it recorded answers."""
    for name, queries in QUERIES.items():
        path = tmp_path / "toolbench" / "test_instruction" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(queries), encoding="utf-8")
    tool = tmp_path / "toolbench" / "tools" / "Weather" / "sky_lark.json"
    tool.parent.mkdir(parents=True)
    tool.write_text(json.dumps({"tool_name": "Sky Lark", "tool_description": "Knows the sky.", "api_list": []}), encoding="utf-8")
    for category, answer in RECORDED.items():
        path = tmp_path / "cache" / category / f"sky_lark_for_{category}" / "get_weather.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"{'city': 'Lisbon'}": answer}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def tool_server(served):
    """``with tool_server(cache) as address``: `toolslm serve`, with recorded answers or without."""
    pytest.importorskip("fastapi", reason="needs the extra [serve]")
    from toolslm_helpers.agent.server import Answerer, create_app
    from toolslm_helpers.agent.sources import RecordedCache, WorldSource

    world = WorldSource(build_world())
    return lambda cache=None: served(create_app(Answerer(world, RecordedCache(cache) if cache else None)))


def evaluate(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["toolslm", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0


def test_queries_and_what_is_said_of_their_tools(folder):
    found = read_released(folder / "toolbench")
    assert [(one.set_name, one.query.query_id) for one in found.queries] == [("G1_tool", 7), ("G3_instruction", 7)]
    assert found.undescribed == 1, "the tool of News, Media has no file"
    system = opening_messages(found, found.queries[0].query, "toolbench")[0].content
    assert "1.sky_lark: Knows the sky.\n" in system and "get_weather_for_sky_lark" in system
    assert read_released(folder / "toolbench", limit=0).queries == ()


def test_no_queries_two_lists_and_damage_are_told(folder):
    with pytest.raises(DataError, match="no test_instruction/<set>.json"):
        read_released(folder / "cache")
    path = folder / "toolbench" / "test_instruction" / "G1_tool.json"
    path.write_text(json.dumps([{"query_id": "seven"}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"G1_tool.json: \[0\].*Mend the file"):
        read_released(folder / "toolbench")
    again = folder / "toolbench" / "again" / "test_instruction" / "G1_tool.json"
    again.parent.mkdir(parents=True)
    again.write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="several lists of test queries"):
        read_released(folder / "toolbench")


def test_a_call_goes_to_the_category_of_its_query_and_the_server_judges_its_arguments(folder, tool_server):
    with tool_server(folder / "cache") as address:
        api = ReleasedApi(address)
        for one, expected in zip(read_released(folder / "toolbench").queries, RECORDED.values(), strict=True):
            session = api.session(one.query)
            assert session.call("get_weather_for_sky_lark", '{"city": "Lisbon"}').text == json.dumps(expected)
            assert session.call("get_weather_for_sky_lark", '{"town": 5}').code == 6, "nothing was recorded for it"
            assert session.call("get_weather_for_sky_lark", "{").code == 12
            assert session.call("get_wether", "{}").code == 1


def test_toolbenchs_queries_are_played_exported_judged_and_gone_on_with(monkeypatch, folder, tool_server, capsys):
    """The model behind an endpoint calls once and answers; the rule judges; a second run asks neither model nor tools."""
    pytest.importorskip("openai", reason="needs the package openai")
    call = 'Thought: I look.\nAction: get_weather_for_sky_lark\nAction Input: {"city": "Lisbon"}'

    def plan(number, body):
        return 200, ANSWER if any("Result" in message["content"] for message in body["messages"]) else call

    monkeypatch.setenv("TOOLBENCH_DIR", str(folder / "toolbench"))
    with slow_judge.JudgeServer(plan) as model, tool_server(folder / "cache") as tools:
        arguments = ["--data", "toolbench", "--server", tools, "--endpoint", model.base_url, "--model", "small", "--judge", "rules",
                     "--episodes", folder / "episodes.jsonl", "--export", folder / "out", "--output", folder / "judged"]  # fmt: skip
        assert evaluate(monkeypatch, *arguments) == 0
        asked = len(model.answered)
        assert evaluate(monkeypatch, *arguments) == 0 and len(model.answered) == asked == 4
    said = capsys.readouterr().out
    assert "100.0% (2/2)" in said and "1 tools have no file below tools/" in said
    for name, response in (("G1_tool", "sunny"), ("G3_instruction", "no news")):
        assert (folder / "out" / "answer" / name / "7_CoT@1.json").is_file()
        converted = read_json(folder / "out" / "converted" / f"{name}.json")["7"]
        assert response in json.dumps(converted["answer"]["answer_details"])
    # what was exported is judged as what was played
    again = ["--answers", folder / "out" / "converted", "--judge", "rules", "--output", folder / "again"]
    assert evaluate(monkeypatch, *again) == 0 and "100.0% (2/2)" in capsys.readouterr().out


def test_other_models_and_servers_do_not_go_on_with_an_episode_file(monkeypatch, folder, capsys):
    pytest.importorskip("openai", reason="needs the package openai")
    with slow_judge.JudgeServer(lambda number, body: (200, GIVE_UP)) as model:
        size, file = ["--size", "smoke"], ["--episodes", folder / "episodes.jsonl", "--output", folder / "x"]
        played = ["--endpoint", model.base_url, "--model", "small", *size, *file]
        assert evaluate(monkeypatch, *played) == 0
        judged = read_json(folder / "x" / "evaluation.json")
        assert len(judged["queries"]) == 24 == len(model.answered)
        assert evaluate(monkeypatch, *played, "--model", "large") == 2
        assert "model = 'small', asked for is 'large'" in capsys.readouterr().err
        assert evaluate(monkeypatch, *played, "--server", "http://127.0.0.1:9") == 2
        assert "server = None" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "openai"], "no judge named"),
        (["--data", "toolbench", "--server", "x"], "the exact judge needs the goals"),
        (["--answers", "x", "--server", "x", "--endpoint", "y"], "--server, --endpoint: for queries that are played"),
    ],
)
def test_what_is_lacking_is_told_before_anything_is_played(monkeypatch, capsys, arguments, said):
    monkeypatch.delenv("TOOLSLM_JUDGE", raising=False)
    monkeypatch.setattr(Playing, "play", lambda *_: pytest.fail("it was played"))
    assert evaluate(monkeypatch, *arguments) == 2 and said in capsys.readouterr().err


def test_the_embedded_world_behind_a_server_gives_the_same_episodes(monkeypatch, tool_server):
    """An agent that makes each query's first useful call, twice: in process, and over HTTP with sixteen calls at once."""
    monkeypatch.setattr(Playing, "_agent", lambda self: calls_once)
    here = Playing("x", replace(get_size("smoke"), max_iterations=2), 0)
    with tool_server() as address:
        local, remote = here.play(), replace(here, server=address).play()
    assert len(local.pairs) == 24 and {query.set_name for query, _ in local.pairs} == set(SETS)
    good = 0
    for (query, one), (same, other) in zip(local.pairs, remote.pairs, strict=True):
        assert query == same
        for a, b in zip(one.steps, other.steps, strict=True):
            if json.loads(a.observation)["error"]:  # the protocol says a world's error in its own words
                assert json.loads(b.observation)["error"]
            else:
                assert a == b
                good += 1
    assert good > 20


def calls_once(conversations):
    return [first_useful_call(one.world_query) for one in conversations]


def first_useful_call(query):
    calls = [call for step in query.plan for call in step.calls]
    if not calls:
        return "nonsense"
    api = next(a for a in query.query.api_list if (a.tool_name, a.api_name) == (calls[0].tool_name, calls[0].api_name))
    arguments = {identifier(name): value for name, value in calls[0].arguments.items()}
    return f"Action: {function_name(api)}\nAction Input: {json.dumps(arguments)}"


def test_a_server_is_needed_for_toolbenchs_tools():
    with pytest.raises(WorkbookError, match="--server ADDRESS to play the queries of TOOLBENCH_DIR"):
        Playing("sft", get_size("full"), 0, data="toolbench")


@pytest.mark.skipif("TOOLBENCH_DIR" not in os.environ, reason="needs StableToolBench's queries: set TOOLBENCH_DIR")
def test_all_solvable_queries_are_read():
    found = read_released(Path(os.environ["TOOLBENCH_DIR"]) / "stabletoolbench")
    counts = {name: sum(one.set_name == name for one in found.queries) for name in SETS}
    assert sum(counts.values()) == 765
    assert counts == {
        "G1_instruction": 163, "G1_tool": 158, "G1_category": 153, "G2_instruction": 106, "G2_category": 124, "G3_instruction": 61,
    }  # fmt: skip
