"""Worksheets are read as a spreadsheet program reads them: recalculated from the file, block by block, by what stands on the sheet.

Two programs do it: the package ``formulas``, always, and LibreOffice where it is installed.
"""

import io
import re
import shutil
import subprocess
from fractions import Fraction
from types import SimpleNamespace

import formulas
import openpyxl
import pytest
import torch
import torch.nn.functional as F

from toolslm_helpers import cli
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.decoding import next_token
from toolslm_helpers.teaching import worksheet
from toolslm_helpers.teaching.quantities import OPERATIONS, Paper
from toolslm_helpers.teaching.worksheet_formulas import FORMULAS, HOW_TO
from toolslm_helpers.teaching.worksheet_layout import Sheet, lay_out
from toolslm_helpers.teaching.worksheet_own import SENTENCE, opt_mini

OFFICE = shutil.which("soffice") or shutil.which("libreoffice")
PROGRAMS = ["formulas"] + (["libreoffice"] if OFFICE else [])
SHEETS = ("small", "medium", "opt-mini")
SHARED = {"ABS", "AVEDEV", "AVERAGE", "COLUMNS", "COUNT", "COUNTA", "DEVSQ", "IF", "IFERROR", "INDEX", "LOG", "MATCH", "MAX", "ROWS",
          "SQRT", "SUM", "SUMPRODUCT"}  # fmt: skip


def by_formulas(paths, folder):
    found = {}
    for path in paths:
        cells, sheets = found.setdefault(path.name, {}), openpyxl.load_workbook(path, read_only=True).sheetnames
        for name, cell in formulas.ExcelModel().loads(str(path)).finish().calculate().items():
            address = re.fullmatch(r"'\[.*\](.*)'!([A-Z]+\d+)", str(name))
            if address:
                sheet = next(sheet for sheet in sheets if sheet.upper() == address[1])
                cells[sheet, address[2]] = cell.value[0, 0]
    return found


