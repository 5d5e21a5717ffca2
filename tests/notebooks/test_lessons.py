"""Every lesson under papermill at size smoke, in order, as `toolslm run --size smoke` runs them; then what must not move."""

import io
import json

import nbformat
import pytest
from rich.console import Console

from toolslm_helpers import regression, workbook

NOTEBOOKS = workbook.find_notebooks(workbook.notebooks_folder())
SIZE, SEED = "smoke", 0


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> workbook.Build:
    """The whole series, run once: lesson 11 judges the checkpoint that lesson 08 saves."""
    build = workbook.Build(tmp_path_factory.mktemp("series"), SIZE, SEED)
    workbook.run_series(build, NOTEBOOKS, Console(file=io.StringIO()))
    workbook.publish(build)
    return build


@pytest.mark.timeout(1200)
def test_the_series_runs_and_nothing_has_moved(build):
    results = json.loads((build.output / "results.json").read_text(encoding="utf-8"))
    assert list(results["lessons"]) == [notebook.number for notebook in NOTEBOOKS], "a lesson recorded nothing"
    expected = regression.read_expected(regression.expected_file())
    assert expected.seed == SEED
    assert set(expected.lessons(SIZE)) == set(results["lessons"]), "expected.toml and the lessons do not cover each other"
    assert not (moved := regression.regressions(expected, results)), "\n".join(moved)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_lesson_shows_what_it_promises(build, notebook):
    executed = nbformat.read(build.executed(notebook), as_version=4)
    outputs = [(cell, output) for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.text for _, output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert "not attempted yet" in text, "the exercises' stubs must run as they stand"
    for cell, output in outputs:
        assert output.output_type != "stream" or output.name != "stderr", f"{cell.source[:60]!r} warns: {output.text[:300]}"
        if "image/png" in output.get("data", {}):
            assert output.metadata.get("image/png", {}).get("alt") or cell.metadata.get("alt"), (
                f"{cell.source[:60]!r}: no alt text"
            )
