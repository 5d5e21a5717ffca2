"""Widgets: driven by their value, they show what the static views show; the static view is in every output."""

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.model.counting import DEEPSEEK_OCR, OPT_350M
from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.byhand import by_hand
from toolslm_helpers.teaching.views import View
from toolslm_helpers.teaching.widgets import choose, choose_cell, parameter_calculator, step_through_episode

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


def test_any_cell_of_a_matrix_can_be_chosen_and_says_how_it_came_about():
    menu, picture = control_and_picture(choose_cell(by_hand(), "projected", (1, 1)))
    assert len(menu.options) == 12 and menu.value == "row Lisbon, column D2"
    assert "[1] is row Lisbon, column D2: (-2) * (-1) + (-1) * 1 = 1." in picture.value
    menu.value = "row call, column D4"
    assert "[0] is row call, column D4: (-2) * 0 + 0 * (-1) = 0." in picture.value
    still = choose_cell(by_hand(), "projected", (1, 1), interactive=False)
    assert "[1] is row Lisbon, column D2" in still.text


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


def calculator(start=OPT_350M):
    """(its four controls by name, a function that reads the lines of both tables now shown)."""
    *controls, picture = parameter_calculator(start).widget.children

    def lines():
        rows = BeautifulSoup(picture.value, "html.parser").find_all("tr")
        return {row.find("td").text: [cell.text for cell in row.find_all("td")[1:]] for row in rows if row.find("td")}

    return {control.description: control for control in controls}, lines


def test_the_calculator_starts_at_the_model_and_follows_each_slider():
    controls, lines = calculator()
    assert {name: control.value for name, control in controls.items()} == {
        "layers": 24,
        "experts": 1,
        "vocabulary": 50_272,
        "context": 2_048,
    }
    assert lines()["your model"][:2] == ["331,196,416", "x1.00"] and "experts" not in lines()
    controls["layers"].value = 48
    assert lines()["your model"][0] == f"{331_196_416 + 24 * 12_596_224:,}"
    controls["layers"].value = 24
    controls["context"].value = 8_192
    assert lines()["your model"][0] == f"{331_196_416 + 6_144 * 1_024:,}" and lines()["your model"][4] == "768 MiB"
    controls["context"].value = 2_048
    controls["vocabulary"].value = 129_280
    assert lines()["embedding"][1] == f"{129_280 * 512:,}" and lines()["positions"][3] == "the same"
    controls["vocabulary"].value = 50_272
    controls["experts"].value = 64
    assert lines()["experts"][1] == f"{64 * 24 * 8_393_728:,}" and lines()["feed-forward"][3] == "gone"
    assert lines()["your model"][2:4] == [f"{331_196_416 - 2_050 * 1_024 + 24 * 64 * 1_024:,}", "x1.00"]
    assert lines()["OPT-350M"][0] == "331,196,416", "the start stays beside it"


def test_the_calculator_waits_until_a_slider_is_let_go():
    controls, _ = calculator()
    assert not any(control.continuous_update for control in controls.values())


def test_any_model_can_be_the_start():
    controls, lines = calculator(DEEPSEEK_OCR)
    assert controls["experts"].value == 64 and controls["layers"].value == 12
    assert lines()["your model"][0] == "2,934,734,080"
    for experts in (1, 4, 128):
        controls["experts"].value = experts
        assert f"{experts + 2} * (3 * D * F_expert)" in lines()["experts"][0]


def test_without_clicks_the_calculator_is_the_table_of_one_change_at_a_time():
    view = parameter_calculator(OPT_350M, interactive=False)
    assert isinstance(view, View) and view == parameter_calculator(OPT_350M).view
    for change in ("layers 24 -> 48", "experts 1 -> 64", "vocabulary 50,272 -> 129,280", "context 2,048 -> 8,192"):
        assert f"\n{change}  " in view.text
    assert "13,024,086,016" in view.text and "x39.32" in view.text
