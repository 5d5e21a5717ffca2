"""Views of numbers: fractions stay fractions, the marked cell and the masked ones are said in words, bars are as long as shares."""

import re
from fractions import Fraction

import pytest
from bs4 import BeautifulSoup

from toolslm_helpers.teaching import number_views
from toolslm_helpers.teaching.byhand import by_hand

PAPER = by_hand()


@pytest.mark.parametrize(("number", "text"), [
    (Fraction(1, 3), "1/3"), (Fraction(-2), "-2"), (Fraction(1, 3001), "0.0003"), (0.25, "0.2500"), (3, "3"), (1 / 3, "0.3333"),
])  # fmt: skip
def test_numbers_as_on_paper(number, text):
    assert number_views.written(number) == text


def test_matrix_marks_one_cell_in_both_forms():
    view = number_views.matrix(PAPER["attention 1"], (2, 1), "2 / 4")
    assert "[1/2] is row call, column Lisbon: 2 / 4." in view.text and view.text.count("[1/2]") == 2
    soup = BeautifulSoup(view.html, "html.parser")
    marked = [cell.text for cell in soup.find_all("td") if number_views.HIGHLIGHT in cell["style"]]
    assert marked == ["[1/2]"] and "[1/2] is row call, column Lisbon: 2 / 4." in soup.get_text()
    assert view.text.splitlines()[0] == "attention 1 (T, T): share of the row's total"
    with pytest.raises(IndexError):
        number_views.matrix(PAPER["attention 1"], (3, 0))


@pytest.mark.parametrize(("name", "cell", "words"), [
    ("embedded", (1, 0), "embedding, row 2 (counted from 0), number 1 = -2"),
    ("projected", (1, 1), "(-2) * (-1) + (-1) * 1 = 1"),
    ("x", (0, 0), "1 + (-1) = 0"),
    ("hidden", (0, 1), "0 * 1 + 1 * 1 + (-2) * 0 + 1 * 0 + 1 = 2"),
    ("rectified", (1, 0), "the larger of -2 and 0 = 0"),
    ("raised 1", (1, 2), "it comes later = 0"),
    ("raised 1", (1, 0), "2 to the power of -1 = 1/2"),
    ("raised 1", (1, 1), "2 to the power of 0 = 1"),
    ("attention 1", (1, 0), "(1/2) / (3/2) = 1/3"),
    ("mixed 1", (1, 0), "(1/3) * 3 + (2/3) * (-3) + 0 * (-1) = -1"),
    ("total", (1, 0), "(1/2) + 2 + 2 + 4 + 1 + (1/2) = 10"),
    ("normed 1", (2, 0), "(-1/2 - 1) / (3/4) = -2"),
    ("base", (0, 0), "2, given"),
    ("loss", (0, 0), "mean over the graded tokens = 1.6610"),
])  # fmt: skip
def test_the_arithmetic_of_a_cell(name, cell, words):
    assert number_views.arithmetic(PAPER, name, *cell) == words


def test_every_sum_of_products_is_what_it_says():
    """Evaluated with fractions, the arithmetic of each cell gives the cell."""
    checked = 0
    for quantity in PAPER.quantities.values():
        if quantity.operation not in ("linear", "mix", "add", "share", "normalise", "total"):
            continue
        for i, row in enumerate(quantity.value):
            for j, cell in enumerate(row):
                if not isinstance(cell, Fraction):
                    continue
                way = number_views.arithmetic(PAPER, quantity.name, i, j).rpartition(" = ")[0]
                if re.search(r"\d\.\d", way):
                    continue  # rounded for reading
                assert eval(re.sub(r"\d+", r"Fraction(\g<0>)", way), {"Fraction": Fraction}) == cell
                checked += 1
    assert checked > 200


def test_unnamed_rows_and_columns_are_numbered():
    assert number_views.matrix(PAPER["base"]).text.splitlines()[1:] == ["   1", "1  2"]


def test_attention_map_says_what_is_later_and_where_each_word_looks():
    quantity = PAPER["attention 2"]
    view = number_views.attention_map(quantity.rows, quantity.value, "head 2")
    soup = BeautifulSoup(view.html, "html.parser")
    assert [cell.text for cell in soup.find_all("td")].count("later") == 3 and view.text.count("later") == 3
    assert "call looks most at weather (1/2)." in view.text and "call looks most at weather (1/2)." in soup.get_text()
    shades = [re.search(r"background:(#\w+)", cell["style"])[1] for cell in soup.find_all("td") if cell.text != "later"]
    assert shades[0] == "#7fbfeb" and shades[1] != shades[2], "the darkest is 1; different shares, different tints"
    with pytest.raises(ValueError, match="3 rows"):
        number_views.attention_map(quantity.rows, quantity.value[:2])


def test_bars_are_as_long_as_shares():
    view = number_views.probability_bars(["call", "done"], [Fraction(2, 3), Fraction(1, 3)], chosen=1)
    lines = view.text.splitlines()
    assert [line.count("█") for line in lines[1:]] == [20, 10]
    assert lines[2].endswith("<- chosen") and "chosen" not in lines[1]
    widths = re.findall(r"width:([\d.]+)%;min", view.html)
    assert widths == ["66.7", "33.3"] and view.html.count("chosen") == 1
    with pytest.raises(ValueError):
        number_views.probability_bars(["call"], [0.5, 0.5])


def test_what_is_shown_is_escaped():
    for view in (
        number_views.probability_bars(["<b>"], [1.0], title="<i>"),
        number_views.attention_map(["<b>"], [[1.0]], "<i>"),
    ):
        assert not BeautifulSoup(view.html, "html.parser").find_all(["b", "i"]) and "<b>" in view.text