def by_libreoffice(paths, folder):
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    subprocess.run(
        [OFFICE, profile, "--headless", "--convert-to", "xlsx", "--outdir", folder, *paths],
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = {}
    for path in paths:
        book = openpyxl.load_workbook(folder / path.name, data_only=True)
        found[path.name] = {
            (sheet.title, c.coordinate): c.value for sheet in book for row in sheet for c in row if c.value is not None
        }
    return found


def recalculate(program, paths, folder):
    """{file name: {(sheet, address): value}}."""
    folder.mkdir()
    return {"formulas": by_formulas, "libreoffice": by_libreoffice}[program](paths, folder)


class Read:
    """A workbook as one reads it: blocks by the name above them."""

    def __init__(self, path):
        self.book = openpyxl.load_workbook(path)
        self.titles = {}
        for cell in (cell for sheet in self.book for row in sheet for cell in row if cell.data_type == "s" and cell.font.b):
            self.titles.setdefault((cell.parent.title, cell.value), []).append(cell)

    def block(self, sheet, title):
        """The cells below a title in bold: three more rows of text, then numbers in boxes, right of their labels."""
        (start,) = self.titles[sheet, title]
        top, left = start.row + 4, start.column + 1
        cells = self.book[sheet]
        boxed = lambda row, column: cells.cell(row, column).border.top.style is not None  # noqa: E731
        rows = next(k for k in range(1, 99) if not boxed(top + k, left))
        columns = next(k for k in range(1, 99) if not boxed(top, left + k))
        return [[cells.cell(top + i, left + j) for j in range(columns)] for i in range(rows)]

    def formulas(self, sheet):
        return [cell for row in self.book[sheet] for cell in row if cell.data_type == "f"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All worksheets, written once: the folder, their paths, and the sheets that they were written from."""
    folder = tmp_path_factory.mktemp("worksheets")
    plans = {lesson: worksheet.sheets(lesson) for lesson in worksheet.LESSONS}
    kept, worksheet.sheets = worksheet.sheets, plans.__getitem__
    try:
        paths = worksheet.write_worksheets(folder)
    finally:
        worksheet.sheets = kept
    return SimpleNamespace(folder=folder, paths=paths, plans=plans)


@pytest.fixture(scope="module", params=PROGRAMS)
def values(made, request, tmp_path_factory):
    """{lesson: {(sheet, address): value}} of the full workbooks."""
    paths = [path for path in made.paths if path.suffix == ".xlsx" and "blank" not in path.name]
    found = recalculate(request.param, paths, tmp_path_factory.mktemp("values") / "out")
    return {path.name[:2]: found[path.name] for path in paths}


def full(made, lesson):
    return Read(made.folder / f"{worksheet.LESSONS[lesson].file}.xlsx")


def numbers(cells, values, sheet):
    return torch.tensor([[float(values[sheet, cell.coordinate]) for cell in row] for row in cells], dtype=torch.float64)


def test_every_operation_has_a_formula_and_words_and_is_used(made):
    assert set(FORMULAS) == set(HOW_TO) == set(OPERATIONS)
    used = {q.operation for plan in made.plans.values() for sheet in plan for q in sheet.paper.quantities.values()}
    assert used == {*OPERATIONS, "given"}


@pytest.mark.parametrize("lesson", worksheet.LESSONS)
def test_every_cell_has_the_papers_value(made, values, lesson):
    read = full(made, lesson)
    assert read.book.sheetnames == list(SHEETS) and len(made.plans[lesson]) == 3
    for sheet in made.plans[lesson]:
        seen = 0
        for q in sheet.paper.quantities.values():
            cells = read.block(sheet.name, f"{q.name} {q.shape}")
            assert [len(row) for row in cells] == [len(row) for row in q.value], q.name
            assert {cell.data_type for row in cells for cell in row} == {"n" if q.operation == "given" else "f"}, q.name
            expected = torch.tensor([[float(cell) for cell in row] for row in q.value], dtype=torch.float64)
            got = numbers(cells, values[lesson], sheet.name)
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=0, msg=lambda m, q=q, s=sheet: f"{s.name}, {q.name}: {m}")
            seen += sum(map(len, cells)) if q.operation != "given" else 0
        statuses = 4 if sheet.name == "small" else 0  # two, and both again in the header
        assert len(read.formulas(sheet.name)) == seen + statuses > 0


def test_only_functions_that_every_spreadsheet_has(made):
    for path in made.paths:
        if path.suffix == ".xlsx":
            book = openpyxl.load_workbook(path)
            for cell in (cell for name in SHEETS for row in book[name] for cell in row if cell.data_type == "f"):
                assert isinstance(cell.value, str), "an array formula"
                assert set(re.findall(r"([A-Z0-9.]+)\(", cell.value)) <= SHARED, cell.value


@pytest.fixture
def numbers_of(made, values):
    """lesson, sheet -> a function that reads a block by its name as a tensor."""

    def reader(lesson, sheet):
        read = full(made, lesson)
        paper = next(plan.paper for plan in made.plans[lesson] if plan.name == sheet)
        return lambda name: numbers(read.block(sheet, f"{name} {paper[name].shape}"), values[lesson], sheet)

    return reader


def test_the_medium_layer_is_torchs(numbers_of):
    of = numbers_of("01", "medium")
    q, k, v = (F.linear(of("x"), of(f"weight of {name} 1")) for name in ("query", "key", "value"))
    mixed = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    added = of("x") + F.linear(mixed, of("weight of out 1"))
    normed = F.layer_norm(added, (4,))
    forward = F.linear(F.relu(F.linear(normed, of("fc1"), of("fc1 bias")[0])), of("fc2"))
    torch.testing.assert_close(of("normed 2"), F.layer_norm(normed + forward, (4,)), atol=1e-6, rtol=0)
    assert of("attention 1")[0].tolist() == [1, 0, 0, 0]


def test_a_word_is_drawn_as_the_helper_draws_it(numbers_of):
    for sheet, logits in (("medium", "logits"), ("opt-mini", "lowered")):
        of = numbers_of("06", sheet)
        temperature = of("temperature").item()
        torch.testing.assert_close(of("p cooled"), (of(logits) / temperature).softmax(dim=-1), atol=1e-6, rtol=0)
        assert torch.equal(of("drawn")[:, 0].long(), next_token(of(logits), temperature, of("uniform")[:, 0]))


def test_the_step_is_torchs(numbers_of):
    of = numbers_of("07", "medium")
    labels = of("targets")[:, 0].long().where(of("graded")[:, 0] == 1, -100)
    weight = of("project_out").requires_grad_()

    def loss():
        return F.cross_entropy(F.linear(F.linear(of("normed 2"), weight), of("embedding")), labels)

    loss().backward()
    torch.testing.assert_close(of("gradient of project_out"), weight.grad, atol=1e-6, rtol=0)
    torch.optim.SGD([weight], lr=of("rate").item()).step()
    torch.testing.assert_close(of("loss after"), loss().detach()[None, None], atol=1e-6, rtol=0)
    of = numbers_of("07", "opt-mini")
    logits = of("logits").requires_grad_()
    F.cross_entropy(logits, of("targets")[:, 0].long().where(of("graded")[:, 0] == 1, -100)).backward()
    torch.testing.assert_close(of("logits after"), (logits - of("rate").item() * logits.grad).detach(), atol=1e-6, rtol=0)
    assert of("graded")[:, 0].tolist() == [0, 0, 1, 1, 1, 1]


def test_the_own_numbers_are_opt_minis(numbers_of):
    model, tokenizer = opt_mini()
    ids = torch.tensor([tokenizer(SENTENCE, add_special_tokens=False)["input_ids"]])
    of = numbers_of("05", "opt-mini")
    with torch.no_grad():
        torch.testing.assert_close(of("x"), model.embed(ids)[0, :, :4].double(), atol=1e-3, rtol=0)
        logits = model(ids)[0, -2:, list(dict.fromkeys(ids[0].tolist()))]
        torch.testing.assert_close(of("logits"), logits.double(), atol=5e-3, rtol=0)
        maps = model.layers[0].self_attn.weights(model.embed(ids), torch.ones(ids.shape[1], ids.shape[1]).tril().bool())[0]
    shown = numbers_of("01", "opt-mini")("attention 1")
    assert min((shown - one).abs().max() for one in maps.double()) < 1e-3, "no head of the first layer has this map"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_formulas_are_alive(made, tmp_path, program):
    """Other inputs typed in: everything follows as the paper, computed anew, says."""
    paths, expected = [], {}
    for lesson, plan in made.plans.items():
        read, sheet = full(made, lesson), plan[0]
        for other in SHEETS[1:]:
            del read.book[other]
        p = expected[lesson] = Paper()
        for q in sheet.paper.quantities.values():
            if q.operation != "given":
                p.then(q.name, q.operation, q.of, q.shape, q.words)
                continue
            whole = q.name in ("tokens", "rows", "targets", "graded")
            value = [
                [(int(c) + 1) % 2 if whole else c + Fraction(i - 2 * j + 3, 7) for j, c in enumerate(r)]
                for i, r in enumerate(q.value)
            ]
            p.given(q.name, q.shape, q.words, value)
            for row, cells in zip(value, read.block("small", f"{q.name} {q.shape}"), strict=True):
                for number, cell in zip(row, cells, strict=True):
                    cell.value = float(number)
        paths.append(tmp_path / f"{lesson}.xlsx")
        read.book.save(paths[-1])
    found = recalculate(program, paths, tmp_path / "out")
    for lesson, p in expected.items():
        read = full(made, lesson)
        for q in p.quantities.values():
            got = numbers(read.block("small", f"{q.name} {q.shape}"), found[f"{lesson}.xlsx"], "small")
            torch.testing.assert_close(
                got,
                torch.tensor([[float(c) for c in row] for row in q.value], dtype=torch.float64),
                atol=1e-6,
                rtol=1e-9,
                msg=q.name,
            )


# For each exercise: the answer's block, right answers, wrong ones (the mistakes of a learner), all worked out by hand.
ANSWERS = {
    ("01", "A · forward"): ("share of Lisbon", [[4 / 5.5], [0.7275]], [[0.8], [4], [2 / 5.5], [1 / 3], ["8/11"]]),
    ("01", "B · inverse"): ("query of B", [[0, -1], [0.001, -1]], [[0, 1], [-1, 0], [1, -1], ["x", -1]]),
    ("05", "A · forward"): ("x of A", [[-1, -2, 0, 1]], [[-1, -1, 0, 1], [-1, 0, -1, 1], [0, 0, 0, 0], [-1, -2, 0, "one"]]),
    ("05", "B · inverse"): ("output of B", [[1, -3]], [[-1, 3], [-3, 1], [0, -1], [1, -3.01]]),
    ("06", "A · forward"): ("share at A", [[2 / 7], [0.286]], [[4 / 21], [16 / 273], [4 / 7], [2], [28.6]]),
    ("06", "B · inverse"): ("temperature of B", [[0.5]], [[2], [1], [0], [-0.5], ["half"]]),
    ("07", "A · forward"): ("loss of A", [[2]], [[4], [1 / 3], [-2], [1], [1.386]]),
    ("07", "B · inverse"): ("share of B", [[0.125], [0.12495]], [[3], [0.25], [0.177], [0], [-0.125]]),
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_status_of_an_exercise(made, tmp_path, program):
    """Right answers are accepted and wrong ones refused, on the full sheet and on the blank one."""
    wanted, read, books = {}, {}, {}

    def attempt(lesson, blank, **answers):
        """A sheet with the numbers and formulas of "small" and these answers: {A or B: (answer, status)}."""
        name = f"{worksheet.LESSONS[lesson].file}{'_blank' if blank else ''}.xlsx"
        if name not in read:
            read[name], books[name] = Read(made.folder / name), openpyxl.Workbook()
        original, sheet = read[name], books[name].create_sheet()
        for cell in (cell for row in original.book["small"] for cell in row if cell.data_type in "nf" and cell.value is not None):
            sheet[cell.coordinate] = cell.value
        for k, title in enumerate(("A · forward", "B · inverse")):
            answer, status = answers[title[0]]
            (cells,) = original.block("small", ANSWERS[lesson, title][0])
            for cell, number in zip(cells, answer, strict=True):
                assert cell.value is None
                sheet[cell.coordinate] = number
            ((box, *_),) = original.block("small", f"status {title}")
            for address in (box.coordinate, sheet.cell(4, 6 + 9 * k).coordinate):  # beside the exercise, and in the header
                wanted[name, sheet.title, address] = (status, lesson, title, answer)

    for lesson in worksheet.LESSONS:
        a, right_a, wrong_a = ANSWERS[lesson, "A · forward"]
        b, right_b, wrong_b = ANSWERS[lesson, "B · inverse"]
        empty = {"A": ([None] * len(right_a[0]), "not done"), "B": ([None] * len(right_b[0]), "not done")}
        half = {key: ([1, *answer[1:]], "not done" if len(answer) > 1 else "look again") for key, (answer, _) in empty.items()}
        attempt(lesson, False, **empty)
        attempt(lesson, True, **half)
        for blank in (False, True):
            attempt(lesson, blank, A=(right_a[0], "correct"), B=(right_b[0], "correct"))
        attempt(lesson, True, A=(right_a[-1], "correct"), B=(right_b[-1], "correct"))
        for k in range(max(len(wrong_a), len(wrong_b))):
            attempt(lesson, True, A=(wrong_a[k % len(wrong_a)], "look again"), B=(wrong_b[k % len(wrong_b)], "look again"))
    for name, book in books.items():
        book.save(tmp_path / name)
    found = recalculate(program, [tmp_path / name for name in books], tmp_path / "out")
    for (name, sheet, address), (status, *what) in wanted.items():
        assert found[name][sheet, address] == status, what


def test_a_blank_has_the_inputs_and_empty_boxes(made):
    for lesson, plan in made.plans.items():
        read = Read(made.folder / f"{worksheet.LESSONS[lesson].file}_blank.xlsx")
        for sheet in plan:
            assert len(read.formulas(sheet.name)) == (4 if sheet.name == "small" else 0)
            for q in sheet.paper.quantities.values():
                cells = read.block(sheet.name, f"{q.name} {q.shape}")
                assert [len(row) for row in cells] == [len(row) for row in q.value]
                assert all((cell.value is None) == (q.operation != "given") for row in cells for cell in row), q.name


def test_text_from_data_is_never_a_formula(tmp_path):
    """Labels are pieces of a tokenizer: any of them may begin with = + - or @, or hold what no file may hold."""
    labels = ("=1+1", "+1", "-2", "@SUM(1)", "#N/A", "TRUE", "a\x00b")
    p = Paper()
    p.given("x", "(7, 1)", "=2+2", [[k] for k in range(7)], labels, ("=3+3",))
    p.then("y", "relu", ["x"], "(7, 1)", "-1", labels, ("+4",))
    content = worksheet.xlsx(["small"], [lay_out(Sheet("small", "=5+5", "@note", p, (("-band", (("x",), ("y",))),)))])
    book = openpyxl.load_workbook(io.BytesIO(content))
    dangerous = [cell for row in book["small"] for cell in row if isinstance(cell.value, str) and cell.value[0] in "=+-@#Ta"]
    texts = [cell for cell in dangerous if cell.data_type != "f"]
    assert {cell.value for cell in texts} >= {*labels[:6], "a�b", "=2+2", "=3+3", "=5+5", "@note", "-band", "-1", "+4"}
    assert {cell.data_type for cell in texts} == {"s"}
    assert all(cell.quotePrefix == (cell.value[0] in "=+-@") for cell in texts)
    assert [cell.value for cell in dangerous if cell.data_type == "f"] == [f"=MAX(0,C{row})" for row in range(10, 17)]
    path = tmp_path / "t.xlsx"
    path.write_bytes(content)
    for program in PROGRAMS:
        found = recalculate(program, [path], tmp_path / program)["t.xlsx"]
        for cell in texts:
            assert str(found["small", cell.coordinate]) == cell.value, program


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Fraction(3), "General"), (Fraction(-1, 3), "?/?"), (Fraction(64, 139), "???/???"), (Fraction(1, 1001), "0.0E+00"), (0.25, "0.0000"),
     (2e-5, "0.0E+00"), (1e-7, "0.0000"), (123456.7, "0.0E+00"), (None, "General")],
)  # fmt: skip
def test_small_fractions_stay_visible(value, shown):
    assert worksheet.number_format(value) == shown


def test_a_printed_page_for_every_sheet(made):
    for path in made.paths:
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert content.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", content)) >= 3


def test_nothing_is_torn_or_lost_between_pages(made):
    for sheet in (sheet for plan in made.plans.values() for sheet in plan):
        layout = lay_out(sheet)
        pages = layout.pages(lambda kind: 1.0, 40.0)
        rows = [row for page in pages for row in page]
        assert rows == list(range(2, max(layout.rows) + 1)) and len(pages) > 1
        for block in layout.blocks.values():
            page = next(page for page in pages if block.top in page)
            assert block.top - 4 in page and block.top + block.rows - 1 in page


def test_blocks_do_not_overlap(made):
    for sheet in (sheet for plan in made.plans.values() for sheet in plan):
        taken = {}
        for item in lay_out(sheet).items:
            for column in range(item.column, item.column + item.width):
                assert (item.row, column) not in taken, (sheet.title, item, taken[item.row, column])
                taken[item.row, column] = item


def test_a_quantity_outside_the_bands_is_refused():
    p = Paper()
    p.given("x", "(1, 1)", "", [[1]])
    with pytest.raises(ValueError, match=r"bands hold \[\], the paper \['x'\]"):
        lay_out(Sheet("small", "t", "n", p, ()))


def test_the_command_writes_what_it_is_asked_for(monkeypatch, made, tmp_path, capsys):
    monkeypatch.setattr(worksheet, "sheets", made.plans.__getitem__)
    monkeypatch.setattr("sys.argv", ["toolslm", "worksheet", "--lesson", "06", "--output", str(tmp_path / "w")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    names = ["06_softmax.xlsx", "06_softmax_blank.pdf", "06_softmax_blank.xlsx"]
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == names
    assert capsys.readouterr().out.count(str(tmp_path / "w")) == 3


def test_a_lesson_without_a_worksheet_is_named(tmp_path):
    with pytest.raises(WorkbookError, match="no worksheet for lesson '02'. There is one for each of 01, 05, 06, 07"):
        worksheet.write_worksheets(tmp_path / "w", ["01", "02"])
    assert not (tmp_path / "w").exists()


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, made, tmp_path):
    monkeypatch.setattr(worksheet, "sheets", made.plans.__getitem__)
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkbookError, match="could not be written .*--output"):
        worksheet.write_worksheets(tmp_path / "file", ["06"])
