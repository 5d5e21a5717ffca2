"""What the lessons recorded, gathered: ``results.json`` and the table of pass rates."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.table import Table

from toolslm_helpers.files import DataError, read_json, repository_root
from toolslm_helpers.teaching import views

FIELDS = ("lesson", "size", "seed", "seconds", "device", "versions", "values")


def read_record(path: Path) -> dict[str, Any]:
    """What one lesson recorded. Raises DataError that names the file and the field that is missing."""
    record = read_json(path)
    missing = [field for field in FIELDS if not isinstance(record, dict) or field not in record]
    if missing:
        raise DataError(f"{path}: no field {missing[0]!r}; a lesson's record has {', '.join(FIELDS)}. Run the lesson again.")
    return record


def gather(folder: Path, size: str, seed: int) -> dict[str, Any]:
    """One dict from every record in ``folder`` that was made at this size and seed.

    Keys: size, seed, device, versions, lessons {number: {seconds, values {name: {value, unit}}}} and
    pass_rate {model: {set: {passed, n, low, high}}}; a later lesson's word about a model replaces an earlier one's.
    """
    records = [read_record(path) for path in sorted(folder.glob("[0-9][0-9].json"))]
    records = [record for record in records if (record["size"], record["seed"]) == (size, seed)]
    last = records[-1] if records else {"device": None, "versions": {}}
    return {
        "size": size,
        "seed": seed,
        "device": last["device"],
        "versions": last["versions"],
        "lessons": {record["lesson"]: {"seconds": record["seconds"], "values": record["values"]} for record in records},
        "pass_rate": {model: sets for record in records for model, sets in record.get("pass_rate", {}).items()},
    }


def replace_block(page: str, block: str) -> str:
    """``page`` with ``block`` in place of what stands between the same two markers, which are the block's first and last line."""
    lines = block.splitlines()
    return page.split(lines[0], 1)[0] + block + page.split(lines[-1], 1)[1]


def provenance() -> dict[str, Any]:
    """What a recorded figure must name: commit ("-dirty" where files differ from it), device, versions."""
    from toolslm_helpers.teaching.lesson import device_name, package_versions

    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=repository_root(),
        capture_output=True,
        text=True,
    )
    return {"commit": described.stdout.strip(), "device": device_name(), "versions": package_versions()}


def duration(seconds: float | None) -> str:
    """Seconds in words: "42 s", "3 min 20 s", "2 h 5 min"; "?" for None."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def as_fields(pass_rate: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rates as ``teaching.views`` takes them: with fields in place of keys."""
    return {model: {name: SimpleNamespace(**rate) for name, rate in sets.items()} for model, sets in pass_rate.items()}


def _table_rows(pass_rate: dict[str, dict[str, Any]]) -> list[list[str]]:
    """[set, a cell for each model] for every set, in the words of the lessons' own table."""
    words = {(row.set_name, row.model): row.words for row in views.pass_rate_rows(as_fields(pass_rate))}
    sets = dict.fromkeys(name for name, _ in words)
    return [[name, *(words.get((name, model), "not judged") for model in pass_rate)] for name in sets]


def pass_rate_table(pass_rate: dict[str, dict[str, Any]]) -> Table:
    """A row a set and a column a model, as in the paper's Table 2; every cell has rate, count and interval."""
    table = Table("set", *pass_rate, title="Pass rate (passed/n) [95% interval]")
    for row in _table_rows(pass_rate):
        table.add_row(*row)
    return table


def markdown_table(pass_rate: dict[str, dict[str, Any]]) -> str:
    """``pass_rate_table`` in Markdown, for README."""
    head, *body = [f"| {' | '.join(row)} |" for row in [["set", *pass_rate], *_table_rows(pass_rate)]]
    return "\n".join([head, "|---" * (len(pass_rate) + 1) + "|", *body])
