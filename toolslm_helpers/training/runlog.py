"""What a training run says of itself while it runs: one JSON object a line, which a plot, `tail -f` or a spreadsheet reads.

The first line is the forecast ("event": "start"); a line with "event": "resume" stands where a stopped run went on; every other line is a
logged step: step, loss (nats a supervised token), learning_rate, grad_norm, seconds.
"""

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.files import WorkbookError, atomic_write_text
from toolslm_helpers.training.watching import Watch, undisturbed

if TYPE_CHECKING:
    from transformers import TrainerCallback

NAME = "log.jsonl"
DASHBOARDS = ("tensorboard", "trackio")  # both keep what they are told on this machine


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a log. The last one is left out where a kill cut it in half; nothing there is an empty log."""
    path, found = Path(path), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


class RunLog:
    """Appends to ``folder``/log.jsonl. A run that goes on from ``step`` keeps the lines up to that step and drops what came after."""

    def __init__(self, folder: Path, step: int = 0):
        self.path = folder / NAME
        kept = [line for line in read_log(self.path) if line.get("step", 0) <= step] if step else []
        self.seconds_before = max((line.get("seconds", 0.0) for line in kept), default=0.0)
        if step:
            kept.append({"event": "resume", "step": step})
        atomic_write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, **line: Any) -> None:
        """One line more. Raises WorkbookError where the disk is full; what was written stays."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise WorkbookError(
                f"{self.path}: could not be written ({error.strerror}). Free some space, then run the same command again: it goes on."
            ) from error


def dashboards() -> list[str]:
    """Those of ``DASHBOARDS`` that are installed."""
    return [name for name in DASHBOARDS if importlib.util.find_spec(name) is not None]


def reporting(log: RunLog, on_step: Callable[[int, int, float | None], None] | None, watch: Watch | None) -> "TrainerCallback":
    """The callback that writes the log, tells ``on_step``, and shows the model to ``watch``."""
    from transformers import TrainerCallback

    began = time.perf_counter() - log.seconds_before

    class Report(TrainerCallback):
        latest: float | None = None

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                self.latest = float(logs["loss"])
                numbers = {name: float(logs[name]) for name in ("loss", "learning_rate", "grad_norm")}
                log.write(step=state.global_step, **numbers, seconds=round(time.perf_counter() - began, 3))

        def on_train_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 0:  # no run that goes on
                show(state, model)

        def on_step_end(self, args, state, control, model=None, **kwargs):
            if on_step is not None:
                on_step(state.global_step, state.max_steps, self.latest)
            show(state, model)

    def show(state: Any, model: Any) -> None:
        if watch is not None:
            with undisturbed(model):
                watch(state.global_step, state.max_steps, model)

    return Report()
