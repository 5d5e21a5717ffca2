"""Files at the edge of the package: where things lie, how they are written whole or not at all, and what an error says."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


class WorkbookError(RuntimeError):
    """An error meant for the reader: one line with what was found, what was expected and what to do. The CLI prints it alone."""


class DataError(WorkbookError, ValueError):
    """A file or record that is not what it should be. The message names file and field."""


def repository_root() -> Path:
    """The folder that holds README.md, notebooks/ and data_samples/. The package runs from a clone (editable install)."""
    return Path(__file__).resolve().parent.parent


def data_samples() -> Path:
    """The folder of everything that is shipped: the world's samples, the small tokenizer, opt-mini's checkpoints."""
    return repository_root() / "data_samples"


FULL_OR_READ_ONLY = "Usual cause: a full disk or a read-only folder. Free some space or choose another output folder"


def atomic_write_bytes(path: str | Path, content: bytes, advice: str = FULL_OR_READ_ONLY) -> Path:
    """Writes ``content`` to a temporary neighbour, then renames it, so that ``path`` is always whole: old or new.

    Raises WorkbookError, which ends with ``advice``, where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise WorkbookError(
            f"{path}: could not be written ({error.strerror}). Expected a writable folder with free space. "
            f"{advice}; nothing was changed."
        ) from error
    return path


def atomic_write_text(path: str | Path, text: str) -> Path:
    """Writes ``text`` (UTF-8, line breaks as they stand) through ``atomic_write_bytes``."""
    return atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: str | Path, value: Any, indent: int | None = 1) -> Path:
    """Writes ``value`` as JSON through ``atomic_write_text``. Keys stay in the order given; text stays readable (no \\u escapes)."""
    return atomic_write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads one JSON file. Raises DataError that names the file and, for broken JSON, the line and column."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path, or run the command that makes it.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}). Usual cause: a binary file or a cut download.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: broken JSON at line {error.lineno}, column {error.colno} ({error.msg}). "
            "Usual cause: a cut download or an edit by hand. Fetch the file again."
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{path}: brackets are nested too deep to be read. Usual cause: a damaged file. Fetch it again."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: could not be read ({error.strerror}).") from error
