"""ToolBench's files: equal to upstream's own output on real data, and one clear line for each way a file can be wrong."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from toolslm_helpers.data.names import FINISH, function_name, function_of, identifier, own_description, standardize
from toolslm_helpers.data.prompt import read_system_prompt, system_prompt, user_prompt, user_query
from toolslm_helpers.data.records import Api, Function, Message, Parameter, Query, Trajectory
from toolslm_helpers.data.rows import upstream_text
from toolslm_helpers.data.stream import RowStream
from toolslm_helpers.data.toolbench import (
    read_chain,
    read_each,
    read_open_queries,
    read_queries,
    read_query_ids,
    read_responses,
    read_rows,
    read_tool,
    read_tree,
    row_of,
    trajectory_of,
    write_queries,
    write_rows,
    write_tool,
    write_tree,
)
from toolslm_helpers.data.trees import AnswerTree, chain_tree, training_rows
from toolslm_helpers.files import DataError

TOOLBENCH = Path(os.environ.get("TOOLBENCH_DIR") or "not-set")
real = pytest.mark.skipif(not TOOLBENCH.is_dir(), reason="needs ToolBench's files: set TOOLBENCH_DIR to their folder")

PRICE = Api(
    category_name="Commerce",
    tool_name="Corner Shop",
    api_name="Price",
    api_description=" Price of a product. ",
    required_parameters=(Parameter(name="Product ID", description="which", default="lamp"),),
    optional_parameters=(
        Parameter(name="from", type="NUMBER", default=""),
        Parameter(name="exact", type="BOOLEAN", default=False),
    ),
)
OPTIONAL_ONLY = PRICE.model_copy(update={"required_parameters": ()})
QUERY = Query(query_id=7, query="What does the lamp cost?", api_list=(PRICE,), relevant_apis=(("Corner Shop", "Price"),))
TOOLS = (("corner_shop", "Sells lamps.\n2.No shades"), ("weather", ""))


def toolbench_trajectory(query: str = QUERY.query, functions: tuple[Function, ...] = (function_of(PRICE),)) -> Trajectory:
    messages = (
        Message(role="system", content=system_prompt(functions, TOOLS)),
        Message(role="user", content=user_prompt(query)),
        Message(role="assistant", content='\nThought: \nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}'),
    )
    return Trajectory(id="Step 2: lamp", query=query, functions=functions, messages=messages, tools=TOOLS)


def golden(name: str) -> object:
    return json.loads((TOOLBENCH / "golden" / name).read_text(encoding="utf-8"))


# Names and functions


def test_function_by_hand() -> None:
    assert function_of(PRICE).model_dump() == {
        "name": "price_for_corner_shop",
        "description": 'This is the subfunction for tool "corner_shop", you can use this tool.'
        'The description of this function is: "price_for_corner_shop of a product."',
        "parameters": {
            "type": "object",
            "properties": {
                "product_id": {"type": "string", "description": "which", "example_value": "lamp"},
                "is_from": {"type": "integer", "description": ""},
                "exact": {"type": "boolean", "description": "", "example_value": False},
            },
            "required": ["product_id"],
            "optional": ["is_from", "exact"],
        },
    }


def test_optional_parameters_are_kept_unless_compat() -> None:
    assert function_of(OPTIONAL_ONLY).parameters["optional"] == ["is_from", "exact"]
    assert function_of(OPTIONAL_ONLY, compat=True).parameters["properties"] == {}


def test_long_names_keep_their_end_and_long_descriptions_their_start() -> None:
    api = PRICE.model_copy(update={"api_name": "a" * 80, "api_description": "d" * 300})
    assert len(function_name(api)) == 64
    assert function_name(api).endswith("aa_for_corner_shop")
    assert own_description(function_of(api)) == "d" * 256
    assert own_description(function_of(PRICE.model_copy(update={"api_description": ""}))) == ""


@given(st.text())
def test_standardize_is_a_name_and_changes_it_once(name: str) -> None:
    standard = standardize(name)
    assert standardize(standard) == standard
    assert not standard[:1].isdecimal() or not standard[:1].isascii()
    assert "__" not in standard and " " not in standard


@real
def test_names_equal_upstreams() -> None:
    for name, expected in golden("name_normalisation.json").items():
        assert (standardize(name), identifier(name)) == (expected["standardize"], expected["change_name"])


def real_apis() -> dict[tuple[str, str, str], Api]:
    files = [*TOOLBENCH.glob("stabletoolbench/solvable_queries/test_instruction/*.json"), *TOOLBENCH.glob("instruction/G*.json")]
    queries = [query for file in files for query in read_queries(file)]
    assert len(queries) == 765 + 10
    return {(api.category_name, api.tool_name, api.api_name): api for query in queries for api in query.api_list}


@real
def test_functions_equal_upstreams_and_the_slip_is_mended_by_default() -> None:
    apis = real_apis()
    changed = 0
    rendered = golden("rendered_functions.json")
    for expected in rendered:
        api = apis[tuple(expected["api"])]
        assert json.dumps(function_of(api, compat=True).model_dump()) == json.dumps(expected["function"])
        changed += function_of(api) != function_of(api, compat=True)
    assert (len(rendered), changed) == (2490, 246)


# The prompt


def test_prompt_is_read_back() -> None:
    functions = (function_of(PRICE), function_of(PRICE.model_copy(update={"tool_name": "other"})))
    assert read_system_prompt(system_prompt(functions, TOOLS)) == (functions, TOOLS)
    assert system_prompt(functions).count("'name': 'Finish'") == 1
    own_finish = Function(name="Finish", description="another wording")
    assert read_system_prompt(system_prompt((own_finish,))) == ((own_finish,), ())
    assert system_prompt((*functions, FINISH)) == system_prompt(functions)


@given(st.lists(st.tuples(st.from_regex(r"[a-z_]+", fullmatch=True), st.text()), max_size=4), st.text())
def test_prompt_to_records_and_back_is_the_same_text(tools: list[tuple[str, str]], query: str) -> None:
    text = system_prompt((function_of(PRICE),), tools)
    functions, read_tools = read_system_prompt(text)
    assert system_prompt(functions, read_tools) == text
    assert user_query(user_prompt(query)) == query


# Files


def test_queries_and_tools_are_read_back(tmp_path: Path) -> None:
    queries = [QUERY, QUERY.model_copy(update={"query_id": 8, "api_list": (PRICE, OPTIONAL_ONLY)})]
    assert read_queries(write_queries(tmp_path / "q.json", queries)) == queries
    assert json.loads((tmp_path / "q.json").read_text())[0]["relevant APIs"] == [["Corner Shop", "Price"]]
    tool = read_tool(write_tool(tmp_path / "t.json", "Corner Shop", "Sells lamps.", [PRICE, OPTIONAL_ONLY]))
    assert tool.apis("Commerce") == (PRICE, OPTIONAL_ONLY)


def test_rows_are_read_back(tmp_path: Path) -> None:
    trajectories = [toolbench_trajectory(), toolbench_trajectory("Und auf Deutsch? 多少钱\n", (function_of(OPTIONAL_ONLY),))]
    assert read_rows(write_rows(tmp_path / "rows.json", trajectories)) == trajectories


@pytest.mark.parametrize(
    ("trajectory", "complaint"),
    [
        (toolbench_trajectory().model_copy(update={"functions": (function_of(PRICE), FINISH)}), "no FINISH among the functions"),
        (
            toolbench_trajectory().model_copy(
                update={"messages": (Message(role="system", content="Use the APIs."), *toolbench_trajectory().messages[1:])}
            ),
            "no list of APIs",
        ),
    ],
)
def test_rows_that_would_not_be_read_back_are_not_written(tmp_path: Path, trajectory: Trajectory, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        write_rows(tmp_path / "rows.json", [trajectory])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda rows: rows[1].pop("conversations"), r"\[1\].conversations: Field required"),
        (lambda rows: rows[1].update(id=3), r"\[1\].id: .*valid string, found 3"),
        (
            lambda rows: rows[0]["conversations"][2].update({"from": "tool"}),
            r"\[0\].conversations\[2\].from: .*'function', found 'tool'",
        ),
        (lambda rows: rows[0]["conversations"][2].pop("value"), r"\[0\].conversations\[2\].value: Field required"),
        (
            lambda rows: rows[0]["conversations"].pop(0),
            r"\[0\].conversations: begins with user, assistant; expected system, user",
        ),
        (lambda rows: rows[0].update(conversations=[]), r"\[0\].conversations: .*at least 1 item"),
        (lambda rows: rows[0]["conversations"][0].update(value="hello"), r"\[0\].conversations\[0\].value: no list of APIs"),
        (
            lambda rows: cut(rows[0]["conversations"][0], 9),
            r"\[0\].conversations\[0\].value: the list of APIs is not a Python list",
        ),
        (
            lambda rows: append(rows[0]["conversations"][0], "-" * 3000 + "1"),
            r"\[0\].conversations\[0\].value: the list of APIs is not",
        ),
        (
            lambda rows: append(rows[0]["conversations"][0], "[" * 99999),
            r"\[0\].conversations\[0\].value: the list of APIs is not",
        ),
        (lambda rows: append(rows[0]["conversations"][0], "['x']"), r"\[0\].conversations\[0\].value: the list of APIs is not"),
        (lambda rows: append(rows[0]["conversations"][0], "7"), r"\[0\].conversations\[0\].value: the list of APIs is not"),
    ],
)
def test_a_wrong_row_is_one_line_with_file_position_and_field(tmp_path: Path, change, field: str) -> None:
    path = write_rows(tmp_path / "rows.json", [toolbench_trajectory(), toolbench_trajectory()])
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=rf"rows\.json: {field}") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def cut(message: dict, characters: int) -> None:
    message["value"] = message["value"][:-characters]


def append(message: dict, listed: str) -> None:
    head, mark, _ = message["value"].partition("APIs: ")
    message["value"] = head + mark + listed


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[{"query_id": 1,', "broken JSON at line 1, column 17"),
        ('{"query_id": 1}', "the whole file: .*valid list"),
        ('[{"query_id": 1, "query": "q"}]', r"\[0\].api_list: Field required"),
        ('[{"query_id": "1", "query": "q", "api_list": []}]', r"\[0\].query_id: .*valid integer, found '1'"),
        ('[{"query_id": true, "query": "q", "api_list": []}]', r"\[0\].query_id: .*valid integer, found True"),
        (
            '[{"query_id": 1, "query": "q", "api_list": [{"tool_name": "t"}]}]',
            r"\[0\].api_list\[0\].category_name: .*1 more like it",
        ),
        ('[{"query_id": 1, "query": "q", "api_list": [], "relevant APIs": [["t"]]}]', r"\[0\].relevant APIs\[0\]"),
    ],
)
def test_a_wrong_query_file_is_one_line_with_file_position_and_field(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(DataError, match=rf"q\.json: {complaint}") as caught:
        read_queries(tmp_path / "q.json")
    assert "\n" not in str(caught.value)


def test_query_ids_responses_and_open_queries(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"394": 0, "692": 3}')
    assert read_query_ids(file) == (394, 692)
    for wrong, complaint in (
        ('{"x": 0}', "'x' is no query id"),
        ('{"1": "0"}', "1: .*valid integer"),
        ("[394]", "the whole file"),
    ):
        file.write_text(wrong)
        with pytest.raises(DataError, match=rf"x\.json: {complaint}"):
            read_query_ids(file)
    file.write_text('{"api_list": [{"name": "Roll", "schema": {"total": "int", "rolls": [{"roll": "empty list"}]}}]}')
    (api,) = read_responses(file).api_list
    assert (api.name, api.shape["total"]) == ("Roll", "int")
    file.write_text('[{"query": "q", "query_id": 1}]')
    assert [(query.query_id, query.query) for query in read_open_queries(file)] == [(1, "q")]


def test_of_many_files_the_damaged_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"api_list": []}')
    (tmp_path / "b.json").write_text("")
    (tmp_path / "c.json").write_text('{"api_list": [{"name": 7}]}')
    responses, account = read_each([tmp_path / f"{name}.json" for name in "abcd"], read_responses)
    assert len(responses) == 1 and (account.read, account.yielded) == (4, 1)
    assert [(Path(s.file).name, s.position, s.field) for s in account.set_aside] == [
        ("b.json", 1, ""), ("c.json", 2, "api_list[0].name"), ("d.json", 3, ""),
    ]  # fmt: skip
    assert "broken JSON" in account.set_aside[0].reason and "no such file" in account.set_aside[2].reason
    assert read_each([], read_responses)[1].read == 0


# Answer trees


@dataclass(frozen=True)
class Played:
    thought: str
    action: str
    action_input: str
    observation: str
    code: int = 0


STEPS = (
    Played("I need the price.", "price_for_corner_shop", '{"product_id": "lamp"}', '{"error": "", "response": 48}'),
    Played(
        "",
        "Finish",
        '{"return_type": "give_answer", "final_answer": "48"}',
        '{"response":"successfully giving the final answer."}',
        3,
    ),
)


def test_an_episode_becomes_a_tree_and_its_rows(tmp_path: Path) -> None:
    tree = chain_tree(QUERY.query, [function_of(PRICE)], TOOLS, STEPS)
    assert read_tree(write_tree(tmp_path / "tree.json", tree)) == tree
    rows = training_rows(tree)
    # The first call has a thought of its own before it, so it is message 3; its observation and the second call follow.
    assert [row.id for row in rows] == [f"Step 3: {QUERY.query}", f"Step 5: {QUERY.query}"]
    assert trajectory_of(rows[0]).messages[:2] == toolbench_trajectory().messages[:2]
    assert [(message.role, message.content) for message in rows[1].conversations[2:]] == [
        ("assistant", '\nThought: I need the price.\nAction: price_for_corner_shop\nAction Input: {"product_id": "lamp"}'),
        ("function", '{"error": "", "response": 48}'),
        ("assistant", '\nThought: \nAction: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "48"}'),
    ]
    path = [tree.tree.tree]
    while path[-1].children:
        path.append(path[-1].children[0])
    assert [node.node_type for node in path] == ["Action Input", "Thought", "Action", "Action Input", "Action", "Action Input"]
    assert path[-1].observation_code == 3 and tree.win
    thought = json.loads((tmp_path / "tree.json").read_text())["tree"]["tree"]["children"][0]
    assert "observation" not in thought  # as in ToolBench's files


def test_an_unfinished_or_invalid_tree_has_no_rows() -> None:
    assert training_rows(chain_tree(QUERY.query, [function_of(PRICE)], TOOLS, STEPS[:1])) == []
    assert training_rows(chain_tree(QUERY.query, [], [], [])) == []


def test_compat_keeps_upstreams_ways_with_thoughts() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "lost: a user turn follows"},
        {"role": "assistant", "content": "dropped thought"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "assistant", "content": "beside", "function_call": {"name": "f", "arguments": "{}"}},
    ]
    answer = {"valid_data": True, "query": "q", "function": [], "train_messages": [messages, messages[:-1]]}
    root = {"node_type": "Action Input", "description": ""}
    tree = AnswerTree.model_validate({"win": True, "tree": {"tree": root}, "answer_generation": answer})
    (row,) = training_rows(tree, compat=True)
    assert row.id == "Step 6: q"
    assert [message.role for message in row.conversations] == ["system", "user", "user", "assistant"]
    assert row.conversations[-1].content == "\nThought: one\nThought: two\nAction: f\nAction Input: {}"


@real
def test_rows_of_the_real_trees_equal_upstreams(tmp_path: Path) -> None:
    expected = golden("toolllama_conversations_from_trees.json")
    trees = {name: read_tree(TOOLBENCH / "raw_trees" / name) for name in expected}
    for name, tree in trees.items():
        assert [row.model_dump(mode="json", by_alias=True) for row in training_rows(tree, compat=True)] == expected[name]
        assert read_tree(write_tree(tmp_path / "tree.json", tree)) == tree
    of_all = [row for tree in trees.values() for row in training_rows(tree, compat=True)]
    assert list(RowStream(TOOLBENCH / "golden" / "toolllama_train_like.json")) == of_all
    assert Counter(len(rows) for rows in expected.values()) == Counter({4: 4, 3: 3, 5: 2, 0: 1})


def test_upstreams_text_of_a_row_is_no_beginning_of_the_next() -> None:
    first, second = training_rows(chain_tree(QUERY.query, [function_of(PRICE)], TOOLS, STEPS))
    assert upstream_text(first).endswith('Action Input: {"product_id": "lamp"}</s>')
    assert upstream_text(second).count("</s>") == 1 and not upstream_text(second).startswith(upstream_text(first))
    assert upstream_text(second).startswith(upstream_text(first).removesuffix("</s>") + "\nFunction: {")


@real
def test_texts_of_the_real_trees_equal_upstreams() -> None:
    for name, expected in golden("flattened_prompts.json").items():
        rows = training_rows(read_tree(TOOLBENCH / "raw_trees" / name), compat=True)
        assert [upstream_text(row) for row in rows] == expected, name


@real
def test_the_released_rows_are_read_and_rendered_again(tmp_path: Path) -> None:
    trajectories = read_rows(TOOLBENCH / "golden" / "toolllama_train_like.json")
    assert len(trajectories) == 35
    for trajectory in trajectories:
        assert trajectory.id.endswith(trajectory.query)
        assert trajectory.functions and trajectory.tools
        assert system_prompt(trajectory.functions, trajectory.tools) == trajectory.messages[0].content
        assert trajectory_of(row_of(trajectory)) == trajectory
    assert read_rows(write_rows(tmp_path / "rows.json", trajectories)) == trajectories


@real
def test_every_real_answer_has_rows_that_can_be_read() -> None:
    trees = [read_tree(file) for file in sorted(TOOLBENCH.glob("**/*_DFS_woFilter_w2.json"))]
    chains = [read_chain(file) for file in sorted(TOOLBENCH.glob("**/*_CoT@1.json"))]
    for answers, count in ((trees, 44), (chains, 6)):
        for compat in (True, False):
            rows = [row for answer in answers for row in training_rows(answer, compat=compat)]
            assert len(rows) == count and all(trajectory_of(row).functions for row in rows)
    assert len(trees) == 13 and len(chains) == 2
    assert {len(chain.trys) for chain in chains} == {1} and chains[0].trys[0].chain[-1].observation_code == 3


@real
def test_a_single_chain_answer_file_is_refused_by_name() -> None:
    file = next(TOOLBENCH.glob("**/*_CoT@1.json"))
    with pytest.raises(DataError, match=rf"{file.name}: tree: Field required. Expected an answer tree"):
        read_tree(file)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
@example({"a\nkey": None})
def test_any_json_is_read_or_refused_with_a_dataerror(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_text(json.dumps(value))
    for read in (read_queries, read_rows, read_tool, read_tree, read_chain, read_responses, read_query_ids, read_open_queries):
        try:
            read(path)
        except DataError as error:
            assert "\n" not in str(error)
