"""Worksheets: the by-hand numbers of lessons 01, 05, 06 and 07 as .xlsx with live formulas, blank to fill in, and as a page to print.

Inputs are constants, every other number is a formula: change a weight and watch what follows. Numbers, formulas and what the tests expect
come from one graph of quantities (quantities.py).
"""

import io
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolslm_helpers.files import WorkbookError, atomic_write_bytes
from toolslm_helpers.teaching import worksheet_papers as papers
from toolslm_helpers.teaching.quantities import Number
from toolslm_helpers.teaching.worksheet_exercises import EXERCISES
from toolslm_helpers.teaching.worksheet_layout import HEADER, LIMIT, Item, Layout, Sheet, lay_out
from toolslm_helpers.teaching.worksheet_own import FIRST, QUERIES, SENTENCE, own

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell import Cell

OPEN_OR_READ_ONLY = (
    "Usual cause: the file is open in a spreadsheet program, or the folder is read-only. Close it, or choose another --output"
)
Bands = tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


class Lesson(NamedTuple):
    """A lesson's workbook: the name of its files, its title, the bands of its sheets, and a sentence on its own numbers."""

    file: str
    title: str
    bands: Bands
    about_own: str


def _head(k: int) -> Bands:
    return (
        (f"Head {k}: what each word asks, offers and holds",
         (("x", "base", "root of K") if k == 1 else (), (f"weight of query {k}", f"weight of key {k}", f"weight of value {k}"),
          (f"query {k}", f"key {k}", f"value {k}"))),
        (f"Head {k}: who looks at whom", ((f"scores {k}",), (f"scaled {k}",), (f"raised {k}",), (f"total {k}",), (f"attention {k}",))),
        (f"Head {k}: what it takes, and what it gives back", ((f"mixed {k}",), (f"weight of out {k}",), (f"out {k}",))),
    )  # fmt: skip


def _norm(k: int) -> tuple[tuple[str, ...], ...]:
    return (f"added {k}",), (f"mean of added {k}",), (f"spread of added {k}",), (f"normed {k}",)


def _shares(again: str) -> tuple[tuple[str, ...], ...]:
    return tuple((name + again,) for name in ("output", "logits", "raised", "total", "p"))


LESSONS = {
    "01": Lesson(
        "01_attention", "Attention, feed-forward and norm",
        (*_head(1), *_head(2), ("Add what came in, and normalise", _norm(1)),
         ("Feed-forward: each word for itself, through a wider row and back",
          (("fc1", "fc1 bias"), ("hidden",), ("rectified",), ("fc2",), ("forward",))),
         ("Add what came in, and normalise", _norm(2))),
        f"Inputs from opt-mini's first layer, for the text \"{SENTENCE}\".",
    ),
    "05": Lesson(
        "05_embeddings", "Embedding, projection, positions and the tied head",
        (("What a word is: its row of the table", (("tokens",), ("embedding",), ("embedded",))),
         ("From the width of a word to the width of the model", (("project_in",), ("projected",), ("projected, rest",))),
         ("Where it stands, and both together", (("rows",), ("positions",), ("placed",), ("x",))),
         ("The tied head: back to the width of a word, and compared with every row of the same table",
          (("normed 2",), ("project_out",), ("output",), ("logits, part",), ("logits, rest",), ("logits",)))),
        f"Inputs from opt-mini, for the text \"{SENTENCE}\". {FIRST} columns of its wide rows stand here, the others are added up.",
    ),
    "06": Lesson(
        "06_softmax", "From logits to the next word",
        (("From logits to shares", (("base",), ("logits",), ("lowered",), ("raised",), ("total",), ("p",), ("next",))),
         ("The same with a temperature", (("temperature",), ("cooled",), ("raised cooled",), ("total cooled",), ("p cooled",))),
         ("A number drawn by lot decides", (("running total",), ("uniform",), ("drawn",)))),
        f"Logits of opt-mini, fine-tuned for tool calling, where it is least sure of an API's name, in the calls due in {QUERIES} test queries.",
    ),
    "07": Lesson(
        "07_loss", "From shares to the loss, its gradient, and one step",
        (("From each word's last row to shares",
          (("normed 2",), ("project_out",), ("output",), ("embedding",), ("logits",), ("base",), *_shares("")[2:])),
         ("What each prediction costs, and who is graded", (("targets",), ("losses",), ("graded",), ("loss",))),
         ("Back: which way every number should move", (("gradient of logits",), ("gradient of output",), ("gradient of project_out",))),
         ("One step, and the same prediction again",
          (("rate",), ("project_out after",), *_shares(" after"), ("losses after",), ("loss after",)))),
        "Logits of opt-mini in the right answer to a test query: two places before the assistant's turn, and the four that cost most. "
        "The step is taken on the logits themselves.",
    ),
}  # fmt: skip
NOTES = {
    "small": "The paper model, in small whole numbers. Read each band from left to right: a block names those that it follows from. "
    "The rules stand at the end.",
    "medium": "The same steps with more words and other numbers, as OPT takes them. Each band is read from left to right. "
    "The rules stand at the end.",
}


