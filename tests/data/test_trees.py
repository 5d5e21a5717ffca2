"""Training rows of an answer: upstream's under compat, mended by default, one test for each defect that is mended."""

import json

import pytest

from toolslm_helpers.data.chains import AnswerChain
from toolslm_helpers.data.merge import merge_rows
from toolslm_helpers.data.prompt import SEARCH_PROMPT
from toolslm_helpers.data.rows import trajectory_of
from toolslm_helpers.data.trees import AnswerTree, training_rows

FUNCTION = {"name": "f", "description": "", "parameters": {}}
SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "\nq\nBegin!\n"}
SEARCH = {"role": "user", "content": f"{SEARCH_PROMPT}Here are the tries.", "valid": False}
GIVE_UP = '{\n"return_type": "give_up_and_restart"\n}'


def says(content: str | None = None, name: str | None = None, arguments: str = "{}") -> dict:
    call = {"function_call": {"name": name, "arguments": arguments}} if name else {}
    return {"role": "assistant", "content": content, **call}


def saw(content: str) -> dict:
    return {"role": "function", "name": "f", "content": content}


def tree(*paths: list[dict], **changes: object) -> AnswerTree:
    """An answer whose train_messages are these, after system and user."""
    answer = {
        "valid_data": True,
        "query": "q",
        "function": [FUNCTION],
        "train_messages": [[SYSTEM, USER, *path] for path in paths],
    }
    root = {"node_type": "Action Input", "description": ""}
    return AnswerTree.model_validate({"win": True, "tree": {"tree": root}, "answer_generation": answer | changes})


def turns(answer: AnswerTree | AnswerChain, compat: bool = False) -> list[list[str]]:
    """For each row, what stands behind system and user."""
    return [[message.content for message in row.conversations[2:]] for row in training_rows(answer, compat=compat)]


def turn(thought: str, name: str = "f", arguments: str = "{}") -> str:
    return f"\nThought: {thought}\nAction: {name}\nAction Input: {arguments}"


def test_what_is_said_beside_a_call_is_its_thought() -> None:
    answer = tree([says("because", "f")])
    assert turns(answer) == [[turn("because")]]
    assert turns(answer, compat=True) == [[turn("")]]


def test_a_thought_is_one_thought_however_often_it_was_begun() -> None:
    answer = tree([says("one"), says("two"), says("beside", "f")])
    assert turns(answer) == [[turn("one\ntwo\nbeside")]]
    assert turns(answer, compat=True) == [["\nThought: one\nThought: two\nAction: f\nAction Input: {}"]]


def test_the_search_does_not_speak_and_is_not_replied_to() -> None:
    first, failed = says(None, "f", '{"a": 1}'), saw("no")
    reply = says("other than before", "f", '{"a": 2}')
    # As upstream's files are: the reply's own row shows the prompt before it, the row after it no longer does.
    answer = tree([first], [first, failed, SEARCH, reply], [first, failed, reply, saw("yes"), says("done", "Finish", GIVE_UP)])
    start = [turn("", "f", '{"a": 1}'), "no", turn("", "f", '{"a": 2}')]
    assert turns(answer) == [start[:1], start, [*start, "yes", turn("done", "Finish", GIVE_UP)]]
    compat = turns(answer, compat=True)
    assert compat[1][2] == SEARCH["content"] and compat[2][2] == turn("", "f", '{"a": 2}')


def test_a_thought_before_the_search_speaks_is_kept_and_one_after_it_is_not() -> None:
    answer = tree([says("mine"), SEARCH, says("its"), says("its, too", "f"), saw("yes"), says("mine again", "f")])
    assert turns(answer) == [[turn("mine"), "yes", turn("mine again")]]
    assert turns(answer, compat=True)[0][1] == "\nThought: its\nAction: f\nAction Input: {}", "mine is lost"


def test_mended_rows_are_prefixes_of_each_other() -> None:
    listed = "Specifically, you have access to the following APIs: "
    first, failed, reply = says(None, "f"), saw("no"), says("other", "f", '{"a": 2}')
    answer = tree([first], [first, failed, SEARCH, reply], [first, failed, reply, saw("yes"), says("done", "Finish", GIVE_UP)])
    rows = training_rows(answer)
    assert all(listed in row.conversations[0].content for row in rows)
    assert len(merge_rows([trajectory_of(row) for row in rows])) == 1
    assert len(merge_rows([trajectory_of(row) for row in training_rows(answer, compat=True)])) == 2


def test_a_call_of_no_function_is_no_target_and_leaves_the_rows_after_it() -> None:
    wrong = says("hm", "invalid_hallucination_function_name")
    path = [says("maybe"), wrong, saw("no such function name"), says(None, "f"), saw("yes"), says(None, "Finish", GIVE_UP)]
    answer = tree(path[:2], path[:4], path)
    assert turns(answer) == [[turn("")], [turn(""), "yes", turn("", "Finish", GIVE_UP)]]
    assert [row.id for row in training_rows(answer)] == ["Step 5: q", "Step 7: q"], "numbered as upstream does"
    assert len(turns(answer, compat=True)) == 3
    assert "invalid_hallucination_function_name" in turns(answer, compat=True)[0][-1]


def test_two_wrong_calls_in_a_row_leave_together() -> None:
    wrong, nothing = says(None, "no_such"), saw("no such function name")
    assert turns(tree([wrong, nothing, wrong, nothing, says(None, "f")])) == [[turn("")]]


def test_a_path_without_the_defects_is_the_same_either_way() -> None:
    path = [says("think"), says(None, "f"), saw("yes"), says(None, "Finish", GIVE_UP)]
    answer = tree(path[:1], path[:2], path)
    assert turns(answer) == turns(answer, compat=True) == [[turn("think")], [turn("think"), "yes", turn("", "Finish", GIVE_UP)]]


@pytest.mark.parametrize(
    ("last", "ending"),
    [
        (says(None, "Finish", '{"return_type": "give_answer", "final_answer": "line\nbreak"}'), "give_answer"),
        (says(None, "Finish", GIVE_UP), "give_up_and_restart"),
        (says(None, "Finish", '{"return_type": "other"}'), "unfinished"),
        (says(None, "Finish", "give_answer"), "unfinished"),
        (says(None, "Finish", "[" * 100_000), "unfinished"),
        (says(None, "Finish", '["give_answer"]'), "unfinished"),
        (says(None, "f"), "unfinished"),
        (says("a thought"), "unfinished"),
    ],
)
def test_how_a_search_ended_is_read_from_its_last_call(last: dict, ending: str) -> None:
    answer = tree([last], finish_type="give_answer").answer_generation
    assert (answer.ending, answer.finish_type) == (ending, "give_answer")
    assert tree().answer_generation.ending == "unfinished"


def test_a_chain_has_rows_like_a_tree() -> None:
    path = [says(None, "f"), saw("yes"), says(None, "Finish", GIVE_UP)]
    node = {"node_type": "Action", "description": "f"}
    generation = json.loads(tree(path[:1], path).answer_generation.model_dump_json())
    chain = AnswerChain.model_validate(
        {"win": True, "try_count": 1, "trys": [{"chain": [node]}], "answer_generation": generation}
    )
    assert turns(chain) == turns(tree(path[:1], path))
    assert chain.trys[0].chain[0].description == "f" and not chain.trys[0].win
