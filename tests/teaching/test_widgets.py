"""Widgets: driven by their value, they show what the static views show; without clicks the static view stands in."""

import pytest

from toolslm_helpers.agent.search import Episode, Step
from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.views import View
from toolslm_helpers.teaching.widgets import choose, step_through, step_through_episode

STEPS = (Step("first", "get", "{}", "{}", 0), Step("second", "Finish", "{}", "", 3))
EPISODE = Episode(7, "Weather?", STEPS, "finish", "It is sunny.", "give_answer")


def control_and_picture(box):
    control, picture = box.children
    return control, picture


def test_the_slider_shows_one_step_more_at_each_value():
    slider, picture = control_and_picture(step_through_episode(EPISODE))
    assert (slider.min, slider.max, slider.value) == (1, 2, 1)
    assert picture.value == views.episode(EPISODE, until=1).html and "second" not in picture.value
    slider.value = 2
    assert picture.value == views.episode(EPISODE).html and "It is sunny." in picture.value
    slider.value = 1
    assert "second" not in picture.value


def test_the_menu_renders_what_is_chosen_and_only_that():
    asked = []

    def render(query):
        asked.append(query)
        return View(f"<b>{query}</b>", query)

    menu, picture = control_and_picture(choose({"Lisbon?": "lisbon", "Oslo?": "oslo"}, render, "query"))
    assert menu.options == ("Lisbon?", "Oslo?") and picture.value == "<b>lisbon</b>" and asked == ["lisbon"]
    menu.value = "Oslo?"
    assert picture.value == "<b>oslo</b>" and asked == ["lisbon", "oslo"]


def test_without_clicks_the_static_view_stands_there_whole():
    assert step_through_episode(EPISODE, interactive=False) == views.episode(EPISODE)
    assert choose({"a": "x", "b": "y"}, lambda q: View(q, q), interactive=False) == View("x", "x")


def test_an_episode_without_steps_still_shows_how_it_ended():
    empty = Episode(7, "Weather?", (), "context", None, None)
    assert "Ended by context" in step_through_episode(empty, interactive=False).text
    assert "Ended by context" in control_and_picture(step_through_episode(empty))[1].value


def test_nothing_to_show_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no view"):
        step_through([])
    with pytest.raises(ValueError, match="no option"):
        choose({}, lambda q: q)