def sheets(lesson: str) -> list[Sheet]:
    """The three sheets of a lesson: small, medium, opt-mini. Raises WorkbookError for a lesson that has no worksheet."""
    if lesson not in LESSONS:
        raise WorkbookError(f"There is no worksheet for lesson {lesson!r}. There is one for each of {', '.join(LESSONS)}.")
    about = LESSONS[lesson]
    found = []
    for name, paper in (("small", papers.small(lesson)), ("medium", papers.medium(lesson)), ("opt-mini", own(lesson))):
        one_head = "scores 2" not in paper.quantities
        bands = [
            (
                title.replace("Head 1", "One head") if one_head else title,
                [tuple(n for n in stage if n in paper.quantities) for stage in stages],
            )
            for title, stages in about.bands
        ]
        kept = tuple((title, tuple(filter(None, stages))) for title, stages in bands if any(stages))
        note, exercises = NOTES.get(name, about.about_own), EXERCISES[lesson] if name == "small" else ()
        found.append(Sheet(name, f"Lesson {lesson} · {about.title} · {name}", note, paper, kept, exercises))
    return found


def write_worksheets(folder: str | Path, lessons: Sequence[str] = ()) -> list[Path]:
    """Writes NN_name.xlsx, NN_name_blank.xlsx and NN_name_blank.pdf for each lesson (default: all four); returns the paths.

    Raises WorkbookError for a lesson without a worksheet, and where the folder cannot be written.
    """
    from toolslm_helpers.teaching.worksheet_print import printed

    unknown = [lesson for lesson in lessons if lesson not in LESSONS]
    if unknown:
        sheets(unknown[0])
    written = []
    for lesson in lessons or LESSONS:
        plan, name = sheets(lesson), LESSONS[lesson].file
        full, blank = ([lay_out(sheet, blank) for sheet in plan] for blank in (False, True))
        names = [sheet.name for sheet in plan]
        for suffix, content in (
            (".xlsx", xlsx(names, full)),
            ("_blank.xlsx", xlsx(names, blank)),
            ("_blank.pdf", printed(blank)),
        ):
            written.append(atomic_write_bytes(Path(folder) / f"{name}{suffix}", content, OPEN_OR_READ_ONLY))
    return written


# --- the spreadsheet

FILLS = {"given": "DDEBF7", "formula": "FFF9E5", "turn": "E2F0D9", "band": "1F3864", "status": "F2F2F2"}
FONTS: dict[str, dict[str, Any]] = {
    "title": {"bold": True, "size": 14}, "band": {"bold": True, "size": 11, "color": "FFFFFF"}, "name": {"bold": True, "size": 10},
    "words": {"size": 9}, "source": {"size": 8, "italic": True, "color": "595959"}, "label": {"size": 9, "color": "404040"},
    "row": {"size": 9, "color": "404040"}, "arrow": {"bold": True, "size": 16}, "status": {"bold": True},
    "note": {"size": 10}, "how": {"size": 10}, "legend": {"size": 10},
}  # fmt: skip
POINTS = {
    "title": 21,
    "band": 17,
    "name": 14,
    "words": 12.5,
    "source": 11.5,
    "label": 15,
    "number": 17,
    "gap": 12,
    "note": 14,
    "how": 14,
}
PAGE = 1050  # points of rows on a printed page, at the scale at which the columns fit
SIDES = {"given": "thin", "formula": "thin", "turn": "mediumDashed", "status": "medium"}


