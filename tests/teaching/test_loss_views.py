"""Views and the figure of lesson 07: the way of a token to its loss, the ledger, what each mask grades, which number notices."""

import re
from io import BytesIO
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from toolslm_helpers.model.loss import CLOSING, DELIMITER, FIRST, Entry, add_ledgers, ledger
from toolslm_helpers.teaching.loss_plots import Outcome, which_number_notices
from toolslm_helpers.teaching.loss_views import (
    COLUMNS,
    STEPS,
    ledger_rows,
    prediction_rows,
    predictions,
    step_by_step,
    what_is_graded,
    who_is_supervised,
)
from toolslm_helpers.teaching.views import HIGHLIGHT

PIECES = ["</s>", "User: ", "<b>", "Assistant: ", "call", "</s>"]
SPOKEN = ["start", "user", "user", "assistant", "assistant", "assistant"]
LABELS = [-100, -100, -100, -100, 13, 2]
LOSSES = [4.0, 6.0, 1.0, 0.5, 0.25]
ROWS = prediction_rows(PIECES, SPOKEN, LABELS, LOSSES)
KINDS = ["start", "user", "user", DELIMITER, FIRST, CLOSING]
LEDGERS = {"no mask": ledger(KINDS, [1, 10, 11, 12, 13, 2]), "every turn": ledger(KINDS, LABELS)}


def words(html):
    return BeautifulSoup(html, "html.parser").get_text(" ")


RIGHT = ["", "", "", "", "call", "</s>"]
every_view = pytest.mark.parametrize(
    "view",
    [predictions(ROWS), predictions(ROWS, 1), who_is_supervised(LEDGERS), what_is_graded(PIECES, {"right": RIGHT}, "t")],
    ids=["all steps", "one step", "ledger", "masks"],
)


@every_view
def test_html_is_static_and_says_what_the_text_says(view):
    soup = BeautifulSoup(view.html, "html.parser")
    assert not soup.find_all(["script", "style", "link", "img", "iframe", "b"])
    assert "http" not in view.html and "class=" not in view.html
    assert set(re.findall(r"[\w.%,<>·]+", view.text)) <= set(re.findall(r"[\w.%,<>·]+", words(view.html)))
    outermost = soup.find("div")
    assert "color:#1a1a1a" in outermost["style"] and "background:#ffffff" in outermost["style"]


# --- the way of a token


def test_a_prediction_is_about_the_next_token():
    assert [(row.position, row.piece, row.next_piece, row.next_role, row.label, row.loss) for row in ROWS] == [
        (0, "</s>", "User: ", "user", -100, 4.0),
        (1, "User: ", "<b>", "user", -100, 6.0),
        (2, "<b>", "Assistant: ", "assistant", -100, 1.0),
        (3, "Assistant: ", "call", "assistant", 13, 0.5),
        (4, "call", "</s>", "assistant", 2, 0.25),
    ]
    assert [row.graded for row in ROWS] == [False, False, False, True, True]
    for k in range(1, 4):
        columns = [PIECES, SPOKEN, LABELS, LOSSES]
        columns[k] = columns[k][1:]
        with pytest.raises(ValueError):
            prediction_rows(*columns)


def test_each_step_adds_its_columns_and_says_what_it_comes_to():
    for until in range(1, len(STEPS) + 1):
        view = predictions(ROWS, until)
        shown = [name for names in COLUMNS[:until] for name in names]
        head = [th.get_text() for th in BeautifulSoup(view.html, "html.parser").find_all("th")]
        assert head == shown and f"step {until} of {len(STEPS)}" in view.text
    assert "2 of 5 have" in predictions(ROWS, 3).text.replace("predictions ", "")
    assert "2 of 5 count: 0.375 nats each. The mean over all of these lines would be 2.350." in predictions(ROWS).text
    assert "0 of 3 count: so there is no mean" in predictions(ROWS[:3]).text
    for wrong in (0, 5):
        with pytest.raises(ValueError, match="steps 1 to 4"):
            predictions(ROWS, wrong)


def test_graded_lines_are_marked_from_the_labels_on():
    marked = [predictions(ROWS, until).html.count("font-weight:bold;border-left") for until in range(1, 5)]
    assert marked == [0, 0, 2, 2]


