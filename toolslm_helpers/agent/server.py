"""The tool world over HTTP: POST /virtual as StableToolBench's server answers it, so that its client works against this one.

Needs the extra ``[serve]`` (fastapi, uvicorn). Whatever arrives is answered: a body that is no request with 422, one that is too large with
413, one that does not arrive with 408, a call that takes too long with an error that says so. Nothing a caller sends is executed, and names
become file names only after all but letters, digits and underscores are gone.
"""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from toolslm_helpers.agent.sources import (
    UNREADABLE,
    Answer,
    RecordedCache,
    Simulator,
    ToolCall,
    WorldSource,
    read_call,
    worth_keeping,
)
from toolslm_helpers.agent.virtual_api import ArgumentError
from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_BODY = 65_536  # bytes of a request
MAX_RESPONSE = 2_048  # characters of a response; upstream's server cuts there too, its client at 1,024
MOST_READY = 20_000  # replies kept whole
BODY_SECONDS = 10.0  # in which a request must have arrived
_FIELDS = ("category", "tool_name", "api_name", "tool_input", "strip", "toolbench_key")


@dataclass(frozen=True)
class Faults:
    """What goes wrong on purpose. ``latency`` is in seconds, the others are shares of requests from 0 to 1."""

    latency: float = 0.0
    not_found: float = 0.0  # HTTP 404
    too_many: float = 0.0  # HTTP 429
    malformed: float = 0.0  # HTTP 200, and half of a JSON object
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.not_found, self.too_many, self.malformed)
        if self.latency < 0 or min(shares) < 0 or sum(shares) > 1:
            raise ValueError(f"{self}: expected a latency of 0 or more, and shares of 0 or more that add up to at most 1")

    @classmethod
    def read(cls, text: str) -> "Faults":
        """The faults of a switch such as ``latency=0.5,not_found=0.1``. Raises WorkbookError that lists the names."""
        names = [field.name for field in fields(cls)]
        try:
            pairs = dict(part.split("=") for part in text.split(",") if part.strip())
            values = {name.strip(): float(value) for name, value in pairs.items()}
            return cls(**{name: int(value) if name == "seed" else value for name, value in values.items()})
        except (TypeError, ValueError) as error:
            raise WorkbookError(f"faults are {text!r} ({error}); expected name=number, ...: {', '.join(names)}.") from error

    def draw(self, rng: random.Random) -> str:
        """What becomes of the next request: "", "not_found", "too_many" or "malformed"."""
        number = rng.random()
        for name in ("not_found", "too_many", "malformed"):
            number -= getattr(self, name)
            if number < 0:
                return name
        return ""


class Answerer:
    """Finds the answer to a call: a recorded one, else the world's, else a simulated one; keeps answers ready that cannot change."""

    def __init__(
        self,
        world: WorldSource | None = None,
        cache: RecordedCache | None = None,
        simulator: Simulator | None = None,
        save: bool = False,
        time_limit: float = 10.0,
    ):
        self.world, self.cache, self.simulator, self.save, self.time_limit = world, cache, simulator, save, time_limit

    def is_final(self, call: ToolCall) -> bool:
        """Whether the answer that was just given to ``call`` will be given for ever: the world's own, with nothing recorded before it."""
        return self.cache is None and self.world is not None and self.world.is_final(call)

    async def answer(self, call: ToolCall) -> Answer:
        """Never raises for what a caller sent; a source that fails or takes too long is an error in the answer."""
        try:
            if self.cache is not None and (answer := await self._recorded(call)) is not None:
                return answer
            if self.world is not None and (answer := self.world.get(call)) is not None:
                return answer
            if self.simulator is None:
                return {"error": "API not working error...", "response": f"No API {call.api[:64]} of a tool {call.tool[:64]}."}
            async with asyncio.timeout(self.time_limit):
                answer = await self.simulator(call)
        except TimeoutError:
            return {"error": "Timeout error...", "response": ""}
        except Exception as error:  # a simulator's server that is down, a damaged file: said, not raised
            return {"error": f"{type(error).__name__}: {str(error)[:200]}", "response": ""}
        if self.save and self.cache is not None and worth_keeping(answer):
            try:
                await asyncio.to_thread(self.cache.put, call, answer)
            except WorkbookError:
                pass  # an answer that could not be kept is still an answer
        return answer

    async def _recorded(self, call: ToolCall) -> Answer | None:
        """The recorded answer. A file that must be read first is read beside the other requests, not before them."""
        return self.cache.get(call) if self.cache.is_read(call) else await asyncio.to_thread(self.cache.get, call)