def xlsx(names: Sequence[str], layouts: Sequence[Layout]) -> bytes:
    """A workbook with a sheet for each layout."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    book.calculation.fullCalcOnLoad = True
    for name, layout in zip(names, layouts, strict=True):
        _sheet(book, name, layout)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _sheet(book: "Workbook", name: str, layout: Layout) -> None:
    from openpyxl.formatting.rule import CellIsRule
    from openpyxl.styles import PatternFill
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.page import PageMargins
    from openpyxl.worksheet.pagebreak import Break

    sheet = book.create_sheet(name)
    styles: dict[str, dict[str, Any]] = {}
    for item in layout.items:
        _cell(sheet, item, styles)
    for row, (kind, lines) in layout.rows.items():
        sheet.row_dimensions[row].height = POINTS[kind] * lines + (3 if kind in ("name", "words", "note", "how") else 0)
    sheet.column_dimensions["A"].width = 4
    for column in range(2, LIMIT + 2):
        sheet.column_dimensions[get_column_letter(column)].width = 9.5
    sheet.freeze_panes = f"A{HEADER + 1}"
    sheet.sheet_view.showGridLines = False
    for word, colour in (("correct", "C6E0B4"), ("look again", "F8CBAD")):
        rule = CellIsRule(operator="equal", formula=[f'"{word}"'], fill=PatternFill(bgColor=colour, fill_type="solid"))
        for item in layout.items:
            if item.kind == "status":
                sheet.conditional_formatting.add(sheet.cell(item.row, item.column).coordinate, rule)
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", sheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.print_title_rows = "1:3"
    sheet.page_margins = PageMargins(left=0.4, right=0.4, top=0.4, bottom=0.4)
    for page in layout.pages(POINTS.__getitem__, PAGE)[1:]:
        sheet.row_breaks.append(Break(id=page.start - 1))


def _cell(sheet: Any, item: Item, styles: dict[str, dict[str, Any]]) -> None:
    """Fills and formats one cell. Text stays text, whatever sign it begins with: labels come from data."""
    cell: Cell = sheet.cell(item.row, item.column)
    if item.content is not None and item.kind in ("formula", "status"):
        cell.value = f"={item.content}"
    elif isinstance(item.content, str):
        put_text(cell, item.content)
    elif item.content is not None:
        number = Fraction(item.content)
        cell.value = int(number) if number.denominator == 1 else float(item.content)
    if item.value is not None or isinstance(item.content, Fraction):
        cell.number_format = number_format(item.content if item.value is None else item.value)
    if item.width > 1:
        sheet.merge_cells(start_row=item.row, start_column=item.column, end_row=item.row, end_column=item.column + item.width - 1)
    style = styles.get(item.kind) or styles.setdefault(item.kind, _style(item.kind))
    for column in range(item.column, item.column + (item.width if item.kind in SIDES else 1)):
        for name, value in style.items():
            setattr(sheet.cell(item.row, column), name, value)


def put_text(cell: "Cell", text: str) -> None:
    """Writes ``text`` as text: what begins with = + - or @ would else become a formula, and a control character a broken file."""
    cell.value = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "�", text)
    cell.data_type = "s"
    if text[:1] in ("=", "+", "-", "@"):
        cell.quotePrefix = True


def number_format(value: Number | None) -> str:
    """How a cell shows its number: whole numbers and small fractions as on paper, anything else with four decimals."""
    if value is None:
        return "General"
    if isinstance(value, Fraction) and value.denominator <= 999:
        return "General" if value.denominator == 1 else "/".join(["?" * len(str(value.denominator))] * 2)
    return "0.0000" if abs(value) < 1e-6 or 0.001 <= abs(value) < 10_000 else "0.0E+00"


def _style(kind: str) -> dict[str, Any]:
    from openpyxl.styles import Alignment, Border, Font, PatternFill, Side

    style: dict[str, Any] = {"font": Font(**FONTS.get(kind, {"size": 11}))}
    if kind in FILLS:
        style["fill"] = PatternFill("solid", start_color=FILLS[kind])
    if kind in SIDES:
        side = Side(style=SIDES[kind], color="7F7F7F")
        style["border"] = Border(left=side, right=side, top=side, bottom=side)
    across = (
        "right" if kind == "row" else "center" if kind in ("arrow", "label", "status", "turn", "formula", "given") else "left"
    )
    wrap = kind in ("name", "words", "source", "note", "how")
    style["alignment"] = Alignment(
        horizontal=across, vertical="top" if wrap else "center", wrap_text=wrap, shrink_to_fit=kind in ("label", "row")
    )
    return style
