"""ToolEval's converted answers: read from one object of many, damaged ones set aside."""

import json
import os
from pathlib import Path

import pytest

from toolslm_helpers.data import window
from toolslm_helpers.data.converted import ConvertedAnswer, ConvertedStream, ToolMessage
from toolslm_helpers.files import DataError

TOOLBENCH = Path(os.environ.get("TOOLBENCH_DIR") or "not-set")
real = pytest.mark.skipif(not TOOLBENCH.is_dir(), reason="needs ToolBench's files: set TOOLBENCH_DIR to their folder")

# An API with a parameter called query, as some real ones have: it must not look like the beginning of an answer.
TOOL = {"name": "f", "description": "", "parameters": {"properties": {"query": {"type": "string"}}, "required": ["query"]}}
CALL = {"name": "f", "arguments": "{}", "response": '{"query": "x"}'}


def answer(query: str) -> dict:
    steps = {"role": "tool", "message": CALL, "next": [{"role": "assistant", "message": "cut at 100 char", "next": []}]}
    start = {
        "role": "system",
        "message": "",
        "next": [{"role": "user", "message": query, "next": [steps, {**steps, "next": []}]}],
    }
    record = {"method": "CoT", "total_steps": 5, "final_answer": "", "answer_details": [start]}
    return {"query": query, "available_tools": [TOOL], "answer": record}


def written(path: Path, texts: dict[str, str]) -> Path:
    path.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {text}" for key, text in texts.items()) + "\n}\n")
    return path


@pytest.fixture(params=[None, 1, 100], ids=lambda size: f"chunk {size}")
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(window, "CHUNK", request.param)


def test_every_answer_is_read_with_its_key(tmp_path: Path, chunk: None) -> None:
    texts = {str(number): json.dumps(answer(f'what "is" {number}?')) for number in range(5)}
    stream = ConvertedStream(written(tmp_path / "G1.json", texts))
    answers = list(stream)
    assert [(a.query_id, a.query) for a in answers] == [(str(k), f'what "is" {k}?') for k in range(5)]
    assert stream.account.read == 5 and not stream.set_aside
    assert [(step.role, step.message) for step in answers[0].answer.answer_details[0].chain()] == [
        ("system", ""), ("user", 'what "is" 0?'), ("tool", ToolMessage(**CALL)), ("assistant", "cut at 100 char"),
    ]  # fmt: skip
    assert list(ConvertedStream(tmp_path / "G1.json", start=3)) == answers[3:]


def test_damaged_answers_are_set_aside(tmp_path: Path, chunk: None) -> None:
    texts = {str(number): json.dumps(answer(f"what is {number}?")) for number in range(8)}
    texts["1"] = texts["1"].replace('"total_steps": 5', '"total_steps": "5"')
    texts["3"] = texts["3"][:80]
    texts["4"] = texts["4"][:-3]
    texts["6"] = "null"
    stream = ConvertedStream(written(tmp_path / "G1.json", texts))
    assert [a.query_id for a in stream] == ["0", "2", "5", "7"]
    assert [(s.position, s.field) for s in stream.set_aside] == [(1, "answer.total_steps"), (3, ""), (4, ""), (6, "")]
    text = (tmp_path / "G1.json").read_text()
    assert [text[s.offset :].split(":")[0] for s in stream.set_aside] == ['"1"', '"3"', '"4"', '"6"']
    assert stream.account.read == 8


def test_keys_that_are_none(tmp_path: Path, chunk: None) -> None:
    good = json.dumps(answer("what?"))
    (tmp_path / "a.json").write_text(f'{{7: {good}, "1": {good}, "2" {good}, "3": {good}}}')
    stream = ConvertedStream(tmp_path / "a.json")
    assert [a.query_id for a in stream] == ["1", "3"]
    assert ["expected a query id, found '7'", "expected a colon after '2'"] == [s.reason for s in stream.set_aside]
    (tmp_path / "a.json").write_text(f'{{"1": {good}, rubbish, "3": {good}}}')
    stream = ConvertedStream(tmp_path / "a.json")
    assert [a.query_id for a in stream] == ["1", "3"] and [s.position for s in stream.set_aside] == [1]
    (tmp_path / "a.json").write_text(f'{{"1": {good}, "2"')
    stream = ConvertedStream(tmp_path / "a.json")
    assert len(list(stream)) == 1 and [s.position for s in stream.set_aside] == [1]
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DataError, match="expected an object, found"):
        list(ConvertedStream(tmp_path / "a.json"))


@real
def test_every_published_answer_is_read() -> None:
    files = sorted((TOOLBENCH / "results_gpt-3.5-turbo_CoT").glob("*.json"))
    streams = {file.stem: ConvertedStream(file) for file in files}
    answers: dict[str, list[ConvertedAnswer]] = {name: list(stream) for name, stream in streams.items()}
    assert sum(map(len, answers.values())) == 419 and not any(stream.set_aside for stream in streams.values())
    for file in files:
        whole = json.loads(file.read_text())
        assert {a.query_id: a.query for a in answers[file.stem]} == {key: value["query"] for key, value in whole.items()}
    # FACTS of the data that lesson 11 relies on: answers that say give_answer.
    said = {name: sum('"return_type": "give_answer"' in a.answer.final_answer for a in some) for name, some in answers.items()}
    assert sum(said.values()) > 150
    for name in ("valid", "invalid_randomwalk_seed42"):
        golden = ConvertedStream(TOOLBENCH / "golden" / f"tooleval_converted_{name}.json")
        assert list(golden) and not golden.set_aside
        assert any(isinstance(step.message, ToolMessage) for a in golden for step in a.answer.answer_details[0].chain())
