"""`toolslm doctor`: every check on a machine that is fit, and on one that is not."""

import hashlib
import json
import shutil
import socket
import sys
import urllib.error
import urllib.request
from types import SimpleNamespace

import psutil
import pytest
import torch

from toolslm_helpers import cli, doctor
from toolslm_helpers.doctor import Finding
from toolslm_helpers.files import WorkbookError


@pytest.fixture
def samples(monkeypatch, tmp_path):
    """data_samples with one file and its manifest."""
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "train.json").write_text("[]")
    hashes = {"train.json": hashlib.sha256(b"[]").hexdigest()}
    (tmp_path / "world" / "MANIFEST.json").write_text(json.dumps(hashes))
    monkeypatch.setattr(doctor, "data_samples", lambda: tmp_path)
    return tmp_path


def test_python_old_and_new(monkeypatch):
    assert doctor.python().status == "OK"
    monkeypatch.setattr(sys, "version", "3.10.4 (main)")
    assert doctor.python().status == "FAIL" and "needed is >=3.11" in doctor.python().text


def test_packages_that_differ_or_are_missing(monkeypatch, tmp_path):
    (tmp_path / "requirements.txt").write_text('# pins\nnumpy==1.0\nnot-there==2.0\nrich>=1\nother==1 ; sys_platform == "none"\n')
    monkeypatch.setattr(doctor, "repository_root", lambda: tmp_path)
    finding = doctor.packages()
    assert finding.status == "FAIL" and "pip install -r requirements.txt" in finding.text
    assert "numpy is 2" in finding.text and "pinned is ==1.0" in finding.text and "not-there is missing" in finding.text
    assert "rich" not in finding.text and "other" not in finding.text
    (tmp_path / "requirements.txt").write_text("rich>=1\n")
    assert doctor.packages() == Finding("OK", "packages", "all 1 as in requirements.txt")


def test_a_local_build_of_the_pinned_version_is_right(monkeypatch, tmp_path):
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    monkeypatch.setattr(doctor, "repository_root", lambda: tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cpu")
    assert doctor.packages().status == "OK"


@pytest.mark.parametrize(("gigabytes", "says"), [(16, "enough for full"), (8, "smoke and tiny only")])
def test_torch_with_and_without_gpu(monkeypatch, gigabytes, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.torch_and_gpu().status == "NOTE" and "no GPU" in doctor.torch_and_gpu().text
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=gigabytes * 1e9))
    finding = doctor.torch_and_gpu()
    assert finding.status == "OK" and f"Card with {gigabytes} GB" in finding.text and says in finding.text


def test_torch_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor.torch_and_gpu().status == "FAIL" and "pip install" in doctor.torch_and_gpu().text


def test_disk_full_or_read_only(monkeypatch, tmp_path):
    assert doctor.disk(tmp_path / "not" / "yet").status == "OK"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2e8))
    assert doctor.disk(tmp_path) == Finding("FAIL", "disk", f"0.2 GB free at {tmp_path}, needed is 1 GB.")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "cannot be written" in doctor.disk(tmp_path).text


def test_memory(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1e9, total=8e9))
    assert doctor.memory().status == "FAIL" and doctor.memory().text.startswith("1.0 of 8.0 GB free")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5e9, total=8e9))
    assert doctor.memory().status == "OK"


def test_the_hub_may_be_out_of_reach(monkeypatch):
    def answer(error):
        def urlopen(request, timeout):
            assert timeout <= 5
            raise error

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return doctor.hub()

    assert answer(urllib.error.URLError("no route")).status == "NOTE"
    assert answer(TimeoutError("timed out")).status == "NOTE"
    assert answer(urllib.error.HTTPError("x", 405, "not allowed", None, None)).status == "OK"


def test_data_whole_changed_or_missing(samples):
    assert doctor.data() == Finding("OK", "data", "1 files as shipped")
    (samples / "world" / "train.json").write_text("[1]")
    assert doctor.data().status == "FAIL" and "train.json is not the shipped file" in doctor.data().text
    (samples / "world" / "train.json").unlink()
    assert "train.json is missing. Restore it with: git checkout -- data_samples" in doctor.data().text
    (samples / "world" / "MANIFEST.json").unlink()
    assert "no MANIFEST.json" in doctor.data().text


def test_checkpoints_whole_damaged_or_missing(samples, monkeypatch):
    from toolslm_helpers.model import checkpoints

    assert doctor.checkpoints().status == "FAIL" and "none in" in doctor.checkpoints().text
    (samples / "models" / "base").mkdir(parents=True)
    (samples / "models" / "base" / "config.json").touch()
    with pytest.raises(WorkbookError, match="base: no checkpoint there"):
        doctor.checkpoints()
    monkeypatch.setattr(checkpoints, "load_model", lambda path: None)
    assert doctor.checkpoints() == Finding("OK", "checkpoints", "base load")


def test_a_port_in_use_is_noted():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert doctor.port(number).status == "NOTE" and str(number) in doctor.port(number).text
    assert doctor.port(number).status == "OK"


@pytest.mark.parametrize(("worst", "code"), [("NOTE", 0), ("FAIL", 1)])
def test_the_command_prints_every_line_and_fails_with_the_worst(monkeypatch, capsys, worst, code):
    monkeypatch.setattr(
        doctor, "examine", lambda output: iter([Finding("OK", "Python", "[3.11]"), Finding(worst, "hub", "x" * 300)])
    )
    monkeypatch.setattr(sys, "argv", ["toolslm", "doctor"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert (stop.value.code or 0) == code
    assert capsys.readouterr().out == f"OK   Python: [3.11]\n{worst} hub: {'x' * 300}\n"


def test_a_check_that_fails_does_not_stop_the_others(samples, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "hub", lambda: Finding("OK", "hub", ""))
    findings = list(doctor.examine(tmp_path))
    assert [finding.subject for finding in findings] == [
        "Python", "packages", "torch", "disk", "memory", "hub", "data", "checkpoints", "port",
    ]  # fmt: skip
    (samples / "world" / "MANIFEST.json").write_text("{")
    damaged = list(doctor.examine(tmp_path))[6]
    assert damaged.status == "FAIL" and "MANIFEST.json: broken JSON" in damaged.text
