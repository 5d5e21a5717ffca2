"""Gold trajectories are real episodes that solve their queries, and their files are ToolBench's."""

import json
import warnings
from collections import Counter
from dataclasses import replace

import pytest

from toolslm_helpers.agent.gold import export_sample, export_world, gold_trajectories, play, training_trajectories
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.queries import train_queries
from toolslm_helpers.data.toolbench import read_queries, read_rows, read_tool, read_tree, row_of
from toolslm_helpers.data.wording import stated
from toolslm_helpers.data.world import build_world
from toolslm_helpers.evaluation.judges import contains
from toolslm_helpers.files import data_samples, read_json
from toolslm_helpers.sizes import get_size
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import rerender
from toolslm_helpers.text.tokenizer import load_small_tokenizer


@pytest.fixture(scope="module")
def world():
    return build_world(0)


@pytest.fixture(scope="module")
def played(world):
    return [(query, play(world, query)) for query in train_queries(world, 600)]


def test_every_episode_ends_as_its_goal_says(played):
    for query, steps in played:
        arguments = json.loads(steps[-1].action_input)
        assert steps[-1].action == FINISH.name and all(step.action != FINISH.name for step in steps[:-1])
        assert arguments["return_type"] == ("give_up_and_restart" if query.goal.kind == "give_up" else "give_answer")
        if query.goal.kind == "answer":
            assert all(fact.value in arguments["final_answer"] for fact in query.goal.facts)
        if query.goal.kind == "ask":
            assert len(steps) == 1 and query.goal.missing[0] in arguments["final_answer"]


def test_failed_calls_are_recovered_in_each_way(played):
    solved = [steps for query, steps in played if query.goal.kind == "answer"]
    failed = [step for steps in solved for step in steps if step.code not in (Status.OK, Status.FINAL_ANSWER)]
    assert {step.code for step in failed} >= {
        Status.TIMEOUT,
        Status.NOT_FOUND,
        Status.NOT_SUBSCRIBED,
        Status.RATE_LIMIT_PER_MINUTE,
        Status.ERROR_MESSAGE,
    }
    for steps in solved:
        for step, following in zip(steps, steps[1:], strict=False):
            if step.code in (Status.TIMEOUT, Status.RATE_LIMIT_PER_MINUTE):
                assert (following.action, following.action_input) == (step.action, step.action_input)
            if step.code in (Status.NOT_FOUND, Status.NOT_SUBSCRIBED):
                assert following.action not in (step.action, FINISH.name)


def test_thoughts_state_the_need_and_why_nothing_can_follow(played):
    ends = Counter()
    for query, steps in played:
        *before, last = steps
        stated_needs = {stated(step.need) for step in query.plan}
        lowered = any(step.asked for step in query.plan)
        assert all(
            any(need in step.thought for need in stated_needs) or (lowered and "I need the " in step.thought) for step in before
        )
        assert (last.thought == "Done.") == (query.goal.kind == "answer")
        if query.goal.kind != "answer":
            need, _, end = last.thought.rpartition(stated(query.plan[-1].need))
            ends[end] += 1
            assert need == ("Not that one. " if before else "")
            assert end in (f" The {(*query.goal.missing, '')[0]} is missing.", f" No {'other ' * bool(before)}API tells it.")
    assert len(ends) > 5


def test_the_first_thought_plans_all_that_is_needed(played):
    chained = several = 0
    for query, steps in played:
        if len(query.plan) == 1:
            assert " Then " not in steps[0].thought
            continue
        first, *rest = steps[0].thought.split(" Then ")
        assert first == stated(query.plan[0].need) and len(rest) == len(query.plan) - 1
        for text, step in zip(rest, query.plan[1:], strict=True):
            chained, several = chained + text.startswith("its "), several + 1
            assert text.startswith("its ") == (step.need.entity == str(query.plan[0].value))
            assert text.startswith((f"its {step.need.attribute}", f"the {step.need.attribute} of {step.need.entity}"))
            assert all(extra in text for extra in step.need.extras)
        assert not any(" Then " in step.thought for step in steps[1:])
    assert several > chained > 12


def test_a_call_s_values_stand_in_the_thought_before_it(played):
    """So that writing a call is copying: who or what is asked about, and every further argument, as it is then called with."""
    lowered = 0
    for _, steps in played:
        for step in steps[:-1]:
            arguments = json.loads(step.action_input)
            assert all(contains(step.thought, str(value)) for value in arguments.values()), step
            lowered += step.thought.startswith("Too large.")
    assert lowered >= 5


def test_prompts_fit(world):
    tokenizer = load_small_tokenizer()
    lengths = [len(prompt_ids(t.messages[:2], tokenizer)) for t in gold_trajectories(world, 600)]
    assert max(lengths) <= 384


def test_every_third_trajectory_of_a_size_is_a_typed_one(world):
    tiny = get_size("tiny")
    ids = [one.id for one in training_trajectories(replace(tiny, train_trajectories=9))]
    assert ids == [f"typed {2_000_000 + k // 3}" if k % 3 == 2 else f"train {1_000_000 + k - k // 3}" for k in range(9)]
    for count in (1, 2, 3, 7):  # the first n are the same for every count
        assert [one.id for one in training_trajectories(replace(tiny, train_trajectories=count))] == ids[:count]


def test_files_are_toolbench_s_and_the_same_to_the_byte(world, tmp_path):
    manifest = export_world(tmp_path / "a", seed=0, trajectories=20, trees=5, tools=70, test_queries_per_set=3)
    assert export_world(tmp_path / "b", seed=0, trajectories=20, trees=5, tools=70, test_queries_per_set=3) == manifest
    rows = read_rows(tmp_path / "a" / "train.json")
    assert [rerender(row, "compact").messages for row in rows] == [t.messages for t in gold_trajectories(world, 20)]
    assert len(read_queries(tmp_path / "a" / "test_instruction" / "G2_category.json")) == 3
    trees = [read_tree(tmp_path / "a" / name) for name in manifest if name.startswith("answer/")]
    assert len(trees) == 5 and all(tree.answer_generation.query for tree in trees)
    tools = [read_tool(tmp_path / "a" / name) for name in manifest if name.startswith("toolenv/")]
    assert {tool.tool_name for tool in tools} == {tool.name for tool in world.tools[:70]}


def test_the_shipped_sample_is_what_its_code_makes(tmp_path):
    shipped = data_samples() / "world"
    manifest = export_sample(tmp_path)
    assert manifest == read_json(shipped / "MANIFEST.json")
    assert {p.relative_to(shipped).as_posix() for p in shipped.rglob("*.json")} == {*manifest, "MANIFEST.json"}
    for name in manifest:
        assert (shipped / name).read_bytes() == (tmp_path / name).read_bytes()


def test_damaged_rows_of_the_released_file_are_left_out_with_a_warning(world, tmp_path, monkeypatch):
    rows = [row.model_dump(mode="json", by_alias=True) for row in map(row_of, gold_trajectories(world, 4, "toolbench"))]
    rows[1]["conversations"][1]["from"] = "nobody"
    (tmp_path / "toolllama_G123_dfs_train.json").write_text(json.dumps(rows))
    monkeypatch.setenv("TOOLBENCH_DIR", str(tmp_path))
    full = get_size("full")
    with pytest.warns(UserWarning, match=r"1 of 4 rows are damaged and left out.*\[1\].conversations\[1\].from"):
        assert [row.id for row in training_trajectories(full)] == [row["id"] for row in rows if row is not rows[1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(training_trajectories(replace(full, train_trajectories=1))) == 1
