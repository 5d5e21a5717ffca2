"""Counts of real data that may not be shipped itself: files under docs/results that a script in benchmarks/ wrote, numbers only."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from toolslm_helpers.data.records import Record
from toolslm_helpers.files import DataError, read_json, repository_root

Counts = TypeVar("Counts", bound=Record)


def counts_file(name: str) -> Path:
    """Where the counts of that name lie: docs/results/<name>.json."""
    return repository_root() / "docs" / "results" / f"{name}.json"


def read_counts(kind: type[Counts], path: Path, script: str) -> Counts:
    """The counts in a file. Raises DataError, with the field and the ``script`` that makes them again, where it is missing or damaged."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"{path}: {field}: {error.errors()[0]['msg']}. Make it again with benchmarks/{script}.") from error
