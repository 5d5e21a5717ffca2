"""Views: HTML and text hold the same facts, colour never alone, everything escaped, nothing fetched."""

import re
from html import unescape

import pytest
from bs4 import BeautifulSoup

from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.data.records import Message
from toolslm_helpers.evaluation.tooleval import PassRate
from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.toy import toy_cases, toy_trajectory
from toolslm_helpers.teaching.views import HyperparameterRow

NASTY = '<script>alert("x")</script> & "quoted" \'too\''


def words(html):
    """What a reader of the HTML sees, without markup."""
    return BeautifulSoup(html, "html.parser").get_text(" ")


def sample_views():
    episode = toy_cases()[2].episode
    rates = {"base": {"G1_tool": PassRate(1, 20, 0.009, 0.236)}, "sft": {"G1_tool": PassRate(20, 20, 0.839, 1.0)}}
    return {
        "trajectory": views.trajectory(toy_trajectory().messages),
        "tokens": views.tokens(["a", " b", "\n"], [5, 6, 7], [-100, 6, 7], ["user", "assistant", "assistant"]),
        "token_losses": views.token_losses(["Lis", " ", "bon"], [4.0, 0.5, 0.01]),
        "episode": views.episode(episode),
        "pass_rates": views.pass_rates(rates),
        "hyperparameters": views.hyperparameters([HyperparameterRow("rate", "5e-5", "2e-3", "small model")]),
        "grid": views.grid(["a", "b"], [[1, "two"]], "caption"),
    }  # fmt: skip


every_view = pytest.mark.parametrize("view", sample_views().values(), ids=sample_views().keys())


@every_view
def test_html_is_static_inline_and_says_what_the_text_says(view):
    soup = BeautifulSoup(view.html, "html.parser")
    assert not soup.find_all(["script", "style", "link", "img", "iframe"])
    assert "http" not in view.html and "class=" not in view.html
    assert not [tag for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    titles = " ".join(tag["title"] for tag in soup.find_all(title=True))
    html_words = set(re.findall(r"\w+", words(view.html) + titles))
    text_words = set(re.findall(r"\w+", view.text))
    assert text_words - html_words <= {"role"}, "the text says more than the picture"  # role heads a column of the text


@every_view
def test_text_colour_is_set_wherever_a_background_is(view):
    """On a dark Jupyter theme text would be light: a view must bring both."""
    outermost = BeautifulSoup(view.html, "html.parser").find("div")
    assert re.search(r"color:#1a1a1a", outermost["style"]) and "background:#ffffff" in outermost["style"]


@every_view
def test_jupyter_shows_the_html_and_a_terminal_the_text(view):
    assert view._repr_html_() == view.html and repr(view) == view.text


# --- each view's facts


def test_trajectory_names_roles_and_marks_what_is_trained():
    rows = views.trajectory_rows(toy_trajectory().messages)
    assert [r.role for r in rows] == ["system", "user", "assistant", "function", "assistant", "function", "assistant"]
    assert [r.supervised for r in rows] == [False, False, True, False, True, False, True]
    view = views.trajectory(toy_trajectory().messages)
    assert view.text.count("supervised: graded") == words(view.html).count("supervised: graded") == 3
    assert view.text.count("context: not graded") == 4
    plain = views.trajectory(toy_trajectory().messages, supervised=False)
    assert "graded" not in plain.text and "graded" not in plain.html


def test_roles_have_different_tints_and_supervised_a_bar():
    boxes = BeautifulSoup(views.trajectory(toy_trajectory().messages).html, "html.parser").find("div").find_all("div")
    style = {box.find("b").text: box["style"] for box in boxes}
    assert len({re.search(r"background:(#\w+)", s)[1] for s in style.values()}) == 4
    assert "transparent" not in style["assistant"] and "transparent" in style["user"]


def test_tokens_show_id_and_label_of_each_and_count_the_graded():
    roles = ["user", "assistant", "assistant", "assistant"]
    view = views.tokens(["Lis", "bon", " ", "<s>"], [11, 12, 13, 0], [-100, 12, -100, 0], roles)  # 0 is an id like any other
    chips = BeautifulSoup(view.html, "html.parser").find_all("span", title=True)
    assert [chip.get_text("|") for chip in chips] == ["Lis|11|-100", "bon|12|12", "␣|13|-100", "<s>|0|0"]
    assert ["solid" in chip["style"] for chip in chips] == [False, True, False, True]
    assert view.text.splitlines()[2].split() == ["1", "assistant", "12", "12", "bon"]
    assert view.text.splitlines()[-1].startswith("2 of 4 tokens are supervised")


def test_tokens_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        views.tokens(["a"], [1, 2], [1, 2], ["user", "user"])


def test_token_losses_say_in_words_what_the_shade_says():
    view = views.token_losses(["Lis", " ", "bon", "\n"], [4.0, 2.0, 0.1, 0.0999])
    chips = BeautifulSoup(view.html, "html.parser").find_all("span", title=True)
    assert [chip["title"] for chip in chips] == ["surprised", "surprised", "unsure", "sure"]
    assert [chip.get_text("|") for chip in chips] == ["Lis|4.00", "␣|2.00", "bon|0.10", "⏎|0.10"]
    shades = [re.search(r"background:(#\w+)", chip["style"])[1] for chip in chips]
    assert shades[0] == shades[1] and len(set(shades)) == 3
    assert view.text.splitlines()[-1] == "1 sure, 1 unsure, 2 surprised" and view.text.splitlines()[2].split() == [
        "4.00",
        "surprised",
        "Lis",
    ]
    with pytest.raises(ValueError):
        views.token_losses(["a", "b"], [1.0])


@pytest.mark.parametrize(("piece", "shown"), [(" a", "␣a"), ("\n", "⏎"), ("", "∅"), ("\t<", "\t<")])
def test_invisible_pieces_are_made_visible(piece, shown):
    assert views.visible(piece) == shown


def test_episode_shows_each_step_with_its_code_in_words_and_how_it_ended():
    steps = (Step("t1", "get", "{}", '{"error": "Timeout"}', 5), Step("t2", "Finish", "{}", "", 3))
    whole = views.episode(Episode(1, "q?", steps, "finish", "It is 5.", "give_answer"))
    assert [(r.number, r.code) for r in views.episode_rows(Episode(1, "q?", steps, "finish", "5", "give_answer"))] == [
        (1, "5 timeout"),
        (2, "3 final answer"),
    ]
    assert "User: q?" in whole.text and "Final answer: It is 5." in whole.text
    first = views.episode(Episode(1, "q?", steps, "finish", "It is 5.", "give_answer"), until=1)
    assert "t2" not in first.text and "t2" not in first.html and "It is 5." not in first.html and "Step 1 of 2." in first.text
    assert "Final answer: none" in views.episode(Episode(1, "q?", (), "context", None, None)).text


def test_pass_rates_give_count_rate_and_interval_and_name_what_is_missing():
    view = views.pass_rates({"base": {"G1_tool": PassRate(1, 8, 0.02, 0.47)}, "sft": {"all": PassRate(6, 8, 0.4, 0.93)}})
    assert "12.5% (1/8) [2.0, 47.0]" in view.text and "75.0% (6/8) [40.0, 93.0]" in view.text
    assert view.text.count("not judged") == 2


def test_hyperparameters_say_which_differ_and_why_only_there():
    rows = [HyperparameterRow("rate", "5e-5", "2e-3", "small model"), HyperparameterRow("epochs", "1", "1", "never shown")]
    view = views.hyperparameters(rows)
    lines = BeautifulSoup(view.html, "html.parser").find("tbody").find_all("tr")
    assert [line.find_all("td")[3].text for line in lines] == ["differs", "same"]
    assert lines[0]["style"] != lines[1]["style"] and "small model" in view.text and "never shown" not in view.html


def test_what_a_hyperparameter_does_stands_beside_its_name_where_it_is_said():
    view = views.hyperparameters([HyperparameterRow("rate", "5e-5", "2e-3", "small model", "the size of a move")])
    head, line = BeautifulSoup(view.html, "html.parser").find_all("tr")
    assert [cell.text for cell in head] == ["hyperparameter", "what it does", "paper", "here", "", "why"]
    assert [cell.text for cell in line] == ["rate", "the size of a move", "5e-5", "2e-3", "differs", "small model"]
    assert "what it does" not in views.hyperparameters([HyperparameterRow("rate", "5e-5", "2e-3")]).html


def test_a_line_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="needs 2 cells"):
        views.grid(["a", "b"], [[1]])


