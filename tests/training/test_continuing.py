"""A run that is killed goes on to the weights of one that was not; half a checkpoint is none; a full disk costs nothing that was saved."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.toolbench import write_rows
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import WorkbookError, read_json, repository_root
from toolslm_helpers.model.checkpoints import new_model, save_model
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training import continuing, sft
from toolslm_helpers.training.prepare import Plan, prepare
from toolslm_helpers.training.runlog import read_log
from toolslm_helpers.training.shards import Prepared

SIZE = replace(SMOKE, batch_size=2, accumulation=2, warmup_steps=1, max_length=700, truncation="shorten")
ROWS = gold_trajectories(build_world(), 46, "toolbench")  # 12 steps, the last of which is short


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """With dropout, so that the state of the random numbers must come back too."""
    model = new_model(
        0, hidden_size=32, num_attention_heads=4, word_embed_proj_dim=16, ffn_dim=64, num_hidden_layers=1, dropout=0.1
    )
    return save_model(model, tmp_path_factory.mktemp("start") / "model")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    file = write_rows(folder / "rows.json", ROWS)
    plan = replace(Plan.of(SIZE, seed=5), shard=7)
    prepare(lambda begin: TrajectoryStream(file, begin), load_small_tokenizer(), folder / "prepared", plan)
    return folder / "prepared"


@pytest.fixture(autouse=True)
def logged_often(monkeypatch):
    monkeypatch.setattr(sft, "LOG_EVERY", 2)


@pytest.fixture(scope="module")
def whole(start, prepared, tmp_path_factory):
    """The run that nothing stops, without a checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "LOG_EVERY", 2)
        return sft.train(SIZE, 5, folder, Prepared(prepared), start=start), folder


# What a process of its own runs: (start, prepared, output, step to die at, "before" or "inside" the writing of a checkpoint).
RUN = f"""
import os, signal, sys
from dataclasses import replace
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.training import sft, trainer
from toolslm_helpers.training.shards import Prepared
sft.LOG_EVERY = 2
start, prepared, output, step, place = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
def on_step(done, total, loss):
    if place == "before" and done == int(step):
        die()
true = trainer.mark_whole
trainer.mark_whole = lambda path: die() if place == "inside" and path.name == f"checkpoint-{{step}}" else true(path)
size = replace(SMOKE, batch_size={SIZE.batch_size}, accumulation={SIZE.accumulation}, warmup_steps=1, max_length=700, truncation="shorten")
sft.train(size, 5, output, Prepared(prepared), start=start, save_every=4, on_step=on_step)
"""


def run(*arguments):
    environment = os.environ | {"PYTHONPATH": str(repository_root()), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-W", "ignore", "-c", RUN, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def equal(one, other):
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(start, prepared, whole, tmp_path):
    """SIGKILL before the first checkpoint, between two, and with all files of one written but its word; then to the end."""
    record, folder = whole
    kept = []
    for step, place in ((3, "before"), (7, "before"), (8, "inside"), (11, "before")):
        assert run(start, prepared, tmp_path, step, place).returncode == -signal.SIGKILL
        found = continuing.last_whole(tmp_path / "trainer")
        kept.append(found and continuing.step_of(found))
        assert not (tmp_path / "model.safetensors").exists()
    assert kept == [None, 4, 4, 8]
    done = run(start, prepared, tmp_path, 0, "never")
    assert done.returncode == 0, done.stderr
    assert equal(tmp_path, folder)
    again = read_json(tmp_path / "training.json")
    assert again["curve"] == [list(point) for point in record.curve] and again["steps"] == record.steps == 12
    assert continuing.checkpoints(tmp_path / "trainer") == []  # their work is done
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6, 8, 10, 12]
    assert [line["step"] for line in lines if line.get("event") == "resume"] == [4, 4, 8]
    assert [line["loss"] for line in lines if "loss" in line] == [point[1] for point in record.curve]
    seconds = [line["seconds"] for line in lines if "loss" in line]
    assert seconds == sorted(seconds)


class Stopped(Exception):
    pass


def stopping(step):
    def on_step(done, total, loss):
        if done == step:
            raise Stopped

    return on_step


def test_rows_in_memory_go_on_as_well_and_the_order_of_rows_is_exact(start, whole, tmp_path, monkeypatch):
    """Every row of the epoch is seen once by the two halves of the run together, in the order of the run that was not stopped."""
    from toolslm_helpers.training.collators import CheckedCollator

    seen = []

    class Watching(CheckedCollator):
        def __call__(self, rows):
            seen.append([row["place"] for row in rows])
            return super().__call__(rows)

    monkeypatch.setattr(sft, "CheckedCollator", Watching)
    with pytest.raises(Stopped):
        sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4, on_step=stopping(8), collator=Watching)
    before = list(seen)
    seen.clear()
    sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4, collator=Watching)
    assert equal(tmp_path, whole[1])
    assert seen[0] == before[8] and len(seen) == 23 - 8, (
        "it goes on with the batch after the second checkpoint or reads rows again"
    )
    assert sorted(place for batch in [*before[:8], *seen] for place in batch) == list(range(46))


