"""The toy that runs through the whole series: one source for notebook, worksheet and test.

It is the weather of one city, one failed call, one answer. Short enough to read aloud, and complete: all four roles, a call
that is refused, a call that is answered, a Finish.
"""

import json
from dataclasses import dataclass

from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.agent.virtual_api import ArgumentError, Status, check_arguments, observation_text, parse_arguments
from toolslm_helpers.data.goals import Call, Fact, Goal, WorldQuery
from toolslm_helpers.data.names import FINISH, function_of
from toolslm_helpers.data.records import Api, Message, Parameter, Query, Trajectory
from toolslm_helpers.text.protocol import prompt_messages, write_action

TOY_QUERY = "What is the weather in Lisbon?"
TOY_WEATHER = {"Lisbon": {"sky": "sunny", "celsius": 19}, "Oslo": {"sky": "snow", "celsius": -4}}
TOY_API = Api(
    category_name="Weather", tool_name="skylark", api_name="get_weather", api_description="Weather of a city today.",
    required_parameters=(Parameter(name="city"),),
)  # fmt: skip
TOY_FUNCTION = function_of(TOY_API)


def toy_api(action_input: str) -> str:
    """What Skylark's weather API answers to one Action Input: one line of JSON with "error" and "response". It never raises."""
    try:
        arguments = parse_arguments(action_input)
        check_arguments(TOY_API, arguments)
    except ArgumentError as problem:
        return observation_text(str(problem), "")
    city = arguments["city"]
    return observation_text("", TOY_WEATHER[city]) if city in TOY_WEATHER else observation_text(f"No such city: {city}.", "")


def toy_trajectory() -> Trajectory:
    """The toy: system, user, a call with a wrong parameter, its error, the call again, its answer, Finish."""
    wrong, right = '{"town": "Lisbon"}', '{"city": "Lisbon"}'
    messages = [
        *prompt_messages(TOY_QUERY, (TOY_FUNCTION,), "compact"),
        Message(role="assistant", content=write_action("I look up the weather in Lisbon.", TOY_FUNCTION.name, wrong)),
        Message(role="function", content=toy_api(wrong)),
        Message(role="assistant", content=write_action("The parameter is called city.", TOY_FUNCTION.name, right)),
        Message(role="function", content=toy_api(right)),
        Message(role="assistant", content=write_action("Done.", FINISH.name, _finish("It is sunny in Lisbon, 19 degrees."))),
    ]
    return Trajectory(id="toy", query=TOY_QUERY, functions=(TOY_FUNCTION,), messages=tuple(messages))


@dataclass(frozen=True)
class ToyCase:
    """One answer to be judged: a query with its goal, and the episode that somebody played for it."""

    name: str
    world_query: WorldQuery
    episode: Episode


def toy_cases() -> tuple[ToyCase, ...]:
    """Five answers for lesson 11, A to E: looked up and said; never looked up; said too much; asked back; gave up."""
    lisbon, oslo = _call("Lisbon"), _call("Oslo")
    weather = Goal("answer", tuple(Fact(value, (_wanted("Lisbon"),)) for value in ("sunny", "19")), allowed=("Lisbon",))
    no_city, no_api = Goal("ask", missing=("city",)), Goal("give_up")
    return (
        _case("A", TOY_QUERY, weather, (lisbon,), "It is sunny in Lisbon, 19 degrees."),
        _case("B", TOY_QUERY, weather, (), "It is sunny in Lisbon, 19 degrees."),
        _case("C", TOY_QUERY, weather, (lisbon, oslo), "Lisbon is sunny, 19 degrees. Oslo has snow, -4 degrees."),
        _case("D", "What is the weather?", no_city, (), "Please tell me the city."),
        _case("E", "Book me a flight to Lisbon.", no_api, (), None),
    )


def _case(name: str, text: str, goal: Goal, calls: tuple[Step, ...], answer: str | None) -> ToyCase:
    number = ord(name) - ord("A")
    query = Query(query_id=number, query=text, api_list=(TOY_API,))
    finish = Step("Done.", FINISH.name, _finish(answer), "", Status.FINAL_ANSWER if answer else Status.GAVE_UP)
    return_type = "give_answer" if answer else "give_up_and_restart"
    episode = Episode(number, text, (*calls, finish), "finish", answer, return_type)
    return ToyCase(name, WorldQuery(query, goal, (), "toy", "", ()), episode)


def _call(city: str) -> Step:
    action_input = json.dumps({"city": city})
    return Step(f"I look up the weather in {city}.", TOY_FUNCTION.name, action_input, toy_api(action_input), Status.OK)


def _wanted(city: str) -> Call:
    return Call(TOY_API.tool_name, TOY_API.api_name, {"city": city})


def _finish(answer: str | None) -> str:
    if answer is None:
        return json.dumps({"return_type": "give_up_and_restart"})
    return json.dumps({"return_type": "give_answer", "final_answer": answer})
