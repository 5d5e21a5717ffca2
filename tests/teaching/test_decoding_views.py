"""Views of lesson 06: the line from 0 to 1, the panels of temperatures, the shares along a call."""

import re
from fractions import Fraction
from io import BytesIO

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from toolslm_helpers.teaching import decoding_views
from toolslm_helpers.teaching.byhand import WORDS, by_hand
from toolslm_helpers.teaching.decoding_views import Choice, along_a_call, ruler, segments, temperatures
from toolslm_helpers.teaching.views import HIGHLIGHT

LISBON = by_hand()["p"].value[1]  # 1/20, 1/5, 1/5, 2/5, 1/10, 1/20
CALL = [
    Choice("thought", "\nThought: ", 1.0, "x", 0.0),
    Choice("thought", "<b>", 0.9, "a", 0.05),
    Choice("name", "get", 0.55, "read", 0.3),
    Choice("name", "_price", 0.2, "_year", 0.7),
    Choice("value", '"}', 0.9996, " ", 0.0001),
]


def words(html):
    return BeautifulSoup(html, "html.parser").get_text(" ")


views = pytest.mark.parametrize("view", [ruler(WORDS, LISBON, 0.44), ruler(WORDS, LISBON), along_a_call(CALL)])


@views
def test_html_is_static_and_says_what_the_text_says(view):
    soup = BeautifulSoup(view.html, "html.parser")
    assert (
        not soup.find_all(["script", "style", "link", "img", "iframe"]) and "http" not in view.html and "class=" not in view.html
    )
    titles = " ".join(tag["title"] for tag in soup.find_all(title=True))
    assert set(re.findall(r"\w+", view.text)) <= set(re.findall(r"\w+", words(view.html) + " " + titles))
    outermost = soup.find("div")
    assert "color:#1a1a1a" in outermost["style"] and "background:#ffffff" in outermost["style"]


def test_segments_lie_end_to_end_and_a_border_belongs_to_the_next():
    rows = segments(WORDS, LISBON)
    assert [row.start for row in rows] == [
        0,
        Fraction(1, 20),
        Fraction(1, 4),
        Fraction(9, 20),
        Fraction(17, 20),
        Fraction(19, 20),
    ]
    assert [row.end for row in rows] == [row.start for row in rows[1:]] + [1]
    for uniform, word in [(0, "</s>"), (Fraction(1, 4), "Lisbon"), (0.44, "Lisbon"), (Fraction(9, 20), "call"), (0.99, "done")]:
        assert [row.label for row in rows if row.holds(uniform)] == [word]
    with pytest.raises(ValueError):
        segments(["a"], [0.5, 0.5])


def test_the_ruler_says_where_the_number_falls():
    view = ruler(WORDS, LISBON, 0.44)
    assert re.search(r"Lisbon +1/4 +9/20 +0.4400 falls here: chosen", view.text) and view.text.count("falls here") == 1
    assert words(view.html).count("falls here") == 1 and "falls here" not in ruler(WORDS, LISBON).text
    assert view.html.count(HIGHLIGHT) == 2, "the part of the line, and its row in the table"
    widths = [float(w) for w in re.findall(r"width:([\d.]+)%;border", view.html)]
    assert widths == [5, 20, 20, 40, 10, 5]
    assert len(re.findall(r"%;border", ruler(["a", "b"], [1.0, 0.0], 0.5).html)) == 1, "no box for a share of 0"


def test_a_word_says_how_sure_the_model_was():
    assert [choice.word for choice in CALL] == ["sure", "sure", "unsure", "not its first choice", "sure"]


def test_the_call_names_the_rival_only_where_the_model_was_unsure():
    view = along_a_call(CALL)
    lines = view.text.splitlines()
    assert lines[-1] == "5 tokens: 3 sure, 1 unsure, 1 not its first choice" and lines[-1] in words(view.html)
    assert re.match(r"name +55.0% +get +unsure +or read 30.0%", lines[3])
    assert re.match(r"name +20.0% +_price +not its first choice +or _year 70.0%", lines[4])
    assert re.fullmatch(r'value +>99.9% +"} +sure', lines[5]) and "100.0%  ⏎Thought:␣" in lines[1], lines
    assert [part.get_text() for part in BeautifulSoup(view.html, "html.parser").find_all("i")] == ["thought", "name", "value"]
    assert "&lt;b&gt;" in view.html and words(view.html).count("or ") == 2
    assert along_a_call([]).text.endswith("0 tokens: 0 sure, 0 unsure, 0 not its first choice")


def test_a_share_is_never_rounded_to_a_certainty():
    percent = decoding_views._percent
    assert [percent(s) for s in (1.0, 0.9999, 0.999, 0.5, 0.0001, 0.0)] == ["100.0%", ">99.9%", "99.9%", "50.0%", "<0.1%", "0.0%"]


def test_temperatures_has_a_panel_each_and_says_its_numbers():
    plot = temperatures(["a", "b"], {0.1: [0.01, 0.99], 1: [0.4, 0.6], 2: [0.5, 0.5]})
    assert "3 temperatures. temperature 0.1: a 0.01, b 0.99; temperature 1: a 0.40, b 0.60;" in plot.alt
    panels = plot.figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["temperature 0.1", "temperature 1", "temperature 2"]
    assert [bar.get_width() for bar in panels[0].patches] == [0.01, 0.99]
    assert [bar.get_hatch() for bar in panels[0].patches] == [None, "//"]
    assert [text.get_text() for text in panels[1].texts] == ["0.40", "0.60"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["a", "b"] and panels[0].yaxis_inverted()
    assert Image.open(BytesIO(plot.png())).width > 600
    with pytest.raises(ValueError, match="2 shares"):
        temperatures(["a", "b"], {1: [1.0]})
