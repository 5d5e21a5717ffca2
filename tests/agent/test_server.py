"""The tool world over HTTP: StableToolBench's protocol, its client's codes, its cache files, faults, limits, many at once."""

import asyncio
import importlib.util
import json
import random
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.agent import server, sources
from toolslm_helpers.agent.remote import FaultyWorld, RemoteWorld
from toolslm_helpers.agent.search import play_episodes
from toolslm_helpers.agent.server import MAX_BODY, MAX_RESPONSE, Answerer, Faults, create_app, cut
from toolslm_helpers.agent.sources import (
    ERROR_WORDS,
    RecordedCache,
    WorldSource,
    category_folder,
    openai_simulator,
    read_call,
    status_of,
    worth_keeping,
)
from toolslm_helpers.agent.virtual_api import Status, VirtualApi
from toolslm_helpers.data.names import function_name, identifier, standardize
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError, WorkbookError, read_json, repository_root

pytest.importorskip("fastapi", reason="needs the extra [serve]")
pytest.importorskip("uvicorn", reason="needs the extra [serve]")

spec = importlib.util.spec_from_file_location("slow_judge", repository_root() / "benchmarks" / "slow_judge.py")
slow_judge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slow_judge)

WORLD = build_world(0)
QUERY, CALL = next(
    (query, fact.calls[0])
    for query in queries_of(WORLD, "G1_instruction")
    for fact in query.goal.facts[:1]
    if len(query.goal.facts) == 1 and not WORLD.apis[fact.calls[0].tool_name, fact.calls[0].api_name].fault
)
TOOL = WORLD.tools_by_name[CALL.tool_name]


def payload(**changes):
    """What StableToolBench's client sends: names in code's spelling, the model's own words as tool_input."""
    return {
        "category": TOOL.category,
        "tool_name": standardize(CALL.tool_name),
        "api_name": identifier(CALL.api_name),
        "tool_input": json.dumps({identifier(k): v for k, v in CALL.arguments.items()}),
        "strip": "truncate",
        "toolbench_key": "key",
    } | changes


def post(url, body, timeout=30):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/virtual", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def url(served):
    with served(create_app(Answerer(WorldSource(WORLD)))) as address:
        yield address


def test_a_call_is_answered_as_in_process(url):
    reply = WORLD.respond(CALL.tool_name, CALL.api_name, CALL.arguments)
    expected = {"error": reply.error, "response": reply.response}
    inputs = [payload()["tool_input"], json.loads(payload()["tool_input"]), "  " + payload()["tool_input"]]
    for tool_input in inputs:
        assert post(url, payload(tool_input=tool_input)) == (200, json.dumps(expected).encode())
    suffixed = f"{standardize(CALL.tool_name)}_for_{category_folder(TOOL.category)}"
    assert json.loads(post(url, payload(tool_name=suffixed))[1]) == expected
    assert json.loads(post(url, payload(tool_name=CALL.tool_name, api_name=CALL.api_name))[1]) == expected


def test_replies_that_are_kept_whole_are_only_those_that_cannot_change():
    """Twice the same body: an API that fails once is not answered from what is kept."""
    passing = next(a for a in WORLD.apis.values() if a.fault == "rate_limit" and not a.extra)
    body = payload(category=passing.api.category_name, tool_name=standardize(passing.api.tool_name),
                   api_name=identifier(passing.api.api_name), tool_input={identifier(passing.entity_parameter): "Kelmora"})  # fmt: skip
    app = create_app(Answerer(WorldSource(WORLD)))
    first, second, third = (json.loads(ask_app(app, json.dumps(body).encode())[1]) for _ in range(3))
    assert first["error"] and not second["error"] and second == third
    good = [ask_app(app, json.dumps(payload()).encode()) for _ in range(3)]
    assert good[0] == good[1] == good[2] and good[0][0] == 200


@pytest.mark.parametrize("tool_input", ["not json", "{", "{'a': 1}", "[1]", "5", '{"a": NaN}'])
def test_input_that_is_no_object_has_upstreams_own_answer(url, tool_input):
    assert post(url, payload(tool_input=tool_input)) == (200, b'{"error": "Tool input parse error...\\n", "response": ""}')


def test_what_does_not_fit_is_said(url):
    error = json.loads(post(url, payload(tool_input=""))[1])["error"]
    assert error.startswith("Missing argument: ")
    assert json.loads(post(url, payload(api_name="nonsense"))[1])["error"] == "API not working error..."


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"", 422, "not JSON"),
        (b"[" * 60_000, 422, "not JSON"),
        ([], 422, "one JSON object"),
        ({**payload(), "strip": 5}, 422, "field strip must be a string"),
        ({k: v for k, v in payload().items() if k != "toolbench_key"}, 422, "field toolbench_key is missing"),
        (payload(tool_input="x" * MAX_BODY), 413, "larger than"),
    ],
)
def test_a_body_that_is_no_request_is_refused(url, body, status, detail):
    got, content = post(url, body)
    assert got == status and detail in json.loads(content)["detail"]


