"""The log of a run: whole lines, those of a stopped run kept up to where it goes on; dashboards only where they are installed."""

import os
from dataclasses import replace

import pytest

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.training import runlog
from toolslm_helpers.training.runlog import NAME, RunLog, dashboards, read_log


def test_a_run_that_goes_on_keeps_what_is_still_true(tmp_path):
    log = RunLog(tmp_path)
    log.write(event="start", examples=9)
    for step in (2, 4, 6):
        log.write(step=step, loss=1 / step, seconds=10.0 * step)
    with (tmp_path / NAME).open("a") as file:
        file.write('{"step": 8, "lo')  # a kill in the middle of a line
    assert [line.get("step") for line in read_log(tmp_path / NAME)] == [None, 2, 4, 6]
    again = RunLog(tmp_path, step=4)
    again.write(step=6, loss=0.5, seconds=70.0)
    lines = read_log(tmp_path / NAME)
    assert again.seconds_before == 40.0 and lines[0] == {"event": "start", "examples": 9}
    assert [(line["step"], line.get("loss")) for line in lines[1:]] == [(2, 0.5), (4, 0.25), (4, None), (6, 0.5)]
    assert lines[3]["event"] == "resume"
    assert read_log(tmp_path / "none") == [] and RunLog(tmp_path).seconds_before == 0 and read_log(tmp_path / NAME) == []


def test_a_full_disk_is_said(tmp_path):
    log = RunLog(tmp_path)
    log.path = type(tmp_path)("/dev/full")
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with pytest.raises(WorkbookError, match="/dev/full: could not be written \\(No space left on device\\).*goes on"):
        log.write(step=1, loss=1.0)


def test_dashboards_that_are_installed_are_told_of_long_runs_only(tmp_path, monkeypatch):
    from toolslm_helpers.training.sft import trainer_settings

    monkeypatch.setattr(runlog.importlib.util, "find_spec", lambda name: object() if name == "trackio" else None)
    assert dashboards() == ["trackio"]
    monkeypatch.undo()
    monkeypatch.setattr("toolslm_helpers.training.sft.dashboards", lambda: ["tensorboard"])
    size = replace(SMOKE, batch_size=2)
    assert trainer_settings(size, 0, tmp_path).report_to == [] and trainer_settings(size, 0, tmp_path).save_strategy == "no"
    long = trainer_settings(size, 0, tmp_path, save_every=20)
    assert long.report_to == ["tensorboard"] and long.save_steps == 20 and long.save_strategy == "steps"
