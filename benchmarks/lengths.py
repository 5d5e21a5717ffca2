"""How long ToolBench's training rows are with OPT's tokenizer, and where their targets stand: numbers only, for lesson 04.

    TOOLBENCH_DIR=... python benchmarks/lengths.py [--output docs/results/toolbench_lengths.json]

Reads every answer tree below TOOLBENCH_DIR/raw_trees, makes its step rows, and records a line of counts for each. No text of ToolBench's
is written: a row's name is its tree's file and its number.
"""

import argparse
import hashlib
import os
import statistics
import sys
from pathlib import Path

from toolslm_helpers.files import atomic_write_json, repository_root
from toolslm_helpers.results import provenance
from toolslm_helpers.text.lengths import RECORDED, RecordedLengths, lengths_of_trees, rows_without_target
from toolslm_helpers.text.tokenizer import load_opt_tokenizer

SOURCE = "answer trees of OpenBMB/ToolBench at d56fdd8, data_example/answer, as far as they lie below TOOLBENCH_DIR"


def measure(folder: Path) -> RecordedLengths:
    """The lengths of all step rows below ``folder``/raw_trees."""
    vocabulary, merges = folder / "opt_tokenizer" / "gpt2-vocab.json", folder / "opt_tokenizer" / "gpt2-merges.txt"
    tokenizer = load_opt_tokenizer(vocabulary, merges)
    found = lengths_of_trees(folder, tokenizer)
    made_with = provenance()
    return RecordedLengths(
        source=SOURCE,
        trees=len(found),
        usable=sum(map(bool, found.values())),
        tokenizer=hashlib.sha256(vocabulary.read_bytes()).hexdigest(),
        commit=made_with["commit"],
        versions=made_with["versions"],
        rows=tuple(row for rows in found.values() for row in rows),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=repository_root() / "docs" / "results" / RECORDED)
    asked = parser.parse_args()
    folder = Path(os.environ.get("TOOLBENCH_DIR") or "not-set")
    if not folder.is_dir():
        print("benchmarks/lengths.py needs ToolBench's files: set TOOLBENCH_DIR to a folder with raw_trees/ and opt_tokenizer/.")
        return 2
    record = measure(folder)
    atomic_write_json(asked.output, record.model_dump(mode="json"))
    rows = record.rows
    print(
        f"{len(rows)} rows of {record.usable} of {record.trees} trees; median {statistics.median(r.tokens for r in rows):,.0f} tokens"
    )
    for limit in (1024, 2048, 4096):
        longer = sum(row.tokens > limit for row in rows)
        print(f"over {limit:,}: {longer}; cut on the right: no target left in {rows_without_target(rows, limit, 'right')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
