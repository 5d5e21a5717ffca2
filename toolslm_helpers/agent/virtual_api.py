"""The tool world as a server, in process: a function name and the model's own words go in, an observation and a code come out.

Whatever the model writes is answered; nothing raises. Codes and the shape of an observation are ToolBench's (toolbench/inference/
Downstream_tasks/rapidapi.py), its eval() and its matching of names by substring are not.
"""

import difflib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from toolslm_helpers.data.names import FINISH, function_name, identifier
from toolslm_helpers.data.records import Api, Parameter, Query
from toolslm_helpers.data.world import World
from toolslm_helpers.text.tokenizer import SPECIAL_TOKENS

MAX_OBSERVATION = 1024  # characters; ToolBench's default for what it shows to the model


class Status(IntEnum):
    """ToolBench's status codes. Most errors of an API come as 0: it answered, and its answer says what is wrong."""

    OK = 0
    UNKNOWN_FUNCTION = 1
    BAD_FINISH = 2
    FINAL_ANSWER = 3
    GAVE_UP = 4
    TIMEOUT = 5
    NOT_FOUND = 6
    UNAUTHORIZED = 7
    NOT_SUBSCRIBED = 8
    TOO_MANY_REQUESTS = 9
    RATE_LIMIT_PER_MINUTE = 10
    ERROR_MESSAGE = 11
    BAD_REQUEST = 12  # HTTP status other than 200, or no JSON: here also the arguments that a server would refuse with a 400


@dataclass(frozen=True)
class Observation:
    """What one turn brings back. ``text`` is what the model reads next; ``arguments`` is what its input parsed to, if it did."""

    text: str
    code: int
    arguments: dict[str, Any] = field(default_factory=dict)


class ArgumentError(ValueError):
    """What is wrong with an Action Input, in words for the model."""


def observation_text(error: str, response: Any) -> str:
    """ToolBench's observation: one line of JSON, cut at 1,024 characters.

    Special tokens are written with JSON's escape for ``<``: the same string to whoever parses it, and no end of turn to the
    tokenizer. Being one line, an observation cannot open a turn of another role.
    """
    text = json.dumps({"error": error, "response": response})
    for token in SPECIAL_TOKENS:
        text = text.replace(token, token.replace("<", "\\u003c"))
    return text if len(text) <= MAX_OBSERVATION else text[:MAX_OBSERVATION] + "..."


def parse_arguments(text: str) -> dict[str, Any]:
    """The JSON object that an Action Input holds, numbers by value (2.0 is 2); an empty input is ``{}``.

    Raises ArgumentError for everything else.
    """

    def refuse(constant: str):
        raise ArgumentError(f"{constant} is not a JSON value.")

    try:
        arguments = json.loads(text.strip() or "{}", parse_constant=refuse, strict=False)  # line breaks in a string are let pass
    except ArgumentError:
        raise
    except json.JSONDecodeError as error:
        raise ArgumentError(f"Action Input is not JSON: {error.msg} at character {error.pos}.") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets nested thousands deep
        raise ArgumentError("Action Input is not JSON that can be read.") from error
    if not isinstance(arguments, dict):
        raise ArgumentError('Action Input must be a JSON object like {"name": "value"}.')
    return _plain_numbers(arguments)


def canonical_arguments(arguments: Mapping[str, Any]) -> str:
    """Arguments as text that is the same for the same JSON: keys sorted, 2.0 as 2."""
    return json.dumps(_plain_numbers(dict(arguments)), sort_keys=True)


def _plain_numbers(value: Any) -> Any:
    """2.0 as 2: JSON knows one kind of number, and a call is the same call in both spellings."""
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _type_name(parameter: Parameter) -> str:
    return {"NUMBER": "number", "BOOLEAN": "boolean"}.get(parameter.type.upper(), "string")


def _is_of_type(value: Any, type_name: str) -> bool:
    if type_name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, bool if type_name == "boolean" else str)


