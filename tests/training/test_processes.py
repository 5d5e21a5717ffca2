"""Several processes: the examples of a step stay as many, and two processes train as one does."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from toolslm_helpers.files import WorkbookError, read_json, repository_root
from toolslm_helpers.model.checkpoints import new_model, save_model
from toolslm_helpers.sizes import FULL, TINY
from toolslm_helpers.training.order import FILLER, fill
from toolslm_helpers.training.processes import process, rescaled, share_of


@pytest.mark.parametrize(
    ("processes", "full", "tiny"),
    [(1, (8, 4), (4, 1)), (2, (8, 2), (2, 1)), (4, (8, 1), (1, 1))],
)
def test_the_effective_batch_is_that_of_one_process(processes, full, tiny):
    for size, expected in ((FULL, full), (TINY, tiny)):
        share = share_of(size, processes)
        assert (share.batch_size, share.accumulation) == expected
        assert share.effective_batch_size * processes == size.effective_batch_size
        assert replace(share, batch_size=size.batch_size, accumulation=size.accumulation) == size  # nothing else changes


def test_a_step_that_cannot_be_shared_is_refused():
    with pytest.raises(WorkbookError, match="32 examples cannot be shared by 3 processes"):
        share_of(FULL, 3)
    assert share_of(replace(FULL, batch_size=3, accumulation=4), 2) == replace(FULL, batch_size=3, accumulation=2)


@pytest.mark.parametrize(
    ("rows", "examples", "processes", "batch", "accumulation"),
    [
        (35, 12, 1, 1, 11),  # 32 x 12 / 35 = 10.97
        (187_542, 64_000, 1, 1, 11),
        (35, 12, 2, 5, 2),  # 10.97, as a number that two can share
        (32, 12, 1, 6, 2),
        (9, 9, 1, 8, 4),  # nothing was merged
        (1000, 10, 4, 4, 1),  # never fewer than one a process
    ],
)
def test_merged_examples_make_a_step_of_as_many_targets(rows, examples, processes, batch, accumulation):
    found = rescaled(FULL, rows, examples, processes)
    assert found == replace(FULL, batch_size=batch, accumulation=accumulation)
    assert share_of(found, processes).effective_batch_size * processes == found.effective_batch_size
    if processes == 1 and rows < 1000:
        assert abs(found.effective_batch_size * rows / examples - 32) <= rows / examples / 2


def test_fillers_make_the_last_batches_equal(monkeypatch):
    assert fill([3, 1, 2], 4) == [3, 1, 2, FILLER] and fill([3, 1], 2) == [3, 1] and fill([], 4) == []
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert process() == (1, 2)


# What every process runs: (start, output).
RUN = """
import sys
from dataclasses import replace
from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.world import build_world
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.training import sft
sft.LOG_EVERY = 1
size = replace(SMOKE, batch_size=4, accumulation=2, warmup_steps=1)
sft.train(size, 3, sys.argv[2], gold_trajectories(build_world(), 29), start=sys.argv[1], save_every=2)
"""


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """29 examples, 8 a step: the last step has five, four of one process and one, with three fillers, of the other."""
    small = new_model(0, hidden_size=32, num_attention_heads=4, word_embed_proj_dim=16, ffn_dim=64, num_hidden_layers=1)
    start = save_model(small, tmp_path / "start")
    script = tmp_path / "run.py"
    script.write_text(RUN)
    alone = [sys.executable, "-W", "ignore"]
    together = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = os.environ | {"PYTHONPATH": str(repository_root()), "OMP_NUM_THREADS": "1"}
    for command, name in ((alone, "one"), (together, "two")):
        done = subprocess.run([*command, script, start, tmp_path / name], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (read_json(tmp_path / name / "training.json") for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2) and one["steps"] == two["steps"] == 4
    assert (one["examples"], one["supervised_tokens"]) == (two["examples"], two["supervised_tokens"])
    for (step, loss, rate, norm), (step_2, loss_2, rate_2, norm_2) in zip(one["curve"], two["curve"], strict=True):
        assert (step, rate) == (step_2, rate_2)
        assert loss_2 == pytest.approx(loss, abs=1e-4) and norm_2 == pytest.approx(norm, rel=1e-3)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    assert all(torch.allclose(tensor, weights[1][name], atol=2e-4) for name, tensor in weights[0].items())
    assert (tmp_path / "two" / "log.jsonl").read_text().count('"event": "start"') == 1  # the first process alone writes
