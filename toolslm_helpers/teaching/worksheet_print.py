"""The blank worksheet as a page to print: the same layout as the spreadsheet. Drawn with matplotlib, A4 landscape."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from toolslm_helpers.teaching.number_views import written
from toolslm_helpers.teaching.quantities import Number
from toolslm_helpers.teaching.worksheet_layout import HEADER, LIMIT, Item, Layout, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, MARGIN = 297.0, 210.0, 10.0  # A4 landscape, millimetres
TOP = 16.0  # of every page: title, name, date
FIRST_COLUMN = 5.0
COLUMN = (WIDTH - 2 * MARGIN - FIRST_COLUMN) / LIMIT
ROWS = {
    "title": 0.0,
    "note": 4.2,
    "band": 7.5,
    "name": 4.6,
    "words": 3.7,
    "source": 3.3,
    "label": 4.4,
    "number": 6.5,
    "gap": 2.5,
    "how": 4.4,
}
POINTS = {
    "note": 9,
    "band": 10,
    "name": 9,
    "words": 7.5,
    "source": 6.5,
    "label": 7.5,
    "row": 7.5,
    "arrow": 14,
    "how": 9,
    "legend": 8,
}
GREY = "#595959"
BOXES = {"given": "#ddebf7", "turn": "white", "status": "white", "formula": "white", "band": "#1f3864"}
FITS = {"label": 7, "row": 7, "given": 6}  # letters that fit into one column
PROSE = ("name", "words", "source", "how", "note")


def printed(layouts: Sequence[Layout]) -> bytes:
    """A PDF with the pages of each layout, one after the other."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with PdfPages(content, metadata={"Title": layouts[0].title, "CreationDate": None}) as pdf:
        for layout in layouts:
            pages = layout.pages(ROWS.__getitem__, HEIGHT - TOP - MARGIN)
            for number, rows in enumerate(pages, start=1):
                figure = Figure(figsize=(WIDTH / 25.4, HEIGHT / 25.4))
                axes = figure.add_axes((0, 0, 1, 1))
                axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
                axes.axis("off")
                _page(axes, layout, rows, f"{layout.title} · page {number} of {len(pages)}")
                pdf.savefig(figure)
    return content.getvalue()


def _height(layout: Layout, row: int) -> float:
    kind, lines = layout.rows.get(row, ("gap", 1))
    return ROWS[kind] * lines


def _page(axes: "Axes", layout: Layout, rows: range, title: str) -> None:
    axes.text(MARGIN, MARGIN, title, fontsize=11, fontweight="bold", va="center", parse_math=False)
    axes.text(WIDTH - MARGIN, MARGIN, "name ____________________   date ______________", fontsize=9, va="center", ha="right")
    tops, y = {}, TOP
    for row in rows:
        tops[row] = y
        y += _height(layout, row)
    for item in layout.items:
        if item.row in tops and item.row != HEADER:  # the exercises' status in the header is for the screen
            _item(axes, layout, item, tops[item.row])


def _item(axes: "Axes", layout: Layout, item: Item, y: float) -> None:
    """Draws one item whose row begins ``y`` millimetres below the page's upper edge."""
    from matplotlib.patches import Rectangle

    kind, height = item.kind, _height(layout, item.row)
    x = MARGIN + (FIRST_COLUMN + (item.column - 2) * COLUMN if item.column > 1 else 0)
    width = COLUMN * item.width if item.column > 1 else FIRST_COLUMN + COLUMN * (item.width - 1)
    if kind in BOXES:
        height -= 1.5 if kind == "band" else 0
        line = {"linestyle": "--", "linewidth": 1.0} if kind == "turn" else {"linewidth": 0.7}
        axes.add_patch(Rectangle((x, y), width, height, facecolor=BOXES[kind], edgecolor=GREY, **line))
    if item.content is None or kind in ("status", "formula"):
        return
    size, bold, colour = POINTS.get(kind, 9), "bold" if kind in ("name", "band") else "normal", {"band": "white", "source": GREY}
    look = {"color": colour.get(kind, "black"), "fontweight": bold, "parse_math": False}
    if kind in PROSE:
        text = "\n".join(wrapped(item.content, item.width))
        axes.text(x, y + 0.3, text, fontsize=size, va="top", linespacing=1.1, **look)
        return
    text = item.content if isinstance(item.content, str) else _number(item.content)
    if len(text) > FITS.get(kind, 999):
        size = max(4.5, size * FITS[kind] / len(text))
    across, shift = {"band": ("left", 1.0), "legend": ("left", 1.0), "row": ("right", width - 1.0)}.get(
        kind, ("center", width / 2)
    )
    axes.text(x + shift, y + height / 2, text, fontsize=size, ha=across, va="center", **look)


def _number(number: Number) -> str:
    return written(number) if isinstance(number, Fraction) else f"{number:.5g}"
