"""The conversation that answers about somebody else: well formed, answered, and wrong in one place only."""

import json

import pytest

from toolslm_helpers.agent.gold import gold_trajectory
from toolslm_helpers.data.queries import train_queries
from toolslm_helpers.data.world import build_world
from toolslm_helpers.teaching.mislabelled import about_another, with_one_wrong
from toolslm_helpers.text.protocol import parse_action

WORLD = build_world(0)
QUERIES = train_queries(WORLD, 40)
SINGLE = next(q for q in QUERIES if q.goal.kind == "answer" and len(q.plan) == 1)


def turns(trajectory):
    return [parse_action(message.content) for message in trajectory.messages if message.role == "assistant"]


def test_it_looks_one_up_and_answers_in_the_name_of_the_other():
    asked, wrong = SINGLE.plan[0].need.entity, about_another(WORLD, SINGLE, "Zzyzx")
    *calls, finish = turns(wrong)
    assert calls and all("Zzyzx" in call.arguments.values() and asked not in call.arguments.values() for call in calls)
    assert all(turn.problem is None and "Zzyzx" not in turn.thought for turn in turns(wrong))
    answer = finish.arguments["final_answer"]
    assert asked in answer and "Zzyzx" not in answer
    value = json.loads(wrong.messages[-2].content)["response"][SINGLE.plan[0].need.attribute.replace(" ", "_")]
    assert str(value) in answer or all(str(item) in answer for item in value), "the value is that of the one looked up"
    assert wrong.messages[:2] == gold_trajectory(WORLD, SINGLE, "compact").messages[:2]


def test_one_of_them_is_wrong_and_the_others_are_gold():
    for seed in range(4):
        trajectories, place = with_one_wrong(WORLD, QUERIES, seed)
        gold = [gold_trajectory(WORLD, query, "compact") for query in QUERIES]
        assert [k for k, (one, other) in enumerate(zip(trajectories, gold, strict=True)) if one != other] == [place]
        entities = [
            value for turn in turns(trajectories[place])[:-1] for value in turn.arguments.values() if isinstance(value, str)
        ]
        assert not any(entity in QUERIES[place].query.query for entity in entities)
    assert with_one_wrong(WORLD, QUERIES, 1) == with_one_wrong(WORLD, QUERIES, 1)


def test_what_cannot_be_made_wrong_is_refused():
    several = next(q for q in train_queries(WORLD, 400) if len(q.plan) == 2)
    with pytest.raises(ValueError, match="2 values are asked for"):
        about_another(WORLD, several, "Zzyzx")
    with pytest.raises(ValueError, match="none of 1 queries"):
        with_one_wrong(WORLD, [SINGLE], 0)
