"""A chat model as an agent: our conversation in its own chat template, with an instruction on how a call is written.

An instruction is all that a model gets which was never trained on the protocol. So it says everything that the judge asks for.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from toolslm_helpers.agent.search import ModelAgent
from toolslm_helpers.data.records import Message

INSTRUCTION = """\
You are given a list of functions and a request. You write no code and no explanations: a program reads what you write, calls the function
for you and shows you the result. In every turn write exactly three lines:
Thought: what you need
Action: the name of one of the functions, or Finish
Action Input: a JSON object with the arguments
When you know the answer, end with
Action: Finish
Action Input: {"return_type": "give_answer", "final_answer": "the answer in a sentence"}
If the request lacks something that a function needs, end in the same way, and the final answer asks for it.
If no function in the list can help, end with
Action: Finish
Action Input: {"return_type": "give_up_and_restart"}"""

# Said again where a small model looks first: right before its turn.
REMINDER = "Write three lines: Thought, Action, Action Input."

_INPUT = re.compile(r"^[ \t]*Action Input:\s*", re.MULTILINE)


def chat_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """{"role", "content"} of a chat: the instruction once, then every request with its list, the turns, and each result as a user turn.

    A chat template has no role for a function; and where examples come first, each brings a list of its own. A later user turn is what
    a search says (``protocol.diversity_text``), and no request.
    """
    chat, functions = [{"role": "system", "content": INSTRUCTION}], None
    for message in messages:
        if message.role == "system":
            functions = message.content.partition("\n")[2]  # without the line before the list
        elif message.role == "assistant":
            chat.append({"role": "assistant", "content": message.content.strip()})
        elif message.role == "user" and functions is not None:
            chat.append({"role": "user", "content": f"Functions:\n{functions}\n\nRequest: {message.content}\n\n{REMINDER}"})
            functions = None
        elif message.role == "user" and chat[-1]["role"] == "user":  # many templates refuse two turns of a user in a row
            chat[-1]["content"] = f"{chat[-1]['content'].removesuffix(REMINDER)}{message.content}\n\n{REMINDER}"
        else:
            text = message.content if message.role == "user" else f"Result: {message.content}"
            chat.append({"role": "user", "content": f"{text}\n\n{REMINDER}"})
    return chat


def until_first_call(text: str) -> str:
    """``text`` up to the end of its first Action Input that is JSON: what a stop sequence does for a model that goes on and plays the APIs."""
    if (start := _INPUT.search(text)) is None:
        return text
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text, start.end())
    except (ValueError, RecursionError):
        return text
    return text[:end]


@dataclass(frozen=True)
class ChatAgent(ModelAgent):
    """A ``ModelAgent`` that speaks through its tokenizer's chat template. Lengths of ``size`` are in its own tokens."""

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return self.tokenizer.apply_chat_template(
            chat_messages(messages), add_generation_prompt=True, tokenize=True, return_dict=False
        )

    def _text(self, ids: list[int]) -> str:
        return until_first_call(super()._text(ids))
