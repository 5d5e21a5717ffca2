"""Gold trajectories: every query is really played against the world, as an expert would play it.

The expert knows the plan, not what the APIs will do: a call that fails is tried again or given to another API, as the error says. What
comes out are ToolBench's conversations and answer trees; ``export_world`` writes them as ToolBench's files.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from toolslm_helpers.agent.episode import Step
from toolslm_helpers.agent.search import offered_tools, opening_messages
from toolslm_helpers.agent.virtual_api import Session, Status, VirtualApi
from toolslm_helpers.data.goals import Call, PlanStep, WorldQuery
from toolslm_helpers.data.names import FINISH, function_of, standardize
from toolslm_helpers.data.queries import test_queries, train_queries, typed_queries
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.toolbench import read_tree, trajectory_of, write_queries, write_rows, write_tool, write_tree
from toolslm_helpers.data.trees import chain_tree, training_rows
from toolslm_helpers.data.values import sentence, spoken
from toolslm_helpers.data.wording import Need, planned, stated
from toolslm_helpers.data.world import SETS, World, build_world
from toolslm_helpers.files import DataError, atomic_write_json
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.protocol import Rendering, write_action

RETRY = (Status.TIMEOUT, Status.TOO_MANY_REQUESTS, Status.RATE_LIMIT_PER_MINUTE)


@dataclass
class _Expert:
    """One episode as the expert plays it: the session with the APIs, the steps so far, and what it thinks next.

    A thought states the need in plain words, whatever words it was asked in, and the action follows from it: the function that is
    described so, with the values that the need names. The first thought states all that is needed, so that the wording of the query
    is understood once and not again in every turn. Where no call can follow, the thought says why.
    """

    session: Session
    names: Mapping[tuple[str, str], str]  # (tool, api) -> function name
    steps: list[Step] = field(default_factory=list)
    thought: str = ""

    def act(self, action: str, arguments: Mapping[str, object]) -> int:
        """One step; returns the status code of what came back."""
        text = json.dumps(arguments, ensure_ascii=False)
        observation = self.session.call(action, text)
        self.steps.append(Step(self.thought, action, text, observation.text, int(observation.code)))
        return observation.code

    def look_up(self, step: PlanStep) -> bool:
        """Calls APIs until one yields the step's value: again after a passing failure, another one after a lasting failure."""
        need = stated(step.need)
        if self.steps:
            self.thought = need
        for call in step.calls:
            name = self.names[call.tool_name, call.api_name]
            code = self.act(name, dict(call.arguments) | dict(step.asked))
            if step.asked and code == Status.ERROR_MESSAGE:
                need = stated(_lowered(step, call))
                self.thought = f"Too large. {need}"
                code = self.act(name, call.arguments)
            if code in RETRY:
                self.thought = f"Try again. {need}"
                code = self.act(name, call.arguments)
            if code == Status.OK:
                return True
            self.thought = f"Not that one. {need}"
        return False


def _lowered(step: PlanStep, call: Call) -> Need:
    """The need with the largest value that the API takes in place of the one that was asked: "with a limit of 8", not 30."""
    ((parameter, asked),) = step.asked.items()
    extras = tuple(extra.replace(str(asked), str(call.arguments[parameter])) for extra in step.need.extras)
    return replace(step.need, extras=extras)


def _plan(query: WorldQuery) -> str:
    """Everything that is needed, in one thought."""
    first, *rest = query.plan
    chained = bool(rest) and rest[0].need.entity == spoken(first.value)
    return planned(first.need, *(step.need for step in rest), chained=chained)


def gold_answer(query: WorldQuery) -> str:
    """The answer the expert gives: one sentence for each value that was asked for; the values on the way there are left out."""
    on_the_way = {step.need.entity for step in query.plan}
    return " ".join(sentence(s.need.attribute, s.need.entity, s.value) for s in query.plan if spoken(s.value) not in on_the_way)


def play(world: World, query: WorldQuery) -> tuple[Step, ...]:
    """The expert's episode for one query: calls and observations, and the Finish that ends it."""
    names = {(api.tool_name, api.api_name): function_of(api).name for api in query.query.api_list}
    expert = _Expert(VirtualApi(world).session(query.query), names, thought=_plan(query))
    if all(expert.look_up(step) for step in query.plan):
        expert.thought = "Done."
        expert.act(FINISH.name, {"return_type": "give_answer", "final_answer": gold_answer(query)})
    elif query.goal.kind == "ask":
        missing = query.goal.missing[0]
        expert.thought += f" The {missing} is missing."
        expert.act(FINISH.name, {"return_type": "give_answer", "final_answer": f"Please tell me the {missing}."})
    else:
        expert.thought += " No other API tells it." if expert.steps else " No API tells it."
        expert.act(FINISH.name, {"return_type": "give_up_and_restart"})
    return tuple(expert.steps)


