"""Views of lesson 04: the pieces of a flat text, and what a cut leaves of a row."""

import re

import numpy as np
import pytest
from bs4 import BeautifulSoup

from toolslm_helpers.data.records import Message
from toolslm_helpers.teaching.flat_views import PARTS, count_parts, layout, left_rows, part_of_each, sequence, what_is_left
from toolslm_helpers.teaching.toy import toy_trajectory
from toolslm_helpers.text.flatten import ROLES, flatten
from toolslm_helpers.text.lengths import row_length
from toolslm_helpers.text.tokenizer import load_small_tokenizer

TOY = toy_trajectory()
WHOLE = {"APIs": 60, "user": 0, "target": 40}
WAYS = {"right": {"APIs": 60, "target": 0}, "left": {"APIs": 20, "target": 40}}


def words(html):
    return BeautifulSoup(html, "html.parser").get_text(" ")


def test_the_pieces_joined_are_flattens_text_and_the_graded_ones_its_supervised_text():
    tokenizer = load_small_tokenizer()
    example, pieces = flatten(TOY, tokenizer), layout(TOY.messages)
    assert "".join(piece.text for piece in pieces) == example.text
    graded = "".join(piece.text for piece in pieces if piece.graded)
    assert graded == tokenizer.decode(example.input_ids[example.loss_mask])
    assert [piece.kind for piece in pieces[:4]] == ["start", "delimiter", "content", "line break"]
    assert sum(piece.kind == "end" for piece in pieces) == 3 and {piece.role for piece in pieces} == set(ROLES)


@pytest.mark.parametrize("view", [sequence(TOY.messages), what_is_left(WHOLE, WAYS, 60)])
def test_html_is_static_and_says_what_the_text_says(view):
    soup = BeautifulSoup(view.html, "html.parser")
    assert not soup.find_all(["script", "style", "link", "img", "iframe"]) and "class=" not in view.html
    titles = " ".join(tag["title"] for tag in soup.find_all(title=True))
    shown = set(re.findall(r"\w+", words(view.html) + " " + titles))
    table_only = {"piece", "text", "kind", "role", "way", *map(str, range(30))}
    assert set(re.findall(r"\w+", view.text)) - table_only <= shown
    assert all("color:#1a1a1a" in div["style"] for div in soup.find_all("div", recursive=False))


def test_the_sequence_marks_what_is_graded():
    view = sequence([Message(role="user", content="a <b>"), Message(role="assistant", content="\nc")])
    lines = view.text.splitlines()
    assert [line.split()[1:3] for line in lines if "graded" in line and "pieces" not in line] == [
        ["assistant", "content"],
        ["assistant", "end"],
    ]
    assert lines[-1] == "8 pieces, 2 of them graded: solid border." and lines[-1] in words(view.html)
    chips = BeautifulSoup(view.html, "html.parser").find_all("span", style=re.compile("2px solid"))
    assert [chip.get_text(" ") for chip in chips] == ["content ⏎c", "end </s>"]
    assert "&lt;b&gt;" in view.html and "⏎c" in view.text


def test_every_token_belongs_to_one_part():
    tokenizer = load_small_tokenizer()
    example = flatten(TOY, tokenizer, supervise="last")
    parts = part_of_each(example.roles, example.loss_mask, row_length(TOY, tokenizer).apis_start)
    count = count_parts(parts)
    assert sum(count.values()) == len(example) and list(count) == list(PARTS)
    texts = {part: tokenizer.decode(example.input_ids[parts == k]) for k, part in enumerate(PARTS)}
    assert texts["instructions"] == "</s>System: Use the APIs.\n" and texts["user"] == f"User: {TOY.query}\n"
    assert texts["APIs"] == "Weather of a city today: get_weather_for_skylark(city:string)\n"
    assert texts["target"] == TOY.messages[-1].content + "</s>" and count["target"] == example.supervised
    assert texts["observations"].count("Function: ") == 2 and texts["earlier turns"].count("</s>") == 2
    assert count_parts(np.array([], dtype=int)) == dict.fromkeys(PARTS, 0)


def test_what_is_left_says_what_is_lost():
    right, left = left_rows(WHOLE, WAYS)
    assert [one.words for one in right] == ["60", "", "lost: 0 of 40"] and [one.words for one in left] == ["20 of 60", "", "40"]
    view = what_is_left(WHOLE, WAYS, 60)
    assert re.search(r"the whole row +60 +40 +100 +no", view.text) and re.search(r"right +60 +lost: 0 of 40 +60 +yes", view.text)
    assert view.text.endswith("room for 60 tokens") and view.html.count("<s>target</s> lost") == 1
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", view.html)]
    assert widths == [60, 40, 60, 20, 40, 60], "three rows of bars and the ruler, on one scale"


def test_more_left_than_there_was_is_refused():
    with pytest.raises(ValueError, match="left: 61 tokens of APIs, expected 0 to 60"):
        what_is_left(WHOLE, {"left": {"APIs": 61}}, 60)
