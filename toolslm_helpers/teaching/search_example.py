"""One query of the world, searched as ToolBench searched its own: with tries that fail, and a path among them that answers.

The rules are those of ToolBench's DFSDT (toolbench/inference/Algorithms/DFS.py): depth first, at most two tries of a state; after a give-up
two steps back; the first answer ends the search. Before the second try of a state a user turn lists what was tried, and of several such
turns a conversation keeps the last. What the model would have written is a fixed list of moves; what the APIs answer is the world's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from toolslm_helpers.agent.search import offered_tools
from toolslm_helpers.agent.virtual_api import Session, Status, VirtualApi
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import FINISH, function_of
from toolslm_helpers.data.prompt import SEARCH_PROMPT, tree_system, user_prompt
from toolslm_helpers.data.queries import train_queries
from toolslm_helpers.data.trees import AnswerGeneration, AnswerTree, FunctionCall, Tree, TreeMessage, TreeNode
from toolslm_helpers.data.values import sentence
from toolslm_helpers.data.world import World

WIDTH = 2  # tries of one state
BACK_OFF = 2  # steps back after a give-up
UNKNOWN_NAME = "invalid_hallucination_function_name"  # what upstream writes in place of a name that no function has


@dataclass(frozen=True)
class Move:
    """What a model would write next: a call, what it says beside it, and what it thinks in a message of its own before it."""

    action: str
    arguments: dict[str, object]
    beside: str = ""
    before: str = ""


@dataclass
class _State:
    """A place of the search: the call that led here, what came back, and the conversation up to and with that."""

    messages: list[TreeMessage]
    move: Move | None = None  # None: the root
    action: str = ""
    observation: str = ""
    code: int = 0
    snapshots: list[tuple[TreeMessage, ...]] = field(default_factory=list)  # the conversation up to each message of the move
    children: list["_State"] = field(default_factory=list)
    pruned: bool = False
    on_path: bool = False


def example_query(world: World, among: int = 2_000) -> WorldQuery:
    """The first training query that asks for two values of which neither leads to the other, and lists an API that it does not need.

    Its APIs work at the first call. Raises ValueError where none of the first ``among`` is so.
    """
    for query in train_queries(world, among):
        needed = {(call.tool_name, call.api_name) for step in query.plan for call in step.calls}
        listed = {(api.tool_name, api.api_name) for api in query.query.api_list}
        if (
            query.goal.kind == "answer"
            and len(query.plan) == 2
            and all(step.calls and step.need.entity and not step.asked for step in query.plan)
            and query.plan[1].need.entity in query.query.query  # said, not looked up
            and all(world.apis[key].fault is None for key in listed)
            and any(not world.apis[key].extra_required for key in listed - needed)
        ):
            return query
    raise ValueError(f"none of the first {among:,} training queries asks for two values beside an API that it does not need.")


def moves_of(world: World, query: WorldQuery, unknown_first: bool = False) -> list[Move]:
    """What the model of the example writes, in the order of the search: eight moves, of which four lead to the answer.

    With ``unknown_first`` its first call is of a function that is not on the list.
    """
    names = {(api.tool_name, api.api_name): function_of(api).name for api in query.query.api_list}
    needed = {(call.tool_name, call.api_name) for step in query.plan for call in step.calls}
    spare = next(key for key in names if key not in needed and not world.apis[key].extra_required)
    first, second = query.plan
    right = [(names[step.calls[0].tool_name, step.calls[0].api_name], dict(step.calls[0].arguments)) for step in query.plan]
    about = {world.apis[spare].entity_parameter: first.need.entity}
    hope = f"This may tell about {first.need.entity}."
    unknown = Move(f"search_{first.need.attribute.replace(' ', '_')}", {"query": first.need.entity}, beside=hope)
    beginning = unknown if unknown_first else Move(names[spare], about, beside=hope)
    answer = " ".join(sentence(step.need.attribute, step.need.entity, step.value) for step in query.plan)
    give_up = {"return_type": "give_up_and_restart"}
    return [
        beginning,
        Move(names[spare], {"name_or_id": first.need.entity}, beside="Perhaps it wants another argument."),
        Move(FINISH.name, give_up, before="This API does not tell what I need."),
        Move(*right[0], beside=f"Another API lists the {first.need.attribute}."),
        Move(right[1][0], {"name_or_id": second.need.entity}),
        Move(FINISH.name, give_up, beside="The argument is not known."),
        Move(*right[1], beside="The parameter has another name."),
        Move(FINISH.name, {"return_type": "give_answer", "final_answer": answer}, before="I have both values."),
    ]


def search(world: World, query: WorldQuery, moves: Sequence[Move]) -> AnswerTree:
    """The answer tree of a search that makes ``moves``, in ToolBench's format.

    Raises ValueError where the moves do not come out even: the search ends before the last, or goes on after it.
    """
    functions = [function_of(api) for api in query.query.api_list]
    opening = [
        TreeMessage(role="system", content=tree_system(offered_tools(world, query.query))),
        TreeMessage(role="user", content=user_prompt(query.query.query)),
    ]
    root, left = _State(opening), iter(moves)
    answered = _explore(root, VirtualApi(world).session(query.query), left) == 0
    if next(left, None) is not None:
        raise ValueError(
            f"the search ends before the last of {len(moves)} moves: after an answer, or two failed tries of every state."
        )
    path = _path(root)
    return AnswerTree(
        win=answered,
        tree=Tree(tree=_node(root)),
        answer_generation=AnswerGeneration(
            valid_data=answered,
            query=query.query.query,
            final_answer=json.dumps(path[-1].move.arguments) if answered else "",
            finish_type="give_answer",  # upstream's word for every search that did not give up as a whole
            function=(*functions, FINISH),
            train_messages=tuple(snapshot for state in path for snapshot in state.snapshots),
        ),
    )


def _explore(state: _State, session: Session, moves: Iterator[Move]) -> int:
    """Tries what can follow ``state``; returns how many steps to go back, 0 after an answer."""
    if state.code == Status.FINAL_ANSWER:
        state.on_path = True
        return 0
    if state.code == Status.GAVE_UP:
        state.pruned = True
        return BACK_OFF
    for _ in range(WIDTH):
        child = _take(state, session, moves)
        state.children.append(child)
        back = _explore(child, session, moves)
        if back == 0:
            state.on_path = True
            return 0
        if back > 1:
            return back - 1
    return 1


def _take(state: _State, session: Session, moves: Iterator[Move]) -> _State:
    """The next move, made from ``state``; the tries before it are shown to the model."""
    move = next(moves, None)
    if move is None:
        raise ValueError("the search goes on after the last move: it has not found an answer yet.")
    messages = list(state.messages)
    if state.children:
        messages = [message for message in messages if not (message.content or "").startswith(SEARCH_PROMPT)]
        messages.append(TreeMessage(role="user", content=_tried(state.children)))
    text = json.dumps(move.arguments)
    seen = session.call(move.action, text)
    action = UNKNOWN_NAME if seen.code == Status.UNKNOWN_FUNCTION else move.action
    snapshots = []
    if move.before:
        messages.append(TreeMessage(role="assistant", content=move.before))
        snapshots.append(tuple(messages))
    call = FunctionCall(name=action, arguments=text)
    messages.append(TreeMessage(role="assistant", content=move.beside or None, function_call=call))
    snapshots.append(tuple(messages))
    messages.append(TreeMessage(role="function", content=seen.text))
    return _State(messages, move, action, seen.text, int(seen.code), snapshots)


def _tried(children: Sequence[_State]) -> str:
    """What the search says before another try: upstream's first sentence, then the calls tried, in fewer words than upstream's."""
    calls = [
        {"name": child.action, "arguments": child.move.arguments, "function_output": child.observation} for child in children
    ]
    return f"{SEARCH_PROMPT}Your earlier actions in this state:\n{json.dumps(calls)}\nDo something that is different from all of them."


def _path(root: _State) -> list[_State]:
    """The states after the root that lead to the answer."""
    path, state = [], root
    while (state := next((child for child in state.children if child.on_path), None)) is not None:
        path.append(state)
    return path


def _node(state: _State) -> TreeNode:
    """The state and all that follows it, as nodes of ToolBench's file: Thought, Action, Action Input below each other."""
    node = TreeNode(
        node_type="Action Input",
        description="" if state.move is None else json.dumps(state.move.arguments),
        observation="" if state.move is None else state.observation,
        observation_code=None if state.move is None else state.code,
        pruned=state.pruned,
        finished=state.on_path,
        children=tuple(_node(child) for child in state.children),
    )
    if state.move is None:
        return node
    node = TreeNode(node_type="Action", description=state.action, finished=state.on_path, children=(node,))
    thought = "\n".join(filter(None, (state.move.before, state.move.beside)))
    if thought:
        node = TreeNode(node_type="Thought", description=thought, finished=state.on_path, children=(node,))
    return node