def gold_trajectory(world: World, query: WorldQuery, rendering: Rendering) -> Trajectory:
    """The expert's episode as a conversation: ToolBench's messages, the last of them the Finish."""
    messages = opening_messages(world, query.query, rendering)
    for step in play(world, query):
        messages.append(Message(role="assistant", content=write_action(step.thought, step.action, step.action_input)))
        messages.append(Message(role="function", content=step.observation))
    functions = tuple(function_of(api) for api in query.query.api_list)
    return Trajectory(
        id=f"{query.set_name} {query.query.query_id}",
        query=query.query.query,
        functions=functions,
        messages=tuple(messages[:-1]),
        tools=offered_tools(world, query.query),
    )


def gold_trajectories(world: World, count: int, rendering: Rendering = "compact") -> list[Trajectory]:
    """The training set: ``count`` trajectories, the first n the same for every count. One epoch is one pass over them."""
    return [gold_trajectory(world, query, rendering) for query in train_queries(world, count)]


def training_trajectories(size: Size) -> list[Trajectory]:
    """The training set of a size: the world's gold trajectories, or ToolBench's rows from the folder TOOLBENCH_DIR.

    In the world every third query is as somebody typed it (``typed_queries``); the first n are the same for every count. From ToolBench it
    reads ``toolllama_G123_dfs_train.json`` or, without it, the answer trees below ``raw_trees`` or ``answer``. Raises DataError where neither
    is found. Damaged rows of the released file are left out, with a warning.
    """
    if size.data == "world":
        world, count = build_world(), size.train_trajectories
        written, typed = train_queries(world, count - count // 3), typed_queries(world, count // 3)
        queries = [typed[k // 3] if k % 3 == 2 else written[k - k // 3] for k in range(count)]
        return [gold_trajectory(world, query, size.rendering) for query in queries]
    folder = Path(os.environ.get("TOOLBENCH_DIR", ""))
    released = folder / "toolllama_G123_dfs_train.json"
    if released.is_file():
        return _released_rows(released, size.train_trajectories)
    trees = sorted(folder.glob("raw_trees/*/*.json")) or sorted(folder.glob("answer/*/*.json"))
    if not os.environ.get("TOOLBENCH_DIR") or not trees:
        raise DataError(
            f"TOOLBENCH_DIR is {os.environ.get('TOOLBENCH_DIR')!r}: neither {released.name} nor answer trees found there. Size {size.name} "
            "trains on ToolBench: download its data, and set TOOLBENCH_DIR to the folder that holds the file."
        )
    # Made as the released rows were, with their defects: size full repeats the paper.
    rows = [row for tree in trees for row in training_rows(read_tree(tree), compat=True)]
    return [trajectory_of(row) for row in rows][: size.train_trajectories]


def _released_rows(path: Path, count: int | None) -> list[Trajectory]:
    """The first ``count`` whole rows of the released file. Damaged ones before them are left out, with a warning that says how many."""
    stream = TrajectoryStream(path)
    rows = list(islice(stream, count))
    if aside := stream.set_aside:
        warnings.warn(f"{len(aside):,} of {stream.read:,} rows are damaged and left out. The first: {aside[0]}", stacklevel=2)
    return rows


def export_world(
    folder: str | Path,
    seed: int = 0,
    trajectories: int = 1_000,
    trees: int = 100,
    tools: int | None = None,
    test_queries_per_set: int | None = None,
) -> dict[str, str]:
    """Writes the world of ``seed`` in ToolBench's formats and returns {file: SHA-256}, which it also writes to MANIFEST.json.

    instruction/ holds training queries, test_instruction/ the six test sets, toolenv/tools/ a file for each tool, answer/ answer trees,
    train.json training rows (one whole trajectory each). The counts bound what is written; None is all.
    """
    folder, world = Path(folder), build_world(seed)
    queries = train_queries(world, trajectories)
    written = [write_queries(folder / "instruction" / "train_query.json", [q.query for q in queries])]
    for name in SETS:
        chosen = test_queries(world, name)[:test_queries_per_set]
        written.append(write_queries(folder / "test_instruction" / f"{name}.json", [q.query for q in chosen]))
    for tool in world.tools[:tools]:
        path = folder / "toolenv" / "tools" / tool.category / f"{standardize(tool.name)}.json"
        written.append(write_tool(path, tool.name, tool.description, [api.api for api in tool.apis]))
    for query in queries[:trees]:
        functions = [function_of(api) for api in query.query.api_list]
        tree = chain_tree(query.query.query, functions, offered_tools(world, query.query), play(world, query))
        written.append(write_tree(folder / "answer" / f"{query.query.query_id}_DFS_woFilter_w2.json", tree))
    written.append(write_rows(folder / "train.json", [gold_trajectory(world, query, "toolbench") for query in queries]))
    manifest = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(written)}
    atomic_write_json(folder / "MANIFEST.json", manifest)
    return manifest


def export_sample(folder: str | Path) -> dict[str, str]:
    """The sample that is shipped in data_samples/world: one small file of each kind, the hand-written tools first."""
    return export_world(folder, seed=0, trajectories=12, trees=3, tools=6, test_queries_per_set=2)
