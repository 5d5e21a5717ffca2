"""Three agents without a model, played and judged like any other: what a score is worth shows in what they get.

A judge that passes one of them can be cheated that way, and so can a model's pass rate.
"""

import json
from collections.abc import Callable, Iterator, Sequence

from toolslm_helpers.agent.episode import Conversation
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import FINISH, function_name, identifier
from toolslm_helpers.data.records import Api
from toolslm_helpers.evaluation.judges import observed_values
from toolslm_helpers.text.protocol import write_action


def _finish(answer: str) -> str:
    return write_action("", FINISH.name, {"return_type": "give_answer", "final_answer": answer})


def _always_ask(conversation: Conversation) -> str:
    """Asks for every required parameter of every API in the list: whatever the query lacks is among them."""
    apis = conversation.world_query.query.api_list
    names = dict.fromkeys(parameter.name.replace("_", " ") for api in apis for parameter in api.required_parameters)
    return _finish(f"Please tell me the {', the '.join(names)}.")


def _always_give_up(conversation: Conversation) -> str:
    """Gives up at once."""
    return write_action("", FINISH.name, {"return_type": "give_up_and_restart"})


def _dump_everything(conversation: Conversation) -> str:
    """Knows the right calls, makes them and every other call it can fill, and answers with all that came back."""
    for name, arguments in _every_call(conversation.world_query):
        action_input = json.dumps(arguments)
        codes = [step.code for step in conversation.steps if (step.action, step.action_input) == (name, action_input)]
        if Status.OK not in codes and len(codes) < 2:  # a second try: some faults pass
            return write_action("", name, arguments)
    return _finish(f"I found {', '.join(observed_values(conversation.steps)) or 'nothing'}.")


def _every_call(world_query: WorldQuery) -> Iterator[tuple[str, dict[str, object]]]:
    """(function name, arguments) of the calls that yield the facts, then of all others, filled with the same values by type."""
    apis = {(api.tool_name, api.api_name): api for api in world_query.query.api_list}
    right = [fact.calls[0] for fact in world_query.goal.facts]
    values = [value for call in right for value in call.arguments.values()]
    for call in right:
        yield function_name(apis[call.tool_name, call.api_name]), {identifier(name): v for name, v in call.arguments.items()}
    others = [api for key, api in apis.items() if key not in {(call.tool_name, call.api_name) for call in right}]
    for api in others:
        if (arguments := _fill(api, values)) is not None:
            yield function_name(api), arguments


def _fill(api: Api, values: Sequence[object]) -> dict[str, object] | None:
    """The first value of the right type for each required parameter; None where there is none."""
    arguments = {}
    for parameter in api.required_parameters:
        kind = int | float if parameter.type == "NUMBER" else str
        fitting = [value for value in values if isinstance(value, kind)]
        if not fitting:
            return None
        arguments[identifier(parameter.name)] = fitting[0]
    return arguments


def _each(turn: Callable[[Conversation], str]) -> Callable[[Sequence[Conversation]], list[str]]:
    return lambda conversations: [turn(conversation) for conversation in conversations]


CONTROLS = {
    "always ask": _each(_always_ask),
    "always give up": _each(_always_give_up),
    "dump everything": _each(_dump_everything),
}