def client_code(status, body):
    """The code that StableToolBench's client gives to what it received (toolbench/inference/Downstream_tasks/rapidapi.py)."""
    if status != 200:
        return 12
    try:
        answer = json.loads(body)
    except ValueError:
        return 12
    words = {
        "API not working error...": 6, "Unauthorized error...": 7, "Unsubscribed error...": 8, "Too many requests error...": 9,
        "Rate limit per minute error...": 10, "Message error...": 11,
    }  # fmt: skip
    return words.get(answer["error"], 0)


@pytest.mark.parametrize(("fault", "code"), [("rate_limit", 10), ("timeout", 0), ("not_found", 6), ("unsubscribed", 8)])
def test_the_client_knows_the_worlds_errors_by_their_words(url, fault, code):
    """A timeout has no words in upstream's client: it is an error in an answer that came, code 0."""
    api = next(a for a in WORLD.apis.values() if a.fault == fault and not a.extra)
    body = payload(
        category=api.api.category_name,
        tool_name=standardize(api.api.tool_name),
        api_name=identifier(api.api.api_name),
        tool_input={identifier(api.entity_parameter): "Kelmora"},
    )
    first, second = post(url, body), post(url, body)
    assert client_code(*first) == code and json.loads(first[1])["error"]
    assert (json.loads(second[1])["error"] == "") == (fault in ("rate_limit", "timeout")), "passing faults pass"
    assert all(status_of(words) == status for status, words in ERROR_WORDS.items())


def test_a_search_does_not_know_where_its_tools_are(url):
    name = function_name(next(a for a in QUERY.query.api_list if a.api_name == CALL.api_name and a.tool_name == CALL.tool_name))
    worlds = (WORLD, RemoteWorld.of(url, WORLD))
    local, remote = (VirtualApi(world).session(QUERY.query).call(name, payload()["tool_input"]) for world in worlds)
    assert local == remote and local.code == Status.OK


@pytest.mark.parametrize(
    ("faults", "code"), [("not_found=1", 6), ("too_many=1", 9), ("malformed=1", 12), ("latency=0.4", 5), ("", 0)]
)
def test_faults_by_http_and_in_process(served, faults, code):
    faults = Faults.read(faults)
    with served(create_app(Answerer(WorldSource(WORLD)), faults)) as address:
        remote = RemoteWorld.of(address, WORLD, timeout=0.2 if faults.latency else 15)
        assert remote.respond(CALL.tool_name, CALL.api_name, CALL.arguments).code == code
    local = FaultyWorld(WORLD, faults, patience=0.2)
    assert local.respond(CALL.tool_name, CALL.api_name, CALL.arguments).code == code


def test_no_server_is_an_observation():
    assert RemoteWorld.of("http://127.0.0.1:9", WORLD).respond(CALL.tool_name, CALL.api_name, CALL.arguments).code == 12


def test_faults_are_shares_and_their_switch_is_checked():
    drawn = [Faults(not_found=0.2, too_many=0.3, malformed=0.1).draw(rng) for rng in [random.Random(0)] * 5000]
    for name, share in (("not_found", 0.2), ("too_many", 0.3), ("malformed", 0.1), ("", 0.4)):
        assert abs(drawn.count(name) / 5000 - share) < 0.03
    for text in ("latency", "speed=3", "latency=x", "not_found=0.7,too_many=0.7", "latency=-1"):
        with pytest.raises(WorkbookError, match="expected name=number"):
            Faults.read(text)
    assert Faults.read(" latency=0.5, seed=3") == Faults(latency=0.5, seed=3)


def test_slow_requests_do_not_wait_for_each_other(served):
    """32 requests of 0.3 s each through one process: were they served one by one, the last would have no answer in 5 s."""
    with served(create_app(Answerer(WorldSource(WORLD)), Faults(latency=0.3))) as address, ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: post(address, payload(), timeout=5), range(32)))
    assert len(set(answers)) == 1 and answers[0][0] == 200


