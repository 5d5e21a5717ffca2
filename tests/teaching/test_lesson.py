"""start_lesson seeds and says; record keeps numbers that a regression test can compare, whole or not at all."""

import json
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from toolslm_helpers.evaluation.tooleval import PassRate
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.results import read_record
from toolslm_helpers.teaching.lesson import start_lesson


@pytest.fixture(autouse=True)
def leave_the_process_as_it_was(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def test_it_says_what_runs_where_in_three_lines(capsys, tmp_path):
    lesson = start_lesson("08", "smoke", 3, False, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("lesson 08 · size smoke · seed 3 · ") and str(tmp_path) in lines[2]
    assert f"torch {torch.__version__.split('+')[0]}" in lines[1] and "trl " in lines[1]
    assert (lesson.size.name, lesson.seed, lesson.interactive, lesson.output_dir) == ("smoke", 3, False, tmp_path)


@pytest.mark.parametrize(("size", "offered"), [("tiny", True), ("full", False)])
def test_where_a_gpu_is_the_full_size_is_offered(capsys, tmp_path, monkeypatch, size, offered):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: SimpleNamespace(total_memory=15 * 2**30))
    start_lesson("08", size, 3, False, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "Tesla T4 (15 GiB)" in lines[0] and len(lines) == 3 + offered
    assert not offered or lines[3].startswith('A GPU is here. SIZE = "full"')


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_the_seed_decides_every_random_number(tmp_path):
    start_lesson("00", "smoke", 1, False, tmp_path)
    first = draws()
    start_lesson("00", "smoke", 1, False, tmp_path)
    assert draws() == first
    start_lesson("00", "smoke", 2, False, tmp_path)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_the_small_sizes_stay_offline_and_full_does_not(tmp_path):
    start_lesson("00", "full", 0, False, tmp_path)
    assert "HF_HUB_OFFLINE" not in os.environ
    start_lesson("00", "tiny", 0, False, tmp_path)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_relative_folder_starts_at_the_notebook_and_stays_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lesson = start_lesson("00", "smoke", 0, False, "../elsewhere")
    monkeypatch.chdir("/")
    assert lesson.output_dir == tmp_path.parent / "elsewhere"


@pytest.mark.parametrize(
    ("size", "seed", "words"),
    [("huge", 0, "'smoke', 'tiny', 'full'"), ("tiny", -1, "SEED is -1"), ("tiny", "0", "SEED is '0'"), ("tiny", True, "is True")],
)
def test_an_unknown_size_or_seed_is_one_clear_line(size, seed, words, tmp_path):
    with pytest.raises(WorkbookError, match=words) as error:
        start_lesson("00", size, seed, False, tmp_path)
    assert "\n" not in str(error.value)


def test_record_writes_what_results_json_gathers(tmp_path, capsys):
    lesson = start_lesson("11", "smoke", 0, False, tmp_path)
    rates = {"sft": {"all": PassRate(3, 4, 0.3, 0.95), "G1_tool": {"passed": 1, "n": 2, "low": 0.1, "high": 0.9}}}
    path = lesson.record(
        pass_rate=rates, steps=(5861, "steps"), loss=np.float64(1.5), model="opt-mini", good=True, rate=(torch.tensor(0.25), "")
    )
    record = read_record(path)
    assert path == tmp_path / "11.json" and (record["lesson"], record["size"], record["seed"]) == ("11", "smoke", 0)
    assert record["values"] == {
        "steps": {"value": 5861, "unit": "steps"}, "loss": {"value": 1.5, "unit": ""}, "model": {"value": "opt-mini", "unit": ""},
        "good": {"value": True, "unit": ""}, "rate": {"value": 0.25, "unit": ""},
    }  # fmt: skip
    assert record["pass_rate"]["sft"]["all"] == {"passed": 3, "n": 4, "low": 0.3, "high": 0.95}
    assert record["pass_rate"]["sft"]["G1_tool"] == {"passed": 1, "n": 2, "low": 0.1, "high": 0.9}
    assert record["seconds"] >= 0 and record["versions"]["torch"] and record["device"]
    assert "steps  5861 steps" in capsys.readouterr().out


def test_a_lesson_without_pass_rate_records_none(tmp_path):
    path = start_lesson("08", "smoke", 0, False, tmp_path).record(x=1)
    assert "pass_rate" not in json.loads(path.read_text())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, 2], None, (1, 2, 3), torch.tensor(float("nan")), {"a": 1}])
def test_a_value_that_nothing_can_compare_is_refused_and_the_old_record_stays(value, tmp_path):
    lesson = start_lesson("08", "smoke", 0, False, tmp_path)
    path = lesson.record(loss=1.0)
    with pytest.raises((WorkbookError), match="loss"):
        lesson.record(loss=value)
    assert json.loads(path.read_text())["values"]["loss"]["value"] == 1.0
