"""The table of the paper's hyperparameters: all of them, each explained, and this size's as the trainer has them."""

from dataclasses import replace

import pytest

from toolslm_helpers.sizes import SIZES, SMOKE
from toolslm_helpers.teaching.paper_settings import paper_settings
from toolslm_helpers.training.sft import trainer_settings

# arXiv 2512.15943, written here a second time by hand.
PAPER = {
    "model": "facebook/opt-350m", "training examples": "187,542", "epochs": "1", "graded tokens": "not stated",
    "training length": "not stated", "batch size": "8", "accumulation": "4", "effective batch size": "32", "optimiser steps": "5,860",
    "optimiser": "AdamW", "learning rate": "5e-05", "warm-up steps": "100", "schedule": "not stated", "gradient clipping": "0.3",
    "weight decay": "0.01", "precision": "fp16", "gradient checkpointing": "yes", "dataloader workers": "4", "pinned memory": "yes",
}  # fmt: skip


def rows_of(size, tmp_path, **changes):
    return {row.name: row for row in paper_settings(size, trainer_settings(size, 0, tmp_path, **changes), 1_465_920, 158, 20)}


def test_the_paper_s_values_are_the_paper_s(tmp_path):
    assert {name: row.paper for name, row in rows_of(SMOKE, tmp_path).items()} == PAPER


def test_every_row_says_what_it_does_and_every_difference_why(tmp_path):
    rows = rows_of(SMOKE, tmp_path)
    assert all(row.does for row in rows.values()) and all(row.why for row in rows.values() if row.differs)
    assert (rows["optimiser"].here, rows["schedule"].here) == ("AdamW", "linear, to 0")
    assert (rows["training examples"].here, rows["optimiser steps"].here) == ("158", "20")
    assert "226 times smaller" in rows["model"].why


@pytest.mark.parametrize("fused", [True, False])
def test_adamw_is_adamw_in_one_kernel_too(tmp_path, fused):
    assert not rows_of(SMOKE, tmp_path, fused=fused)["optimiser"].differs


def test_size_full_differs_only_where_the_paper_says_nothing_or_the_machine_has_no_gpu(tmp_path):
    full = replace(SIZES["full"], precision="fp32")  # fp16 settings need a GPU
    rows = paper_settings(full, trainer_settings(full, 0, tmp_path), 331_196_416, 187_542, 5_860)
    differing = {row.name for row in rows if row.differs}
    assert differing - {"pinned memory"} == {"graded tokens", "training length", "schedule", "precision", "dataloader workers"}
