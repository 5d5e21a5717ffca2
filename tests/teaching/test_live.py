"""A live curve: one figure that is replaced in place, or lines of text and one figure at the end."""

import nbformat
import pytest

from toolslm_helpers.execution import execute
from toolslm_helpers.teaching.live import LINES, PICTURES, LiveCurve
from toolslm_helpers.teaching.plots import Plot
from toolslm_helpers.training.sft import LOG_EVERY

STEPS = 400


class Screen:
    """What Jupyter would show: ``shown`` outputs, each replaced by its updates."""

    def __init__(self):
        self.shown, self.updates = [], 0

    def display(self, figure, display_id):
        assert display_id is True and isinstance(figure, Plot)
        self.shown.append(figure)
        return self

    def update(self, figure):
        self.shown[-1] = figure
        self.updates += 1


def run(interactive):
    """A run as ``train`` reports it: the loss of step 10 is logged after step 10 was reported."""
    screen, losses = Screen(), {step: 5 / step for step in range(LOG_EVERY, STEPS + 1, LOG_EVERY)}
    live = LiveCurve([0.1] * STEPS, 5, interactive, display=screen.display)
    for step in range(1, STEPS + 1):
        live.step(step, STEPS, losses.get((step - 1) // LOG_EVERY * LOG_EVERY))
    before = len(screen.shown), screen.updates
    points = list(live.points)
    live.finish([(step, loss, 0.1, 1.0) for step, loss in losses.items()])
    return screen, before, points, losses


def test_with_clicks_one_figure_is_replaced_in_place(capsys):
    screen, (shown, updates), points, losses = run(True)
    assert shown == len(screen.shown) == 1 and PICTURES - 2 <= updates < PICTURES and screen.updates == updates + 1
    assert points == list(losses.items())[:-1], "each loss under the step that it was logged at"
    assert f"{losses[STEPS]:.2f} at step {STEPS}" in screen.shown[0].alt and capsys.readouterr().out == ""


def test_without_clicks_lines_of_text_and_one_figure_at_the_end(capsys):
    screen, (shown, updates), _, losses = run(False)
    lines = capsys.readouterr().out.splitlines()
    assert (shown, updates, len(screen.shown), screen.updates) == (0, 0, 1, 0)
    assert (
        len(lines) == LINES
        and lines[0].startswith("step    40 of 400   loss up to step 30: 0.167   about")
        and lines[-1].endswith("0.0 minutes left")
    )


@pytest.mark.parametrize("interactive", [True, False])
def test_a_run_too_short_to_log_shows_nothing_and_does_not_fail(interactive, capsys):
    screen = Screen()
    live = LiveCurve([0.1, 0.0], 1, interactive, display=screen.display)
    live.step(1, 2, None), live.step(2, 2, None), live.finish([])
    assert not screen.shown and capsys.readouterr().out == ""


@pytest.mark.parametrize("interactive", [True, False])
def test_a_saved_notebook_holds_the_figure_once(interactive, tmp_path):
    """Under papermill, where updates arrive as messages: the last picture and no earlier one."""
    cells = [
        f"from toolslm_helpers.teaching.live import LiveCurve\nlive = LiveCurve([0.1] * 60, 5, {interactive}, display)\n"
        "for step in range(1, 61):\n    live.step(step, 60, (5 / (step - 1) if step > 10 else None))\n"
        "live.finish([(10, 3.0), (60, 0.25)])"
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), tmp_path / "live.ipynb")
    execute(tmp_path / "live.ipynb", tmp_path / "out.ipynb", {}, lambda *_: None)
    [cell] = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    figures = [output for output in cell.outputs if "text/html" in output.get("data", {})]
    assert len(figures) == 1 and "0.25 at step 60" in figures[0].data["text/html"]
    assert any(output.output_type == "stream" for output in cell.outputs) is not interactive
