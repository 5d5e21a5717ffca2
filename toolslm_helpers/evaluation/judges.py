"""The exact judge of the embedded world: it knows what solves each query, so a verdict needs no language model and never changes.

ToolEval's judges read a query and an answer and form an opinion (lesson 11). Here a query carries its goal: the facts to find and
the calls that yield each of them, or what is missing and must be asked for, or that no API can help.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.agent.virtual_api import ArgumentError, Status, parse_arguments
from toolslm_helpers.data.goals import Call, WorldQuery
from toolslm_helpers.data.names import FINISH, function_name, identifier


@dataclass(frozen=True)
class Verdict:
    """Whether an episode solved its query, and why not (or how) in words for a learner."""

    passed: bool
    reason: str


def _pattern(value: str, flags: int = 0) -> re.Pattern[str]:
    """Finds ``value`` where it stands alone: 12 in "It is 12." and in "12, 13", but not in 3125, 12.5, 12:30 or 1987-12-03."""
    return re.compile(rf"(?<!\w)(?<!\w[.,:/-]){re.escape(value)}(?!\w)(?![.,:/-]\w)", flags)


def contains(text: str, value: str) -> bool:
    """Whether ``value`` stands in ``text`` as a whole: not as a part of a longer word or number. Case counts."""
    return _pattern(value).search(text) is not None


def leaves(response: Any) -> Iterable[str]:
    """The values in a JSON response, as a sentence would write them: strings and numbers.

    Booleans, null and empty strings are left out: in a sentence they cannot be told from ordinary words.
    """
    if isinstance(response, dict | list):
        for item in response.values() if isinstance(response, dict) else response:
            yield from leaves(item)
    elif isinstance(response, str | int | float) and not isinstance(response, bool) and str(response).strip():
        yield str(response)


def observed_values(steps: Iterable[Step]) -> list[str]:
    """All values that the APIs answered with, in order. (An observation that was cut is no JSON any more and gives none.)"""
    values: dict[str, None] = {}
    for step in steps:
        if step.code == Status.OK:
            try:
                answered = json.loads(step.observation)
            except ValueError:
                continue
            values |= dict.fromkeys(leaves(answered.get("response")) if isinstance(answered, dict) else ())
    return list(values)


def successful_calls(world_query: WorldQuery, episode: Episode) -> list[Call]:
    """The calls that an API really answered, with their arguments as parsed JSON (2.0 is 2, true is not 1)."""
    apis = {function_name(api): api for api in world_query.query.api_list}
    calls = []
    for step in episode.steps:
        if step.code == Status.OK and step.action in apis:
            try:
                arguments = parse_arguments(step.action_input)
            except ArgumentError:  # an episode from elsewhere: our own API never answers such a call with OK
                continue
            calls.append(Call(apis[step.action].tool_name, apis[step.action].api_name, arguments))
    return calls


def _key(call: Call) -> tuple[str, str, str]:
    arguments: Mapping[str, object] = {identifier(name): value for name, value in call.arguments.items()}
    return call.tool_name, call.api_name, json.dumps(parse_arguments(json.dumps(arguments)), sort_keys=True)


class ExactJudge:
    """Judges episodes by the goals of their queries. It holds no state and knows no model."""

    def judge(self, world_query: WorldQuery, episode: Episode) -> Verdict:
        """The verdict on one episode.

        A query that can be answered passes if every fact was looked up (one of the calls that yield it was made, with the right
        arguments, and answered), every fact stands in the final answer, and no other observed value does, unless the query itself
        names it: an answer that repeats everything it saw tells the user nothing. Asking back passes only where the query lacks
        something, without a call, if the answer names it. Giving up passes only where no API can help. What it does not see: two
        facts that change places in one sentence, and inventions that no API returned.
        """
        goal = world_query.goal
        if episode.ended != "finish":
            why = "after the last iteration" if episode.ended == "iterations" else "because the context was full"
            return Verdict(False, f"No Finish: the episode ended {why}.")
        if episode.return_type == "give_up_and_restart":
            if goal.kind == "give_up":
                return Verdict(True, "Gave up, and no API in the list could help.")
            due = "the query can be answered" if goal.kind == "answer" else "it lacks something: the right end was to ask"
            return Verdict(False, f"Gave up, but {due}.")
        if goal.kind == "give_up":
            return Verdict(False, "Gave an answer, but no API in the list could help: the right end was to give up.")
        if goal.kind == "ask":
            return self._judge_question(world_query, episode)
        return self._judge_answer(world_query, episode)

    def _judge_question(self, world_query: WorldQuery, episode: Episode) -> Verdict:
        missing = world_query.goal.missing
        if any(step.action not in ("", FINISH.name) for step in episode.steps):
            return Verdict(False, f"Called an API although the query does not say the {missing[0]}: it had to guess.")
        if not any(_pattern(name, re.IGNORECASE).search(episode.final_answer or "") for name in missing):
            return Verdict(False, f"Did not ask for what the query lacks: the {' or '.join(missing)}.")
        return Verdict(True, f"Asked for what the query lacks: the {' or '.join(missing)}.")

    def _judge_answer(self, world_query: WorldQuery, episode: Episode) -> Verdict:
        goal, answer = world_query.goal, episode.final_answer or ""
        made = {_key(call) for call in successful_calls(world_query, episode)}
        for fact in goal.facts:
            if made.isdisjoint(map(_key, fact.calls)):
                call = fact.calls[0]
                wanted = f"{call.api_name} of {call.tool_name} with {json.dumps(dict(call.arguments))}"
                return Verdict(False, f"Never looked up {fact.value!r}: no answered call of {wanted}, or one like it.")
        for fact in goal.facts:
            if not contains(answer, fact.value):
                return Verdict(False, f"The answer lacks {fact.value!r}, which the right call returned.")
        rightful = {fact.value for fact in goal.facts} | {value for value in goal.allowed if value}
        for value in sorted(rightful, key=len, reverse=True):
            answer = _pattern(value).sub("_", answer)  # or another value, "Lamp", would be found inside the fact "Kelmora Lamp"
        for value in observed_values(episode.steps):
            if contains(answer, value) and not contains(world_query.query.query, value):
                return Verdict(False, f"The answer also says {value!r}, which was observed but not asked for.")
        found = "the one fact" if len(goal.facts) == 1 else f"all {len(goal.facts)} facts"
        return Verdict(True, f"Looked up and said {found}, and nothing else that it saw.")
