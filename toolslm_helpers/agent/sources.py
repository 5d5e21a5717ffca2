"""Where an answer to a call may come from: recorded answers, the embedded world, a language model that plays the API.

``Sources`` asks them in this order; the HTTP server stands in front of it. Names arrive as StableToolBench's client writes them, in
code's spelling ("open_zelvora", "get_price"), and are found again here.
"""

import ast
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolslm_helpers.agent.virtual_api import (
    ArgumentError,
    Status,
    canonical_arguments,
    check_arguments,
    parameters_of,
    parse_arguments,
)
from toolslm_helpers.data.names import identifier, standardize
from toolslm_helpers.data.world import World
from toolslm_helpers.files import DataError, atomic_write_json, read_json

Answer = dict[str, Any]  # {"error": text, "response": anything}, as the server returns it
MOST_REMEMBERED = 100_000  # calls whose repetitions are counted, and answers that are kept ready
MOST_FILES = 1_000  # files of recorded answers that are kept in memory; StableToolBench's cache has thousands, some of megabytes

# By these words, letter for letter, StableToolBench's client knows which code an error has; whatever else it says is code 0.
ERROR_WORDS = {
    Status.NOT_FOUND: "API not working error...",
    Status.UNAUTHORIZED: "Unauthorized error...",
    Status.NOT_SUBSCRIBED: "Unsubscribed error...",
    Status.TOO_MANY_REQUESTS: "Too many requests error...",
    Status.RATE_LIMIT_PER_MINUTE: "Rate limit per minute error...",
    Status.ERROR_MESSAGE: "Message error...",
}
UNREADABLE: Answer = {"error": "Tool input parse error...\n", "response": ""}  # StableToolBench's own words


@dataclass(frozen=True)
class ToolCall:
    """One call as it arrives: category, tool and API in code's spelling, and the arguments, parsed."""

    category: str
    tool: str
    api: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The call as text; the same for the same JSON, however it was spelled."""
        return json.dumps([self.category, self.tool, self.api, canonical_arguments(self.arguments)])


def category_folder(name: str) -> str:
    """A category as StableToolBench names its folders: "Food & Drinks/Wine" -> "Food_&_Drinks_Wine"."""
    return re.sub(r"_+", "_", re.sub(r"[ ,/\\.\0]", "_", name))


def read_call(category: str, tool_name: str, api_name: str, tool_input: str | Mapping[str, Any]) -> ToolCall:
    """A call by its four fields of POST /virtual. The tool may bear its category ("x_for_Weather"), the API its tool.

    Raises ArgumentError where ``tool_input`` is no JSON object; the empty text is one without arguments.
    """
    folder = category_folder(category)
    tool = standardize(tool_name.removesuffix(f"_for_{folder}"))
    api = identifier(api_name).split(f"_for_{tool}")[0]
    text = tool_input if isinstance(tool_input, str) else json.dumps(dict(tool_input))
    return ToolCall(folder, tool, api, parse_arguments(text))


def status_of(error: str) -> Status:
    """The code that StableToolBench's client gives to an ``error`` it received."""
    return next((status for status, words in ERROR_WORDS.items() if words == error), Status.OK)


# What a response says that is a refusal, in upstream's words. It searches whole responses for them, so that a price of 404 is one.
_REFUSALS = re.compile(
    "http error|connection error|rate limit|timed? ?out|does ?n.t exist|internal error|service not found|unauthori|authenticat|blocked user|"
    "subscri|credential|access.denied|is not defined",
    re.IGNORECASE,
)


def worth_keeping(answer: Any) -> bool:
    """Whether an answer belongs into a cache: it is no error, says something, and is not a refusal that calls itself an answer.

    A refusal is an object whose own status is 400 or more, or a text of at most 200 characters that sounds like one.
    Upstream's ``check_result`` finds "404" in a time stamp and misses a status of 400; the tests list where we differ.
    """
    if not isinstance(answer, Mapping) or answer.get("error") != "" or answer.get("response") in ("", None, [], {}):
        return False
    response = answer["response"]
    parsed = _as_object(response)
    if isinstance(parsed, Mapping):
        for name in ("status", "statusCode", "status_code", "code"):
            if re.fullmatch(r"[45]\d\d", str(parsed.get(name, ""))):
                return False
    text = response if isinstance(response, str) else json.dumps(response)
    return len(text) > 200 or _REFUSALS.search(text) is None


def _as_object(text: Any) -> Any:
    """A response that is text may hold JSON, or a Python dictionary as ToolBench's server prints it."""
    if not isinstance(text, str):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (
            ValueError,
            SyntaxError,
            RecursionError,
            MemoryError,
            SystemError,
        ):  # brackets nested too deep end in one of the last three
            continue
    return text