def test_the_slider_adds_columns_and_the_still_picture_has_them_all():
    assert step_by_step(ROWS, interactive=False).text == predictions(ROWS).text
    clickable = step_by_step(ROWS)
    slider, shown = clickable.widget.children
    assert clickable.view.text == predictions(ROWS).text and shown.value == predictions(ROWS, 1).html
    slider.value = 3
    assert shown.value == predictions(ROWS, 3).html
    bundle = clickable._repr_mimebundle_()
    assert bundle["text/html"] == predictions(ROWS).html and "application/vnd.jupyter.widget-view+json" in bundle


# --- the ledger


def test_the_ledger_has_a_row_for_each_kind_that_occurs_and_shares_of_what_is_graded():
    rows = {row.kind: row for row in ledger_rows(LEDGERS)}
    assert list(rows) == ["start", "user", DELIMITER, FIRST, CLOSING]
    assert (rows["user"].tokens, rows["user"].graded, rows["user"].shares) == (2, (2, 0), (0.4, 0.0))
    assert rows[FIRST].graded == (1, 1) and rows[FIRST].shares == (0.2, 0.5)
    for column in (0, 1):
        assert sum(row.shares[column] for row in rows.values()) == pytest.approx(1)


def test_the_ledger_is_shown_with_its_sums_and_a_bar():
    view = who_is_supervised(LEDGERS)
    lines = view.text.splitlines()
    assert re.fullmatch(r"user +2 +2 \(40.0%\) █{4} +none", lines[3])
    assert re.fullmatch(r"assistant: first piece +1 +1 \(20.0%\) █{2} +1 \(50.0%\) █{5}", lines[5])
    assert lines[-1].split() == ["all", "6", "5", "2"]


def test_ledgers_of_other_tokens_do_not_stand_side_by_side():
    other = add_ledgers([LEDGERS["every turn"]] * 2)
    with pytest.raises(ValueError, match="count different tokens"):
        ledger_rows({"one": LEDGERS["no mask"], "two": other})
    assert ledger_rows({"none": [Entry("user", 0, 0)]}) == []


# --- masks


def test_a_mask_shows_its_labels_as_words_and_dots():
    view = what_is_graded(PIECES, {"right": RIGHT, "late": ["", "", "", "", "", "</s>"]}, "Two masks")
    lines = [line.split() for line in view.text.splitlines()]
    assert lines[0] == ["Two", "masks"] and lines[1] == ["position", *"012345"]
    assert lines[3] == ["right", "·", "·", "·", "·", "call", "</s>"] and lines[4] == ["late", "·", "·", "·", "·", "·", "</s>"]
    assert view.html.count(f"background:{HIGHLIGHT};font-weight:bold") == 3
    with pytest.raises(ValueError, match="late: 5 labels for 6 tokens"):
        what_is_graded(PIECES, {"late": [""] * 5}, "")


# --- the figure


def outcome(training, held_out, passed):
    rate = SimpleNamespace(passed=passed, n=40, low=max(0.0, passed / 40 - 0.1), high=passed / 40 + 0.1)
    return Outcome(training, held_out, rate)


def test_the_figure_has_a_line_for_each_run_in_three_panels():
    runs = {"right": outcome(0.05, 0.06, 30), "pad is </s>": outcome(0.0, 5.6, 0), "mask dropped": outcome(1.0, 0.1, 30)}
    plot = which_number_notices(runs, "right")
    training, held_out, passed = plot.figure.axes
    assert [text.get_text() for text in training.get_yticklabels()] == list(runs) and training.yaxis_inverted()
    for axes, values in ((training, [0.05, 0.0, 1.0]), (held_out, [0.06, 5.6, 0.1]), (passed, [75.0, 0.0, 75.0])):
        points = [line for line in axes.lines if line.get_marker() in "Do"]
        assert [float(line.get_xdata()[0]) for line in points] == values
        assert [line.get_marker() for line in points] == ["D", "o", "o"], "the reference differs in more than colour"
        (through,) = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert through.get_xdata()[0] == values[0]
        low, high = axes.get_xlim()
        assert all(low <= value <= high for value in values)
    assert "right: training loss 0.050, held out 0.060, passed 30 of 40 (65 to 85%)" in plot.alt
    assert "pad is </s>: training loss 0.000" in plot.alt
    assert Image.open(BytesIO(plot.png())).width > 800
    with pytest.raises(KeyError):
        which_number_notices(runs, "left")
