"""A fine-tuning run that was stopped goes on: which run a folder holds, which of its checkpoints are whole, and where to go on.

The trainer writes a checkpoint's files one after the other, so a kill can leave half of one. ``whole.json`` is written into it last, by
rename: a checkpoint without it is none. The one before is deleted only then.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json

RUN, WHOLE = "run.json", "whole.json"


def begin(folder: Path, identity: dict[str, Any], disk_bytes: int, rank: int = 0) -> Path | None:
    """The checkpoint in ``folder`` to go on from, or None where there is none; what a kill left half-written is deleted by ``rank`` 0.

    Raises WorkbookError where another run was begun there, or fewer than ``disk_bytes`` are free for a run that begins. ``identity`` is
    what must be equal: size, seed, start, data, processes.
    """
    found = last_whole(folder)
    if found is not None and (known := read_json(folder / RUN)) != identity:
        differing = ", ".join(sorted(key for key in {*known, *identity} if known.get(key) != identity.get(key)))
        raise WorkbookError(
            f"{folder}: another run was stopped there after {step_of(found)} steps: {differing} differ. Choose another output folder, or "
            "delete this one to start over."
        )
    if rank == 0:
        for checkpoint in checkpoints(folder):
            if checkpoint != found:
                shutil.rmtree(checkpoint, ignore_errors=True)
        if found is None:
            atomic_write_json(folder / RUN, identity)
            if (free := shutil.disk_usage(folder).free) < disk_bytes:
                raise WorkbookError(
                    f"{folder}: {free / 1e9:.1f} GB are free, and checkpoints of this run need {disk_bytes / 1e9:.1f} GB. Free some space, "
                    "or choose another output folder."
                )
    return found


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints, whole or not, by step."""
    return sorted((path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The number of steps that a checkpoint stands behind."""
    return int(checkpoint.name.rpartition("-")[2])


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    return next((path for path in reversed(checkpoints(folder)) if (path / WHOLE).is_file()), None)


def mark_whole(checkpoint: Path) -> None:
    """Says that all files of a checkpoint are written, then deletes the earlier ones."""
    atomic_write_json(checkpoint / WHOLE, {"step": step_of(checkpoint)})
    for earlier in checkpoints(checkpoint.parent):
        if step_of(earlier) < step_of(checkpoint):
            shutil.rmtree(earlier, ignore_errors=True)


def finish(folder: Path) -> None:
    """The run is over and its weights are saved: the checkpoints are deleted."""
    for checkpoint in checkpoints(folder):
        shutil.rmtree(checkpoint, ignore_errors=True)
    (folder / RUN).unlink(missing_ok=True)


def not_written(checkpoint: Path, error: Exception) -> WorkbookError:
    """Deletes half a checkpoint and says what is left: the error to raise."""
    shutil.rmtree(checkpoint, ignore_errors=True)
    kept, free = last_whole(checkpoint.parent), shutil.disk_usage(checkpoint.parent).free
    left = f"{kept.name} is kept, so nothing before step {step_of(kept) + 1} is lost" if kept else "no earlier one was made"
    return WorkbookError(
        f"{checkpoint}: could not be written ({str(error).splitlines()[0]}); {free / 1e9:.1f} GB are free. {left}. Usual cause: a full disk. "
        "Free some space, then run the same command again: it goes on."
    )