class RecordedCache:
    """Recorded answers in StableToolBench's layout: ``<category>/<tool>_for_<category>/<api>.json``, {arguments: answer}.

    Upstream's keys are Python dictionaries as text, and are compared as text: the same call with its arguments in another order is
    not found. Here they are compared as what they mean. Files are written with upstream's keys, so that it can read them.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._files: OrderedDict[Path, _Recorded] = OrderedDict()  # those used last; a name without a file is one without answers
        self._lock, self._writing = threading.Lock(), threading.Lock()  # the first is never held while a disk is waited for

    def path(self, call: ToolCall) -> Path:
        return self.folder / call.category / f"{call.tool}_for_{call.category}" / f"{call.api}.json"

    def is_read(self, call: ToolCall) -> bool:
        """Whether the file of this call is in memory: then ``get`` waits for no disk."""
        return self.path(call) in self._files

    def get(self, call: ToolCall) -> Answer | None:
        """The recorded answer, or None. Raises DataError for a damaged file."""
        path = self.path(call)
        with self._lock:
            if (found := self._files.get(path)) is not None:
                self._files.move_to_end(path)
        if found is None:
            found = self._keep(path, _Recorded.read(path))
        return found.by_key.get(canonical_arguments(call.arguments))

    def put(self, call: ToolCall, answer: Answer) -> None:
        """Records an answer, on disk when this returns. What others wrote there meanwhile is kept."""
        path = self.path(call)
        with self._writing:
            found = _Recorded.read(path)
            found.by_key[canonical_arguments(call.arguments)] = found.written[str(dict(call.arguments))] = answer
            atomic_write_json(path, found.written, indent=4)
            self._keep(path, found)

    def _keep(self, path: Path, found: "_Recorded") -> "_Recorded":
        with self._lock:
            self._files[path] = found
            self._files.move_to_end(path)
            if len(self._files) > MOST_FILES:
                self._files.popitem(last=False)
        return found


@dataclass(frozen=True)
class _Recorded:
    """A file of recorded answers: as it is written, and by canonical key."""

    written: dict[str, Any]
    by_key: dict[str, Answer]

    @classmethod
    def read(cls, path: Path) -> "_Recorded":
        """Raises DataError for a damaged file; one that is not there, or whose name no file can have, is empty."""
        try:
            written = read_json(path) if path.is_file() else {}
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            written = {}
        if not isinstance(written, dict):
            raise DataError(f"{path}: expected one object from arguments to answer, found {type(written).__name__}.")
        read = ((_as_object(text), answer) for text, answer in written.items())
        pairs = (
            (arguments, answer) for arguments, answer in read if isinstance(arguments, Mapping) and isinstance(answer, Mapping)
        )
        return cls(written, {canonical_arguments(arguments): dict(answer) for arguments, answer in pairs})


class WorldSource:
    """The embedded world behind code's names. It counts repetitions of a call: what fails once passes the second time.

    ``upstream_errors`` says errors in the words by which StableToolBench's client knows their codes, and the world's own in the response.
    """

    def __init__(self, world: World, upstream_errors: bool = True):
        self._world, self._upstream_errors = world, upstream_errors
        self._apis = {
            (category_folder(api.api.category_name), standardize(api.api.tool_name), identifier(api.api.api_name)): api
            for api in world.apis.values()
        }
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._ready: dict[str, Answer] = {}

    def get(self, call: ToolCall) -> Answer | None:
        """The world's answer; None where it has no such API. Arguments that do not fit are answered with what is wrong."""
        if (ready := self._ready.get(key := call.key)) is not None:
            return ready
        if (found := self._apis.get((call.category, call.tool, call.api))) is None:
            return None
        api = found.api
        try:
            check_arguments(api, dict(call.arguments))
        except ArgumentError as error:
            return {"error": str(error), "response": ""}
        own_names = {parameters_of(api)[name].name: value for name, value in call.arguments.items()}
        reply = self._world.respond(api.tool_name, api.api_name, own_names, self._count(key) if found.fault else 0)
        answer = {"error": reply.error, "response": reply.response}
        if self._upstream_errors and reply.code in ERROR_WORDS:
            answer = {"error": ERROR_WORDS[Status(reply.code)], "response": reply.error}
        if not found.fault and len(self._ready) < MOST_REMEMBERED:  # the same call will have the same answer
            self._ready[key] = answer
        return answer

    def is_final(self, call: ToolCall) -> bool:
        """Whether this call was answered before, and will have the same answer for ever."""
        return call.key in self._ready

    def _count(self, key: str) -> int:
        """How often the call was made before. The oldest calls are forgotten when there are too many."""
        attempt = self._attempts.pop(key, 0)
        self._attempts[key] = attempt + 1
        if len(self._attempts) > MOST_REMEMBERED:
            self._attempts.popitem(last=False)
        return attempt


Simulator = Callable[[ToolCall], Awaitable[Answer]]


def openai_simulator(base_url: str, model: str, api_key: str | None = None) -> Simulator:
    """A language model behind an OpenAI-compatible endpoint that answers in an API's place. Needs the package openai.

    What it writes is an answer only if it is a JSON object; otherwise the answer is an error that says so.
    """
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key=api_key or "none", max_retries=2)
    task = (
        "You play an API of a tool. You are told which, and with which arguments it is called. Answer with one JSON object, "
        '{"error": "", "response": ...}, as that API would: short, and with values that fit the arguments.'
    )

    async def simulate(call: ToolCall) -> Answer:
        said = json.dumps({"category": call.category, "tool": call.tool, "api": call.api, "arguments": dict(call.arguments)})
        reply = await client.chat.completions.create(
            model=model, temperature=0, messages=[{"role": "system", "content": task}, {"role": "user", "content": said}]
        )
        answer = _as_object((reply.choices[0].message.content or "").strip().removeprefix("```json").strip("`\n "))
        if not isinstance(answer, Mapping) or "response" not in answer:
            return {"error": "The simulated API gave no JSON object.", "response": ""}
        return {"error": str(answer.get("error") or ""), "response": answer["response"]}

    return simulate
