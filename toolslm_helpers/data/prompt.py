"""The prompt that ToolBench's data is written in, from functions and query to text and back.

It is part of the data format, misspellings included: a model trained on these rows has seen exactly this.
"""

import ast
import json
import re
from collections.abc import Sequence
from functools import lru_cache

from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.records import Function

# An answer tree's model called functions through OpenAI's API; FORMAT is what training rows add, since theirs writes the calls as
# text.
_CALL = "with a function call to actually excute your step."
_FORMAT = " Your output should follow this format:\nThought:\nAction\nAction Input:\n"
_PREAMBLE = (
    "You are AutoGPT, you can use many tools(functions) to do the following task.\n"
    "First I will give you the task description, and your task start.\n"
    f"At each step, you need to give your thought to analyze the status now and what to do next, {_CALL}\n"
    "After the call, you will get the call result, and you are now in a new state.\n"
    "Then you will analyze your status now, then decide what to do next...\n"
    "After many (Thought-call) pairs, you finally perform the task, then you can give your finial answer.\n"
    "Remember: \n"
    "1.the state change is irreversible, you can't go back to one of the former state, if you want to restart the task, "
    'say "I give up and restart".\n'
    "2.All the thought is short, at most in 5 sentence.\n"
    "3.You can do more then one trys, so if your plan is to continusly try some conditions, "
    "you can do one of the conditions per try.\n"
    "Let's Begin!\n"
    "Task description: You should use functions to help handle the real time user querys. Remember:\n"
    '1.ALWAYS call "Finish" function at the end of the task. '
    "And the final answer should contain enough information to show to the user,"
    "If you can't handle the task, or you find that function calls always fail(the function is not valid now), "
    "use function Finish->give_up_and_restart.\n"
    "2.Do not use origin tool names, use only subfunctions' names.\n"
    "You have access of the following tools:\n"
)
# What the search (DFSDT) tells the model where earlier tries of a state failed; the tries follow (ToolBench, prompts of its tree search).
SEARCH_PROMPT = "This is not the first time you try this task, all previous trails failed.\n"
_TRIES_BEFORE = (
    "Before you generate my thought for this state, I will first show you your previous actions for this state, and then you must "
    "generate actions that is different from all of them. Here are some previous actions candidates:\n"
)
_TRIES_AFTER = (
    "\nRemember you are now in the intermediate state of a trail, you will first analyze the now state and previous action candidates, "
    "then make actions that is different from all the previous."
)
_BETWEEN_FUNCTIONS = "}, {'name': "
_APIS = "\nSpecifically, you have access to the following APIs: "


def tree_system(tools: Sequence[tuple[str, str]]) -> str:
    """The system text of an answer tree: task description and numbered tools, (name, description) each; no functions."""
    return _PREAMBLE + "".join(f"{number}.{name}: {description}\n" for number, (name, description) in enumerate(tools, start=1))


def row_system(tree_text: str, functions: Sequence[Function]) -> str:
    """The system text of a training row, from a tree's: says how to write a call, lists the functions as Python prints them."""
    return tree_text.replace(_CALL, _CALL + _FORMAT) + _APIS + str([function.model_dump() for function in functions])


def system_prompt(functions: Sequence[Function], tools: Sequence[tuple[str, str]] = ()) -> str:
    """The system text of a training row. ``FINISH`` is listed last, unless the functions bring a Finish of their own."""
    own = any(function.name == FINISH.name for function in functions)
    return row_system(tree_system(tools), [*functions, *(() if own else (FINISH,))])


def user_prompt(query: str) -> str:
    """The first user text: the query between line breaks, then "Begin!"."""
    return f"\n{query}\nBegin!\n"


@lru_cache(maxsize=64)
def read_system_prompt(text: str) -> tuple[tuple[Function, ...], tuple[tuple[str, str], ...]]:
    """(functions, tools) of a training row's system text: the inverse of ``system_prompt``, without ``FINISH``.

    Tools are () where the text is not the one that ToolBench published. Raises ValueError where no list of functions is found in
    it. The last 64 texts are remembered, since the rows of one query share theirs; the functions are shared objects.
    """
    head, mark, listed = text.partition(_APIS)
    if not mark:
        raise ValueError(f"no list of APIs: {_APIS.strip()!r} is missing")
    try:
        functions = _read_functions(listed)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"the list of APIs is not a Python list of functions ({str(error).splitlines()[0]})") from error
    if functions and functions[-1] == FINISH:
        functions.pop()
    return tuple(functions), _read_tools(head)


def _read_functions(listed: str) -> list[Function]:
    """The functions of a printed list. One function is the same text in thousands of rows, and ``literal_eval`` takes its time.

    The list is cut where a dictionary seems to end and a function to begin. If every piece is a dictionary, no cut lies inside a string,
    and the pieces are the list's; otherwise the list is read as a whole.
    """
    try:
        if listed[:1] + listed[-1:] == "[]":
            # Printed text holds no \0: Python writes it as an escape.
            return [_read_function(piece) for piece in listed[1:-1].replace(_BETWEEN_FUNCTIONS, "}\0{'name': ").split("\0")]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass  # said better by what follows
    return [Function.model_validate(value) for value in ast.literal_eval(listed)]


@lru_cache(maxsize=8192)
def _read_function(text: str) -> Function:
    """One printed dictionary as a function; the same object for the same text. 8,192 of them take about 30 MB."""
    return Function.model_validate(ast.literal_eval(text))


def search_prompt(tries: Sequence[tuple[str, str, str]], observation: str) -> str:
    """What ToolBench's search says before it asks for another action: (name, arguments, observation) of each try, and the state's own.

    The value in it is an Elo rating that the search without filter never moves.
    """
    listed = [
        {"name": name, "arguments": arguments, "function_output": output, "mento-carlo-action-value": 0.0}
        for name, arguments, output in tries
    ]
    again = f"again, your former observation: {observation}\n" if observation else ""
    return f"{SEARCH_PROMPT}{_TRIES_BEFORE}{json.dumps(listed, indent=2)}\n{again}{_TRIES_AFTER}"


def user_query(text: str) -> str:
    """The query in a first user text: the inverse of ``user_prompt``; text in another form is the query as it stands."""
    match = re.fullmatch(r"\n(.*)\nBegin!\n", text, flags=re.DOTALL)
    return match[1] if match else text


def _read_tools(head: str) -> tuple[tuple[str, str], ...]:
    preamble = tree_system(()).replace(_CALL, _CALL + _FORMAT)
    if not head.startswith(preamble):
        return ()
    tools: list[tuple[str, str]] = []
    rest = head[len(preamble) :]
    while rest:
        number = len(tools) + 1
        # A description may hold line breaks: it ends where a line begins with the next number and a name, or at the end.
        match = re.match(rf"{number}\.([^\n:]+): (.*?)\n(?={number + 1}\.[^\n:]+: |\Z)", rest, flags=re.DOTALL)
        if match is None:
            return ()
        tools.append((match[1], match[2]))
        rest = rest[match.end() :]
    return tuple(tools)