def test_a_run_killed_after_its_last_step_only_has_to_be_saved(start, whole, tmp_path, monkeypatch):
    def full(*arguments):
        raise WorkbookError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(sft, "save_model", full)
        with pytest.raises(WorkbookError, match="no space"):
            sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4)
    steps = []
    record = sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4, on_step=lambda *step: steps.append(step))
    assert equal(tmp_path, whole[1]) and steps == [] and record.steps == 12 and record.curve == whole[0].curve


@pytest.mark.parametrize("change", ["seed", "data", "size"])
def test_another_run_is_not_continued(start, tmp_path, change):
    with pytest.raises(Stopped):
        sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4, on_step=stopping(5))
    size = replace(SIZE, learning_rate=1e-9) if change == "size" else SIZE
    data = [*ROWS[1:], ROWS[0]] if change == "data" else ROWS
    named = "data, seed" if change == "seed" else change  # what is shortened depends on the seed
    with pytest.raises(WorkbookError, match=f"another run was stopped there after 4 steps: {named} differ"):
        sft.train(size, 6 if change == "seed" else 5, tmp_path, data, start=start, save_every=4)
    assert continuing.last_whole(tmp_path / "trainer").name == "checkpoint-4"


@pytest.mark.parametrize("what", ["weights", "optimiser"])
def test_a_disk_that_is_full_says_so_and_the_run_goes_on_from_the_checkpoint_before(start, whole, tmp_path, monkeypatch, what):
    import safetensors.torch
    from transformers import Trainer

    real = {"weights": Trainer._save, "optimiser": Trainer._save_optimizer_and_scheduler}[what]

    def full(self, output_dir, *arguments, **named):
        if self.state.global_step == 8:
            with open(os.path.join(output_dir, "half"), "wb") as file:
                file.write(b"half a file")
            raise (
                OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if what == "weights" else RuntimeError("unexpected pos 64 vs 0")
            )
        return real(self, output_dir, *arguments, **named)

    with monkeypatch.context() as patch:
        os.makedirs(tmp_path / "trainer" / "checkpoint-8")
        patch.setattr(Trainer, real.__name__, full)
        with pytest.raises(WorkbookError, match="checkpoint-8: could not be written.*GB are free. checkpoint-4 is kept.*goes on"):
            sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4)
    assert [path.name for path in continuing.checkpoints(tmp_path / "trainer")] == ["checkpoint-4"]
    sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4)
    assert equal(tmp_path, whole[1])
    assert safetensors.torch.load_file(tmp_path / "model.safetensors")


@pytest.fixture(params=["disk", "limit"])
def hardly_any_space(request, tmp_path):
    """(folder, when, what to do) to have 64 KB left there: really little on a disk of its own, or a limit on how large a file may become."""
    if request.param == "limit":
        resource = pytest.importorskip("resource", reason="no limits on this system")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield (
            tmp_path,
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard)),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
        )
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk of 8 MB")
    ballast = folder / "ballast"
    try:
        yield folder, lambda: ballast.write_bytes(bytes(shutil.disk_usage(folder).free - 65_536)), ballast.unlink
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_really_fills_up_leaves_the_checkpoint_before_whole(start, whole, hardly_any_space):
    """The system itself says no, wherever in the writing that is: torch, safetensors and json each say it in their own way."""
    folder, take, give_back = hardly_any_space
    with pytest.raises(WorkbookError, match="checkpoint-8: could not be written.*GB are free. checkpoint-4 is kept.*goes on"):
        sft.train(SIZE, 5, folder, ROWS, start=start, save_every=4, on_step=lambda done, *_: take() if done == 7 else None)
    assert [path.name for path in continuing.checkpoints(folder / "trainer")] == ["checkpoint-4"]
    assert all(
        tensor.isfinite().all() for tensor in load_file(folder / "trainer" / "checkpoint-4" / "model.safetensors").values()
    )
    give_back()
    steps = []
    sft.train(SIZE, 5, folder, ROWS, start=start, save_every=4, on_step=lambda done, *_: steps.append(done))
    assert steps == list(range(5, 13)) and equal(folder, whole[1])


def test_too_little_space_is_said_before_the_first_step(start, tmp_path, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(continuing.shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    steps = []
    with pytest.raises(WorkbookError, match="0.0 GB are free, and checkpoints of this run need"):
        sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4, on_step=lambda *step: steps.append(step))
    assert steps == []
    assert sft.train(SIZE, 5, tmp_path, ROWS[:8], start=start).steps == 2  # without checkpoints it needs no such space


def test_weights_that_are_no_numbers_are_not_saved(start, tmp_path, monkeypatch):
    """A step may overflow with a finite loss: its weights must not become the checkpoint to go on from."""

    def poison(done, total, loss):
        if done == 8:
            next(iter(models[0].parameters())).data[0] = float("inf")

    models, true = [], sft.load_start
    monkeypatch.setattr(sft, "load_start", lambda name: models.append(true(name)[0]) or (models[0], load_small_tokenizer()))
    with pytest.raises(WorkbookError, match="numbers that are not finite after step 8: nothing was saved"):
        sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=4, on_step=poison)
    assert continuing.last_whole(tmp_path / "trainer").name == "checkpoint-4"


def test_a_checkpoint_must_fall_on_a_logged_step(start, tmp_path):
    with pytest.raises(WorkbookError, match="every 3 steps: expected a multiple of 2"):
        sft.train(SIZE, 5, tmp_path, ROWS, start=start, save_every=3)
