"""Functions read from a system text: piece by piece or whole, they are what Python's own reading gives."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.data import prompt
from toolslm_helpers.data.prompt import read_system_prompt, system_prompt
from toolslm_helpers.data.records import Function

HOSTILE = st.sampled_from(["}, {'name': 'x'", '"', "'", "\\", "]", "\0", "}, ", "é", "\n"])
TEXT = st.lists(HOSTILE | st.text(max_size=5), max_size=4).map("".join)
FUNCTIONS = st.lists(
    st.builds(
        Function,
        name=TEXT,
        description=TEXT,
        parameters=st.dictionaries(TEXT, st.lists(TEXT | st.integers() | st.booleans() | st.none(), max_size=2), max_size=2),
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(FUNCTIONS)
def test_any_functions_are_read_back(functions: list[Function]) -> None:
    listed = str([function.model_dump() for function in functions])
    assert prompt._read_functions(listed) == functions == [Function(**value) for value in ast.literal_eval(listed)]


@pytest.mark.parametrize(
    "listed",
    [
        "[{'name': 'a'},{'name': 'b'}]",  # not as Python prints a list
        " [{'name': 'a'}, {'name': 'b'}]",
        "[{'name': 'a'}, {'description': 'd', 'name': 'b'}]",
        "({'name': 'a'}, {'name': 'b'})",
        '[{"name": "a"}, {"name": "b"}]',
        "[{'name': 'a', 'parameters': {'x': {'y': 1}, 'z': {'name': 'n'}}}, {'name': 'b'}]",
        "[]",
    ],
)
def test_a_list_that_was_printed_otherwise_is_read_whole(listed: str) -> None:
    assert prompt._read_functions(listed) == [Function(**value) for value in ast.literal_eval(listed)]


@pytest.mark.parametrize(
    "listed",
    ["[{'name': 'a'}, {'name': __import__('os')}]", "[{'name': 'a'}, {'name': 'b'", "[7]", "[{'name': 7}]", "{{'name': 'a'}}"],
)
def test_what_is_no_list_of_functions_is_refused_and_never_run(listed: str) -> None:
    with pytest.raises(ValueError, match="not a Python list of functions"):
        read_system_prompt(f"s{prompt._APIS}{listed}")


def test_a_function_is_read_once_however_many_rows_list_it(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = [Function(name=f"once {number}") for number in range(3)]
    texts = [system_prompt([*functions, Function(name=f"own {row}")]) for row in range(50)]
    read = []
    monkeypatch.setattr(prompt.ast, "literal_eval", lambda text, own=ast.literal_eval: read.append(text) or own(text))
    prompt._read_function.cache_clear()
    for text in texts * 2:
        assert read_system_prompt(text)[0][:3] == tuple(functions)
    assert len(read) == 3 + 50 + 1  # each once, and Finish