def parameters_of(api: Api) -> dict[str, Parameter]:
    """An API's parameters by the name that the model calls them."""
    return {identifier(parameter.name): parameter for parameter in (*api.required_parameters, *api.optional_parameters)}


def check_arguments(api: Api, arguments: dict[str, Any]) -> None:
    """Raises ArgumentError that names the first argument that is missing, unknown or of the wrong type, and what is expected."""
    known = parameters_of(api)
    for parameter in api.required_parameters:
        if identifier(parameter.name) not in arguments:
            raise ArgumentError(f"Missing argument: {identifier(parameter.name)} ({_type_name(parameter)}).")
    for name, value in arguments.items():
        if name not in known:
            raise ArgumentError(f"Unknown argument: {name[:64]}. Expected: {', '.join(known) or 'no arguments'}.")
        if not _is_of_type(value, _type_name(known[name])):
            raise ArgumentError(f"Wrong type: {name} must be a {_type_name(known[name])}.")


class Session:
    """The API as one episode sees it: the functions of its query, and how often each exact call was made before.

    ``checks`` refuses arguments that do not fit an API's description. Real descriptions are often wrong about types, so that for ToolBench's
    own tools it is left to whoever answers.
    """

    def __init__(self, world: World, query: Query, checks: bool = True):
        self._world, self._checks = world, checks
        self._apis = {function_name(api): api for api in query.api_list}
        self._attempts: Counter[str] = Counter()

    def call(self, name: str, action_input: str) -> Observation:
        """Answers one Action with its Action Input (JSON text). Never raises: whatever is wrong is said in the observation."""
        if name == FINISH.name:
            return self._finish(action_input)
        api = self._apis.get(name)
        if api is None:
            nearest = difflib.get_close_matches(name[:64], [*self._apis, FINISH.name], n=2, cutoff=0)
            error = f"No such function name: {name[:64]}. Nearest: {', '.join(nearest)}."
            return Observation(observation_text(error, ""), Status.UNKNOWN_FUNCTION)
        try:
            arguments = parse_arguments(action_input)
            if self._checks:
                check_arguments(api, arguments)
        except ArgumentError as error:
            return Observation(observation_text(str(error), ""), Status.BAD_REQUEST)
        call = json.dumps([api.tool_name, api.api_name, canonical_arguments(arguments)])
        known = parameters_of(api)
        own_names = {known[name].name if name in known else name: value for name, value in arguments.items()}
        reply = self._world.respond(api.tool_name, api.api_name, own_names, self._attempts[call])
        self._attempts[call] += 1
        return Observation(observation_text(reply.error, reply.response), reply.code, arguments)

    def _finish(self, action_input: str) -> Observation:
        """Ends the episode, or says why it does not: return_type give_answer with a final_answer, or give_up_and_restart."""
        try:
            arguments = parse_arguments(action_input)
            if arguments.get("return_type") == "give_up_and_restart":
                return Observation(observation_text("", "chose to give up and restart"), Status.GAVE_UP, arguments)
            if "return_type" not in arguments:
                raise ArgumentError("Missing argument: return_type (give_answer or give_up_and_restart).")
            if arguments["return_type"] != "give_answer":
                raise ArgumentError("return_type must be give_answer or give_up_and_restart.")
            if "final_answer" not in arguments:
                raise ArgumentError("Missing argument: final_answer (string).")
            if not isinstance(arguments["final_answer"], str):
                raise ArgumentError("Wrong type: final_answer must be a string.")
        except ArgumentError as error:
            return Observation(observation_text(str(error), ""), Status.BAD_FINISH)
        return Observation(observation_text("", "successfully giving the final answer."), Status.FINAL_ANSWER, arguments)


class VirtualApi:
    """Every tool of a world behind one door. ``session(query)`` opens it for one episode."""

    def __init__(self, world: World):
        self.world = world

    def session(self, query: Query) -> Session:
        """A fresh session: only the functions of ``query`` exist, and no call has been made yet."""
        return Session(self.world, query)
