"""Read, flatten and mask, beside TRL's own path: the same rows, the same tokenizer, both in this one process, taking turns.

    TOOLBENCH_DIR=... python benchmarks/flatten.py [--rows 20000] [--shuffled]

The rows are step rows of real answer trees, repeated so that only what repeats in real data repeats (benchmarks/salted.py), in a file like
the one that ToolBench released. Ours is timed from the file: read, flatten, mask. TRL's is timed from rows in memory: apply_chat_template
with the assistant mask, then its labels. Of every row, ids and labels must be the same in both; that is checked outside the timed parts.
"""

import argparse
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from salted import opt_tokenizer, real_rows, write_salted

from toolslm_helpers.data.folder import toolbench_folder
from toolslm_helpers.data.records import Trajectory
from toolslm_helpers.data.stream import RowStream
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.text.encoder import encoder_of
from toolslm_helpers.text.flatten import IGNORED, flatten_each

TURN = 1024  # rows that one path takes before it is the other's turn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--shuffled", action="store_true", help="the rows of a query far apart: nothing is kept that long")
    asked = parser.parse_args()
    folder = toolbench_folder()
    tokenizer, rows = opt_tokenizer(folder), real_rows(folder)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "rows.json"
        size = write_salted(file, rows, asked.rows, asked.shuffled)
        print(
            f"{asked.rows:,} rows made of {len(rows)} real ones, {size / 1e6:,.0f} MB{', shuffled' * asked.shuffled}", flush=True
        )
        return compare(file, tokenizer)


def compare(file: Path, tokenizer) -> int:
    """Times both paths over the rows of ``file``, and prints what came out."""
    ours = flatten_each((whole(row) for row in RowStream(file)), tokenizer)
    rows = iter(RowStream(file))
    for row in islice(RowStream(file), 4):  # the first calls pay for lazy imports
        stock([{"role": message.role, "content": message.content} for message in row.conversations], tokenizer)
    clocks, done, tokens = {"ours": Clock(), "TRL": Clock()}, 0, 0
    while True:
        with clocks["ours"]:
            examples = list(islice(ours, TURN))
        if not examples:
            break
        chats = [[{"role": m.role, "content": m.content} for m in row.conversations] for row in islice(rows, TURN)]
        with clocks["TRL"]:
            theirs = [stock(chat, tokenizer) for chat in chats]
        for example, (ids, labels) in zip(examples, theirs, strict=True):
            if not np.array_equal(example.input_ids, ids) or not np.array_equal(example.labels, labels):
                print(f"{example.id}: the two paths differ; a time would mean nothing.")
                return 1
        done, tokens = done + len(examples), tokens + sum(map(len, examples))
    print(f"{done:,} rows, {tokens:,} tokens: the same ids and labels in both\n")
    print(f"{'path':<34}{'s':>8}{'rows/s':>10}{'tokens/s':>14}{'CPU s':>10}")
    for name, label in (("ours", "read, flatten, mask"), ("TRL", "apply_chat_template, build labels")):
        clock = clocks[name]
        print(f"{label:<34}{clock.wall:>8.1f}{done / clock.wall:>10.0f}{tokens / clock.wall:>14,.0f}{clock.cpu:>10.1f}")
    ratios = clocks["TRL"].wall / clocks["ours"].wall, clocks["TRL"].cpu / clocks["ours"].cpu
    print(f"\nours is {ratios[0]:.2f} times as fast, on {ratios[1]:.2f} times less processor time")
    counts = encoder_of(tokenizer).counts
    kept, messages = 1 - counts.tokens_new / counts.tokens, 1 - counts.messages_new / counts.messages
    print(f"kept from before: {kept:.1%} of tokens, {messages:.1%} of messages")
    return 0


class Clock:
    """Adds up the seconds spent inside it, on the wall and on all processors."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._began[0]
        self.cpu += time.process_time() - self._began[1]


def whole(row) -> Trajectory:
    """A row's conversation, without reading its functions."""
    return Trajectory(id=row.id, query="", functions=(), messages=row.conversations)


def stock(chat: list[dict[str, str]], tokenizer) -> tuple[list[int], list[int]]:
    """TRL's path (SFTTrainer._prepare_dataset: tokenize_fn, then build_labels): (ids, labels)."""
    found = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    labels = [id_ if mask else IGNORED for id_, mask in zip(found["input_ids"], found["assistant_masks"], strict=False)]
    return found["input_ids"], labels


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkbookError as error:
        sys.exit(str(error))
