"""Runs of small made-up lessons: finished ones stay, a failure is told, a stop is survived, the pages load nothing."""

import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from rich.console import Console

from toolslm_helpers import workbook
from toolslm_helpers.execution import NotebookFailed
from toolslm_helpers.files import WorkbookError

PARAMETERS = 'SIZE = "tiny"\nSEED = 0\nINTERACTIVE = True\nOUTPUT_DIR = "nowhere"'
RECORD = """
import json, pathlib
record = {{"lesson": "{number}", "size": SIZE, "seed": SEED, "seconds": 1.5, "device": "CPU", "versions": {{"python": "3"}},
          "values": {{"loss": {{"value": 0.5, "unit": "nats"}}}}, "pass_rate": {rates}}}
pathlib.Path(OUTPUT_DIR, "{number}.json").write_text(json.dumps(record))
"""
RATES = '{"sft": {"G1_tool": {"passed": 9, "n": 10, "low": 0.6, "high": 0.98}}}'


def write_lesson(folder: Path, name: str, *cells: str, rates: str = "{}") -> Path:
    """A lesson with a heading, a parameters cell, the given code cells and a record."""
    number = name[:2]
    parts = [new_markdown_cell(f"# {number} · {name[3:]}"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    parts += [new_code_cell(source) for source in (*cells, RECORD.format(number=number, rates=rates))]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=parts), path)
    return path


def run(folder: Path, output: Path, size: str = "smoke", **options) -> tuple[workbook.Build, str]:
    """Runs every lesson of ``folder``; returns the build and what was printed."""
    build, console = workbook.Build(output, size, 0), Console(record=True, width=200, file=io.StringIO())
    workbook.run_series(build, workbook.find_notebooks(folder), console, **options)
    return build, console.export_text()


@pytest.fixture(scope="module", autouse=True)
def still_package():
    """The package counts as unchanged while these tests run, also where somebody is editing it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workbook, "shared_inputs", lambda: [Path(workbook.__file__)])
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, workbook.Build, str]:
    """Two lessons, run once for all tests that only look: folder, build, printed text."""
    folder = tmp_path_factory.mktemp("lessons")
    look = 'import os, sys\nprint(SIZE, INTERACTIVE, sys.executable, os.environ["HF_HUB_OFFLINE"], os.getcwd())'
    links = '[next](99_second.ipynb#end) [file](solutions/00_x.py) <img src="https://example.org/badge.svg" alt="Open in Colab">'
    path = write_lesson(folder, "00_first", look, rates=RATES)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(1, new_markdown_cell(links))
    nbformat.write(notebook, path)
    write_lesson(
        folder, "99_second", "from IPython.display import Javascript, HTML\ndisplay(Javascript('1'))\nHTML('<b>bold</b>')"
    )
    build, text = run(folder, tmp_path_factory.mktemp("out"))
    workbook.publish(build)
    return folder, build, text


def test_parameters_kernel_and_environment_reach_the_lesson(finished):
    folder, build, text = finished
    notebook = nbformat.read(build.notebooks / "00_first.ipynb", as_version=4)
    printed = next(cell.outputs[0].text for cell in notebook.cells if "sys.executable" in cell.source)
    assert printed.split() == ["smoke", "False", sys.executable, "1", str(folder)]
    assert os.environ.get("PYDEVD_DISABLE_FILE_VALIDATION") is None, "the kernels' variables leaked into the caller"
    assert "notebook 1 of 2: 00_first starts, time left ?" in text and "notebook 2 of 2: 99_second took" in text
    assert not list(build.notebooks.glob("*.partial.ipynb"))


def test_results_are_gathered(finished):
    results = json.loads((finished[1].output / "results.json").read_text())
    assert (results["size"], results["seed"], results["device"]) == ("smoke", 0, "CPU")
    assert results["lessons"]["99"] == {"seconds": 1.5, "values": {"loss": {"value": 0.5, "unit": "nats"}}}
    assert results["pass_rate"] == {"sft": {"G1_tool": {"passed": 9, "n": 10, "low": 0.6, "high": 0.98}}}


def test_a_second_run_skips_what_is_finished_and_repeats_what_changed(finished, monkeypatch):
    folder, build, _ = finished
    ran = []
    monkeypatch.setattr(workbook, "execute", lambda path, target, *_: ran.append(path.stem) or target.touch())
    monkeypatch.setattr(workbook.Build, "_save", lambda self: None)
    _, text = run(folder, build.output)
    assert ran == [] and "00_first is finished" in text and "99_second is finished" in text

    again = workbook.Build(build.output, "smoke", 0)
    first, second = workbook.find_notebooks(folder)
    changed = second.path.read_text().replace("bold", "bolder")
    second.path.write_text(changed)
    assert again.is_finished(first) and not again.is_finished(second)
    again.state[second.name]["key"] = again.key(second)
    assert again.is_finished(second)
    (again.lessons / "99.json").rename(again.lessons / "99.away")
    assert not again.is_finished(second), "what it recorded is gone"
    (again.lessons / "99.away").rename(again.lessons / "99.json")
    assert again.is_finished(second)
    again.state[first.name] |= {"wrote": ["00.json", "checkpoints/sft/x"], "at": "later"}
    assert not again.is_finished(second), "a checkpoint made anew by an earlier lesson must count as a changed input"


def test_another_size_is_put_aside_and_comes_back(finished, tmp_path):
    folder, _, _ = finished
    smoke = workbook.Build(tmp_path, "smoke", 0)
    smoke.notebooks.mkdir()
    (smoke.notebooks / "kept.ipynb").touch()
    smoke._save()
    tiny = workbook.Build(tmp_path, "tiny", 0)
    assert not tiny.notebooks.exists() and (tmp_path / "kept" / "smoke-0" / "notebooks" / "kept.ipynb").exists()
    tiny.notebooks.mkdir()
    tiny._save()
    assert (workbook.Build(tmp_path, "smoke", 0).notebooks / "kept.ipynb").exists()
    assert workbook.Build.latest(tmp_path).size == "smoke"


def test_a_failed_lesson_names_cell_error_and_partial_notebook(tmp_path):
    folder = tmp_path / "lessons"
    folder.mkdir()
    write_lesson(folder, "04_broken", "fine = 1", "\nlengths = [1, 2]\nlengths[7]")
    with pytest.raises(NotebookFailed) as caught:
        run(folder, tmp_path / "out")
    message = str(caught.value)
    partial = tmp_path / "out" / "notebooks" / "04_broken.partial.ipynb"
    assert message.startswith(
        "04_broken failed in cell 4 of 5, which begins: lengths = [1, 2]\n  IndexError: list index out of range"
    )
    assert "lengths[7]" in message and str(partial) in message and "\x1b" not in message
    assert partial.exists() and not (partial.parent / "04_broken.ipynb").exists()
    assert not workbook.Build(tmp_path / "out", "smoke", 0).is_finished(workbook.find_notebooks(folder)[0])


def test_a_dead_kernel_is_told_with_its_cell(tmp_path):
    folder = tmp_path / "lessons"
    folder.mkdir()
    write_lesson(folder, "05_dies", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(NotebookFailed, match="05_dies failed in cell 3 of 4, which begins: import os, signal\n.*kernel died"):
        run(folder, tmp_path / "out")


def test_ctrl_c_keeps_the_finished_and_the_next_run_continues(tmp_path):
    folder, output, flag = tmp_path / "lessons", tmp_path / "out", tmp_path / "second_began"
    folder.mkdir()
    write_lesson(folder, "00_quick", "1")
    nothing_expected = tmp_path / "expected.toml"
    nothing_expected.write_text("seed = 0\n")
    slow = (
        f"import pathlib, time\nflag = pathlib.Path({str(flag)!r})\nif not flag.exists():\n    flag.touch()\n    time.sleep(300)"
    )
    write_lesson(folder, "01_slow", slow)
    code = f"""
