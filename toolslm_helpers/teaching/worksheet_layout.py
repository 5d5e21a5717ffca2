"""Where everything stands on a worksheet. Knows columns and rows, but no file format.

A sheet is read in bands from top to bottom, and each band in blocks of numbers from left to right, with an arrow before whatever follows
from what stands before it. The spreadsheet (worksheet.py) and the printed page (worksheet_print.py) both draw what ``lay_out`` returns.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from toolslm_helpers.teaching.quantities import Number, Paper, Quantity
from toolslm_helpers.teaching.worksheet_formulas import FORMULAS, HOW_TO, Block

LIMIT = 22  # columns that a band may take: a screen and a landscape page show as many at a readable size
LEAST = 3  # columns of a block: its words need room
LETTERS = 10  # small letters that fit into one column
HEADER = 4  # rows that stay in sight: title, what to do, the colours, the exercises' status
LEGEND = (("given", "given: change it"), ("formula", "formula: follows from what is given"), ("turn", "your turn: type here"))
LEGEND_BLANK = (("given", "given"), ("turn", "your turn: work it out and write it here"))


@dataclass(frozen=True)
class Exercise:
    """A question with a status cell. ``checks`` takes the exercise's blocks by name and gives pairs of formulas that must agree within
    ``tolerance``; the pairs use what is given and the answer, never a computed block, so that they also hold on a blank sheet."""

    title: str
    task: str
    given: tuple[Quantity, ...]
    answer: Quantity  # its value is only a size: the cells are left empty
    checks: Callable[[dict[str, Block]], Sequence[tuple[str, str]]]
    tolerance: float


@dataclass(frozen=True)
class Sheet:
    """One sheet of a workbook: quantities, and the bands that they stand in: (title, blocks from left to right, each place a stack)."""

    name: str
    title: str
    note: str
    paper: Paper
    bands: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    exercises: tuple[Exercise, ...] = ()


class Item(NamedTuple):
    """One cell (or ``width`` cells made one): ``kind`` says how it looks, ``content`` is text, a number, or a formula (kind "formula",
    "status"); ``value`` is what a formula is expected to give, to choose how it is written."""

    row: int
    column: int
    kind: str
    content: str | Number | None
    width: int = 1
    value: Number | None = None


@dataclass
class Layout:
    """Everything on a sheet. ``rows`` says what each row holds and how many lines its longest text has; ``parts`` are the first rows of what
    a page should not tear apart."""

    title: str
    items: list[Item] = field(default_factory=list)
    rows: dict[int, tuple[str, int]] = field(default_factory=dict)
    parts: list[int] = field(default_factory=list)
    blocks: dict[str, Block] = field(default_factory=dict)

    def put(
        self, row: int, column: int, kind: str, content: str | Number | None, width: int = 1, value: Number | None = None
    ) -> None:
        self.items.append(Item(row, column, kind, content, width, value))

    def text(self, row: int, column: int, kind: str, content: str, width: int) -> None:
        """Text over ``width`` columns; its row gets as high as the text needs."""
        self.put(row, column, kind, content, width)
        self.rows[row] = (kind, max(len(wrapped(content, width)), self.rows.get(row, ("", 0))[1]))

    def pages(self, height: Callable[[str], float], room: float) -> list[range]:
        """The rows of each page: as many whole parts as fit into ``room``, where a line of a row of this kind has this ``height``. Row 1,
        the title, is left out: every page has it."""
        found, start, end = [], 2, 2
        for part_end in [*sorted(set(self.parts))[1:], max(self.rows) + 1]:
            kinds = [self.rows.get(row, ("gap", 1)) for row in range(start, part_end)]
            if end > start and sum(height(kind) * lines for kind, lines in kinds) > room:
                found.append(range(start, end))
                start = end
            end = part_end
        return [*found, range(start, end)]


def wrapped(text: str, width: int) -> list[str]:
    """The lines of ``text`` in ``width`` columns."""
    return textwrap.wrap(text, width * LETTERS) or [""]


class _Place(NamedTuple):
    """A quantity, how its cells are filled, and whether an arrow points at it."""

    quantity: Quantity
    kind: str
    source: str
    arrow: bool


def lay_out(sheet: Sheet, blank: bool = False) -> Layout:
    """Where everything of ``sheet`` stands; ``blank`` leaves every cell empty that a formula would fill.

    Raises ValueError where the bands do not name every quantity of the paper exactly once.
    """
    names = [name for _, stages in sheet.bands for stage in stages for name in stage]
    if sorted(names) != sorted(sheet.paper.quantities):
        raise ValueError(f"{sheet.title}: the bands hold {sorted(names)}, the paper {sorted(sheet.paper.quantities)}")
    layout = Layout(sheet.title)
    layout.text(1, 1, "title", sheet.title, LIMIT + 1)
    layout.text(2, 1, "note", sheet.note, LIMIT + 1)
    column = 2
    for kind, words in LEGEND_BLANK if blank else LEGEND:
        layout.put(3, column, kind, None)
        layout.put(3, column + 1, "legend", words, width=5)
        column += 7
    layout.rows[3] = ("label", 1)
    row = HEADER + 1
    for title, stages in sheet.bands:
        row = _band(layout, row, title, [[_of_paper(sheet.paper, name) for name in stage] for stage in stages])
    statuses = []
    for exercise in sheet.exercises:
        row, status = _exercise(layout, row, exercise)
        statuses.append(status)
    layout.rows[HEADER] = ("label", 1)
    for k, (exercise, status) in enumerate(zip(sheet.exercises, statuses, strict=True)):
        layout.put(HEADER, 2 + 9 * k, "legend", f"{exercise.title} (row {status.top}):", width=4)
        layout.put(HEADER, 6 + 9 * k, "status", status.one, width=2)
    used = dict.fromkeys(quantity.operation for quantity in sheet.paper.quantities.values())
    layout.text(row, 1, "band", "How each step is computed", LIMIT + 1)
    layout.parts.append(row)
    for k, operation in enumerate(operation for operation in used if operation != "given"):
        layout.text(row + 1 + k, 2, "how", HOW_TO[operation], LIMIT)
    _fill(layout, sheet.paper, blank)
    return layout


def _of_paper(paper: Paper, name: str) -> _Place:
    quantity = paper[name]
    if quantity.operation == "given":
        return _Place(quantity, "given", "given", False)
    *most, last = quantity.of
    return _Place(quantity, "formula", f"from {', '.join(most)} and {last}" if most else f"from {last}", True)


def _band(layout: Layout, row: int, title: str, stages: Sequence[Sequence[_Place]], task: str = "") -> int:
    """Puts a title, a task if there is one, and blocks from left to right on as many lines as their width needs; returns the row after."""
    part = row
    layout.text(row, 1, "band", title, LIMIT + 1)
    if task:
        row += 1
        layout.text(row, 2, "how", task, LIMIT)
    row += 1
    for line in _lines(stages):
        layout.parts.append(part)
        column, depth = 2, max(map(len, line))
        heights = [max(len(s[k].quantity.value) for s in line if k < len(s)) + 5 for k in range(depth)]
        for stage in line:
            top = row
            for place, height in zip(stage, heights, strict=False):
                _block(layout, top, column, place)
                top += height
            column += max(_width(place.quantity) for place in stage) + 1
        part = row = row + sum(heights)
    return row


def _lines(stages: Sequence[Sequence[_Place]]) -> Iterator[list[Sequence[_Place]]]:
    line, taken = [], 0
    for stage in stages:
        width = max(_width(place.quantity) for place in stage)
        if line and taken + 1 + width > LIMIT:
            yield line
            line, taken = [], 0
        line.append(stage)
        taken += width + 1
    yield line


def _width(quantity: Quantity) -> int:
    return max(LEAST, 1 + len(quantity.value[0]))


def _block(layout: Layout, top: int, column: int, place: _Place) -> None:
    """Name, words, where it comes from, labels, numbers: the four rows above the numbers are the same for all blocks of a line."""
    quantity, width = place.quantity, _width(place.quantity)
    rows, columns = len(quantity.value), len(quantity.value[0])
    layout.text(top, column, "name", f"{quantity.name} {quantity.shape}".strip(), width)
    layout.text(top + 1, column, "words", quantity.words, width)
    layout.text(top + 2, column, "source", place.source, width)
    block = layout.blocks[quantity.name] = Block(top + 4, column + 1, rows, columns)
    layout.rows[top + 3] = ("label", 1)
    for j, label in enumerate(quantity.columns):
        layout.put(top + 3, block.left + j, "label", label)
    for i in range(rows):
        layout.rows[block.top + i] = ("number", 1)
        if quantity.rows:
            layout.put(block.top + i, column, "row", quantity.rows[i])
        if place.kind == "given":
            for j in range(columns):
                layout.put(block.top + i, block.left + j, "given", quantity.value[i][j])
        elif place.kind == "turn":
            for j in range(columns):
                layout.put(block.top + i, block.left + j, "turn", None)
    if place.arrow:
        layout.put(block.top + (rows - 1) // 2, column - 1, "arrow", "→")
    layout.rows.setdefault(block.top + rows, ("gap", 1))


def _fill(layout: Layout, paper: Paper, blank: bool) -> None:
    """The formulas, now that every block has its place."""
    for quantity in paper.quantities.values():
        if quantity.operation == "given":
            continue
        block, sources = layout.blocks[quantity.name], [layout.blocks[name] for name in quantity.of]
        for i, row in enumerate(quantity.value):
            for j, value in enumerate(row):
                formula = FORMULAS[quantity.operation](i, j, *sources)
                if blank:
                    layout.put(block.top + i, block.left + j, "turn", None)
                else:
                    layout.put(block.top + i, block.left + j, "formula", formula, value=value)


def _exercise(layout: Layout, row: int, exercise: Exercise) -> tuple[int, Block]:
    """Puts an exercise at ``row``; returns the row after it and the block of its status."""
    answer = _Place(exercise.answer, "turn", "type numbers; a fraction as =4/7", True)
    state = Quantity(f"status {exercise.title}", "", "not done, correct, or look again", "given", (), ((Fraction(0),),))
    places = [[_Place(quantity, "given", "given", False)] for quantity in exercise.given]
    stages = [*places, [answer], [_Place(state, "status", "by formula", True)]]
    end = _band(layout, row, exercise.title, stages, f"{exercise.task} Tolerance: {exercise.tolerance}.")
    status, cells = layout.blocks[state.name], layout.blocks[exercise.answer.name]
    span = f"{cells.cell(0, 0)}:{cells.cell(cells.rows - 1, cells.columns - 1)}"
    count = cells.rows * cells.columns
    apart = ",".join(f"ABS({got}-({wanted}))" for got, wanted in exercise.checks(layout.blocks))
    layout.put(
        status.top,
        status.left,
        "status",
        f'IF(COUNTA({span})<{count},"not done",IF(COUNT({span})<{count},"look again",'
        f'IFERROR(IF(MAX({apart})<={exercise.tolerance},"correct","look again"),"look again")))',
        width=2,
    )
    return end, status
