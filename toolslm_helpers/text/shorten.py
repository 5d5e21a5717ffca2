"""A conversation that is too long is shortened where that costs least, and never where the answer stands.

ToolBench's prompts are long (a median of 2,300 tokens, most of them documentation) and OPT has 2,048 positions. Cutting the end off, as TRL
does, loses the answer; cutting the beginning off loses the instructions and the first APIs. Here things give way one after the other, each
only as far as it must:

1. observations: head and tail stay, and what was cut is marked. So it is with later user turns, in which the search quotes observations;
2. descriptions of all APIs, their parameters and their tools, to one length. If only those of the APIs that are not needed were shortened,
   their length would tell which one is;
3. APIs, dropped in an order that the seed decides, down to three beside the needed ones: there must be something left to choose from;
4. what is left of observations and descriptions, then the instructions, which are the same in every row.

The query and the assistant's turns are never changed, so neither is any token that is trained.

Which APIs are needed is known in training (those that the conversation calls), and not when the model is used. There the policy is the same,
but only what the conversation has called so far is sure to stay. A needed API may be dropped then; ``Shortened.dropped`` lets it be counted.
"""

import random
import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

from toolslm_helpers.data.names import FINISH, own_description
from toolslm_helpers.data.records import Function, Trajectory
from toolslm_helpers.text.encoder import encoder_of
from toolslm_helpers.text.protocol import Rendering, parse_action, system_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DISTRACTORS = 3  # APIs that stay beside the needed ones

# Lengths that are tried, in characters; the longest that fits is taken. Descriptions have at most 256, observations about 1,024.
OBSERVATIONS = (1024, 768, 512, 384, 256)
DESCRIPTIONS = (192, 128, 96, 64, 48, 32)
LAST_OBSERVATIONS = (192, 128, 96, 64)
LAST_DESCRIPTIONS = (16, 0)
INSTRUCTIONS = (1024, 768, 512, 384, 256, 128)

# What ``function_of`` says of every API. It goes with the last description, not before: the compact rendering finds the API's own words by it.
_OF_EVERY_API = re.compile(r'This is the subfunction for tool ".*", you can use this tool\.')


@dataclass(frozen=True)
class Shortened:
    """A conversation that was shortened, and what that took: characters cut from what stayed, and the names of the APIs that went.

    ``fits`` is False where nothing more gives way and it is still too long.
    """

    trajectory: Trajectory
    observation_characters_cut: int = 0
    description_characters_cut: int = 0
    dropped: tuple[str, ...] = ()
    fits: bool = True
    instruction_characters_cut: int = 0


def shorten(
    trajectory: Trajectory,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    seed: int,
    needed: Collection[str] | None = None,
) -> Shortened:
    """The conversation in at most ``max_length`` tokens, or as near to that as it gets; itself where it is short enough.

    One that does not end in an assistant's turn is a prompt: what begins that turn is counted with it. ``needed`` are the names of APIs that
    must stay, in training ``needed_functions(trajectory)``; None where the answer is not known keeps those that were called already. The
    same seed drops the APIs of a query in the same order, however much of its conversation is seen.
    """
    encoder, draft = encoder_of(tokenizer), _Draft(trajectory, seed, needed)
    prompt = not trajectory.messages or trajectory.messages[-1].role != "assistant"

    def fits(limits: _Limits) -> bool:
        return encoder.length(draft.write(limits).trajectory.messages, prompt) <= max_length

    limits, short_enough = _Limits(), fits(_Limits())
    for thing, values in draft.stages:
        if short_enough:
            break
        options = [replace(limits, **{thing: value}) for value in values]  # the loosest first
        if options:
            limits, short_enough = options[-1], fits(options[-1])
        if short_enough:
            limits = options[bisect_left(options, True, hi=len(options) - 1, key=fits)]
    return replace(draft.write(limits), fits=short_enough)


