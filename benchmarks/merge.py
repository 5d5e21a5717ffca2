"""How much merging saves: rows, tokens and multiplications, on ToolBench's real trees and on the world's trajectories.

    TOOLBENCH_DIR=... python benchmarks/merge.py [trajectories]

Without TOOLBENCH_DIR only the world is counted. Before anything is reported, step rows and merged examples must supervise the same
number of tokens. FLOPs are of one training pass, forward and backward: for OPT-350M on the real rows, for opt-mini on the world's.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import OPTConfig

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.merge import merge_rows, step_rows
from toolslm_helpers.data.records import Trajectory
from toolslm_helpers.data.toolbench import read_tree, training_rows, trajectory_of
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import read_json
from toolslm_helpers.model.checkpoints import OPT_MINI
from toolslm_helpers.model.counting import OPT_350M, Decoder, decoder_of, training_flops
from toolslm_helpers.text.flatten import FlatDataset, flatten_all
from toolslm_helpers.text.tokenizer import load_opt_tokenizer, load_small_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Saving:
    """What a set of rows costs as step rows and merged. FLOPs of one pass."""

    name: str
    rows: int
    examples: int
    tokens: int
    merged_tokens: int
    supervised: int
    flops: float
    merged_flops: float
    merge_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.name:<44}{self.rows:>7,} -> {self.examples:<7,}{self.tokens:>10,} -> {self.merged_tokens:<10,}"
            f"{self.tokens / self.merged_tokens:>6.2f} x{self.supervised:>10,}{self.flops / self.merged_flops:>8.2f} x"
            f"{1000 * self.merge_seconds:>9.1f}"
        )


def saving(name: str, rows: Sequence[Trajectory], tokenizer: "PreTrainedTokenizerFast", model: Decoder) -> Saving:
    """Merges ``rows`` and counts. Raises ValueError where the merged examples do not supervise as many tokens as the rows."""
    start = time.perf_counter()
    examples = merge_rows(rows)
    seconds = time.perf_counter() - start
    apart, merged = flatten_all(rows, tokenizer, supervise="last"), flatten_all(examples, tokenizer)
    if apart.refused or merged.refused or apart.supervised != merged.supervised:
        raise ValueError(
            f"{name}: {apart.supervised:,} supervised tokens before, {merged.supervised:,} after; {len(apart.refused)} and "
            f"{len(merged.refused)} refused. A saving would mean nothing."
        )
    return Saving(
        name,
        len(rows),
        len(examples),
        apart.tokens,
        merged.tokens,
        merged.supervised,
        flops(apart, model),
        flops(merged, model),
        seconds,
    )


def flops(data: FlatDataset, model: Decoder) -> float:
    """FLOPs of one training pass over the examples, each by itself."""
    return sum(training_flops(model, len(example)) for example in data.examples)


def real_rows(folder: Path, *, compat: bool) -> list[Trajectory]:
    """The rows of the trees that have goldens."""
    names = read_json(folder / "golden" / "toolllama_conversations_from_trees.json")
    trees = [read_tree(folder / "raw_trees" / name) for name in names]
    return [trajectory_of(row) for tree in trees for row in training_rows(tree, compat=compat)]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    savings = []
    folder = Path(os.environ.get("TOOLBENCH_DIR") or "not-set")
    if folder.is_dir():
        opt = load_opt_tokenizer(folder / "opt_tokenizer" / "gpt2-vocab.json", folder / "opt_tokenizer" / "gpt2-merges.txt")
        for compat, name in ((True, "real rows, as upstream makes them"), (False, "real rows, mended")):
            savings.append(saving(name, real_rows(folder, compat=compat), opt, OPT_350M))
    else:
        print("TOOLBENCH_DIR is not set: no real rows. It names a folder with raw_trees/, golden/ and opt_tokenizer/.\n")
    mini = decoder_of(OPTConfig(**OPT_MINI), "opt-mini")
    trajectories = gold_trajectories(build_world(), count)
    rows = [row for trajectory in trajectories for row in step_rows(trajectory)]
    savings.append(saving(f"the world's step rows, {count:,} trajectories", rows, load_small_tokenizer(), mini))
    print(f"{'':<44}{'rows':>10}{'tokens':>24}{'fewer':>16}{'trained':>10}{'FLOPs':>10}{'merging, ms':>14}")
    for one in savings:
        print(one)
    return 0


if __name__ == "__main__":
    sys.exit(main())
