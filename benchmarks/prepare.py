"""From a file of training rows to examples on disk, as `toolslm prepare` does it: minutes, rows a second, peak memory.

    TOOLBENCH_DIR=... python benchmarks/prepare.py [--rows 187542] [--way shorten|whole|merge] [--shuffled]

The rows are step rows of real answer trees, repeated so that only what repeats in real data repeats (benchmarks/salted.py). Before the time is
told, every row must be accounted for and the examples on disk must be those of ``flatten``, looked at in a sample.
"""

import argparse
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from salted import opt_tokenizer, real_rows, write_salted

from toolslm_helpers.data.folder import toolbench_folder
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.sizes import get_size
from toolslm_helpers.text.flatten import flatten
from toolslm_helpers.training.prepare import Plan, Prepared, prepare

WAYS = {
    "shorten": Plan.of(get_size("full")),
    "whole": Plan(max_length=None, truncation="refuse"),
    "merge": Plan.of(get_size("full"), merge=True),
}
SAMPLE = 200  # rows that are flattened once more and compared


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=187_542)
    parser.add_argument("--way", choices=WAYS, default="shorten")
    parser.add_argument("--shuffled", action="store_true", help="the rows of a query far apart")
    asked = parser.parse_args()
    folder, plan = toolbench_folder(), WAYS[asked.way]
    tokenizer, rows = opt_tokenizer(folder), real_rows(folder)
    with tempfile.TemporaryDirectory() as temporary:
        file, output = Path(temporary) / "rows.json", Path(temporary) / "prepared"
        size = write_salted(file, rows, asked.rows, asked.shuffled)
        print(
            f"{asked.rows:,} rows made of {len(rows)} real ones, {size / 1e6:,.0f} MB{', shuffled' * asked.shuffled}", flush=True
        )
        began, began_cpu = time.perf_counter(), time.process_time()
        found = prepare(lambda start: TrajectoryStream(file, start), tokenizer, output, plan)
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
        if found.rows != asked.rows or not same(file, Prepared(output), tokenizer, plan):
            print(f"{found}: the examples are not those of the rows; a time would mean nothing.")
            return 1
        written = sum(path.stat().st_size for path in output.iterdir())
        print(
            f"{found.rows_in_examples:,} rows in {found.examples:,} examples, {found.rows_set_aside:,} set aside; {found.tokens:,} tokens,"
        )
        print(f"{found.supervised:,} supervised, {found.tokens_cut:,} cut; {written / 1e6:,.0f} MB on disk")
        print(
            f"{seconds / 60:.1f} minutes, {found.rows / seconds:,.0f} rows/s, {cpu:.0f} s on all processors; peak memory {peak:.2f} GiB"
        )
        prepared, places = Prepared(output), np.random.default_rng(0).integers(0, found.examples, 2000)
        began = time.perf_counter()
        read = sum(len(prepared[int(place)]) for place in places)
        print(f"read back in random order: {len(places) / (time.perf_counter() - began):,.0f} examples/s, {read:,} tokens")
    return 0


def same(file: Path, prepared: Prepared, tokenizer, plan: Plan) -> bool:
    """Whether the first examples on disk are what ``flatten`` makes of their rows (of merged rows: of as many supervised tokens)."""
    if plan.merge:
        return prepared.totals.rows_in_examples == prepared.totals.rows
    how = {"max_length": plan.max_length, "truncation": plan.truncation, "supervise": plan.supervise, "seed": plan.seed}
    pairs = zip((flatten(row, tokenizer, **how) for row in islice(TrajectoryStream(file), SAMPLE)), prepared, strict=False)
    return all(np.array_equal(a.input_ids, b.input_ids) and np.array_equal(a.loss_mask, b.loss_mask) for a, b in pairs)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkbookError as error:
        sys.exit(str(error))
