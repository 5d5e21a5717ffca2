"""A few trajectories of the world, one of which answers about another entity than was asked for: what lesson 03 lets a learner find.

So is one of ToolBench's own example trees (G1 answer 10): asked for one company's details, it gives those of another as the ones asked for.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from toolslm_helpers.agent.gold import gold_trajectory
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.world import World
from toolslm_helpers.text.protocol import parse_action, write_action


def about_another(world: World, query: WorldQuery, entity: str) -> Trajectory:
    """A played episode of ``query`` that looks ``entity`` up and answers in the name of the entity that was asked for.

    Every call succeeds and every value is one that an API gave; only the name in thoughts and answer is not whose value it is. Raises
    ValueError for a query that does not ask for exactly one value of a named entity.
    """
    if len(query.plan) != 1 or not query.plan[0].need.entity or not query.plan[0].calls:
        raise ValueError(
            f"query {query.query.query_id}: {len(query.plan)} values are asked for; expected one, of an entity that is named."
        )
    step = query.plan[0]
    asked = step.need.entity
    calls = tuple(
        replace(call, arguments={name: entity if value == asked else value for name, value in call.arguments.items()})
        for call in step.calls
    )
    api = world.apis[calls[0].tool_name, calls[0].api_name]
    extra = calls[0].arguments.get(api.extra) if api.extra else None
    value = world.value(api, api.attribute, api.fields[0][1], entity, extra)
    wrong = replace(step, need=replace(step.need, entity=entity), value=value, calls=calls)
    played = gold_trajectory(world, replace(query, plan=(wrong,)), "compact")
    return played.model_copy(update={"messages": tuple(_in_the_name_of(asked, entity, message) for message in played.messages)})


def _in_the_name_of(asked: str, entity: str, message: Message) -> Message:
    """An assistant's turn with ``asked`` for ``entity`` in what it thinks and answers, but not in what it looks up."""
    if message.role != "assistant":
        return message
    turn = parse_action(message.content)
    action_input = turn.action_input.replace(entity, asked) if turn.action == FINISH.name else turn.action_input
    return message.model_copy(update={"content": write_action(turn.thought.replace(entity, asked), turn.action, action_input)})


def with_one_wrong(world: World, queries: Sequence[WorldQuery], seed: int) -> tuple[list[Trajectory], int]:
    """(trajectories of ``queries``, the place of the one that answers about another entity). The other entity is one of their own kind.

    Raises ValueError where no two of the queries ask for one value of the same kind of entity.
    """
    rng = random.Random(f"mislabelled {seed}")
    single = [k for k, query in enumerate(queries) if query.goal.kind == "answer" and len(query.plan) == 1]
    kind = {k: world.apis[queries[k].plan[0].calls[0].tool_name, queries[k].plan[0].calls[0].api_name].kind for k in single}
    pairs = [
        (one, other) for one in single for other in single
        if kind[one] == kind[other] and queries[one].plan[0].need.entity not in (queries[other].plan[0].need.entity, *queries[other].values)
        and queries[other].plan[0].need.entity not in queries[one].query.query
    ]  # fmt: skip
    if not pairs:
        raise ValueError(
            f"none of {len(queries)} queries asks for one value of an entity of which another one knows a second. Take more."
        )
    place, other = rng.choice(pairs)
    trajectories = [gold_trajectory(world, query, "compact") for query in queries]
    trajectories[place] = about_another(world, queries[place], queries[other].plan[0].need.entity)
    return trajectories, place
