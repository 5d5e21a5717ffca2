"""Flattening beside the stock path: the same real rows, both in this one process, taking turns.

    TOOLBENCH_DIR=... python benchmarks/flatten.py [rounds]

Prints the best round of each path, in rows and tokens a second, and their ratio. Before anything is timed, both must give the
same ids and the same mask.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from toolslm_helpers.data.toolbench import read_tree, training_rows, trajectory_of
from toolslm_helpers.text.flatten import flatten
from toolslm_helpers.text.tokenizer import load_opt_tokenizer


def main() -> int:
    folder = Path(os.environ.get("TOOLBENCH_DIR") or "not-set")
    if not folder.is_dir():
        print("benchmarks/flatten.py needs ToolBench's files: set TOOLBENCH_DIR to a folder with raw_trees/ and opt_tokenizer/.")
        return 2
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    tokenizer = load_opt_tokenizer(folder / "opt_tokenizer" / "gpt2-vocab.json", folder / "opt_tokenizer" / "gpt2-merges.txt")
    trees = [read_tree(file) for file in sorted((folder / "raw_trees").glob("**/*.json"))]
    rows = [trajectory_of(row) for tree in trees for row in training_rows(tree)]
    chats = [[{"role": message.role, "content": message.content} for message in row.messages] for row in rows]

    def ours() -> list:
        return [flatten(row, tokenizer) for row in rows]

    def stock() -> list:
        return [tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True) for chat in chats]

    for example, theirs in zip(ours(), stock(), strict=True):
        mask = example.loss_mask.astype(int).tolist()
        if example.input_ids.tolist() != theirs["input_ids"] or mask != theirs["assistant_masks"]:
            print(f"{example.id}: the two paths differ; a time would mean nothing.")
            return 1
    tokens = sum(len(example) for example in ours())
    paths = {"flatten": ours, "apply_chat_template": stock}
    seconds = {name: min(times) for name, times in take_turns(paths, rounds).items()}
    print(f"{len(rows)} real rows, {tokens:,} tokens, best of {rounds} rounds, same ids and mask\n")
    print(f"{'path':<22}{'ms':>8}{'rows/s':>10}{'tokens/s':>14}{'time against stock':>21}")
    for name, best in seconds.items():
        ratio = best / seconds["apply_chat_template"]
        print(f"{name:<22}{1000 * best:>8.1f}{len(rows) / best:>10.0f}{tokens / best:>14,.0f}{ratio:>21.3f}")
    return 0


def take_turns(paths: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round of every path; in turns, so that a machine that slows down slows both."""
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(rounds):
        for name, run in paths.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    sys.exit(main())
