"""``toolslm serve`` as StableToolBench's own client meets it: its environment variable, its headers, its bytes, its codes.

The client is written here from what its code does (toolbench/inference/Downstream_tasks/rapidapi.py at aa4ed9f), slip for slip: it finds a
function by the end of its name, sends the model's own words as they are, sends the category as the query file spells it, and prints
what it received as Python's json does.
"""

import http.client
import json
import os
from urllib.parse import urlsplit

import pytest

from toolslm_helpers.agent.gold import play
from toolslm_helpers.agent.server import Answerer, create_app
from toolslm_helpers.agent.sources import RecordedCache, WorldSource, category_folder
from toolslm_helpers.agent.virtual_api import Status, VirtualApi
from toolslm_helpers.data.names import identifier, standardize
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.files import read_json

pytest.importorskip("fastapi", reason="needs the extra [serve]")

WORLD = build_world(0)
CODES = {
    "API not working error...": 6,
    "Unauthorized error...": 7,
    "Unsubscribed error...": 8,
    "Too many requests error...": 9,
    "Rate limit per minute error...": 10,
    "Message error...": 11,
}


class Client:
    """One query's tools, as the client holds them: parallel lists, in the order of the query's ``api_list``."""

    def __init__(self, api_list, key="EMPTY"):
        self.url = urlsplit(os.getenv("SERVICE_URL", "http://localhost:8080/virtual"))
        self.key, self.limit = key, 1024
        self.functions, self.tool_names, self.cate_names, self.api_name_reflect = [], [], [], {}
        for api in api_list:
            tool, pure_api_name = standardize(api["tool_name"]), identifier(api["api_name"])
            name = f"{pure_api_name}_for_{tool}"[-64:]
            self.functions.append(name)
            self.tool_names.append(tool)
            self.cate_names.append(api["category_name"])
            self.api_name_reflect[name] = pure_api_name

    def step(self, action_name, action_input):
        """(observation, code) of one action."""
        observation, code = self._step(action_name, action_input)
        return (observation if len(observation) <= self.limit else observation[: self.limit] + "..."), code

    def _step(self, action_name, action_input):
        for k, function in enumerate(self.functions):
            if function.endswith(action_name):
                payload = {
                    "category": self.cate_names[k],
                    "tool_name": self.tool_names[k],
                    "api_name": self.api_name_reflect[function],
                    "tool_input": action_input,
                    "strip": "truncate",
                    "toolbench_key": self.key,
                }
                status, body = self._post(payload)
                if status != 200:
                    return json.dumps({"error": f"request invalid, data error. status_code={status}", "response": ""}), 12
                try:
                    response = json.loads(body)
                except ValueError:
                    return json.dumps({"error": "request invalid, data error", "response": ""}), 12
                return json.dumps(response), CODES.get(response["error"], 0)
        return json.dumps({"error": f"No such function name: {action_name}", "response": ""}), 1

    def _post(self, payload):
        """The bytes of requests.post(url, json=payload, headers={"toolbench_key": key}, timeout=15)."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=15)
        headers = {
            "User-Agent": "python-requests/2.32.3",
            "Accept-Encoding": "gzip, deflate",
            "Accept": "*/*",
            "Connection": "keep-alive",
            "toolbench_key": self.key,
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", self.url.path, json.dumps(payload, allow_nan=False).encode(), headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


def entries(query):
    """The query's ``api_list`` as a query file holds it."""
    return [api.model_dump(mode="json") for api in query.api_list]


@pytest.fixture
def service(served, monkeypatch):
    """The embedded world behind SERVICE_URL, the one thing that a user of the client sets."""
    with served(create_app(Answerer(WorldSource(WORLD)))) as address:
        monkeypatch.setenv("SERVICE_URL", f"{address}/virtual")
        yield


def test_it_finds_the_server_where_serve_listens_by_itself(monkeypatch):
    from typer.main import get_command

    from toolslm_helpers.cli import app

    monkeypatch.delenv("SERVICE_URL", raising=False)
    options = {option.name: option.default for option in get_command(app).commands["serve"].params}
    url = Client([]).url
    assert (url.port, url.path) == (options["port"], "/virtual") and options["host"] == "127.0.0.1"


