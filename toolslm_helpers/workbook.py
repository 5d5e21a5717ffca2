"""Runs the lessons through papermill and keeps what is finished: a stopped run continues where it stopped."""

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from toolslm_helpers.execution import execute, kernel_environment
from toolslm_helpers.files import WorkbookError, atomic_write_json, data_samples, read_json, repository_root
from toolslm_helpers.regression import expected_file, read_expected
from toolslm_helpers.results import gather
from toolslm_helpers.screen import Screen
from toolslm_helpers.site import build_site
from toolslm_helpers.sizes import get_size

KEPT = ("notebooks", "lessons", "state.json")  # what belongs to one size and seed


@dataclass(frozen=True)
class Notebook:
    """One lesson's file, for example number "08" of notebooks/08_single_epoch_sft.ipynb."""

    number: str
    path: Path

    @property
    def name(self) -> str:
        """The file's name without .ipynb."""
        return self.path.stem


def notebooks_folder() -> Path:
    """Where the repository keeps the lessons."""
    return repository_root() / "notebooks"


def find_notebooks(folder: Path, wanted: Sequence[str] = ()) -> list[Notebook]:
    """The lessons of ``folder`` in order, all or those numbered in ``wanted`` ("08" or "8").

    Raises WorkbookError for a number that is not there.
    """
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    found = {path.name[:2]: Notebook(path.name[:2], path) for path in paths}
    if not found:
        raise WorkbookError(f"{folder}: no notebook NN_name.ipynb here. Usual cause: the package runs outside its clone.")
    unknown = [number for number in wanted if number.zfill(2) not in found]
    if unknown:
        raise WorkbookError(f"There is no lesson {unknown[0]!r}; expected one of {', '.join(found)}.")
    numbers = {number.zfill(2) for number in wanted} or set(found)
    return [notebook for number, notebook in found.items() if number in numbers]


def shared_inputs() -> list[Path]:
    """The files that every lesson is made from: the package, the pins, the shipped data."""
    package = sorted(Path(__file__).parent.rglob("*.py"))
    samples = sorted(path for path in data_samples().rglob("*") if path.is_file())
    return [*package, repository_root() / "requirements.txt", *samples]


class Build:
    """The folder build/ for one size and seed: what has been executed, recorded and finished.

    state.json holds size, seed and for each lesson: key (a hash of all it was made from), seconds, wrote (its files under
    lessons/) and at (when). A lesson is finished while its key is what it would be now and its files are all there.
    """

    def __init__(self, output: Path, size: str, seed: int):
        self.output, self.size, self.seed = output.resolve(), size, seed
        self.notebooks, self.lessons, self.state_file = (self.output / name for name in KEPT)
        self._make_room()
        self.state: dict[str, dict[str, Any]] = read_json(self.state_file)["lessons"] if self.state_file.exists() else {}
        self._series_key = _digest(shared_inputs(), repository_root(), f"{size} {seed}")

    def _make_room(self) -> None:
        """Puts a run of another size or seed aside in build/kept/, and takes an earlier one of this size and seed from there."""
        if self.state_file.exists():
            other = read_json(self.state_file)
            if (other["size"], other["seed"]) == (self.size, self.seed):
                return
            _move(KEPT, self.output, self.output / "kept" / f"{other['size']}-{other['seed']}")
        _move(KEPT, self.output / "kept" / f"{self.size}-{self.seed}", self.output)

    @classmethod
    def latest(cls, output: Path) -> "Build":
        """The run that ``output`` holds. Raises WorkbookError where it holds none."""
        if not (output / "state.json").exists():
            raise WorkbookError(f"{output}: no run here (no state.json). Run `toolslm run` first, or name its --output.")
        state = read_json(output / "state.json")
        return cls(output, state["size"], state["seed"])

    def executed(self, notebook: Notebook) -> Path:
        """Where the finished notebook stands."""
        return self.notebooks / f"{notebook.name}.ipynb"

    def partial(self, notebook: Notebook) -> Path:
        """Where it stands while it runs, and stays if it fails."""
        return self.notebooks / f"{notebook.name}.partial.ipynb"

    def key(self, notebook: Notebook) -> str:
        """A hash of all it is made from: itself, size, seed, package, pins, data, and the checkpoints of earlier lessons."""
        # A file in a folder of its own is a checkpoint, made for later lessons: it is an input of theirs.
        made = [
            entry["at"]
            for name, entry in sorted(self.state.items())
            if name < notebook.name and any("/" in file for file in entry.get("wrote", []))
        ]
        return _digest([notebook.path], notebook.path.parent, " ".join([self._series_key, *made]))

    def is_finished(self, notebook: Notebook) -> bool:
        """Whether running it again could change nothing."""
        entry = self.state.get(notebook.name, {})
        files = [self.executed(notebook), *(self.lessons / name for name in entry.get("wrote", []))]
        return entry.get("key") == self.key(notebook) and all(path.exists() for path in files)

    def forget(self, notebook: Notebook) -> None:
        """Before it runs: what it left the last time goes, except how long it took."""
        entry = self.state.pop(notebook.name, {})
        for path in (self.executed(notebook), self.partial(notebook), *(self.lessons / name for name in entry.get("wrote", []))):
            path.unlink(missing_ok=True)
        if "seconds" in entry:
            self.state[notebook.name] = {"seconds": entry["seconds"]}
        self._save()

    def finish(self, notebook: Notebook, key: str, seconds: float, wrote: list[str]) -> None:
        """After it ran: the notebook gets its final name and the state knows."""
        os.replace(self.partial(notebook), self.executed(notebook))
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.state[notebook.name] = {"key": key, "seconds": round(seconds, 1), "wrote": wrote, "at": at}
        self._save()

    def seconds(self, notebook: Notebook) -> float | None:
        """How long it took here the last time, None where that is not known."""
        return self.state.get(notebook.name, {}).get("seconds")

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """The files under lessons/ with the time and size of each: two snapshots show what a lesson wrote."""
        files = [path for path in self.lessons.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.lessons)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    def _save(self) -> None:
        atomic_write_json(self.state_file, {"size": self.size, "seed": self.seed, "lessons": dict(sorted(self.state.items()))})