# --- what learners' data may hold


@pytest.mark.parametrize(
    "make",
    [
        lambda s: views.trajectory([Message(role="user", content=s)]),
        lambda s: views.tokens([s], [1], [1], [s]),
        lambda s: views.token_losses([s], [1.0]),
        lambda s: views.episode(Episode(1, s, (Step(s, s, s, s, 0),), "finish", s, "give_answer")),
        lambda s: views.pass_rates({s: {s: PassRate(1, 2, 0.1, 0.9)}}),
        lambda s: views.hyperparameters([HyperparameterRow(s, s, s + "!", s, s)], s),
        lambda s: views.grid([s], [[s]], s),
    ],
    ids=["trajectory", "tokens", "token_losses", "episode", "pass_rates", "hyperparameters", "grid"],
)
def test_every_text_is_escaped(make):
    view = make(NASTY)
    assert not BeautifulSoup(view.html, "html.parser").find("script")
    assert "<script" not in view.html and NASTY.replace(" ", "") in re.sub(r"[ ␣]", "", unescape(words(view.html)))
    assert not [tag for tag in BeautifulSoup(view.html, "html.parser").find_all(style=True) if "alert" in tag["style"]]


def contrast(one, other):
    def luminance(colour):
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_is_readable_on_every_background():
    for background in [*views.ROLE_TINTS.values(), views.HIGHLIGHT, views.PLAIN, views.HEADER, views.ALARM]:
        assert contrast(views.INK, background) >= 7  # WCAG AAA
    for tint in views.ROLE_TINTS.values():
        assert contrast(views.SUPERVISED_LINE, tint) >= 3  # WCAG: graphics
