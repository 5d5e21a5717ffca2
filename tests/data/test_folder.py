"""A folder of ToolBench's files: every kind is found, read and accounted for."""

import json
import os
from pathlib import Path

import pytest

from toolslm_helpers.data.folder import KINDS, find_files, survey, toolbench_folder
from toolslm_helpers.files import DataError

TOOLBENCH = Path(os.environ.get("TOOLBENCH_DIR") or "not-set")
real = pytest.mark.skipif(not TOOLBENCH.is_dir(), reason="needs ToolBench's files: set TOOLBENCH_DIR to their folder")

ANSWER = {"valid_data": False, "query": "q", "function": []}
FILES = {
    "data/toolllama_G123_dfs_train.json": [{"id": "x"}],
    "data/toolllama_G123_dfs_eval.json": {"not": "a list"},
    "data/answer/G1_answer/1_ChatGPT_DFS_woFilter_w2.json": {
        "win": False, "tree": {"tree": {"node_type": "Action Input", "description": ""}}, "answer_generation": ANSWER,
    },
    "data/answer/cot/1_CoT@1.json": {"win": False, "try_count": 0, "trys": [], "answer_generation": ANSWER},
    "data/instruction/G1_query.json": [{"query_id": 1, "query": "q", "api_list": []}],
    "data/instruction/inference_query_demo_open_domain.json": [{"query_id": 1, "query": "q"}],
    "data/test_instruction/G1_tool.json": [],
    "data/test_query_ids/G1_tool.json": {"394": 0},
    "data/toolenv/tools/Finance/shop.json": {"tool_name": "shop", "api_list": []},
    "data/toolenv/response_examples/Finance/shop.json": {"api_list": []},
    "data/model_predictions_converted/own/G1_tool.json": {
        "1": {"query": "q", "available_tools": [], "answer": {"method": "m", "total_steps": 0, "final_answer": "", "answer_details": []}},
    },
    "data/retrieval/other.json": {},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def test_every_kind_is_found_once(folder: Path) -> None:
    found = find_files(folder)
    assert list(found) == [kind.name for kind in KINDS]
    assert {kind: len(files) for kind, files in found.items() if len(files) != 1} == {"training rows": 2, "queries": 2}
    names = {file.relative_to(folder).as_posix() for files in found.values() for file in files}
    assert set(FILES) - names == {"data/retrieval/other.json"}


def test_what_each_kind_holds_is_counted(folder: Path) -> None:
    (folder / "data/toolenv/response_examples/Finance/empty.json").touch()
    accounts = {of_kind.kind: of_kind.account for of_kind in survey(folder)}
    assert {kind: (account.read, account.yielded) for kind, account in accounts.items()} == {
        "training rows": (2, 0), "answer trees": (1, 1), "answer chains": (1, 1), "open-domain queries": (1, 1), "queries": (1, 1),
        "query ids": (1, 1), "tools": (1, 1), "response examples": (2, 1), "converted answers": (1, 1),
    }  # fmt: skip
    reasons = [aside.reason for aside in accounts["training rows"].set_aside]
    assert "expected a list" in reasons[0] and reasons[1] == "Field required"


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLBENCH_DIR", str(tmp_path))
    assert toolbench_folder() == tmp_path
    for wrong in ("", str(tmp_path / "missing")):
        monkeypatch.setenv("TOOLBENCH_DIR", wrong)
        with pytest.raises(DataError, match="expected a folder with ToolBench's files"):
            toolbench_folder()


@real
def test_every_real_file_is_read_and_the_one_that_is_empty_is_set_aside() -> None:
    found = {of_kind.kind: of_kind for of_kind in survey(TOOLBENCH)}
    asides = [aside for of_kind in found.values() for aside in of_kind.account.set_aside]
    assert [Path(aside.file).name for aside in asides] == ["acrosuite_oauther.json"]
    assert found["training rows"].account.yielded == 35 and found["queries"].account.yielded == 765 + 11
    assert found["answer trees"].account.yielded == 13 and found["answer chains"].account.yielded == 2
    assert found["converted answers"].account.yielded == 419 + 4 and found["query ids"].account.yielded == 6
