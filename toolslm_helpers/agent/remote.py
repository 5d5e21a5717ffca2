"""Other worlds behind the same door as the embedded one: a server over HTTP, and any world with faults put in.

``VirtualApi(world)`` asks a world for nothing but ``respond``; these answer it too, so that a search does not know where its tools are.
"""

import json
import random
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from toolslm_helpers.agent.server import Faults
from toolslm_helpers.agent.sources import status_of
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.names import identifier, standardize
from toolslm_helpers.data.world import Reply, World

MAX_REPLY = 1 << 20  # bytes that are read of a reply: what a model is shown of it is far less


class Responds(Protocol):
    """What ``VirtualApi`` needs of a world."""

    def respond(self, tool_name: str, api_name: str, arguments: Mapping[str, object], attempt: int = 0) -> Reply: ...


@dataclass(frozen=True)
class RemoteWorld:
    """A world behind StableToolBench's POST /virtual. ``categories`` tells the category of a tool.

    Whatever the server does becomes a reply with ToolBench's code: 5 no answer in time, 6 HTTP status 404, 7 status 401 or 403, 9 status
    429, 12 another status, no JSON or no connection; else the code by which the client knows the error's words.
    """

    url: str
    categories: Mapping[str, str]
    timeout: float = 15.0  # seconds, as upstream's client waits

    @classmethod
    def of(cls, url: str, world: World, timeout: float = 15.0) -> "RemoteWorld":
        """The server at ``url`` for the tools of ``world``."""
        return cls(url, {tool.name: tool.category for tool in world.tools}, timeout)

    def respond(self, tool_name: str, api_name: str, arguments: Mapping[str, object], attempt: int = 0) -> Reply:
        """Asks the server. ``attempt`` is the server's to count."""
        body = {
            "category": self.categories.get(tool_name, ""),
            "tool_name": standardize(tool_name),
            "api_name": identifier(api_name),
            "tool_input": {identifier(name): value for name, value in arguments.items()},
            "strip": "truncate",
            "toolbench_key": "",
        }
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/virtual", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                return _reply(reply.read(MAX_REPLY))
        except urllib.error.HTTPError as error:
            code = {404: 6, 401: 7, 403: 7, 429: 9}.get(error.code, Status.BAD_REQUEST)
            return Reply(f"HTTP status {error.code}.", "", int(code))
        except TimeoutError:
            return Reply(f"No answer in {self.timeout:g} seconds.", "", int(Status.TIMEOUT))
        except (OSError, ValueError) as error:  # no connection, or an answer that is not HTTP
            if isinstance(getattr(error, "reason", None), TimeoutError):
                return Reply(f"No answer in {self.timeout:g} seconds.", "", int(Status.TIMEOUT))
            return Reply(f"No connection to the server ({getattr(error, 'reason', error)}).", "", int(Status.BAD_REQUEST))


def _reply(body: bytes) -> Reply:
    try:
        answer = json.loads(body)
        error, response = str(answer["error"]), answer["response"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Reply("The answer is not JSON.", "", int(Status.BAD_REQUEST))
    return Reply(error, response, int(status_of(error)))


@dataclass
class FaultyWorld:
    """A world with faults put in, by the same switch as the server's; ``patience`` is how many seconds a caller waits.

    Nothing really waits here: a latency above the patience is a timeout, a smaller one is not noticed.
    """

    world: Responds
    faults: Faults
    patience: float = 15.0
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.faults.seed)

    def respond(self, tool_name: str, api_name: str, arguments: Mapping[str, object], attempt: int = 0) -> Reply:
        """The world's reply, unless a fault is drawn."""
        if self.faults.latency > self.patience:
            return Reply(f"No answer in {self.patience:g} seconds.", "", int(Status.TIMEOUT))
        match self.faults.draw(self._rng):
            case "not_found":
                return Reply("HTTP status 404.", "", int(Status.NOT_FOUND))
            case "too_many":
                return Reply("HTTP status 429.", "", int(Status.TOO_MANY_REQUESTS))
            case "malformed":
                return Reply("The answer is not JSON.", "", int(Status.BAD_REQUEST))
        return self.world.respond(tool_name, api_name, arguments, attempt)
