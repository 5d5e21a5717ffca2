"""An episode as a play and a search as a tree: the facts are in the rows, in both forms, and behind the slider."""

import pytest

from toolslm_helpers.agent.episode import Episode, Node, Step
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.teaching import episode_views
from toolslm_helpers.teaching.toy import toy_cases, toy_trajectory
from toolslm_helpers.teaching.widgets import theatre

OPENING = toy_trajectory().messages[:2]
EPISODE = toy_cases()[0].episode
A, B, GIVE_UP = Step("a?", "a", "{}", "{1}", 0), Step("", "b", "{}", "{2}", 0), Step("", "Finish", "{}", "{3}", 4)
DONE = Step("", "Finish", "{}", "{4}", 3)
TREE = Episode(1, "q", (A, DONE), "finish", "48", "give_answer", (Node(A, (Node(B, (Node(GIVE_UP),)), Node(DONE))),))


def test_a_scene_shows_what_is_new_what_was_written_and_what_came_back():
    first, second = episode_views.scenes(EPISODE, OPENING)
    assert [role for role, _ in first.reads] == ["system", "user"]
    assert second.reads == (("function", EPISODE.steps[0].observation),)
    assert first.code.startswith("0: ") and second.code.startswith("3: ")
    assert "model's turn again" in first.then and "final answer" in second.then
    view = episode_views.scene(EPISODE, OPENING, 1)
    for fact in ("Scene 1 of 2", "get_weather_for_skylark", "sunny", "0: the API answered"):
        assert fact in view.text and fact in view.html
    with pytest.raises(ValueError, match="scene 3; this episode has 2"):
        episode_views.scene(EPISODE, OPENING, 3)


def test_a_turn_without_an_action_is_shown_as_it_was_written():
    episode = Episode(1, "q", (Step("I wonder", "", "", "{}", 1),), "iterations", None, None)
    text = episode_views.scene(episode, OPENING, 1).text
    assert "I wonder\n(no action can be read" in text and "Action: \n" not in text and "ends here (iterations)" in text


def test_observations_cannot_leave_the_page():
    step = Step("<b>", "f", "{}", "<script>alert(1)</script>", 0)
    view = episode_views.play(Episode(1, "q", (step,), "iterations", None, None), OPENING)
    assert "<script>" not in view.html and "&lt;script&gt;" in view.html


def test_the_theatre_shows_one_scene_at_a_time_and_the_whole_where_nobody_clicks():
    whole = theatre(EPISODE, OPENING, interactive=False)
    assert whole.text.count("Scene") == 2
    clickable = theatre(EPISODE, OPENING)
    slider, picture = clickable.widget.children
    assert (slider.min, slider.max) == (1, 2) and "Scene 1" in picture.value and clickable.view == whole
    slider.value = 2
    assert picture.value == episode_views.scene(EPISODE, OPENING, 2).html


def test_a_tree_in_the_order_of_its_turns():
    rows = [(r.number, r.depth, r.action, r.fate) for r in episode_views.tree_rows(TREE)]
    assert rows == [
        (1, 0, "a", "on the path that counts"),
        (2, 1, "b", "abandoned"),
        (3, 2, "Finish", "gave up: back two states"),
        (4, 1, "Finish", "answer"),
    ]
    assert "· · Finish" in episode_views.search_tree(TREE).text
    chain = Episode(1, "q", (A, B, DONE), "finish", "48", "give_answer")
    assert [(r.depth, r.fate) for r in episode_views.tree_rows(chain)][-1] == (2, "answer")


def test_every_code_has_words_and_success_needs_more_than_code_0():
    assert set(episode_views.CODE_WORDS) == set(Status)
    view = episode_views.codes([("x", 0, '{"error": "", "response": 1}'), ("y", 0, '{"error": "no", "response": ""}')])
    assert view.text.splitlines()[2].count("yes") == 1 and "yes" not in view.text.splitlines()[3]
