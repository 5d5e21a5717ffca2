"""The SageMaker launcher, without AWS: what the estimator is made with, what is sent, and that its arguments are ours and the SDK's."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from toolslm_helpers import cli
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.training import sagemaker
from toolslm_helpers.training.sagemaker import ENTRY, Job, channels, estimator_arguments, stage

JOB = Job("role", "image:1", "s3://bucket/prepared", "s3://bucket/run/")
NAMED = ["--role", "role", "--image", "image:1", "--prepared", "s3://bucket/prepared", "--keep", "s3://bucket/run/"]


def test_a_spot_job_keeps_its_checkpoints_and_may_wait():
    found = estimator_arguments(JOB, Path("source"))
    assert found["use_spot_instances"] and found["max_wait"] >= found["max_run"] == 24 * 3600
    assert found["checkpoint_s3_uri"] == "s3://bucket/run/checkpoints"
    assert found["checkpoint_local_path"] == found["hyperparameters"]["output"], (
        "what is not written there is lost with the instance"
    )
    assert found["hyperparameters"]["prepared"] == f"/opt/ml/input/data/{next(iter(channels(JOB)))}"
    assert found["distribution"] == {"torch_distributed": {"enabled": True}}
    demand = estimator_arguments(Job("role", "image:1", "s3://b/p", "s3://b/r", spot=False, instances=2, hours=3), Path("source"))
    assert not {"use_spot_instances", "max_wait"} & set(demand) and (demand["instance_count"], demand["max_run"]) == (2, 10_800)


def test_hyperparameters_are_options_of_sft():
    """SageMaker passes each as --name value."""
    options = {name for one in typer.main.get_command(cli.app).commands["sft"].params for name in one.opts}
    given = estimator_arguments(JOB, Path("source"))["hyperparameters"]
    assert {f"--{name}" for name in given} <= options
    command = typer.main.get_command(cli.app).commands["sft"]
    arguments = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    parsed = command.make_context("sft", arguments).params
    assert (parsed["size"], parsed["save_every"], str(parsed["output"])) == ("full", 100, "/opt/ml/checkpoints")
    with pytest.raises(Exception, match="No such option: --save_every"):
        command.make_context("sft", ["--save_every", "100"])


@pytest.mark.parametrize("wrong", [{"prepared": "/data"}, {"keep": "bucket/run"}, {"instances": 0}])
def test_a_job_that_cannot_run_is_refused(wrong):
    values = {"role": "r", "image": "i", "prepared": "s3://b/p", "keep": "s3://b/r"} | wrong
    with pytest.raises(WorkbookError, match="expected"):
        Job(**values)


def test_what_is_sent_runs_by_itself(tmp_path):
    """The entry point, with the package that was sent beside it and no other: it is `toolslm sft`."""
    folder = stage(tmp_path / "sent" if (tmp_path / "sent").mkdir() is None else tmp_path)
    assert (folder / "requirements.txt").is_file() and not list(folder.rglob("__pycache__"))
    done = subprocess.run([sys.executable, ENTRY, "--size", "huge", "--output", "x"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2 and "SIZE is 'huge'" in done.stderr


def test_the_entry_point_hands_the_weights_over(tmp_path, monkeypatch):
    output, model = tmp_path / "checkpoints", tmp_path / "model"
    (output / "trainer").mkdir(parents=True)
    model.mkdir()
    (output / "model.safetensors").write_text("weights")
    monkeypatch.setattr(sys, "argv", [ENTRY, "--size", "full", "--output", str(output)])
    monkeypatch.setenv("SM_MODEL_DIR", str(model))
    calls = []
    monkeypatch.setattr(cli, "main", lambda: calls.append(list(sys.argv)) or sys.exit(0))
    exec(compile(sagemaker.ENTRY_TEXT, ENTRY, "exec"), {})
    assert calls == [["toolslm", "sft", "--size", "full", "--output", str(output)]]
    assert [path.name for path in model.iterdir()] == ["model.safetensors"]
    monkeypatch.setattr(cli, "main", lambda: sys.exit(2))
    monkeypatch.setattr(sys, "argv", [ENTRY, "--output", str(output)])
    with pytest.raises(SystemExit):
        exec(compile(sagemaker.ENTRY_TEXT, ENTRY, "exec"), {})


def test_launching_makes_the_estimator_and_fits(monkeypatch, capsys):
    made = []

    class HuggingFace:
        def __init__(self, **arguments):
            assert (Path(arguments["source_dir"]) / ENTRY).is_file(), "the folder must be there when the SDK reads it"
            made.append(arguments)

        def fit(self, inputs, wait):
            made.append((inputs, wait))

    module = ModuleType("sagemaker.huggingface")
    module.HuggingFace = HuggingFace
    monkeypatch.setitem(sys.modules, "sagemaker", ModuleType("sagemaker"))
    monkeypatch.setitem(sys.modules, "sagemaker.huggingface", module)
    assert sagemaker.main([*NAMED, "--instance", "ml.g5.12xlarge", "--seed", "3", "--wait"]) == 0
    assert made[0] == estimator_arguments(Job(*NAMED[1::2], instance="ml.g5.12xlarge", seed=3), Path(made[0]["source_dir"]))
    assert made[1] == ({"prepared": "s3://bucket/prepared"}, True)


def test_without_the_sdk_it_says_what_to_install_and_a_dry_run_needs_none(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sagemaker", None)
    assert sagemaker.main([*NAMED, "--dry-run"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["estimator"]["role"] == "role" and shown["fit"] == {"prepared": "s3://bucket/prepared"}
    assert sagemaker.main(NAMED) == 2
    assert 'pip install "sagemaker<3"' in capsys.readouterr().err
    assert sagemaker.main([*NAMED[:-1], "bucket"]) == 2


def test_the_sdk_knows_every_argument():
    """Against the SDK itself, where it is installed ([sagemaker]): it takes any name and forgets what it does not know."""
    huggingface = pytest.importorskip("sagemaker.huggingface", reason="the extra [sagemaker] is not installed")
    known = {name for one in huggingface.HuggingFace.__mro__ for name in inspect.signature(one.__init__).parameters}
    assert set(estimator_arguments(JOB, Path("source"))) <= known