def needed_functions(trajectory: Trajectory) -> frozenset[str]:
    """The names of offered functions that the assistant's turns call."""
    called = {parse_action(message.content).action for message in trajectory.messages if message.role == "assistant"}
    return frozenset(called & {function.name for function in trajectory.functions} - {FINISH.name})


@dataclass(frozen=True)
class _Limits:
    """How far things give way: characters that are kept of each text, None for all; how many APIs are dropped."""

    observations: int | None = None
    descriptions: int | None = None
    dropped: int = 0
    instructions: int | None = None


@dataclass(frozen=True)
class _Offer:
    """A system text and what it offers. ``gone`` are indices of dropped functions, and the cuts are counted in characters."""

    text: str
    functions: tuple[Function, ...]
    tools: tuple[tuple[str, str], ...]
    gone: frozenset[int] = frozenset()
    descriptions_cut: int = 0
    instructions_cut: int = 0

    def __hash__(self) -> int:  # a function holds dicts, which have no hash
        return hash((self.text, self.gone))


class _Draft:
    """A conversation, and what it becomes under given limits."""

    def __init__(self, trajectory: Trajectory, seed: int, needed: Collection[str] | None):
        self.trajectory = trajectory
        text = trajectory.messages[0].content if trajectory.messages and trajectory.messages[0].role == "system" else ""
        self.offer = _Offer(text, trajectory.functions, trajectory.tools)
        self.rendering = _rendering_of(self.offer)
        stay = {FINISH.name, *(needed_functions(trajectory) if needed is None else needed)}
        apis = [k for k, function in enumerate(trajectory.functions) if function.name != FINISH.name]
        may_go = [k for k in apis if trajectory.functions[k].name not in stay]
        enough = max(len(apis) - len(may_go), 1) + DISTRACTORS  # where none is known to be needed, one will be
        random.Random(f"shorten {seed} {trajectory.query}").shuffle(apis)
        self.going = [k for k in apis if k in may_go][: max(len(apis) - enough, 0)]

    @property
    def stages(self) -> tuple[tuple[str, Sequence[int]], ...]:
        """What gives way, in order: a field of the limits and its values, the loosest first."""
        observations, last = ("observations", OBSERVATIONS), ("observations", LAST_OBSERVATIONS)
        if self.rendering is None:  # a system text of another origin stays as it is
            return observations, last
        dropped = ("dropped", range(1, len(self.going) + 1))
        stages = observations, ("descriptions", DESCRIPTIONS), dropped, last, ("descriptions", LAST_DESCRIPTIONS)
        return (*stages, ("instructions", INSTRUCTIONS)) if self.rendering == "toolbench" else stages

    def write(self, limits: _Limits) -> Shortened:
        """The conversation under ``limits``."""
        messages, observations_cut = list(self.trajectory.messages), 0
        query = next((k for k, message in enumerate(messages) if message.role == "user"), None)
        for k, message in enumerate(messages):
            if limits.observations is not None and (message.role == "function" or message.role == "user" and k != query):
                text, cut = _head_and_tail(message.content, limits.observations)
                messages[k], observations_cut = message.model_copy(update={"content": text}), observations_cut + cut
        offer = self.offer
        if replace(limits, observations=None) != _Limits():
            gone = frozenset(self.going[: limits.dropped])
            offer = _shorter_offer(self.offer, self.rendering, gone, limits.descriptions, limits.instructions)
            messages[0] = messages[0].model_copy(update={"content": offer.text})
        update = {"messages": tuple(messages), "functions": offer.functions, "tools": offer.tools}
        return Shortened(
            self.trajectory.model_copy(update=update),
            observations_cut,
            offer.descriptions_cut,
            tuple(self.trajectory.functions[k].name for k in sorted(offer.gone)),
            instruction_characters_cut=offer.instructions_cut,
        )


