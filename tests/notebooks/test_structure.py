"""The form of a lesson (DESIGN's rules): what every notebook has, and what it never has."""

import ast
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from toolslm_helpers import __version__
from toolslm_helpers.files import repository_root

FOLDER = repository_root() / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
PARAMETERS = ("SIZE", "SEED", "INTERACTIVE", "OUTPUT_DIR")
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\([^)]+\)|<img\b(?P<tag>[^>]*)>")
LINK = re.compile(r"(?<!!)\[[^\[\]]*\]\(([^)\s]+)\)")


def repository() -> str:
    """The repository's address, from the one place that names it."""
    return tomllib.loads((repository_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def markdown(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def setup_cell(notebook: NotebookNode) -> str:
    """The one cell that starts the lesson."""
    found = [cell.source for cell in code(notebook) if "start_lesson(LESSON, SIZE, SEED, INTERACTIVE, OUTPUT_DIR)" in cell.source]
    assert len(found) == 1, f"{len(found)} set-up cells"
    return found[0]


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_are_lessons_and_the_first_is_start_here():
    assert PATHS and PATHS[0].name == "00_start_here.ipynb"
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name) for path in PATHS)


def test_it_is_valid_and_small(path, notebook):
    nbformat.validate(notebook)
    assert path.stat().st_size <= 200 * 1024
    assert notebook.metadata.kernelspec.name == "python3"


def test_nothing_that_running_leaves_is_saved(notebook):
    assert "widgets" not in notebook.metadata and "papermill" not in notebook.metadata
    for cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None and "papermill" not in cell.metadata, cell.source[:60]


def test_cells_are_short_and_words_lead(notebook):
    long = {
        cell.source.splitlines()[0]: len(cell.source.splitlines())
        for cell in code(notebook)
        if len(cell.source.splitlines()) > 25
    }
    assert not long, f"code cells over 25 lines: {long}"
    assert len(markdown(notebook)) >= len(code(notebook))


def test_cells_have_ids_of_their_own(notebook):
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids)) and notebook.nbformat_minor >= 5


def test_one_parameters_cell_holds_literals_with_a_comment_each(path, notebook):
    cells = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(cells) == 1
    values = {}
    for statement, line in zip(ast.parse(cells[0].source).body, cells[0].source.splitlines(), strict=True):
        assert isinstance(statement, ast.Assign) and len(statement.targets) == 1 and "  # " in line, line
        values[statement.targets[0].id] = ast.literal_eval(statement.value)
    assert set(PARAMETERS) | {"LESSON"} <= set(values)
    assert (values["LESSON"], values["SIZE"], values["OUTPUT_DIR"]) == (path.name[:2], "tiny", "../build/lessons")


def test_the_set_up_cell_is_the_same_everywhere(notebook):
    setup = setup_cell(notebook)
    assert setup == setup_cell(nbformat.read(PATHS[0], as_version=4))
    assert f'"{repository()}"' in setup and f'"v{__version__}"' in setup


def test_it_begins_with_number_promise_badge_and_neighbours(path, notebook):
    first = markdown(notebook)[0]
    assert notebook.cells[0].cell_type == "markdown" and re.match(rf"# {path.name[:2]} · \S", first)
    assert [line for cell in markdown(notebook) for line in cell.splitlines() if line.startswith("# ")] == [first.splitlines()[0]]
    slug = repository().removeprefix("https://github.com/")
    assert f"https://colab.research.google.com/github/{slug}/blob/v{__version__}/notebooks/{path.name})" in first
    index = PATHS.index(path)
    for neighbour in PATHS[max(index - 1, 0) : index] + PATHS[index + 1 : index + 2]:
        assert f"({neighbour.name})" in first, f"no link to {neighbour.name}"


def test_links_to_files_lead_somewhere(path, notebook):
    for cell in markdown(notebook):
        for target in LINK.findall(cell):
            if not target.startswith(("https://", "#")):
                assert (path.parent / target.split("#")[0]).exists(), target


def test_every_image_has_words(notebook):
    for cell in markdown(notebook):
        for image in IMAGE.finditer(cell):
            assert image["alt"] or re.search(r'\balt="[^"]+"', image["tag"] or ""), image[0]


def test_no_formula_needs_a_program_to_be_read(notebook):
    """The site opens without a network, so without MathJax: a formula is written in words, or as code."""
    for cell in markdown(notebook):
        without_code = re.sub(r"```.*?```|`[^`]*`", "", cell, flags=re.DOTALL)
        formula = re.search(r"\$[^$\n]*[\\^_{][^$\n]*\$", without_code)
        assert not formula, formula[0]


def test_it_has_exercises_and_each_is_complete(path, notebook):
    from toolslm_helpers.teaching.exercises import all_exercises, solution_code

    number = path.name[:2]
    exercises = {name: exercise for name, exercise in all_exercises().items() if exercise.lesson == number}
    text = "\n".join(markdown(notebook))
    headings = re.findall(rf"^### Exercise ({number}\.\d+)\b", text, flags=re.MULTILINE)
    checked = re.findall(r'check\("(\d\d\.\d+)", (\w+)\)', "\n".join(cell.source for cell in code(notebook)))
    assert len(headings) >= 3 and headings == sorted(set(headings)) == list(exercises) == [name for name, _ in checked]
    assert [answer for _, answer in checked] == [exercise.name for exercise in exercises.values()], "a solution has another name"
    assert {exercise.kind for exercise in exercises.values()} == {"by hand", "predict", "break it"}
    for section in re.split(rf"^### Exercise {number}\.", text, flags=re.MULTILINE)[1:]:
        assert section.count("<details><summary>hint") == 2, section[:80]
        assert "Expected:" in section, section[:80]
        for word in ("difficulty", "importance", "minutes"):
            assert word in section.split("Expected:")[0], section[:80]
    assert all(solution_code(exercise) for exercise in exercises.values())


def test_it_records_its_results_once(notebook):
    assert sum(cell.source.count("lesson.record(") for cell in code(notebook)) == 1
