"""Which exercises a learner has tried and solved, kept in one small JSON file in the learner's own folder."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json

STATUSES = ("solved", "tried")


def progress_file() -> Path:
    """``TOOLSLM_PROGRESS`` where it is set, else ``~/.toolslm/progress.json``."""
    return Path(os.environ.get("TOOLSLM_PROGRESS") or Path.home() / ".toolslm" / "progress.json").expanduser()


def load_progress(path: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """({exercise id: {"status", "tries", "when"}}, note). A damaged file is put aside under a free name, and the note says so."""
    if not path.exists():
        return {}, ""
    try:
        return _validated(read_json(path)), ""
    except (WorkbookError, ValueError) as error:
        aside = _free_name(path)
        try:
            os.replace(path, aside)
        except OSError:
            return {}, f"{path} is damaged ({error}) and could not be moved. Progress starts anew once you delete it."
        return {}, f"{path.name} was damaged ({error}). It is kept as {aside}; progress starts anew."


def store_result(path: Path, exercise_id: str, solved: bool) -> str:
    """Adds one try of one exercise; what was solved stays solved. Returns a note for the learner, empty when all is well."""
    exercises, note = load_progress(path)
    before = exercises.get(exercise_id, {"status": "tried", "tries": 0})
    exercises[exercise_id] = {
        "status": "solved" if solved else before["status"],
        "tries": before["tries"] + 1,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        atomic_write_json(path, {"version": 1, "exercises": dict(sorted(exercises.items()))})
    except WorkbookError as error:
        return f"Progress was not saved: {error}"
    return note


def _validated(content: Any) -> dict[str, dict[str, Any]]:
    exercises = content.get("exercises") if isinstance(content, dict) else None
    if not isinstance(exercises, dict):
        raise ValueError("field 'exercises' is missing or is no object")
    for name, entry in exercises.items():
        if not isinstance(entry, dict) or entry.get("status") not in STATUSES or type(entry.get("tries")) is not int:
            raise ValueError(f"entry {name!r} has no status or tries")
    return exercises


def _free_name(path: Path) -> Path:
    """``progress.damaged-1.json``, or the next number that is free: an older damaged file is never overwritten."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    return aside
