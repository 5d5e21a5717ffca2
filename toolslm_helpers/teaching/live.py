"""The loss curve of a run that is still going on: one picture that is replaced where it stands, or a line of text now and then."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from toolslm_helpers.teaching import plots
from toolslm_helpers.training.sft import LOG_EVERY

PICTURES = 20  # in a run: each costs a quarter of a second of training
LINES = 10


class LiveCurve:
    """Hears of every step (``step`` is what ``train`` calls) and shows the loss so far; ``finish`` leaves the whole curve behind.

    ``rates`` is the learning rate of every step. With ``interactive`` the figure stands under the cell from the first logged loss on and is
    updated in place, so that a saved notebook holds it once. Otherwise there are lines of text while the run lasts, and one figure.
    ``display`` is IPython's, which every cell of a notebook has.
    """

    def __init__(self, rates: Sequence[float], warmup_steps: int, interactive: bool, display: Callable[..., Any]):
        self._rates, self._warmup, self._interactive, self._display = rates, warmup_steps, interactive, display
        self._handle: Any = None
        self._drawn = 0
        self._began = time.perf_counter()
        self.points: list[tuple[int, float]] = []

    def step(self, step: int, steps: int, loss: float | None) -> None:
        """After step ``step`` of ``steps``; ``loss`` is the latest logged mean, which is older than this step."""
        logged = (step - 1) // LOG_EVERY * LOG_EVERY
        if loss is not None and logged and (not self.points or logged > self.points[-1][0]):
            self.points.append((logged, loss))
        if not self.points:
            return
        if self._interactive:
            if self._handle is None or step - self._drawn >= steps / PICTURES:
                self._drawn = step
                self._show(self.points)
        elif step % max(LOG_EVERY, steps // LINES) == 0:
            left = (time.perf_counter() - self._began) / step * (steps - step)
            at, value = self.points[-1]
            print(f"step {step:5,} of {steps:,}   loss up to step {at:,}: {value:.3f}   about {left / 60:.1f} minutes left")

    def finish(self, curve: Sequence[Sequence[float]]) -> None:
        """The run is over: its whole ``curve``, (step, loss, ...) each."""
        self.points = [(int(point[0]), float(point[1])) for point in curve]
        if self.points:
            self._show(self.points)

    def _show(self, points: Sequence[tuple[int, float]]) -> None:
        steps, losses = zip(*points, strict=True)
        figure = plots.loss_curve(steps, losses, self._rates, self._warmup)
        if self._handle is None:
            self._handle = self._display(figure, display_id=True)
        else:
            self._handle.update(figure)
