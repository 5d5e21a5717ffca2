"""Queries: counts, shares, solvable as said, and nothing of a test query in training."""

from collections import Counter
from itertools import chain, islice

import pytest

from toolslm_helpers.data import wording
from toolslm_helpers.data.queries import TEST_QUERIES, TEST_SHARES, TRAINING_SHARES, test_queries, train_queries, typed_queries
from toolslm_helpers.data.words import MONTHS, SEEN_THEMES, UNSEEN_THEMES, is_held_out
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.training.corpus import instructions, pretraining_texts

TRAINING = 2_000
test_queries.__test__ = False  # a function of the package, not a test


@pytest.fixture(scope="module")
def world():
    return build_world(0)


@pytest.fixture(scope="module")
def held_out(world):
    return {name: test_queries(world, name) for name in SETS}


@pytest.fixture(scope="module")
def training(world):
    """Written and typed ones."""
    return train_queries(world, TRAINING) + typed_queries(world, TRAINING)


def test_as_many_as_tooleval(held_out):
    assert {name: len(queries) for name, queries in held_out.items()} == TEST_QUERIES
    assert sum(TEST_QUERIES.values()) == 1_100
    assert len({q.query.query_id for q in chain(*held_out.values())}) == 1_100
    assert len({q.query.query for q in chain(*held_out.values())}) > 1_090


def test_asking_and_giving_up_stay_rare(held_out, training):
    for queries, shares in (*((queries, TEST_SHARES) for queries in held_out.values()), (training, TRAINING_SHARES)):
        kinds = Counter(q.goal.kind for q in queries)
        assert 0 < kinds["give_up"] <= kinds["ask"]
        assert kinds["ask"] + kinds["give_up"] == pytest.approx(sum(shares) * len(queries), abs=1)
    assert sum(TEST_SHARES) < sum(TRAINING_SHARES) <= 0.15 + 1e-9


def test_sets_mean_what_toolbench_means(world, held_out):
    seen = {theme.category for theme in SEEN_THEMES}
    for name, queries in held_out.items():
        for q in queries:
            tools = [world.tools_by_name[tool] for tool in {api.tool_name for api in q.query.api_list}]
            categories = {tool.category for tool in tools}
            if name.endswith("category"):
                assert not categories & seen
            elif name == "G1_tool":
                assert categories <= seen and all(tool.held_out for tool in tools)
            else:
                assert not any(tool.held_out for tool in tools)
            if name[:2] != "G3":
                assert len(categories) == 1
    several = [q for q in held_out["G3_instruction"] if q.goal.kind == "answer"]
    assert all(len({tool for tool, _ in q.query.relevant_apis}) >= 2 for q in several)


def test_every_fact_comes_from_each_of_its_calls(world, held_out, training):
    """The goal is what the world answers: each call that is said to yield a value yields it, unless it fails."""
    for q in (*chain(*held_out.values()), *training[:300], *training[-300:]):
        for step in q.plan:
            values = []
            for call in step.calls:
                reply = world.respond(call.tool_name, call.api_name, call.arguments, attempt=1)
                if not reply.error:
                    values.append(reply.response[step.need.attribute.replace(" ", "_")])
            assert all(value == step.value for value in values)
            assert values or q.goal.kind != "answer"
        if q.goal.kind == "ask":
            assert q.goal.missing and len(q.plan) == 1 and not q.plan[0].calls


def test_asking_back_is_due_only_where_something_lacks(world, held_out, training):
    for q in (*chain(*held_out.values()), *training):
        said = set(q.values)
        assert all(value in q.query.query for value in said)
        if q.goal.kind == "answer":
            assert all(step.need.entity in said or step.need.entity in q.goal.allowed for step in q.plan)


def test_nothing_of_a_test_query_is_in_training(held_out, training):
    """Wording, open-vocabulary values, tuples of values; tools and categories where the set says unseen."""
    templates = {q.template.split("|")[1] for q in training}  # the frame
    names = {v for q in training for v in q.values if not v[:1].isdigit()}
    tuples = {q.values for q in training if q.values}
    tools = {api.tool_name for q in training for api in q.query.api_list}
    categories = {api.category_name for q in training for api in q.query.api_list}
    months = set("January February March April May June July August September October November December".split())
    for name, queries in held_out.items():
        for q in queries:
            assert q.template.split("|")[1] not in templates
            assert not {v for v in q.values if not v[:1].isdigit()} & names - months
            assert q.values == () or q.values not in tuples
            if name in ("G1_tool", "G1_category", "G2_category"):
                assert not {api.tool_name for api in q.query.api_list} & tools
            if name.endswith("category"):
                assert not {api.category_name for api in q.query.api_list} & categories


@pytest.mark.parametrize("part", ["frames", "forgetful", "phrases", "chains", "joins"])
def test_the_halves_of_the_wording_share_nothing(part):
    """All stages word their requests with the training half, so this holds for the texts of pre-training too."""
    assert not set(getattr(wording.TRAINING, part)) & set(getattr(wording.HELD_OUT, part))


@pytest.fixture(scope="module")
def stage_texts():
    """Texts as the two stages before fine-tuning read them."""
    conversations = islice(instructions("0 0"), 500)
    return [*islice(pretraining_texts("0 0"), 1_500), *(m.content for messages in conversations for m in messages)]


def words_of(texts):
    return {word for text in texts for word in "".join(c if c.isalpha() else " " for c in text).split()}


def test_names_of_test_queries_are_in_no_stage(held_out, stage_texts):
    """The last word of a coined name decides on which side of the split it is; none of those words is in any text."""
    names = {v for queries in held_out.values() for q in queries for v in q.values if v[:1].isupper()} - set(MONTHS)
    assert len(names) > 1_000 and all(map(is_held_out, names))
    assert not {name.split()[-1] for name in names} & words_of(stage_texts)


def test_words_of_unseen_categories_are_in_no_training_text(training, stage_texts):
    unseen = {word for theme in UNSEEN_THEMES for word in (*theme.kinds, *(a for a, _ in theme.attributes))}
    asked = [q.query.query + " ".join(api.api_description for api in q.query.api_list) for q in training]
    assert not unseen & {word.lower() for word in words_of(stage_texts + asked)}


def test_first_queries_do_not_depend_on_the_count(world, training):
    assert train_queries(world, 50) == training[:50]
    assert typed_queries(world, 50) == training[TRAINING : TRAINING + 50]


def test_unknown_set(world):
    with pytest.raises(WorkbookError, match="G4.*G1_instruction"):
        test_queries(world, "G4")
