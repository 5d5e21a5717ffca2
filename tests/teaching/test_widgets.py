"""Widgets: driven by their value, they show what the static views show; the static view is in every output."""

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from toolslm_helpers.agent.search import Episode, Step
from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.views import View
from toolslm_helpers.teaching.widgets import choose, step_through_episode

STEPS = (Step("first", "get", "{}", "{}", 0), Step("second", "Finish", "{}", "", 3))
EPISODE = Episode(7, "Weather?", STEPS, "finish", "It is sunny.", "give_answer")
EMPTY = Episode(7, "Weather?", (), "context", None, None)
WIDGET = "application/vnd.jupyter.widget-view+json"


def control_and_picture(clickable):
    control, picture = clickable.widget.children
    return control, picture


def test_the_slider_shows_one_step_more_at_each_value():
    slider, picture = control_and_picture(step_through_episode(EPISODE))
    assert (slider.min, slider.max, slider.value) == (1, 2, 1)
    assert picture.value == views.episode(EPISODE, until=1).html and "second" not in picture.value
    slider.value = 2
    assert picture.value == views.episode(EPISODE).html and "It is sunny." in picture.value
    slider.value = 1
    assert "second" not in picture.value


def test_the_menu_renders_what_is_chosen_once_each():
    asked = []

    def render(query):
        asked.append(query)
        return View(f"<b>{query}</b>", query)

    menu, picture = control_and_picture(choose({"Lisbon?": "lisbon", "Oslo?": "oslo"}, render, "query"))
    assert menu.options == ("Lisbon?", "Oslo?") and picture.value == "<b>lisbon</b>" and asked == ["lisbon"]
    menu.value = "Oslo?"
    assert picture.value == "<b>oslo</b>" and asked == ["lisbon", "oslo"]
    menu.value = "Lisbon?"
    assert picture.value == "<b>lisbon</b>" and asked == ["lisbon", "oslo"], "a model would run again for what is known"


def test_without_clicks_it_is_the_static_view():
    assert step_through_episode(EPISODE, interactive=False) == views.episode(EPISODE)
    assert choose({"a": "x", "b": "y"}, lambda q: View(q, q), interactive=False) == View("x", "x")


@pytest.mark.parametrize("interactive", [True, False])
def test_an_episode_without_steps_still_shows_how_it_ended(interactive):
    assert step_through_episode(EMPTY, interactive) == views.episode(EMPTY)
    assert "Ended by context" in views.episode(EMPTY).text


def test_no_option_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no option"):
        choose({}, lambda q: q)


def test_one_output_holds_the_widget_and_the_whole_static_view():
    bundle = step_through_episode(EPISODE)._repr_mimebundle_()
    assert set(bundle) == {WIDGET, "text/html", "text/plain"}
    assert bundle["text/html"] == views.episode(EPISODE).html and bundle["text/plain"] == views.episode(EPISODE).text


def test_an_exported_page_shows_the_view_and_fetches_no_widget():
    output = nbformat.v4.new_output("display_data", data=step_through_episode(EPISODE)._repr_mimebundle_())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    page = BeautifulSoup(HTMLExporter().from_notebook_node(notebook)[0], "html.parser")
    assert page.find("table") is not None and "It is sunny." in page.get_text()
    assert page.find("script", type=WIDGET) is None
