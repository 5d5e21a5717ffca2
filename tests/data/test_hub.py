"""The hub's data set: its shapes become ours. The hub itself is replaced by files made here, read with the real ``datasets``."""

import json
from pathlib import Path

import datasets
import pytest

from toolslm_helpers.data.hub import BENCHMARKS, DATA_SET, HubQueries, HubTrajectories
from toolslm_helpers.data.names import function_of
from toolslm_helpers.data.prompt import system_prompt, user_prompt
from toolslm_helpers.data.records import Api, Parameter
from toolslm_helpers.files import WorkbookError

API = Api(
    category_name="c", tool_name="shop", api_name="price", required_parameters=(Parameter(name="id", type="NUMBER", default=5),)
)
ROLES = ["system", "user", "assistant"]
TEXTS = [
    system_prompt((function_of(API),), [("shop", "sells")]),
    user_prompt("What?"),
    "\nThought: \nAction: f\nAction Input: {}",
]
ROWS = [
    {"id": "Step 2: What?", "conversations": {"from": ROLES, "value": TEXTS}},
    {"id": "uneven", "conversations": {"from": ROLES, "value": TEXTS[:2]}},
    {"id": "no functions", "conversations": {"from": ROLES, "value": ["s", *TEXTS[1:]]}},
    {"id": "Step 4: What?", "conversations": {"from": [*ROLES, "function", "assistant"], "value": [*TEXTS, "seen", TEXTS[2]]}},
]
APIS = json.dumps([API.model_dump(mode="json")])
QUERIES = [
    {"query_id": "588", "query": "What?", "api_list": APIS, "relevant_apis": '[["shop", "price"]]'},
    {"query_id": "x", "query": "What?", "api_list": APIS, "relevant_apis": "[]"},
    {"query_id": "589", "query": "What?", "api_list": "[{", "relevant_apis": "[]"},
    {"query_id": "590", "query": "What?", "api_list": APIS, "relevant_apis": ""},
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Every split of the data set as a parquet file; what was asked for is kept."""
    asked = []
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "default.parquet")
    datasets.Dataset.from_list(QUERIES).to_parquet(tmp_path / "benchmark.parquet")
    load = datasets.load_dataset

    def fake(path: str, name: str, *, split: str, streaming: bool):
        asked.append((path, name, split, streaming))
        file = str(tmp_path / f"{name}.parquet")
        return load("parquet", data_files={split: file}, split=split, streaming=streaming, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", fake)
    return asked


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_become_trajectories(hub: list[tuple], streaming: bool) -> None:
    stream = HubTrajectories("validation", streaming=streaming)
    assert hub == [], "nothing is fetched before it is needed"
    trajectories = list(stream)
    assert list(stream) == trajectories and hub == [(DATA_SET, "default", "validation", streaming)], "fetched once"
    assert [t.id for t in trajectories] == ["Step 2: What?", "Step 4: What?"]
    assert trajectories[0].functions == (function_of(API),) and trajectories[0].query == "What?"
    assert [(m.role, m.content) for m in trajectories[0].messages] == list(zip(ROLES, TEXTS, strict=True))
    assert [(s.file, s.position, s.field) for s in stream.set_aside] == [
        (f"{DATA_SET} validation", 1, "conversations"), (f"{DATA_SET} validation", 2, "conversations[0].value"),
    ]  # fmt: skip
    assert stream.account.read == 4
    assert [t.id for t in HubTrajectories(start=1)] == ["Step 4: What?"]


def test_benchmark_sets_become_queries(hub: list[tuple]) -> None:
    stream = HubQueries("G3_instruction")
    first, last = stream
    assert hub == [(DATA_SET, "benchmark", "g3_instruction", False)]
    assert (first.query_id, first.query, first.api_list, first.relevant_apis) == (588, "What?", (API,), (("shop", "price"),))
    assert (last.query_id, last.relevant_apis) == (590, ())
    assert [(s.position, s.field) for s in stream.set_aside] == [(1, "query_id"), (2, "api_list")]
    assert "broken JSON" in stream.set_aside[1].reason
    with pytest.raises(ValueError, match="set 'G4'; expected one of G1_instruction"):
        HubQueries("G4")
    assert len(BENCHMARKS) == 6


def test_rows_in_their_own_shape_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": "Step 2: What?", "conversations": [{"from": r, "value": v} for r, v in zip(ROLES, TEXTS, strict=True)]}
    query = {"query_id": 7, "query": "What?", "api_list": json.loads(APIS), "relevant APIs": [["shop", "price"]]}
    monkeypatch.setattr(datasets, "load_dataset", lambda path, name, **_: [row] if name == "default" else [query])
    (trajectory,), (read,) = HubTrajectories(), HubQueries("G1_tool")
    assert len(trajectory.messages) == 3
    assert (read.query_id, read.relevant_apis) == (7, (("shop", "price"),))


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_, **__):
        raise ConnectionError("Couldn't reach 'tuandunghcmut/toolbench-v1' on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(WorkbookError, match=r"default, train: could not be fetched \(ConnectionError: .*TOOLBENCH_DIR") as caught:
        next(iter(HubTrajectories()))
    assert "\n" not in str(caught.value)
