"""Queries over several processes: each has its part, all get the whole, and it is what one process gets."""

import pickle
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.evaluation import sharing
from toolslm_helpers.evaluation.controls import CONTROLS
from toolslm_helpers.evaluation.tooleval import evaluate_agent
from toolslm_helpers.files import repository_root


def as_process(monkeypatch, rank, size):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(size))


@settings(deadline=None)  # the first call imports accelerate
@given(st.integers(0, 30), st.integers(1, 5))
def test_the_parts_hold_everything_once(total, size):
    items = list(range(total))
    with pytest.MonkeyPatch.context() as monkeypatch:
        parts = []
        for rank in range(size):
            as_process(monkeypatch, rank, size)
            parts.append(list(sharing.share(items)))
        assert sorted(sum(parts, [])) == items and max(map(len, parts)) - min(map(len, parts)) <= 1
        monkeypatch.setattr("accelerate.PartialState", lambda cpu: None)
        monkeypatch.setattr("accelerate.utils.gather_object", lambda part: parts)
        assert sharing.together(parts[-1], total) == items, "in their order, in every process"


def test_one_process_keeps_what_it_has_and_parts_that_do_not_fit_are_told(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert sharing.process()[1] == 1 and sharing.share([1, 2]) == [1, 2] and sharing.together([1, 2], 2) == [1, 2]
    with pytest.raises(ValueError, match="parts of 2 items for 3 in all"):
        sharing.together([1, 2], 3)


RUN = """
import pickle, sys
from dataclasses import replace
from toolslm_helpers.data.world import build_world
from toolslm_helpers.evaluation.controls import CONTROLS
from toolslm_helpers.evaluation.sharing import process
from toolslm_helpers.evaluation.tooleval import evaluate_agent
from toolslm_helpers.sizes import get_size
size = replace(get_size("smoke"), eval_queries_per_set=3)
found = evaluate_agent(CONTROLS["dump everything"], build_world(), size, 0)
pickle.dump(found, open(f"{sys.argv[1]}/{process()[0]}", "wb"))
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    """With torchrun, which is what ``accelerate launch`` uses for several GPUs; on CPUs it starts one process only."""
    from dataclasses import replace

    from toolslm_helpers.data.world import build_world
    from toolslm_helpers.sizes import get_size

    (tmp_path / "run.py").write_text(RUN)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "run.py"), str(tmp_path)], cwd=repository_root(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = evaluate_agent(CONTROLS["dump everything"], build_world(), replace(get_size("smoke"), eval_queries_per_set=3), 0)
    for rank in ("0", "1"):
        assert pickle.loads((tmp_path / rank).read_bytes()) == alone
