"""Views of lesson 03: a tree move by move, and rows of which the same letters are the same message."""

import os
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from toolslm_helpers.data.merge import merge_rows
from toolslm_helpers.data.toolbench import read_tree, training_rows, trajectory_of
from toolslm_helpers.data.trees import AnswerTree, TreeNode
from toolslm_helpers.data.world import build_world
from toolslm_helpers.teaching.search_example import example_query, moves_of, search
from toolslm_helpers.teaching.tree_views import move_rows, row_turns, rows_side_by_side, search_tree, step_through_search

WORLD = build_world(0)
TREE = search(WORLD, example_query(WORLD), moves_of(WORLD, example_query(WORLD)))
ROWS = [trajectory_of(row) for row in training_rows(TREE, compat=True)]


def words(html):
    return BeautifulSoup(html, "html.parser").get_text(" ")


@pytest.mark.parametrize(
    "view", [search_tree(TREE), search_tree(TREE, 3), rows_side_by_side(ROWS), rows_side_by_side(merge_rows(ROWS), "m")]
)
def test_html_is_static_and_says_what_the_text_says(view):
    soup = BeautifulSoup(view.html, "html.parser")
    assert not soup.find_all(["script", "style", "link", "img", "iframe"]) and "class=" not in view.html
    assert set(re.findall(r"\w+", view.text)) <= set(re.findall(r"\w+", words(view.html)))
    assert "color:#1a1a1a" in soup.find("div")["style"]


def test_what_is_kept_shows_when_the_search_is_over():
    whole, part = search_tree(TREE), search_tree(TREE, 3)
    assert [row.kept for row in move_rows(TREE)] == [True, False, False, True, False, False, True, True]
    assert whole.text.count("kept") == 5 and whole.text.endswith("8 of 8 moves. 4 are kept: the path that becomes training rows.")
    assert "kept" not in part.text and part.text.endswith("3 of 8 moves. The search goes on.")
    assert part.text.count("move ") == 3 and "gives up: two steps back" in part.text and "3 final answer" not in part.text
    assert re.search(r"\n      move 8 · try 1 · kept · an answer: the search is over", whole.text)
    indents = re.findall(r"margin:3px 0 3px ([\d.]+)em", whole.html)
    assert indents == [f"{1.6 * row.depth:.1f}" for row in move_rows(TREE)]
    assert whole.html.count("border-left:6px solid #0072b2") == 4


def test_a_slider_reveals_move_after_move():
    assert step_through_search(TREE, interactive=False) == search_tree(TREE)
    shown = step_through_search(TREE)
    slider, html = shown.widget.children
    assert (slider.min, slider.max, shown.view) == (1, 8, search_tree(TREE)) and "1 of 8 moves" in html.value
    slider.value = 5
    assert html.value == search_tree(TREE, 5).html


def test_a_tree_that_keeps_nothing_or_breaks_off_is_shown():
    answer = TREE.answer_generation.model_copy(update={"train_messages": ()})
    assert search_tree(TREE.model_copy(update={"answer_generation": answer})).text.endswith("8 of 8 moves. None is kept.")
    thought = TreeNode(node_type="Thought", description="Hm.", children=(TreeNode(node_type="Action", description="look"),))
    ends = TreeNode(node_type="Thought", description="No idea.")
    root = TreeNode(node_type="Action Input", description="", children=(thought, ends))
    rows = move_rows(AnswerTree(win=False, tree={"tree": root}, answer_generation=answer))
    assert [(row.thought, row.action, row.code) for row in rows] == [("Hm.", "look", None), ("No idea.", "", None)]


def test_the_same_message_has_the_same_letters_and_graded_ones_are_marked():
    turns = row_turns(ROWS, [(len(row.messages) - 1,) for row in ROWS])
    assert [turn.label for turn in turns[2]] == ["S1", "U1", "A1", "F1", "A2", "F2", "U3", "A3"]
    assert [turn.graded for turn in turns[0]] == [False, False, True]
    for one in sum(turns, []):
        for other in sum(turns, []):
            assert (one.label == other.label) == (one.message == other.message)
    view = rows_side_by_side(ROWS, "Rows")
    assert view.text.splitlines()[0] == "Rows" and re.search(r"2   S1   U1   A1   F1   U2  \[A2\]", view.text)
    assert view.text.endswith("4 rows, 27 messages to read, 4 turns graded (solid border, in the text square brackets)")
    assert view.html.count("2px solid") == 4
    merged = rows_side_by_side(merge_rows(ROWS))
    assert "[A1]" in merged.text and merged.text.count("[A") == 4 and "2 rows, 16 messages" in merged.text


@pytest.mark.skipif(
    not os.environ.get("TOOLBENCH_DIR"), reason="needs ToolBench's files: set TOOLBENCH_DIR to a folder with raw_trees/"
)
def test_on_real_trees_the_kept_path_is_that_of_the_rows():
    paths = sorted(Path(os.environ["TOOLBENCH_DIR"]).glob("raw_trees/*/*.json"))
    assert paths
    for path in paths:
        tree = read_tree(path)
        kept = [row for row in move_rows(tree) if row.kept]
        assert [row.depth for row in kept] == list(range(len(kept)))
        assert len(kept) == len(training_rows(tree, compat=True)) or not tree.answer_generation.valid_data
