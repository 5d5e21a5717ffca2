"""The one screen of a run: notebook k of n, its cell, its time so far, the time left; plain lines where there is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from toolslm_helpers.results import duration


class _Elapsed(ProgressColumn):
    """The notebook's time so far, and while it runs the time left for it and all that follow."""

    def render(self, task: Task) -> Text:
        if task.fields["seconds"] is not None:
            return Text(duration(task.fields["seconds"]), style="green")
        elapsed = time.monotonic() - task.fields["began"]
        guess, rest = task.fields["guess"], task.fields["rest"]
        left = None if guess is None or rest is None else max(guess - elapsed, 0) + rest
        return Text(f"{duration(elapsed)}, left {duration(left)}", style="cyan")


@contextmanager
def counting(console: Console, description: str, unit: str = "") -> Iterator[Callable[..., None]]:
    """A bar for one long task. Yields ``report(done, total, value=None)``; ``value`` is shown as "unit 0.123"."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[value]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=None, value="")

        def report(done: int, total: int, value: float | None = None) -> None:
            progress.update(task, completed=done, total=total, value="" if value is None else f"{unit} {value:.3f}")

        yield report


class Screen:
    """Shows a series as it runs. Use as a context manager: ``start`` a notebook, report each ``cell``, then ``done``."""

    def __init__(self, console: Console, total: int):
        self.console, self.total = console, total
        self.progress = Progress(
            TextColumn("{task.fields[place]} {task.description}"),
            BarColumn(bar_width=12),
            TextColumn("cell {task.completed}/{task.total}"),
            _Elapsed(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Screen":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def _say(self, index: int, text: str) -> None:
        self.console.print(f"notebook {index + 1} of {self.total}: {text}", soft_wrap=True, highlight=False)

    def skip(self, index: int, name: str, seconds: float | None) -> None:
        """A notebook that an earlier run finished."""
        self._say(index, f"{name} is finished ({duration(seconds)}, earlier run)")

    def start(self, index: int, name: str, guess: float | None, rest: float | None) -> None:
        """A notebook begins. ``guess`` is its likely time and ``rest`` that of all after it, in seconds; None where unknown."""
        self.index, self.name, self.rest = index, name, rest
        if self.console.is_terminal:
            times = {"began": time.monotonic(), "seconds": None, "guess": guess, "rest": rest}
            self.task = self.progress.add_task(name, total=None, place=f"notebook {index + 1} of {self.total}", **times)
        else:
            left = None if guess is None or rest is None else guess + rest
            self._say(index, f"{name} starts, time left {duration(left)}")

    def cell(self, position: int, total: int) -> None:
        """Cell ``position`` of ``total`` begins."""
        if self.console.is_terminal:
            self.progress.update(self.task, completed=position, total=total)

    def done(self, seconds: float) -> None:
        """The notebook finished."""
        if self.console.is_terminal:
            self.progress.update(self.task, seconds=seconds)
        else:
            self._say(self.index, f"{self.name} took {duration(seconds)}, time left {duration(self.rest)}")
