"""Random and hostile strings through the parser, the API and the server: no exception, no hang, no observation that leaves its role.

The quick run draws 1,500 strings, the slow one 100,000 (`make test-slow`), the same ones every time.
"""

import json
import random

import pytest

from toolslm_helpers.agent.episode import Conversation
from toolslm_helpers.agent.search import own_words, take_turn
from toolslm_helpers.agent.virtual_api import MAX_OBSERVATION, Status, VirtualApi, observation_text
from toolslm_helpers.data.records import Api, Message, Parameter, Query
from toolslm_helpers.data.world import Reply
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import parse_action
from toolslm_helpers.text.tokenizer import SPECIAL_TOKENS, load_small_tokenizer

API = Api(category_name="Weather", tool_name="skylark", api_name="get_weather", required_parameters=(Parameter(name="city"),))
QUERY = Query(query_id=1, query="What is the weather in Lisbon?", api_list=(API,))
TOKENIZER = load_small_tokenizer()
ROLES = ("System", "User", "Assistant", "Function")
PIECES = (
    "Thought:", "\nThought: ", "\nAction:", "\nAction: ", "\nAction Input:", "\nAction Input: ", " Finish", "get_weather_for_skylark",
    "{", "}", "[", "]", '"', "\\", "\n", "\r", "\u2028", "\x00", "\x85", "\ud800", "\U0001f600", "\u202e", " ", "\t", ":", ",",
    *SPECIAL_TOKENS, *(f"\n{role}: " for role in ROLES), *(f"{role}:" for role in ROLES),
    '{"city": "Lisbon"}', '{"return_type": "give_answer", "final_answer": "', '{"return_type": "give_up_and_restart"}',
    "NaN", "1e999", "-Infinity", "9" * 500, "[" * 400, '{"a":' * 300, "\\u003c/s>", "\\ud800", "null", "true",
    "__import__('os').system('true')", "../../etc/passwd", "${x}", "{{x}}", "%s%n", "a" * 2000,
)  # fmt: skip


def hostile(rng):
    """One string: pieces that mean something to somebody, or characters from anywhere, or both."""
    parts = []
    for _ in range(rng.randint(0, 10)):
        anywhere = "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randint(1, 6)))
        parts.append(rng.choice(PIECES) if rng.random() < 0.8 else anywhere)
    return "".join(parts)


class Says:
    """A world whose API answers with one prepared value."""

    def __init__(self, reply):
        self.reply = reply

    def respond(self, *_):
        return self.reply


def is_harmless(observation):
    """One line, no special token, bounded: it can end no turn and open none. It is ASCII, so there is no other line break either."""
    return (
        len(observation.splitlines()) == 1
        and observation.isascii()
        and not any(token in observation for token in SPECIAL_TOKENS)
        and len(observation) <= MAX_OBSERVATION + 3
    )


def try_one(text, check_tokens):
    """The string as a turn, as an API's answer and error, as the arguments of a call."""
    action = parse_action(text)
    assert action.problem is None or isinstance(action.problem, str)
    assert isinstance(action.arguments, dict)
    turn = own_words(text)
    assert turn.startswith("\n") and not any(f"\n{role}:" in turn for role in ROLES)
    world = Says(Reply(text[:50], {"said": text, text[:20]: [text]}, Status.OK))
    session = VirtualApi(world).session(QUERY)
    calls = (
        ("get_weather_for_skylark", text),
        (text, "{}"),
        ("Finish", text),
        ("get_weather_for_skylark", json.dumps({"city": text})),
    )
    for name, action_input in calls:
        observation = session.call(name, action_input)
        assert is_harmless(observation.text) and Status(observation.code) in Status
    assert is_harmless(observation_text(text, text))
    conversation = Conversation(_Asked(QUERY), [Message(role="user", content="q")], session, seed=0)
    take_turn(conversation, text)
    assert [message.role for message in conversation.messages] == ["user", "assistant", "function"]
    if check_tokens and not any("\ud800" <= c <= "\udfff" for c in text):  # a tokenizer takes no lone surrogates
        ids = prompt_ids(conversation.messages, TOKENIZER)
        assert ids.count(TOKENIZER.eos_token_id) == 2, "one begins the text, one ends the assistant's turn"
        assert not {0, 1, 3} & set(ids)


class _Asked:
    def __init__(self, query):
        self.query = query


def try_many(count, seed):
    rng = random.Random(f"hostile {seed}")
    for number in range(count):
        try_one(hostile(rng), check_tokens=number % 10 == 0)


def test_some_hostile_strings():
    try_many(1_500, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_hostile_strings(seed):
    try_many(10_000, seed + 1)


def ask_server(count, seed):
    """The strings as bodies of POST /virtual, and in each of its fields."""
    pytest.importorskip("fastapi", reason="needs the extra [serve]")
    import asyncio

    from toolslm_helpers.agent.server import Answerer, create_app
    from toolslm_helpers.agent.sources import WorldSource
    from toolslm_helpers.data.world import build_world

    world = build_world(0)
    app, rng, known = create_app(Answerer(WorldSource(world))), random.Random(f"server {seed}"), world.tools[0].apis[0].api
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/virtual", "raw_path": b"/virtual",
        "query_string": b"", "headers": [], "scheme": "http", "root_path": "",
    }  # fmt: skip

    async def ask(body):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await asyncio.wait_for(app(dict(scope), receive, send), 30)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    async def all_of_them():
        for _ in range(count):
            fields = {"category": known.category_name, "tool_name": known.tool_name, "api_name": known.api_name, "tool_input": "{}",
                      "strip": "", "toolbench_key": ""}  # fmt: skip
            text = hostile(rng)
            for name in rng.sample(sorted(fields), rng.randint(0, 2)):
                fields[name] = text if rng.random() < 0.8 else {text: [text]}
            body = json.dumps(fields).encode() if rng.random() < 0.8 else text.encode("utf-8", "surrogatepass")
            status, content = await ask(body)
            assert status in (200, 413, 422) and isinstance(json.loads(content), dict), body

    asyncio.run(all_of_them())


def test_some_hostile_requests():
    ask_server(500, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_hostile_requests(seed):
    ask_server(10_000, seed + 1)
