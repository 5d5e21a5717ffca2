"""Answer trees: what ToolBench's search wrote down of one query, and the training rows that follow from it.

Records mirror the file, field by field, so that reading checks and writing dumps.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from pydantic import BeforeValidator, Field

from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.prompt import row_system, tree_system, user_prompt
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
    """What the search produced. Each of ``train_messages`` is the conversation up to and with one message of the winning path."""

    valid_data: bool
    query: str
    final_answer: str = ""
    finish_type: str = ""
    function: Annotated[tuple[Function, ...], BeforeValidator(_as_tuple)]
    train_messages: Annotated[tuple[tuple[TreeMessage, ...], ...], BeforeValidator(_as_tuple)] = ()


class AnswerTree(Record):
    """One answer file of the search, such as ``1073_DFS_woFilter_w2.json``: the fields that someone reads."""

    win: bool
    tree: Tree
    answer_generation: AnswerGeneration


class Row(Record):
    """One training row, as the released train file holds 187,542 of them."""

    id: str
    conversations: Annotated[tuple[Message, ...], BeforeValidator(_as_tuple)] = Field(min_length=1)


def training_rows(tree: AnswerTree) -> list[Row]:
    """The training rows of one tree: a row for each call of its winning path, holding everything said before it.

    None for a tree that is not ``valid_data``. Source: ToolBench, preprocess/preprocess_toolllama_data.py.
    """
    answer = tree.answer_generation
    if not answer.valid_data:
        return []
    return [
        Row(id=f"Step {len(messages) - 1}: {answer.query}", conversations=_as_text(messages, answer.function))
        for messages in answer.train_messages
        if messages and messages[-1].role == "assistant" and messages[-1].function_call  # a thought alone is no target
    ]


def _as_text(messages: Sequence[TreeMessage], functions: Sequence[Function]) -> tuple[Message, ...]:
    """Function calls become text. A message that only thinks joins the call after it; what is said beside a call is dropped."""
    conversation = []
    thoughts = ""
    for message in messages:
        text = message.content or ""
        if message.role == "assistant" and not message.function_call:
            thoughts += f"\nThought: {text}"
            continue
        if message.role == "assistant":
            call = message.function_call
            text = (thoughts or "\nThought: ") + f"\nAction: {call.name}\nAction Input: {call.arguments}"
        elif message.role == "system":
            text = row_system(text, functions)
        conversation.append(Message(role=message.role, content=text))
        thoughts = ""
    return tuple(conversation)


class PlayedStep(Protocol):
    """One call of an episode and what came back (``agent.search.Step`` is one). ``code`` is ToolBench's status code."""

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