def run_series(build: Build, notebooks: Sequence[Notebook], console: Console, fresh: bool = False) -> None:
    """Executes what is not finished. Raises NotebookFailed at the first lesson that fails; what finished before it stays."""
    get_size(build.size)
    build.notebooks.mkdir(parents=True, exist_ok=True)
    build.lessons.mkdir(parents=True, exist_ok=True)
    guesses = read_expected(expected_file()).lessons(build.size)
    if fresh:
        for notebook in notebooks:
            build.forget(notebook)

    def guess(notebook: Notebook) -> float | None:
        lesson = guesses.get(notebook.number)
        return build.seconds(notebook) or (lesson.seconds if lesson else None)

    parameters = {"SIZE": build.size, "SEED": build.seed, "INTERACTIVE": False, "OUTPUT_DIR": str(build.lessons)}
    with Screen(console, total=len(notebooks)) as screen, kernel_environment(offline=build.size != "full"):
        for index, notebook in enumerate(notebooks):
            if build.is_finished(notebook):
                screen.skip(index, notebook.name, build.seconds(notebook))
                continue
            rest = [guess(later) for later in notebooks[index + 1 :] if not build.is_finished(later)]
            screen.start(index, notebook.name, guess(notebook), None if None in rest else sum(rest))
            build.forget(notebook)
            key, before, began = build.key(notebook), build.snapshot(), time.monotonic()
            execute(notebook.path, build.partial(notebook), parameters, screen.cell)
            seconds = time.monotonic() - began
            wrote = sorted(name for name, stamp in build.snapshot().items() if before.get(name) != stamp)
            build.finish(notebook, key, seconds, wrote)
            screen.done(seconds)


def publish(build: Build) -> dict[str, Any]:
    """Writes results.json and the site from every finished lesson of this size and seed; returns the results."""
    results = gather(build.lessons, build.size, build.seed)
    atomic_write_json(build.output / "results.json", results)
    executed = [(build.notebooks / f"{name}.ipynb", entry["seconds"]) for name, entry in build.state.items()]
    build_site([(path, seconds) for path, seconds in executed if path.exists()], results, build.output / "site")
    return results


def _move(names: Sequence[str], source: Path, target: Path) -> None:
    """Moves what exists of ``names`` from one folder to the other; what stood there is replaced."""
    for name in names:
        if (source / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            if (target / name).is_dir():
                shutil.rmtree(target / name)
            os.replace(source / name, target / name)


def _digest(files: Sequence[Path], root: Path, more: str) -> str:
    """One hash of the names and bytes of all files and of ``more``."""
    digest = hashlib.sha256(more.encode())
    for path in files:
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