@pytest.mark.parametrize("name", SETS)
def test_an_experts_episodes_read_the_same_over_the_client(service, name):
    """Twelve queries a set, played as an expert would, wrong turns and repeated calls included: each answer is the one in process."""
    answered = 0
    for query in queries_of(WORLD, name)[:12]:
        client, session = Client(entries(query.query)), VirtualApi(WORLD).session(query.query)
        for step in play(WORLD, query):
            if step.action == "Finish":
                continue
            here = session.call(step.action, step.action_input)
            observation, code = client.step(step.action, step.action_input)
            said = json.loads(here.text)["error"] if len(here.text) <= 1024 else ""
            if here.code == Status.OK and not said:
                assert (observation, code) == (here.text, 0)
                answered += 1
            else:
                there = json.loads(observation)
                assert there["error"] and said in (there["error"], there["response"])
                assert code == (here.code if here.code in CODES.values() else 0)
    assert answered >= 8


def test_what_a_model_gets_wrong_reaches_it_as_an_observation(service):
    query = next(q for q in queries_of(WORLD, "G1_instruction") if q.goal.kind == "answer")
    client = Client(entries(query.query))
    for words in ("", "{", "Lisbon", "{'a': 1}", '{"a": 1}', "[]", "</s>", "\ud800", "9" * 5000, '{"x": NaN}'):
        observation, code = client.step(client.functions[0], words)
        assert code == 0 and json.loads(observation)["error"], words
    assert client.step("nonsense", "{}")[1] == 1
    too_long = '{"x": "' + "y" * 70_000 + '"}'
    assert client.step(client.functions[0], too_long) == (
        '{"error": "request invalid, data error. status_code=413", "response": ""}',
        12,
    )


def test_recorded_episodes_of_the_real_client_are_answered_alike(toolbench_dir, served, tmp_path):
    """Published answers hold what the real client was told. Put into cache files, the same calls bring back the same observations."""
    folder = toolbench_dir / "stabletoolbench"
    queries = {
        query["query_id"]: query for query in read_json(folder / "solvable_queries" / "test_instruction" / "G1_instruction.json")
    }
    recorded, files = {}, {}  # where the same call was told two things in two runs, the first counts
    for path in sorted((folder / "data_example" / "answer").glob("*/G1_instruction/*.json")):
        query = queries[int(path.name.split("_")[0])]
        client = Client(query["api_list"])
        for name, action_input, observation in calls_of(read_json(path)):
            k = next((k for k, function in enumerate(client.functions) if function.endswith(name)), None)
            try:
                told, arguments = json.loads(observation), str(json.loads(action_input))
            except ValueError:  # cut at 1,024 characters, or no JSON in the first place
                continue
            if k is not None and (query["query_id"], name, arguments) not in recorded:
                recorded[query["query_id"], name, arguments] = (client, action_input, observation)
                category = category_folder(client.cate_names[k])
                place = (category, f"{client.tool_names[k]}_for_{category}", client.api_name_reflect[client.functions[k]])
                files.setdefault(place, {})[arguments] = told
    for (category, tool, api), content in files.items():
        (tmp_path / category / tool).mkdir(parents=True, exist_ok=True)
        (tmp_path / category / tool / f"{api}.json").write_text(json.dumps(content, indent=4), encoding="utf-8")
    with served(create_app(Answerer(WorldSource(WORLD), RecordedCache(tmp_path)))) as address:
        for (_, name, _), (client, action_input, observation) in recorded.items():
            client.url = urlsplit(f"{address}/virtual")
            assert client.step(name, action_input) == (observation, 0)
    assert len(recorded) >= 4


def calls_of(answer):
    """(function, input, observation) of every call in a published answer file, chain or tree."""
    found, action = [], ""

    def walk(nodes):
        nonlocal action
        for node in nodes:
            if node["node_type"] == "Action":
                action = node["description"]
            elif node["node_type"] == "Action Input" and action not in ("", "Finish") and "observation" in node:
                found.append((action, node["description"], node["observation"]))
            walk(node.get("children", ()))

    walk(answer["trys"][0]["chain"] if "trys" in answer else [answer["tree"]["tree"]])
    return found