import pathlib
from toolslm_helpers import cli, regression, workbook
regression.expected_file = workbook.expected_file = lambda: pathlib.Path({str(nothing_expected)!r})
workbook.notebooks_folder = lambda: pathlib.Path({str(folder)!r})
workbook.shared_inputs = lambda: []
cli.main()
"""
    command = [sys.executable, "-c", code, "run", "--size", "smoke", "--output", str(output)]
    # A test run that a script put into the background ignores Ctrl-C, and so would its children.
    reset = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=reset)
    deadline = time.monotonic() + 120
    while not flag.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert complaint.strip() == "Stopped. Finished notebooks are kept; the same command continues."
    assert (output / "notebooks" / "00_quick.ipynb").exists() and not (output / "notebooks" / "01_slow.ipynb").exists()

    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.returncode == 0, second.stderr
    assert "00_quick is finished" in second.stdout and "01_slow took" in second.stdout
    assert f"Site:    {output}/site/index.html" in second.stdout


def test_pages_load_nothing_and_lead_to_each_other(finished):
    _, build, _ = finished
    site = build.output / "site"
    pages = {path.name: path.read_text() for path in site.glob("*.html")}
    assert set(pages) == {"index.html", "00_first.html", "99_second.html"}
    for name, page in pages.items():
        loads = re.findall(r"<(?:script|link|iframe)\b|@import|url\(|\ssrc(?:set)?=\"(?!data:)", page)
        assert not loads, f"{name} would load {loads}"
        assert page.startswith('<!doctype html>\n<html lang="en">') and "<title>" in page
        for target in re.findall(r'href="([^"#:]+)"', page):
            assert target in pages, f"{name} leads to {target}, which the site does not have"
    assert 'href="99_second.html#end"' in pages["00_first.html"] and 'rel="next" href="99_second.html"' in pages["00_first.html"]
    assert "/blob/v0.1.0/notebooks/solutions/00_x.py" in pages["00_first.html"]
    assert "Open in Colab" in pages["00_first.html"] and "<b>bold</b>" in pages["99_second.html"]
    assert str(build.lessons) not in pages["00_first.html"], "papermill's own cell names folders of this machine"
    assert "90.0% (9/10) [60.0, 98.0]" in pages["index.html"]


def test_an_unknown_lesson_and_an_empty_folder_are_told(finished, tmp_path):
    folder, _, _ = finished
    assert [notebook.number for notebook in workbook.find_notebooks(folder, ["0"])] == ["00"]
    with pytest.raises(WorkbookError, match="no lesson '42'; expected one of 00, 99"):
        workbook.find_notebooks(folder, ["42"])
    with pytest.raises(WorkbookError, match="no notebook NN_name.ipynb"):
        workbook.find_notebooks(tmp_path)
    with pytest.raises(WorkbookError, match="no run here"):
        workbook.Build.latest(tmp_path)
