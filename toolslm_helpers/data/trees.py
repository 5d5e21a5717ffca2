"""Answer trees: what ToolBench's search wrote down of one query, and the training rows that follow from it.

Records mirror the file, field by field, so that reading checks and writing dumps. Rows are made in two ways: ``compat=True`` gives
upstream's, to the letter, with its defects; by default those are mended (``defects.DEFECTS`` lists them).
"""

import json
from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Protocol

from pydantic import BeforeValidator, Field

from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.prompt import SEARCH_PROMPT, row_system, tree_system, user_prompt
from toolslm_helpers.data.records import Function, Message, Record, Role, _as_tuple


class TreeNode(Record):
    """One node. An Action Input carries what came back: ``observation`` and ToolBench's status code."""

    node_type: Literal["Thought", "Action", "Action Input"]
    description: str
    observation: str | None = None
    observation_code: int | None = None
    pruned: bool = False
    finished: bool = False
    children: Annotated[tuple["TreeNode", ...], BeforeValidator(_as_tuple)] = ()


class Tree(Record):
    """The wrapper that the file puts around the root, which is an empty Action Input."""

    tree: TreeNode


Ending = Literal["give_answer", "give_up_and_restart", "unfinished"]


class FunctionCall(Record):
    """A call as OpenAI's API wrote it. ``arguments`` is JSON text, as the model wrote it."""

    name: str
    arguments: str


class TreeMessage(Record):
    """One message of the search: an assistant says something (``content``), calls a function, or both."""

    role: Role
    content: str | None = None
    function_call: FunctionCall | None = None


class AnswerGeneration(Record):
    """What the search produced. Each of ``train_messages`` is the conversation up to and with one message of the winning path.

    ``finish_type`` says give_answer even where nothing was found: ask ``ending``.
    """

    valid_data: bool
    query: str
    final_answer: str = ""
    finish_type: str = ""
    function: Annotated[tuple[Function, ...], BeforeValidator(_as_tuple)]
    train_messages: Annotated[tuple[tuple[TreeMessage, ...], ...], BeforeValidator(_as_tuple)] = ()

    @property
    def ending(self) -> Ending:
        """How the winning path really ends: by what its last call of Finish says."""
        call = self.train_messages[-1][-1].function_call if self.train_messages and self.train_messages[-1] else None
        if call is None or call.name != FINISH.name:
            return "unfinished"
        try:
            said = json.JSONDecoder(strict=False).raw_decode(call.arguments.strip())[0]
        except (ValueError, RecursionError):
            return "unfinished"
        kind = said.get("return_type") if isinstance(said, dict) else None
        return kind if kind in ("give_answer", "give_up_and_restart") else "unfinished"


class AnswerTree(Record):
    """One answer file of the search, such as ``1073_DFS_woFilter_w2.json``: the fields that someone reads."""

    win: bool
    tree: Tree
    answer_generation: AnswerGeneration


class Row(Record):
    """One training row, as the released train file holds 187,542 of them."""

    id: str
    conversations: Annotated[tuple[Message, ...], BeforeValidator(_as_tuple)] = Field(min_length=1)


class Answer(Protocol):
    """What rows are made of: an answer tree, or a chain (``chains.AnswerChain``)."""

    @property
    def answer_generation(self) -> AnswerGeneration: ...


def training_rows(answer: Answer, *, compat: bool = False) -> list[Row]:
    """The training rows of one answer: a row for each call of its winning path, holding everything said before it.

    None for an answer that is not ``valid_data``. The number in an id counts the search's messages, those that a row leaves out
    included. ``compat=True`` gives the rows that upstream's program does: where the search had said that earlier tries failed, a row
    shows that; a thought beside a call is lost; a call of no function at all is a target. Source: ToolBench,
    preprocess/preprocess_toolllama_data.py.
    """
    found = answer.answer_generation
    if not found.valid_data:
        return []
    known = {function.name for function in (*found.function, FINISH)}
    replies = {reply for messages in found.train_messages for reply in _replies(messages)}
    rows = []
    for messages in found.train_messages:
        call = messages[-1].function_call if messages and messages[-1].role == "assistant" else None
        if call is None or (not compat and call.name not in known):  # a thought alone is no target
            continue
        told = messages if compat else _without_search(messages, known, replies)
        rows.append(Row(id=f"Step {len(messages) - 1}: {found.query}", conversations=_as_text(told, found.function, compat)))
    return rows


