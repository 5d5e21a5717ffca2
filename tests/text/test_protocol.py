"""Thought / Action / Action Input: what is written is read back; what cannot be read is told, never raised."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolslm_helpers.data.names import FINISH, function_of
from toolslm_helpers.data.records import Api, Function, Parameter
from toolslm_helpers.data.toolbench import read_rows
from toolslm_helpers.text.protocol import (
    parse_action,
    prompt_messages,
    render_function_compact,
    rerender,
    system_text,
    user_text,
    write_action,
)

PRICE = function_of(
    Api(
        category_name="Commerce",
        tool_name="Zelvora",
        api_name="Get Price",
        api_description="Price of a product\nin a year.",
        required_parameters=(Parameter(name="product"),),
        optional_parameters=(Parameter(name="year", type="NUMBER"), Parameter(name="exact", type="BOOLEAN")),
    )
)


def test_a_turn_by_hand() -> None:
    text = write_action("I need the price.", "get_price", {"product": "Lämp", "year": 3})
    assert text == '\nThought: I need the price.\nAction: get_price\nAction Input: {"product": "Lämp", "year": 3}'
    action = parse_action(text)
    assert (action.thought, action.action, action.problem) == ("I need the price.", "get_price", None)
    assert action.arguments == {"product": "Lämp", "year": 3}
    assert write_action("", "f", "{}") == "\nThought: \nAction: f\nAction Input: {}"


@pytest.mark.parametrize(
    ("text", "thought", "action", "action_input", "problem"),
    [
        ("Thought: t\nAction: a\nAction Input: {}", "t", "a", "{}", None),
        ("Action: a\nAction Input: {}", "", "a", "{}", None),
        ("Well.\nAction: a\nAction Input: {}", "Well.", "a", "{}", None),
        ("Thought: one\n\ntwo\nAction: a\n\nAction Input: {\n}", "one\n\ntwo", "a", "{\n}", None),
        ("Thought: the Action: b is wrong\nAction: a\nAction Input: {}", "the Action: b is wrong", "a", "{}", None),
        ('Action: a\nAction Input: {"x": "two\nlines"}', "", "a", '{"x": "two\nlines"}', None),
        ("", "", "", "", '"Action:" is missing'),
        ("Thought: only", "only", "", "", '"Action:" is missing'),
        ("Thought: t\nAction: a", "t\nAction: a", "", "", '"Action Input:" is missing'),
        ("Action Input: {}\nAction: a", "Action Input: {}\nAction: a", "", "", '"Action Input:" is not on the line after'),
        ("Thought: t\nAction:\nAction Input: {}", "t", "", "{}", "The action has no name"),
        ("Action: a\nAction Input: not json", "", "a", "not json", "not valid JSON"),
        ("Action: a\nAction Input:", "", "a", "", "not valid JSON"),
        ("Action: a\nAction Input: {'x': 1}", "", "a", "{'x': 1}", "not valid JSON"),
        ("Action: a\nAction Input: [1]", "", "a", "[1]", "The Action Input is '[1]'. Write one JSON object"),
        (
            "Action: a\nAction Input: {}\nAction: b\nAction Input: {}",
            "",
            "a",
            "{}\nAction: b\nAction Input: {}",
            "Something follows",
        ),
    ],
)
def test_reading(text: str, thought: str, action: str, action_input: str, problem: str | None) -> None:
    read = parse_action(text)
    assert (read.thought, read.action, read.action_input) == (thought, action, action_input)
    assert read.problem is None if problem is None else problem in read.problem


def test_depth_and_size_do_not_raise() -> None:
    assert "not valid JSON" in parse_action("Action: a\nAction Input: " + "[" * 100_000).problem
    assert "not valid JSON" in parse_action('Action: a\nAction Input: {"x": ' + "9" * 5000 + "}").problem
    assert parse_action("Thought:" + "\n" * 20_000 + "Action:").problem


PARTS = ["Thought:", "Action:", "Action Input:", "\n", " ", "{", "}", "a", '"']


@given(st.text() | st.lists(st.sampled_from(PARTS)).map("".join))
def test_any_text_is_read_without_raising(text: str) -> None:
    read = parse_action(text)
    assert read.problem is None or (read.problem and "\n" not in read.problem)
    assert isinstance(read.arguments, dict)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


@given(st.text(), st.from_regex(r"[a-zA-Z_0-9]+", fullmatch=True), st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_is_read_back(thought: str, action: str, arguments: dict) -> None:
    read = parse_action(write_action(thought, action, arguments))
    assert (read.thought, read.action, read.arguments, read.problem) == (thought.strip(), action, arguments, None)


@pytest.mark.parametrize(("thought", "action"), [("t", "two\nlines"), ("t", ""), ("t\nAction: b\nAction Input: {}", "a")])
def test_what_could_not_be_read_back_is_not_written(thought: str, action: str) -> None:
    with pytest.raises(ValueError, match="would be read back"):
        write_action(thought, action, "{}")


def test_compact_rendering_by_hand() -> None:
    assert render_function_compact(PRICE) == (
        "Price of a product in a year: get_price_for_zelvora(product:string, year:integer?, exact:boolean?)"
    )
    assert render_function_compact(Function(name="f")) == "f()"
    assert system_text([PRICE, Function(name="f"), FINISH], "compact") == f"Use the APIs.\n{render_function_compact(PRICE)}\nf()"
    assert user_text("How much?", "compact") == "How much?"
    assert user_text("How much?", "toolbench") == "\nHow much?\nBegin!\n"


def test_finish_is_listed_once_in_toolbenchs_rendering() -> None:
    assert system_text([PRICE], "toolbench") == system_text([PRICE, FINISH], "toolbench")
    assert system_text([PRICE], "toolbench").endswith(f"{[PRICE.model_dump(), FINISH.model_dump()]}")


def test_real_rows_go_to_compact_and_back(toolbench_dir: Path) -> None:
    shorter = []
    for trajectory in read_rows(toolbench_dir / "golden" / "toolllama_train_like.json"):
        compact = rerender(trajectory, "compact")
        assert compact.messages[0].content.count("\n") == len([f for f in trajectory.functions if f.name != "Finish"])
        assert compact.messages[1].content == trajectory.query
        assert compact.messages[2:] == trajectory.messages[2:]
        assert rerender(compact, "toolbench") == trajectory
        assert prompt_messages(trajectory.query, trajectory.functions, "toolbench", trajectory.tools) == trajectory.messages[:2]
        shorter.append(len(compact.messages[0].content) / len(trajectory.messages[0].content))
    assert max(shorter) < 0.5


def test_real_turns_equal_upstreams_parser(toolbench_dir: Path) -> None:
    cases = json.loads((toolbench_dir / "golden" / "react_parser.json").read_text(encoding="utf-8"))
    read = [(parse_action(case["text"]), case) for case in cases]
    sound = [(action, case) for action, case in read if action.problem is None]
    # Upstream splits at the first "Action:" even inside a sentence, and has no error path: there we differ on purpose.
    differ = [case["text"] for action, case in sound if (action.thought, action.action, action.action_input) != upstream(case)]
    assert differ == DIFFERENT_ON_PURPOSE
    assert len(sound) > 30


DIFFERENT_ON_PURPOSE = ["Action: a\nAction Input: {}", "Thought: says Action: inline\nAction: a\nAction Input: {}"]


def upstream(case: dict[str, str]) -> tuple[str, str, str]:
    return case["thought"], case["action"], case["action_input"]
