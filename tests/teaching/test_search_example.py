"""The search of lesson 03: by the rules of ToolBench's own, in its format, and rows that branch as real ones do."""

import json

import pytest

from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.merge import merge_rows
from toolslm_helpers.data.names import FINISH
from toolslm_helpers.data.prompt import SEARCH_PROMPT
from toolslm_helpers.data.toolbench import read_tree, training_rows, trajectory_of, write_tree
from toolslm_helpers.data.world import build_world
from toolslm_helpers.teaching.search_example import UNKNOWN_NAME, Move, example_query, moves_of, search
from toolslm_helpers.teaching.tree_views import move_rows

WORLD = build_world(0)
QUERY = example_query(WORLD)
MOVES = moves_of(WORLD, QUERY)
TREE = search(WORLD, QUERY, MOVES)
GIVE_UP = Move(FINISH.name, {"return_type": "give_up_and_restart"})


def nodes(node):
    """The node and all below it."""
    return [node, *(below for child in node.children for below in nodes(child))]


def test_the_example_asks_for_two_values_beside_an_api_that_is_of_no_use():
    assert len(QUERY.plan) == 2 and all(step.need.entity in QUERY.query.query for step in QUERY.plan)
    needed = {(call.tool_name, call.api_name) for step in QUERY.plan for call in step.calls}
    assert needed < {(api.tool_name, api.api_name) for api in QUERY.query.api_list}
    with pytest.raises(ValueError, match="none of the first 0 training queries"):
        example_query(WORLD, among=0)


def test_the_moves_come_in_the_order_of_the_search_and_what_comes_back_is_the_world_s():
    rows = move_rows(TREE)
    assert [(row.action, json.loads(row.action_input)) for row in rows] == [(move.action, move.arguments) for move in MOVES]
    codes = [Status.OK, Status.BAD_REQUEST, Status.GAVE_UP, Status.OK, Status.BAD_REQUEST, Status.GAVE_UP, Status.OK]
    assert [row.code for row in rows] == [*codes, Status.FINAL_ANSWER]
    for row, step in ((rows[3], QUERY.plan[0]), (rows[6], QUERY.plan[1])):
        assert json.loads(row.observation)["response"][step.need.attribute.replace(" ", "_")] == step.value
    answer = json.loads(TREE.answer_generation.final_answer)["final_answer"]
    assert all(step.need.entity in answer for step in QUERY.plan)


def test_after_a_give_up_it_goes_two_steps_back_and_a_state_is_tried_twice():
    rows = move_rows(TREE)
    assert [row.depth for row in rows] == [0, 1, 2, 1, 2, 3, 2, 3]
    assert [row.attempt for row in rows] == [1, 1, 1, 2, 1, 1, 2, 1]
    assert [node.observation_code for node in nodes(TREE.tree.tree) if node.pruned] == [Status.GAVE_UP] * 2
    call = MOVES[1]
    # Two give-ups in a row: from depth 1 back to the root, its second try, and again; then nothing is left to try.
    failed = search(WORLD, QUERY, [MOVES[0], GIVE_UP, MOVES[0], GIVE_UP])
    assert [row.depth for row in move_rows(failed)] == [0, 1, 0, 1] and not failed.win
    # Without a give-up every state is tried twice.
    deep = search(WORLD, QUERY, [MOVES[0], call, GIVE_UP, call, GIVE_UP, MOVES[0], GIVE_UP])
    assert [(row.depth, row.attempt) for row in move_rows(deep)] == [(0, 1), (1, 1), (2, 1), (1, 2), (2, 1), (0, 2), (1, 1)]


def test_a_search_without_an_answer_leaves_no_rows():
    failed = search(WORLD, QUERY, [MOVES[0], GIVE_UP, MOVES[0], GIVE_UP]).answer_generation
    assert (failed.valid_data, failed.train_messages, failed.final_answer) == (False, (), "")
    assert (failed.finish_type, failed.ending) == ("give_answer", "unfinished"), "the defect, and what is true"


@pytest.mark.parametrize("moves", [[*MOVES, MOVES[0]], [MOVES[0], GIVE_UP, MOVES[0], GIVE_UP, MOVES[0]]])
def test_moves_left_over_are_refused(moves):
    with pytest.raises(ValueError, match="the search ends before the last"):
        search(WORLD, QUERY, moves)


def test_moves_that_run_out_are_refused():
    with pytest.raises(ValueError, match="goes on after the last move"):
        search(WORLD, QUERY, MOVES[:-1])


def test_a_conversation_keeps_the_last_of_the_search_s_turns_only():
    rows = [trajectory_of(row) for row in training_rows(TREE, compat=True)]
    spoken = [[m.content for m in row.messages if m.content.startswith(SEARCH_PROMPT)] for row in rows]
    assert [len(some) for some in spoken] == [0, 1, 1, 1] and spoken[1] != spoken[2] == spoken[3]
    tried = json.loads(spoken[2][0].splitlines()[2])
    assert [call["name"] for call in tried] == [MOVES[4].action] and tried[0]["arguments"] == MOVES[4].arguments
    assert [(e.supervised_turns, len(e.absorbed)) for e in merge_rows(rows)] == [((5,), 1), ((2, 7, 9), 3)]
    mended = [trajectory_of(row) for row in training_rows(TREE)]
    assert [(e.supervised_turns, len(e.absorbed)) for e in merge_rows(mended)] == [((2, 4, 6, 8), 4)]


def test_an_unknown_function_is_renamed_as_upstream_does():
    tree = search(WORLD, QUERY, moves_of(WORLD, QUERY, unknown_first=True))
    first = move_rows(tree)[0]
    assert (first.action, first.code, first.kept) == (UNKNOWN_NAME, Status.UNKNOWN_FUNCTION, True)
    names = [[m.content.split("Action: ")[1].split("\n")[0] for m in row.conversations if m.role == "assistant"]
             for compat in (True, False) for row in training_rows(tree, compat=compat)]  # fmt: skip
    assert [UNKNOWN_NAME in some for some in names] == [True] * 4 + [False] * 3


def test_it_is_a_file_of_toolbench_s_format(tmp_path):
    assert read_tree(write_tree(tmp_path / "1_DFS_woFilter_w2.json", TREE)) == TREE
    assert all(trajectory_of(row).query == QUERY.query.query for row in training_rows(TREE, compat=True))
