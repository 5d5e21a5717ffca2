"""The world is what it says: its scale, its split, APIs that answer, the same to the byte from one seed."""

import hashlib
import json

import pytest

from toolslm_helpers.data.tools import LASTING_FAULTS, PASSING_FAULTS, handwritten_tools
from toolslm_helpers.data.words import SEEN_THEMES, UNSEEN_THEMES, coin_word, is_held_out
from toolslm_helpers.data.world import FAULTS, build_world


@pytest.fixture(scope="module")
def world():
    return build_world(0)


def fingerprint(world) -> str:
    text = json.dumps([[tool.name, tool.description, [api.api.model_dump() for api in tool.apis]] for tool in world.tools])
    return hashlib.sha256(text.encode()).hexdigest()


def test_scale(world):
    assert len(world.categories) >= 12
    assert len(world.tools) >= 500
    assert len(world.apis) >= 1_500
    assert len(handwritten_tools()) == 60
    assert len(world.tools_by_name) == len(world.tools), "two tools share a name"
    assert len(world.apis) == sum(len(tool.apis) for tool in world.tools), "two APIs of one tool share a name"


def test_same_seed_same_world(world):
    again = build_world.__wrapped__(0)
    assert again is not world
    assert fingerprint(again) == fingerprint(world)
    assert fingerprint(build_world.__wrapped__(1)) != fingerprint(world)


def test_every_api_answers(world):
    """Each API, called with plain arguments, gives what it promises or the error that it is known for."""
    example = {"NUMBER": 3, "STRING": "Kelmora"}
    for key, api in world.apis.items():
        arguments = {p.name: example[p.type] for p in api.api.required_parameters}
        first, second = world.respond(*key, arguments, 0), world.respond(*key, arguments, 1)
        if api.fault in LASTING_FAULTS:
            assert first == second and first.error == FAULTS[api.fault][0]
        else:
            assert (first.error != "") == (api.fault in PASSING_FAULTS)
            assert second.error == "" and second.code == 0
            assert set(second.response) == {a.replace(" ", "_") for a, _ in api.fields}
            assert world.respond(*key, arguments, 1) == second


def test_answers_depend_on_arguments_not_on_the_tool(world):
    api = next(a for a in world.apis.values() if a.fault is None and a.extra and a.maximum is None and a.fields[0][1] == "p")
    value = {p.name: 3 if p.type == "NUMBER" else "Kelmora" for p in (*api.api.required_parameters, *api.api.optional_parameters)}
    key = api.attribute.replace(" ", "_")
    asked = world.respond(*api.key, value).response[key]
    other_entity = world.respond(*api.key, value | {api.entity_parameter: "Belmora"}).response[key]
    other_extra = world.respond(*api.key, value | {api.extra: 4}).response[key]
    assert len({asked, other_entity, other_extra}) == 3
    twins = [t for t in world.apis.values() if t.meaning == api.meaning]
    for twin in (t for t in twins if t.fault is None):
        arguments = {twin.entity_parameter: "Kelmora", twin.extra: value[api.extra]}
        assert world.respond(*twin.key, arguments).response[key] == asked


def test_too_large_a_number_is_refused_with_the_limit(world):
    api = next(a for a in world.apis.values() if a.maximum is not None)
    arguments = {api.entity_parameter: "Kelmora", api.extra: api.maximum + 1}
    assert world.respond(*api.key, arguments).error == f"{api.extra} must be at most {api.maximum}."
    assert world.respond(*api.key, arguments | {api.extra: api.maximum}).error == ""


def test_held_out_names_stay_apart(world):
    import random

    rng = random.Random(0)
    assert not any(is_held_out(coin_word(rng, False)) for _ in range(300))
    assert all(is_held_out(coin_word(rng, True)) for _ in range(300))
    seen = {theme.category for theme in SEEN_THEMES}
    assert {tool.category for tool in world.tools if not tool.held_out} == seen
    assert {tool.category for tool in world.tools} - seen == {theme.category for theme in UNSEEN_THEMES}


def test_descriptions_stay_words(world):
    """ToolBench's rendering puts the function's name in the place of an API's name in its description: ours never hold one."""
    assert not [api.key for api in world.apis.values() if api.api.api_name in api.api.api_description]
