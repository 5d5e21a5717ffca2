"""A sliding window over a large JSON file: about a megabyte of its text, from which value after value is decoded."""

import codecs
import json
import re
from pathlib import Path
from typing import Any

from toolslm_helpers.files import DataError

CHUNK = 1 << 20  # bytes read at a time
LARGEST = 1 << 26  # characters: a value that goes on for longer is damage
NOT_CLOSED = "the next record begins before this one ends"
_OVERLAP = 1 << 16  # characters kept while a pattern is searched, so that it is found across the end of a chunk
_NEAR = 16  # an error this close to the end of the window may be the window's: half a number, half an escape
_BETWEEN = re.compile(r"[\s,\[\]}]*")
_SPACE = re.compile(r"\s*")
_decode = json.JSONDecoder().raw_decode


class Window:
    """The text of a file from one place on. ``text[at:]`` is what comes next; only ``more`` moves the text.

    Bytes that are no UTF-8 become lone surrogates: they do no harm between values, and no strict record takes them in a string.
    """

    def __init__(self, path: Path, brackets: str = "[]") -> None:
        try:
            self.file = path.open("rb")
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file. Check the path, or run the command that makes it.") from error
        except OSError as error:
            raise DataError(f"{path}: could not be read ({error.strerror}).") from error
        self.path, self.brackets, self.text, self.at = path, brackets, "", 0
        self.closed = False  # whether the last thing passed was the bracket that closes all
        self._more_to_come = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._mark, self._mark_byte = 0, 0  # a place in the text, and its byte in the file
        if self.file.read(3) == codecs.BOM_UTF8:
            self._mark_byte = 3
        else:
            self.file.seek(0)

    @property
    def ended(self) -> bool:
        """Whether nothing comes next."""
        return self.at == len(self.text) and not self.more()

    def more(self) -> bool:
        """Reads on, and forgets what lies before ``at``. False at the end of the file."""
        if not self._more_to_come:
            return False
        self.offset()
        try:
            # As much as there is already: a value that takes many chunks is decoded anew a few times only.
            chunk = self.file.read(max(CHUNK, len(self.text) - self.at))
        except OSError as error:
            raise DataError(f"{self.path}: could not be read ({error.strerror}).") from error
        self._more_to_come = bool(chunk)
        self.text = self.text[self.at :] + self._decoder.decode(chunk, final=not chunk)
        self.at = self._mark = 0
        return self._more_to_come

    def offset(self, at: int | None = None) -> int:
        """The byte in the file at which ``text[at:]`` begins, by default what comes next. Asked in rising order."""
        at = self.at if at is None else at
        passed = self.text[self._mark : at]
        self._mark_byte += len(passed) if passed.isascii() else len(passed.encode("utf-8", "surrogateescape"))
        self._mark = at
        return self._mark_byte

    def open(self) -> None:
        """Passes the bracket that opens the file. Raises DataError for a file without it."""
        self._pass(_SPACE)
        if self.ended:
            raise DataError(f"{self.path}: the file is empty. Usual cause: a download that did not finish. Fetch it again.")
        if self.text[self.at] != self.brackets[0]:
            expected = "a list" if self.brackets == "[]" else "an object"
            raise DataError(
                f"{self.path}: the whole file: expected {expected}, found {self.text[self.at : self.at + 20]!r}. Usual cause: another "
                "kind of file, or one record a line. Check the path."
            )
        self.at += 1

    def pass_between(self) -> None:
        """Passes what may stand between two values."""
        passed = self._pass(_BETWEEN).rstrip()
        self.closed = passed.endswith(self.brackets[1]) if passed else self.closed

    def pass_space(self) -> None:
        """Passes white space."""
        self._pass(_SPACE)

    def follows(self, pattern: re.Pattern[str]) -> bool:
        """Whether ``pattern`` matches what comes next, of which it sees 65,536 characters at least."""
        while len(self.text) - self.at < _OVERLAP and self.more():
            pass
        return bool(pattern.match(self.text, self.at))

    def _pass(self, pattern: re.Pattern[str]) -> str:
        passed = ""
        while True:
            end = pattern.match(self.text, self.at).end()
            passed += self.text[self.at : end]
            self.at = end
            if end < len(self.text) or not self.more():
                return passed

    def decode(self, starts: re.Pattern[str]) -> tuple[Any, int, str]:
        """(value, end, problem) of the JSON value that comes next. Where there is a problem, the other two mean nothing.

        Reads on as far as the value goes, and moves ``at`` to its beginning only. ``starts`` matches where another record begins: a value
        in which one does is damaged, however much of the file its brackets hold.
        """
        self.closed = False
        while True:
            try:
                value, end = _decode(self.text, self.at)
                if end < len(self.text) or not self.more():
                    return value, end, ""
                continue  # it touches the window's end: a number may go on
            except json.JSONDecodeError as error:
                if error.pos < len(self.text) - _NEAR and not error.msg.startswith("Unterminated string"):
                    return None, 0, f"broken JSON at byte {self._byte(error.pos):,}: {error.msg}"
                # The window may have cut it, or the damage goes up to the window's end.
                if starts.search(self.text, self.at + 1):
                    return None, 0, NOT_CLOSED
                if len(self.text) - self.at > LARGEST:
                    return None, 0, f"it does not end within {LARGEST:,} characters"
                if not self.more():
                    return None, 0, "the file ends in the middle of this record"
            except RecursionError:
                return None, 0, "brackets are nested too deep"
            except ValueError as error:  # a number of thousands of digits
                return None, 0, f"broken JSON: {error}"

    def find(self, pattern: re.Pattern[str]) -> bool:
        """Moves to the end of the next match of ``pattern`` behind ``at``; without one, to the end of the file, and says False."""
        begin, self.closed = self.at + 1, False
        while not (found := pattern.search(self.text, begin)):
            self.at = max(self.at, len(self.text) - _OVERLAP)
            kept = self.at
            if not self.more():
                self.at = len(self.text)
                return False
            begin = max(begin - kept, 0)
        self.at = found.end()
        return True

    def _byte(self, at: int) -> int:
        return self.offset() + len(self.text[self.at : at].encode("utf-8", "surrogateescape"))
