"""What merging saves on ToolBench's real rows and on the world's, as benchmarks/merge.py recorded it."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from toolslm_helpers.data.counts import counts_file, read_counts
from toolslm_helpers.data.records import Record, _as_tuple

RECORDED = "merge"


class RecordedSaving(Record):
    """One set of rows, as step rows and merged. FLOPs are of one training pass of ``model``."""

    name: str
    model: str
    rows: int
    examples: int
    tokens: int
    merged_tokens: int
    supervised: int  # the same in both
    flops: int
    merged_flops: int


class RecordedSavings(Record):
    """The record, and what it was made with."""

    source: str  # which trees, in words
    commit: str
    versions: dict[str, str]
    savings: Annotated[tuple[RecordedSaving, ...], BeforeValidator(_as_tuple)]


def recorded_savings(path: Path | None = None) -> RecordedSavings:
    """The record of docs/results. Raises DataError that says how to make it where it is missing or damaged."""
    return read_counts(RecordedSavings, path or counts_file(RECORDED), "merge.py")