def cut(answer: Answer) -> Answer:
    """The answer with a response of at most ``MAX_RESPONSE`` characters: a longer one becomes text with a mark at its end."""
    text = answer["response"] if isinstance(answer["response"], str) else json.dumps(answer["response"])
    if len(text) <= MAX_RESPONSE and len(answer["error"]) <= MAX_RESPONSE:
        return answer
    short = answer["response"] if len(text) <= MAX_RESPONSE else text[:MAX_RESPONSE] + "..."
    return {"error": answer["error"][:MAX_RESPONSE], "response": short}


def problem_of(request: Any) -> str:
    """What is wrong with a parsed body, or ""."""
    if not isinstance(request, dict):
        return "expected one JSON object"
    for name in _FIELDS:
        if name not in request:
            return f"field {name} is missing"
        if not isinstance(request[name], str) and not (name == "tool_input" and isinstance(request[name], dict)):
            return f"field {name} must be a string"
    return ""


async def _body(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> tuple[bytes, int, str]:
    """(what a caller sends, 200, ""), or an HTTP status and what is wrong. No more is read than may be sent."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", 400, "the caller went away"  # nobody reads it; an exception would fill the log
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > MAX_BODY:
            return b"", 413, f"body larger than {MAX_BODY} bytes"
    return body, 200, ""


def create_app(answerer: Answerer, faults: Faults | None = None) -> "FastAPI":
    """The web application. One event loop serves all requests; none waits for another's latency or simulator."""
    from fastapi import FastAPI, Request, Response

    faults, app = faults or Faults(), FastAPI(title="toolslm virtual API")
    rng = random.Random(faults.seed)
    ready: dict[bytes, bytes] = {}  # whole replies to whole bodies, where the reply can never be another one

    def reply(value: Any, status: int = 200) -> Response:
        return Response(json.dumps(value), status_code=status, media_type="application/json")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/virtual")
    async def virtual(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body, status, problem = await _body(request.receive)
        except TimeoutError:
            body, status, problem = b"", 408, f"the body did not arrive in {BODY_SECONDS:g} seconds"
        if problem:
            return reply({"detail": problem}, status)
        if faults.latency:
            await asyncio.sleep(faults.latency)
        match faults.draw(rng):
            case "not_found":
                return reply({"detail": "Not Found"}, 404)
            case "too_many":
                return reply({"detail": "Too Many Requests"}, 429)
            case "malformed":
                return Response('{"error": "", "respon', media_type="application/json")
        if (whole := ready.get(body)) is not None:
            return Response(whole, media_type="application/json")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return reply({"detail": "the body is not JSON"}, 422)
        if problem := problem_of(content):
            return reply({"detail": problem}, 422)
        try:
            call = read_call(content["category"], content["tool_name"], content["api_name"], content["tool_input"])
        except ArgumentError:
            return reply(UNREADABLE)
        whole = json.dumps(cut(await answerer.answer(call))).encode()
        if answerer.is_final(call) and len(ready) < MOST_READY and len(body) < MAX_RESPONSE:
            ready[body] = whole
        return Response(whole, media_type="application/json")

    return app


def serve(app: "FastAPI", host: str, port: int) -> None:
    """Serves until it is interrupted."""
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


@contextmanager
def in_background(app: "FastAPI") -> Iterator[str]:
    """``with in_background(app) as address``: serves on a free port of this machine, in a thread of its own, until the block ends."""
    import uvicorn

    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([port],), daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise WorkbookError("the server did not start; what it said stands above.")
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