def _is_of_search(message: TreeMessage) -> bool:
    return message.role == "user" and (message.content or "").startswith(SEARCH_PROMPT)


def _replies(messages: Sequence[TreeMessage]) -> list[TreeMessage]:
    """The turns that answer a prompt of the search: what is thought and called right after it."""
    replies, answering = [], False
    for message in messages:
        if message.role == "assistant" and answering:
            replies.append(message)
        answering = _is_of_search(message) or (answering and message.role == "assistant" and message.function_call is None)
    return replies


def _without_search(
    messages: Sequence[TreeMessage], known: Collection[str], replies: Collection[TreeMessage]
) -> list[TreeMessage]:
    """The messages of a path as if it had been walked straight on, without what only the search could say.

    A prompt of the search goes, and what is thought in ``replies`` to it: they are replies in all rows, though only one row still shows
    the prompt. A call of a function that does not exist goes with its thoughts and its observation: it changed nothing, and the name
    that the model had written is lost.
    """
    told: list[TreeMessage] = []
    unknown = False
    for message in messages:
        call = message.function_call
        if message.role == "assistant":
            unknown = call is not None and call.name not in known
            if unknown:
                while told and told[-1].role == "assistant" and told[-1].function_call is None:
                    told.pop()
            elif message not in replies:
                told.append(message)
            elif call is not None:
                told.append(TreeMessage(role="assistant", function_call=call))
        elif not _is_of_search(message) and not (message.role == "function" and unknown):
            told.append(message)
    return told


def _as_text(messages: Sequence[TreeMessage], functions: Sequence[Function], compat: bool) -> tuple[Message, ...]:
    """Function calls become text. A message that only thinks joins the call after it."""
    conversation = []
    thoughts: list[str] = []
    for message in messages:
        text = message.content or ""
        if message.role == "assistant" and not message.function_call:
            thoughts.append(text)
            continue
        if message.role == "assistant":
            call = message.function_call
            if text and not compat:
                thoughts.append(text)
            # Upstream labels every thought; a turn has one Thought, which may have lines.
            thought = (
                "".join(f"\nThought: {thought}" for thought in thoughts or [""])
                if compat
                else "\nThought: " + "\n".join(thoughts)
            )
            text = f"{thought}\nAction: {call.name}\nAction Input: {call.arguments}"
        elif message.role == "system":
            text = row_system(text, functions)
        conversation.append(Message(role=message.role, content=text))
        thoughts = []
    return tuple(conversation)


class PlayedStep(Protocol):
    """One call of an episode and what came back (``agent.episode.Step`` is one). ``code`` is ToolBench's status code."""

    @property
    def thought(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def action_input(self) -> str: ...
    @property
    def observation(self) -> str: ...
    @property
    def code(self) -> int: ...


def chain_tree(
    query: str, functions: Sequence[Function], tools: Sequence[tuple[str, str]], steps: Sequence[PlayedStep]
) -> AnswerTree:
    """The answer tree of an episode that went straight on, in ToolBench's format: one branch, which ends in a call of Finish."""
    messages = [TreeMessage(role="system", content=tree_system(tools)), TreeMessage(role="user", content=user_prompt(query))]
    train_messages = []
    node = None
    for step in steps:
        if step.thought:
            messages.append(TreeMessage(role="assistant", content=step.thought))
        messages.append(TreeMessage(role="assistant", function_call=FunctionCall(name=step.action, arguments=step.action_input)))
        train_messages.append(tuple(messages))
        messages.append(TreeMessage(role="function", content=step.observation))
    for step in reversed(steps):
        children = (node,) if node else ()
        node = TreeNode(
            node_type="Action Input",
            description=step.action_input,
            observation=step.observation,
            observation_code=step.code,
            finished=True,
            children=children,
        )
        node = TreeNode(node_type="Action", description=step.action, finished=True, children=(node,))
        if step.thought:
            node = TreeNode(node_type="Thought", description=step.thought, finished=True, children=(node,))
    root = TreeNode(node_type="Action Input", description="", children=(node,) if node else ())
    gave_answer = bool(steps) and steps[-1].code == 3
    return AnswerTree(
        win=gave_answer,
        tree=Tree(tree=root),
        answer_generation=AnswerGeneration(
            valid_data=bool(steps) and steps[-1].action == FINISH.name,
            query=query,
            final_answer=steps[-1].action_input if gave_answer else "",
            finish_type="give_answer" if gave_answer else "give_up",
            function=(*functions, FINISH),
            train_messages=tuple(train_messages),
        ),
    )
