"""A model behind an endpoint: a real local HTTP server that answers, sometimes fails, and sometimes is wrong for good."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("openai", reason="needs the package openai")

from toolslm_helpers.agent.endpoint import EndpointAgent
from toolslm_helpers.agent.search import play_episodes
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import WorkbookError

WORLD = build_world(0)
QUERIES = queries_of(WORLD, "G1_instruction")[:4]
TURN = 'Thought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}\nResult: thanks'


class Endpoint:
    """Answers ``statuses`` in turn, then 200 for ever; keeps what it was asked."""

    def __init__(self, *statuses, content=TURN, error="sorry"):
        self.asked, left, lock = [], list(statuses), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
                with lock:
                    self.asked.append(body)
                    status = left.pop(0) if left else 200
                choices = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}]
                usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
                good = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
                reply = json.dumps(good if status == 200 else {"error": {"message": error}}).encode()
                handler.send_response(status)
                handler.send_header("content-type", "application/json")
                handler.send_header("retry-after-ms", "1")
                handler.send_header("content-length", str(len(reply)))
                handler.end_headers()
                handler.wfile.write(reply)

            def log_message(handler, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_it_plays_and_what_fails_for_a_moment_is_asked_again():
    with Endpoint(429, 500, 503) as endpoint:
        agent = EndpointAgent(endpoint.url, "m")
        episodes = play_episodes(agent, WORLD, QUERIES, "compact", 3, 0)
    assert [episode.return_type for episode in episodes] == ["give_up_and_restart"] * 4
    assert len(endpoint.asked) == 7 and (agent.read, agent.written) == (40, 12)
    assert {body["messages"][0]["role"] for body in endpoint.asked} == {"system"}


def test_what_it_writes_after_its_call_is_not_played():
    with Endpoint() as endpoint:
        (episode,) = play_episodes(EndpointAgent(endpoint.url, "m"), WORLD, QUERIES[:1], "compact", 3, 0)
    assert episode.steps[0].action_input == '{"return_type": "give_up_and_restart"}' and episode.steps[0].code == 4


def test_a_conversation_that_is_too_long_ends_for_lack_of_room():
    with Endpoint(400, error="maximum context length is 2048 tokens") as endpoint:
        (episode,) = play_episodes(EndpointAgent(endpoint.url, "m"), WORLD, QUERIES[:1], "compact", 3, 0)
    assert episode.ended == "context"


@pytest.mark.parametrize(
    ("statuses", "says"), [((400,), "refuses the request"), ((401,), "no answer"), ((500,) * 9, "after 3 tries")]
)
def test_what_does_not_pass_is_said(statuses, says):
    with Endpoint(*statuses) as endpoint, pytest.raises(WorkbookError, match=says):
        play_episodes(EndpointAgent(endpoint.url, "m", retries=2), WORLD, QUERIES[:1], "compact", 3, 0)


def test_a_conversation_has_a_seed_of_its_own_and_it_is_the_same_tomorrow():
    with Endpoint() as endpoint:
        play_episodes(EndpointAgent(endpoint.url, "m", at_once=1), WORLD, QUERIES, "compact", 3, 0)
        play_episodes(EndpointAgent(endpoint.url, "m", at_once=1), WORLD, QUERIES, "compact", 3, 0)
    seeds = [body["seed"] for body in endpoint.asked]
    assert len(set(seeds[:4])) == 4 and seeds[:4] == seeds[4:]
