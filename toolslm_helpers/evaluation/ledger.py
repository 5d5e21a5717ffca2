"""A judge's replies on disk, one line each, written as they come: what was paid for is never asked for again, whenever the run is killed."""

import json
import os
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolslm_helpers.data.records import Record
from toolslm_helpers.files import DataError, WorkbookError


class Reply(Record):
    """One reply. ``key`` is the SHA-256 of model, prompt and vote: another prompt or model is another key, and is asked anew."""

    key: str
    label: str  # "" for a reply that was no verdict: it was paid for, too
    reason: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class Ledger:
    """Replies by key, appended to a file of JSON lines. Use as a context manager; one process at a time.

    Each line is handed to the system before the reply counts, so a kill loses none, and once a second to the disk itself, so a power cut
    loses little. A line that was left unfinished is cut off when the file is opened again; a damaged line before the last raises DataError,
    since then something else wrote into the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.replies: dict[str, Reply] = {}
        self.tokens_in = self.tokens_out = 0  # of all replies, those of earlier runs included
        self._synced = 0.0

    def __enter__(self) -> "Ledger":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab+")
            self._lock()
            self._read()
        except OSError as error:
            raise WorkbookError(
                f"{self.path}: could not be opened ({error.strerror}). Expected a writable file, used by one run at a time. "
                "Wait for the other run, or choose another output folder."
            ) from error
        return self

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: two runs on one file are the user's to avoid
            return
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # the write that the kill interrupted
            try:
                reply = Reply.model_validate_json(line)
            except ValidationError as error:
                raise DataError(
                    f"{self.path}: line {number} is no reply ({error.errors()[0]['msg']}). Remove that line, or the file to start over."
                ) from error
            self._count(reply)
            whole += len(line)
        self._file.truncate(whole)

    def _count(self, reply: Reply) -> None:
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out
        if reply.label:
            self.replies[reply.key] = reply

    def __exit__(self, *error: Any) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def add(self, reply: Reply) -> None:
        """Writes one reply."""
        line = json.dumps(reply.model_dump(), ensure_ascii=True) + "\n"
        self._file.write(line.encode("ascii"))
        self._file.flush()
        if time.monotonic() - self._synced > 1:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
        self._count(reply)
