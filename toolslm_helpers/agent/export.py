"""Episodes as ToolBench and ToolEval keep them: answer files of a chain (CoT@1) or a tree (DFS), and converted answers.

ToolEval judges converted answers, which its own program makes from answer files; ``convert`` does the same here. ``episode_of`` reads
one back. What a converted answer does not hold, the status codes, the abandoned branches and what the last call brought back, stays in
the answer file.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolslm_helpers.agent.dfsdt import path_to
from toolslm_helpers.agent.episode import Episode, Node, Step
from toolslm_helpers.agent.search import offered_tools
from toolslm_helpers.agent.virtual_api import ArgumentError, Status, parse_arguments
from toolslm_helpers.data.chains import AnswerChain, Try
from toolslm_helpers.data.converted import AnswerRecord, AnswerStep, ConvertedAnswer, ToolMessage
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import FINISH, function_of
from toolslm_helpers.data.trees import AnswerTree, Tree, TreeNode, chain_tree
from toolslm_helpers.data.world import World
from toolslm_helpers.files import DataError, atomic_write_json

CHAIN, TREE = "CoT@1", "DFS_woFilter_w2"  # what ToolBench's programs call the two methods, in file names and answers


def answer_tree(world: World, world_query: WorldQuery, episode: Episode) -> AnswerTree:
    """The answer file of a search: every branch, with the path that counts marked finished and its messages ready for training."""
    query = world_query.query
    functions, tools = [function_of(api) for api in query.api_list], offered_tools(world, query)
    chain = chain_tree(query.query, functions, tools, episode.steps)
    if not episode.tree:
        return chain
    path = {id(node) for node in path_to(episode.tree, episode.steps)}
    root = TreeNode(node_type="Action Input", description="", children=tuple(_tree_node(node, path) for node in episode.tree))
    return chain.model_copy(update={"tree": Tree(tree=root)})


def _tree_node(node: Node, path: set[int]) -> TreeNode:
    """A step is two nodes, or three where something was thought, one below the other; what came next hangs below the last."""
    step, on_path = node.step, id(node) in path
    made = TreeNode(
        node_type="Action Input",
        description=step.action_input,
        observation=step.observation,
        observation_code=step.code,
        pruned=step.code == Status.GAVE_UP,
        finished=on_path,
        children=tuple(_tree_node(child, path) for child in node.children),
    )
    made = TreeNode(node_type="Action", description=step.action, finished=on_path, children=(made,))
    return TreeNode(node_type="Thought", description=step.thought, finished=on_path, children=(made,)) if step.thought else made


def answer_chain(world: World, world_query: WorldQuery, episode: Episode) -> AnswerChain:
    """The answer file of one chain: its nodes in a row, root left out, as CoT@1 writes them."""
    query = world_query.query
    tree = chain_tree(query.query, [function_of(api) for api in query.api_list], offered_tools(world, query), episode.steps)
    nodes, node = [], tree.tree.tree
    while node.children:
        node = node.children[0]
        nodes.append(node.model_copy(update={"children": ()}))
    return AnswerChain(
        win=tree.win, try_count=1, trys=(Try(chain=tuple(nodes), win=tree.win),), answer_generation=tree.answer_generation
    )


def convert(query_id: int | str, answer: AnswerTree | AnswerChain) -> ConvertedAnswer:
    """ToolEval's form of an answer file: the winning path as a chain of nodes, each call with what came back.

    Equal to what upstream's program makes of a ``valid_data`` file. Of any other it takes a random walk through the tree, so that a
    verdict depends on its seed; here it is the path whose messages are kept. Source: ToolBench, toolbench/tooleval/convert_to_answer_format.py.
    """
    found = answer.answer_generation
    messages = list(found.train_messages[-1]) if found.train_messages else []
    steps = [AnswerStep(role=role, message="") for role in ("system", "user")]
    last = ""
    for i, message in enumerate(messages):
        if message.role != "assistant":
            continue
        if message.function_call is None:
            steps.append(AnswerStep(role="assistant", message=message.content or ""))
        else:  # what is said beside a call is dropped, as upstream does; our own files have every thought in a message of its own
            # The messages end with the last call: what it brought back is left out, by upstream too.
            follows = messages[i + 1] if i + 1 < len(messages) and messages[i + 1].role == "function" else None
            call, response = message.function_call, (follows.content or "") if follows else ""
            steps.append(
                AnswerStep(role="tool", message=ToolMessage(name=call.name, arguments=call.arguments, response=response))
            )
            last = call.arguments if call.name == FINISH.name else ""
    details: tuple[AnswerStep, ...] = ()
    for step in reversed(steps):
        details = (step.model_copy(update={"next": details}),)
    return ConvertedAnswer(
        query_id=str(query_id),
        query=found.query,
        available_tools=found.function,
        answer=AnswerRecord(
            method=TREE if isinstance(answer, AnswerTree) else CHAIN,
            total_steps=len(steps),
            final_answer=last if found.final_answer else "",
            answer_details=details,
        ),
    )


def converted(world: World, world_query: WorldQuery, episode: Episode) -> ConvertedAnswer:
    """One episode as ToolEval reads it."""
    make = answer_tree if episode.tree else answer_chain
    return convert(world_query.query.query_id, make(world, world_query, episode))


def episode_of(answer: ConvertedAnswer) -> Episode:
    """A converted answer as an episode: the steps of its first chain. Codes are not written in it: 0, or what Finish shows.

    Raises DataError where the published form holds calls as cut text: their parts cannot be told.
    """
    steps: list[Step] = []
    thoughts: list[str] = []
    for node in (node for first in answer.answer.answer_details[:1] for node in first.chain()):
        if node.role == "assistant":
            thoughts.append(str(node.message))
        elif node.role == "tool":
            if isinstance(node.message, str):
                raise DataError(
                    f"query {answer.query_id}: a call is the text {node.message[:40]!r}. Expected name, arguments and response. "
                    "Usual cause: the published results, whose messages are cut at 100 characters; they can be judged, not replayed."
                )
            call = node.message
            code = _finish_code(call.arguments) if call.name == FINISH.name else Status.OK
            steps.append(Step("\n".join(thoughts), call.name, call.arguments, call.response, int(code)))
            thoughts = []
    end = parse_arguments(steps[-1].action_input) if steps and steps[-1].code in (Status.FINAL_ANSWER, Status.GAVE_UP) else {}
    final = end.get("final_answer") if end.get("return_type") == "give_answer" else None
    query_id = int(answer.query_id) if answer.query_id.isdigit() else 0
    return Episode(query_id, answer.query, tuple(steps), "finish" if end else "iterations", final, end.get("return_type"))


def _finish_code(text: str) -> Status:
    try:
        arguments = parse_arguments(text)
    except ArgumentError:
        return Status.BAD_FINISH
    if arguments.get("return_type") == "give_up_and_restart":
        return Status.GAVE_UP
    whole = arguments.get("return_type") == "give_answer" and isinstance(arguments.get("final_answer"), str)
    return Status.FINAL_ANSWER if whole else Status.BAD_FINISH


def write_answers(folder: str | Path, world: World, played: Iterable[tuple[WorldQuery, Episode]]) -> list[Path]:
    """Writes ``<set>/<query id>_<method>.json`` for each episode, as ToolBench's inference does -> the files."""
    written = []
    for world_query, episode in played:
        answer = answer_tree(world, world_query, episode) if episode.tree else answer_chain(world, world_query, episode)
        name = f"{world_query.query.query_id}_{TREE if episode.tree else CHAIN}.json"
        written.append(atomic_write_json(Path(folder) / world_query.set_name / name, _with_counts(answer, episode)))
    return written


def _with_counts(answer: AnswerTree | AnswerChain, episode: Episode) -> dict[str, Any]:
    """The record's fields, and those that only programs of ToolBench look for."""
    value = answer.model_dump(by_alias=False)
    value["answer_generation"] |= {"query_count": episode.turns}
    return value


def write_converted(folder: str | Path, world: World, played: Iterable[tuple[WorldQuery, Episode]]) -> list[Path]:
    """Writes ``<set>.json``, one object from query id to converted answer, for each set that was played -> the files."""
    by_set: dict[str, dict[str, Any]] = {}
    for world_query, episode in played:
        answer = converted(world, world_query, episode)
        by_set.setdefault(world_query.set_name, {})[answer.query_id] = answer.model_dump(exclude={"query_id"})
    return [atomic_write_json(Path(folder) / f"{name}.json", answers) for name, answers in by_set.items()]
