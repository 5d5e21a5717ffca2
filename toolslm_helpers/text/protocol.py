"""Thought / Action / Action Input: the text of a turn, written and read; and the system and user text that ask for it.

A prompt has two renderings. "toolbench" is the published prompt, functions printed as Python prints them, about 2,000 tokens.
"compact" says the same in a line a function, so that a prompt with its functions fits a small model. ``Trajectory.functions``,
``tools`` and ``query`` are the truth; both renderings are made from them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from toolslm_helpers.data.names import FINISH, own_description
from toolslm_helpers.data.prompt import search_prompt, system_prompt, user_prompt
from toolslm_helpers.data.records import Function, Message, Trajectory
from toolslm_helpers.data.trees import PlayedStep

Rendering = Literal["compact", "toolbench"]

_FORMAT = 'Answer with "Thought:", "Action:" and "Action Input:", each on a line of its own.'
# An action stands on one line, and its input follows. The first such pair counts; all that is before it is the thought.
_CALL = re.compile(r"^[ \t]*Action:(?P<action>[^\n]*)\n\s*Action Input:(?P<input>.*)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Action:
    """One assistant turn, read. ``problem`` is None, or says in words for the model what is wrong with its turn."""

    thought: str
    action: str
    action_input: str
    problem: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """``action_input`` as an object; empty where ``problem`` says that it is none."""
        return _read_arguments(self.action_input)[0]


def write_action(thought: str, action: str, arguments: Mapping[str, Any] | str) -> str:
    """The text of an assistant turn, as ToolBench writes it: begins with a line break, ends without one.

    Raises ValueError for what ``parse_action`` could not read back: an action that is not one line, a thought with an action in
    it.
    """
    action_input = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    text = f"\nThought: {thought}\nAction: {action}\nAction Input: {action_input}"
    read = parse_action(text)
    written = Action(thought.strip(), action.strip(), action_input.strip(), read.problem)
    if not action.strip() or read != written:
        raise ValueError(
            f"action {_short(action)} after thought {_short(thought)} would be read back as {_short(read.action)}. "
            "An action is one line, and a thought holds no action."
        )
    return text


def parse_action(text: str) -> Action:
    """Reads an assistant turn; never raises, whatever a model wrote. ToolBench's own parser has no error path.

    A turn holds one action, whose input is one JSON object. Without "Thought:", what stands before the action is the thought.
    """
    match = _CALL.search(text)
    thought = text[: match.start() if match else None].strip().removeprefix("Thought:").strip()
    if match is None:
        missing = next((label for label in ("Action:", "Action Input:") if label not in text), None)
        problem = f'"{missing}" is missing.' if missing else '"Action Input:" is not on the line after "Action:".'
        return Action(thought, "", "", f"{problem} {_FORMAT}")
    action, action_input = match["action"].strip(), match["input"].strip()
    problem = _read_arguments(action_input)[1] if action else f"The action has no name. {_FORMAT}"
    return Action(thought, action, action_input, problem)


def _read_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """(arguments, problem). Line breaks inside a string are let pass, as ToolBench's server does."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of opening brackets
        return {}, f"The Action Input is not valid JSON ({getattr(error, 'msg', 'it cannot be read')}). Write one JSON object."
    if text[end:].strip():
        return {}, f"Something follows the Action Input: {text[end:].strip()[:40]!r}. Write one action a turn, nothing after it."
    if not isinstance(value, dict):
        return {}, f"The Action Input is {text[:40]!r}. Write one JSON object, with a name for each value."
    return value, None


def render_function_compact(function: Function) -> str:
    """One line: ``Price of a product: get_price_for_shop(product:string, year:integer?)``. A ``?`` marks what may be left out.

    The description stands first because a causal model reads from left to right: when it comes to a name, it must already know what
    the name is good for, or it has nothing to find the name by.
    """
    required = function.parameters.get("required", ())
    parameters = ", ".join(
        f"{name}:{schema.get('type', 'string')}{'' if name in required else '?'}"
        for name, schema in function.parameters.get("properties", {}).items()
    )
    description = " ".join(own_description(function).split())
    return (f"{description.rstrip('.')}: " if description else "") + f"{function.name}({parameters})"


def system_text(functions: Sequence[Function], rendering: Rendering, tools: Sequence[tuple[str, str]] = ()) -> str:
    """The system message that offers ``functions``. ``tools``, (name, description) pairs, are shown in ToolBench's rendering
    only.

    Finish needs no mention in ``functions``: ToolBench's rendering adds it, and in the compact one it is part of the protocol.
    """
    if rendering == "toolbench":
        return system_prompt(functions, tools)
    lines = [render_function_compact(function) for function in functions if function.name != FINISH.name]
    return "\n".join(["Use the APIs.", *lines])


def user_text(query: str, rendering: Rendering) -> str:
    """The first user message."""
    return user_prompt(query) if rendering == "toolbench" else query


def prompt_messages(
    query: str, functions: Sequence[Function], rendering: Rendering, tools: Sequence[tuple[str, str]] = ()
) -> tuple[Message, Message]:
    """The two messages that every conversation begins with."""
    return (
        Message(role="system", content=system_text(functions, rendering, tools)),
        Message(role="user", content=user_text(query, rendering)),
    )


def diversity_text(tried: Sequence[PlayedStep], observation: str, rendering: Rendering) -> str:
    """The user turn by which a search asks for another action than those already ``tried`` in the same state.

    ``observation`` is what the state last saw, "" at the start; ToolBench's rendering repeats it. The compact one is a line.
    """
    if rendering == "toolbench":
        return search_prompt([(step.action, step.action_input, step.observation) for step in tried], observation)
    calls = ", ".join(f"{step.action}({' '.join(step.action_input.split())})" for step in tried)
    return f"Tried before: {calls}. Try something else."


def rerender(trajectory: Trajectory, rendering: Rendering) -> Trajectory:
    """The same trajectory with its first two messages in ``rendering``. To compact and back gives ToolBench's text again."""
    start = prompt_messages(trajectory.query, trajectory.functions, rendering, trajectory.tools)
    return trajectory.model_copy(update={"messages": (*start, *trajectory.messages[2:])})


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