@lru_cache(maxsize=256)  # the rows of a query offer the same
def _rendering_of(offer: _Offer) -> Rendering | None:
    """The rendering that a system text is in; None where it is no rendering of its functions."""
    return next((r for r in get_args(Rendering) if system_text(offer.functions, r, offer.tools) == offer.text), None)


@lru_cache(maxsize=1024)
def _shorter_offer(
    offer: _Offer, rendering: Rendering, gone: frozenset[int], descriptions: int | None, instructions: int | None
) -> _Offer:
    functions = [function for k, function in enumerate(offer.functions) if k not in gone]
    if rendering == "toolbench" and FINISH.name not in {function.name for function in functions}:
        functions.append(FINISH)  # the rendering adds it: its description gives way like any other
    tools = [tool for tool in offer.tools if _offers(functions, tool[0]) or not _offers(offer.functions, tool[0])]
    before = _described(functions, tools)
    if descriptions is not None:
        functions = [_shorter_function(function, descriptions) for function in functions]
        tools = [(name, _beginning(text, descriptions)) for name, text in tools]
    descriptions_cut = before - _described(functions, tools)
    text, instructions_cut = system_text(functions, rendering, tools), 0
    if instructions is not None:
        listed = str([function.model_dump() for function in functions])  # what ToolBench's rendering ends in
        head, instructions_cut = _head_and_tail(text.removesuffix(listed), instructions)
        text = head + listed
    return _Offer(text, tuple(functions), tuple(tools), gone, descriptions_cut, instructions_cut)


def _offers(functions: Sequence[Function], tool: str) -> bool:
    """Whether an API of the tool is among ``functions``: a function's name ends in its tool's, and keeps its last 64 characters."""
    return any(function.name.endswith(f"_for_{tool}"[-64:]) for function in functions)


def _head_and_tail(text: str, limit: int) -> tuple[str, int]:
    """(text, characters cut): ``limit`` characters of it and a mark between; itself where the mark would not be shorter."""
    cut = len(text) - limit
    mark = f" ...[{cut:,} characters cut]... "
    if cut <= len(mark):
        return text, 0
    head, tail = (limit + 1) // 2, limit // 2
    return text[:head] + mark + text[len(text) - tail :], cut


def _beginning(text: str, limit: int) -> str:
    """The first ``limit`` characters; of 0, nothing."""
    return text if len(text) <= limit + 3 and limit else f"{text[:limit]}..." if limit else ""


def _shorter_function(function: Function, limit: int) -> Function:
    """The function with its descriptions at most ``limit`` characters long. At 0 its parameters keep their types only."""
    text, own = function.description, own_description(function)
    if not limit:
        text = ""
    elif own:
        end = len(text) - len(text.removesuffix('"'))
        text = f"{text[: len(text) - len(own) - end]}{_beginning(own, limit)}{text[len(text) - end :]}"
    elif not _OF_EVERY_API.fullmatch(text):
        text = _beginning(text, limit)
    parameters = function.parameters
    if isinstance(parameters.get("properties"), dict):
        properties = {name: _shorter_schema(schema, limit) for name, schema in parameters["properties"].items()}
        parameters = parameters | {"properties": properties}
    return function.model_copy(update={"description": text, "parameters": parameters})


def _shorter_schema(schema: Any, limit: int) -> Any:
    if not isinstance(schema, dict):
        return schema
    if not limit:
        return {key: value for key, value in schema.items() if key not in ("description", "example_value")}
    described = isinstance(schema.get("description"), str)
    return schema | ({"description": _beginning(schema["description"], limit)} if described else {})


def _described(functions: Sequence[Function], tools: Sequence[tuple[str, str]]) -> int:
    """Characters of all descriptions."""
    schemas = [s for f in functions for s in dict(f.parameters.get("properties") or {}).values() if isinstance(s, dict)]
    texts = [f.description for f in functions] + [str(s.get("description", "")) for s in schemas] + [text for _, text in tools]
    return sum(map(len, texts))
