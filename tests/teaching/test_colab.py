"""A hosted notebook gets what it lacks, pinned, and keeps the host's own torch, numpy and ipywidgets."""

import subprocess

import pytest

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.teaching import colab

HOST = {"torch": "2.11.0+cu126", "numpy": "2.0.2", "ipywidgets": "7.7.1"}


@pytest.fixture
def host(monkeypatch):
    """A machine with ``installed`` packages, where pip only notes what it was asked for."""

    def make(**installed):
        packages = {**HOST, **installed}
        monkeypatch.setattr(colab, "_installed", packages.get)
        calls = []

        def pip(command, check):
            with open(command[command.index("-c") + 1], encoding="utf-8") as file:
                calls.append((command, file.read().split()))

        return calls, pip

    return make


def test_only_what_is_missing_or_another_version_is_installed(host):
    pinned = colab.pins()
    calls, pip = host(**{name: pinned[name] for name in colab.NEEDED if name != "trl"} | {"transformers": "4.57.0"})
    assert colab.install_missing(pip) == [f"transformers=={pinned['transformers']}", f"trl=={pinned['trl']}"]
    command, constraints = calls[0]
    assert command[command.index("-c") + 2 :] == [f"transformers=={pinned['transformers']}", f"trl=={pinned['trl']}"]
    assert constraints == ["torch==2.11.0+cu126", "numpy==2.0.2", "ipywidgets==7.7.1"]


def test_the_hosts_own_builds_are_never_asked_for():
    assert not set(colab.NEEDED) & set(colab.UNTOUCHED)
    assert set(colab.NEEDED) <= set(colab.pins())


def test_nothing_is_run_where_nothing_is_missing(host):
    pinned = colab.pins()
    calls, pip = host(**{name: pinned[name] for name in colab.NEEDED})
    assert colab.install_missing(pip) == [] and calls == []


def test_a_failing_pip_is_one_clear_line(host):
    host()

    def pip(command, check):
        raise subprocess.CalledProcessError(1, "pip")

    with pytest.raises(WorkbookError, match="pip could not install accelerate") as error:
        colab.install_missing(pip)
    assert "\n" not in str(error.value)


def test_a_kernel_without_torch_is_sent_to_make_lab(host, monkeypatch):
    calls, pip = host()
    monkeypatch.setattr(colab, "_installed", {}.get)
    with pytest.raises(WorkbookError, match="make lab"):
        colab.install_missing(pip)
    assert calls == []