def test_recorded_answers_come_first_and_keys_are_compared_as_json(served, tmp_path):
    folder = tmp_path / "Weather" / "skylark_for_Weather"
    folder.mkdir(parents=True)
    recorded = {"error": "", "response": {"sky": "sunny"}}
    keys = {"{'city': 'Lisbon', 'days': 2}": recorded, '{"city": "Oslo"}': {"error": "", "response": "snow"}, "no dictionary": {}}
    (folder / "get_weather.json").write_text(json.dumps(keys), encoding="utf-8")
    cache = RecordedCache(tmp_path)
    for text in ('{"days": 2, "city": "Lisbon"}', '{"city":"Lisbon","days":2.0}'):
        assert cache.get(read_call("Weather", "Skylark", "get weather", text)) == recorded
    assert cache.get(read_call("Weather", "skylark", "get_weather", '{"city": "Oslo"}'))["response"] == "snow"
    assert cache.get(read_call("Weather", "skylark", "get_weather", "{}")) is None
    new = read_call("Weather", "skylark", "get_weather", '{"city": "Rome"}')
    cache.put(new, {"error": "", "response": "rain"})
    written = read_json(folder / "get_weather.json")
    assert written["{'city': 'Rome'}"] == {"error": "", "response": "rain"} and len(written) == 4, "upstream's key, all else kept"
    assert RecordedCache(tmp_path).get(new)["response"] == "rain"
    with served(create_app(Answerer(WorldSource(WORLD), cache))) as address:
        body = payload(category="Weather", tool_name="skylark", api_name="get_weather", tool_input={"days": 2, "city": "Lisbon"})
        assert json.loads(post(address, body)[1]) == recorded
    (folder / "get_weather.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="broken JSON"):
        RecordedCache(tmp_path).get(new)


@pytest.mark.parametrize("name", ["../../etc", "..", "/etc/passwd", "a\0b", "x" * 4000, "C:\\x", "."])
def test_names_do_not_leave_the_folder(tmp_path, name):
    cache = RecordedCache(tmp_path / "cache")
    call = read_call(name, name, name, "{}")
    assert cache.path(call).resolve().is_relative_to((tmp_path / "cache").resolve())
    assert cache.get(call) is None


def test_a_simulator_answers_last_is_saved_and_has_a_time_limit(tmp_path):
    asked = []

    async def simulate(call):
        asked.append(call)
        if call.api == "slow":
            await asyncio.sleep(5)
        if call.api == "broken":
            raise RuntimeError("down")
        return {"error": "", "response": f"simulated {call.api}"}

    answerer = Answerer(WorldSource(WORLD), RecordedCache(tmp_path), simulate, save=True, time_limit=0.05)

    def ask(api):
        return asyncio.run(answerer.answer(read_call("Weather", "skylark", api, "{}")))

    assert ask("new") == {"error": "", "response": "simulated new"} == ask("new")
    assert (
        len(asked) == 1
        and read_json(tmp_path / "Weather" / "skylark_for_Weather" / "new.json")["{}"]["response"] == "simulated new"
    )
    assert ask("slow")["error"] == "Timeout error..." and ask("broken")["error"] == "RuntimeError: down"
    assert not (tmp_path / "Weather" / "skylark_for_Weather" / "slow.json").exists()


def test_long_responses_are_cut_with_a_mark():
    assert cut({"error": "", "response": "x" * MAX_RESPONSE}) == {"error": "", "response": "x" * MAX_RESPONSE}
    assert cut({"error": "", "response": "x" * 9999})["response"] == "x" * MAX_RESPONSE + "..."
    assert cut({"error": "", "response": {"a": "x" * 9999}})["response"].startswith('{"a": "xx')


def test_what_is_kept_against_upstreams_rule(toolbench_dir):
    """Upstream searches the whole response for words: it drops a time stamp with 404 in it, and keeps an answer of status 400."""
    differ = []
    for case in read_json(toolbench_dir / "golden" / "cache_check_result.json"):
        if worth_keeping(case["input"]) != case["keep_in_cache"]:
            differ.append((case["keep_in_cache"], str(case["input"]["response"])))
    assert all("'status': 400" in response if kept else "404" in response or "500" in response for kept, response in differ), (
        differ
    )
    assert 0 < len(differ) < 20


def test_upstreams_classifier_calls_every_answer_an_error(toolbench_dir):
    """All 60 real answers hold the word "error", as the name of a field: upstream's process_error says Message error... to each.

    Here the code follows from what the field says.
    """
    cases = read_json(toolbench_dir / "golden" / "process_error.json")
    assert {case["error"] for case in cases} == {"Message error..."}
    for case in cases:
        said = json.JSONDecoder().raw_decode(case["response"].partition('"error": ')[2])[0]
        code = Status.UNKNOWN_FUNCTION if said.startswith("No such function name") else status_of(said)
        if said.startswith("Function executing"):
            assert code == Status.OK and case["recorded_code"] in (0, 12)
        else:
            assert code == case["recorded_code"], case


def test_a_language_model_plays_an_api_and_what_it_does_wrong_is_an_answer():
    """A real local HTTP server in its place: good, fenced, nonsense, without a response, refused, silent."""
    pytest.importorskip("openai", reason="needs the package openai")
    said = [
        '{"error": "", "response": {"sky": "sunny"}}',
        '```json\n{"error": null, "response": 5}\n```',
        "I am an API.",
        '{"x": 1}',
    ]

    def plan(number, body):
        assert "skylark" in body["messages"][1]["content"] and "Lisbon" in body["messages"][1]["content"]
        return (200, said[number]) if number < 4 else (400, "no") if number == 4 else (200, None)

    with slow_judge.JudgeServer(plan) as model:
        simulator = openai_simulator(model.base_url, "m")
        answerer = Answerer(WorldSource(WORLD), None, simulator, time_limit=3.0)
        call = read_call("Weather", "skylark", "get_weather", '{"city": "Lisbon"}')

        async def ask():
            answers = [await answerer.answer(call) for _ in range(5)]
            answerer.time_limit = 0.2
            return [*answers, await answerer.answer(call)]

        answers = asyncio.run(ask())
    nothing = {"error": "The simulated API gave no JSON object.", "response": ""}
    assert answers[:4] == [{"error": "", "response": {"sky": "sunny"}}, {"error": "", "response": 5}, nothing, nothing]
    assert answers[4]["error"].startswith("BadRequestError: ") and answers[5] == {"error": "Timeout error...", "response": ""}


def test_few_files_stay_in_memory_and_what_others_wrote_stays_on_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    cache, other = RecordedCache(tmp_path), RecordedCache(tmp_path)
    calls = [read_call("Weather", "skylark", f"api {k}", "{}") for k in range(9)]
    for k, call in enumerate(calls):
        assert cache.get(call) is None and other.get(call) is None
        cache.put(call, {"error": "", "response": k})
    assert sum(map(cache.is_read, calls)) == 3
    assert [cache.get(call)["response"] for call in calls] == list(range(9)), "read again from the disk"
    second = read_call("Weather", "skylark", "api 8", '{"a": 1}')
    other.put(second, {"error": "", "response": "other"})
    assert other.get(calls[8])["response"] == 8 and RecordedCache(tmp_path).get(second)["response"] == "other"
    for k in range(1000):
        cache.get(read_call("Weather", "skylark", f"unknown {k}", "{}"))
    assert sum(cache.is_read(read_call("Weather", "skylark", f"unknown {k}", "{}")) for k in range(1000)) == 3


def test_a_body_that_does_not_arrive_and_a_caller_that_leaves(monkeypatch):
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)

    async def never():
        await asyncio.sleep(60)

    async def leaves():
        return {"type": "http.disconnect"}

    status, content = ask_app(APP, b"", never)
    assert status == 408 and "did not arrive in 0.05 seconds" in json.loads(content)["detail"]
    assert ask_app(APP, b"", leaves)[0] == 400


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def ask_app(app, body: bytes, receive=None):
    """One request, straight into the application -> (status, body). ``receive`` stands for a caller that sends no whole body."""
    sent = []

    async def whole():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/virtual", "raw_path": b"/virtual",
        "query_string": b"", "headers": [(b"content-type", b"application/json")], "scheme": "http", "root_path": "",
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(app(scope, receive or whole, send), 10))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])


APP = create_app(Answerer(WorldSource(WORLD)))
BODIES = st.binary() | JSONISH.map(json.dumps).map(str.encode) | st.builds(
    lambda changes: json.dumps(payload() | changes).encode(),
    st.dictionaries(st.sampled_from(sorted(payload())), JSONISH, max_size=2),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_whatever_is_sent_is_answered(body):
    status, content = ask_app(APP, body)
    assert status in (200, 413, 422)
    assert isinstance(json.loads(content), dict)


def test_an_episode_over_http(url):
    name = function_name(next(a for a in QUERY.query.api_list if a.api_name == CALL.api_name and a.tool_name == CALL.tool_name))
    turns = [f"\nThought: t\nAction: {name}\nAction Input: {payload()['tool_input']}", None]
    for api in (None, VirtualApi(RemoteWorld.of(url, WORLD))):
        (episode,) = play_episodes(lambda cs: [turns[len(cs[0].steps)]], WORLD, [QUERY], "compact", 5, 0, api=api)
        assert episode.steps[0].code == 0 and QUERY.goal.facts[0].value in episode.steps[0].observation
