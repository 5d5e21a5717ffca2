"""Views of numbers: a matrix, any cell of it explained, who attends to whom, and shares as bars. Each says in words what it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from toolslm_helpers.teaching.quantities import Paper, Quantity
from toolslm_helpers.teaching.views import CELL, HEADER, HIGHLIGHT, LINE, PLAIN, SUPERVISED_LINE, View, aligned, box

LATER = "later"  # what stands in an attention map where the mask forbids to look
BAR = 30  # characters of a bar that is 1


def written(number: Fraction | float) -> str:
    """A number as one writes it on paper: a fraction whole or with a small denominator as such, anything else with four decimals."""
    exact = Fraction(number).limit_denominator(1000)
    if isinstance(number, Fraction | int) and exact == number:
        return str(exact)
    return f"{float(number):.4f}"


@dataclass(frozen=True)
class MatrixRow:
    """One row of a matrix: its label and its cells as written."""

    label: str
    cells: tuple[str, ...]


def matrix_rows(quantity: Quantity) -> list[MatrixRow]:
    """A row for each row of a quantity; unnamed rows are numbered from 1."""
    labels = quantity.rows or tuple(str(k + 1) for k in range(len(quantity.value)))
    return [MatrixRow(label, tuple(map(written, row))) for label, row in zip(labels, quantity.value, strict=True)]


def column_labels(quantity: Quantity) -> tuple[str, ...]:
    """The names of a quantity's columns; unnamed ones are numbered from 1."""
    return quantity.columns or tuple(str(k + 1) for k in range(len(quantity.value[0])))


def matrix(quantity: Quantity, highlight: tuple[int, int] | None = None, formula: str = "") -> View:
    """A quantity with its name, shape and formula in words; ``highlight`` (row, column), counted from 0, marks one cell, and
    ``formula`` says how that cell came about. Raises IndexError for a cell that is not there."""
    rows = matrix_rows(quantity)
    columns = column_labels(quantity)
    chosen = (
        None if highlight is None else (rows[highlight[0]].cells[highlight[1]], rows[highlight[0]].label, columns[highlight[1]])
    )
    cells = []
    for k, row in enumerate(rows):
        shown = [f"[{cell}]" if (k, j) == highlight else cell for j, cell in enumerate(row.cells)]
        shades = [HIGHLIGHT if (k, j) == highlight else PLAIN for j in range(len(shown))]
        cells.append((row.label, shown, shades))
    title = f"{quantity.name} {quantity.shape}: {quantity.words}"
    below = [f"[{chosen[0]}] is row {chosen[1]}, column {chosen[2]}{': ' + formula if formula else ''}."] if chosen else []
    lines = [title, *aligned([["", *columns], *([label, *shown] for label, shown, _ in cells)]), *below]
    return View(box(_table(title, columns, cells) + "".join(f"<div>{escape(line)}</div>" for line in below)), "\n".join(lines))


def arithmetic(paper: Paper, name: str, row: int, column: int) -> str:
    """How one cell of a quantity came about, with its numbers: "0 * 1 + 1 * (-1) = -1". Steps without a sum of their own say their rule.

    Raises KeyError for an unknown name, IndexError for a cell that is not there.
    """
    quantity = paper[name]
    result = written(quantity.value[row][column])
    blocks = [paper[part].value for part in quantity.of]
    match quantity.operation:
        case "given":
            return f"{result}, given"
        case "lookup":
            way = f"{quantity.of[1]}, row {written(blocks[0][row][0])} (counted from 0), number {column + 1}"
        case "linear":
            way = _products(blocks[0][row], blocks[1][column]) + (f" + {_factor(blocks[2][0][column])}" if blocks[2:] else "")
        case "mix":
            way = _products(blocks[0][row], [other[column] for other in blocks[1]])
        case "add":
            way = " + ".join(_factor(block[row][column]) for block in blocks)
        case "relu":
            way = f"the larger of {written(blocks[0][row][column])} and 0"
        case "causal power" if column > row:
            way = "it comes later"
        case "power" | "causal power":
            way = f"{written(blocks[1][0][0])} to the power of {written(blocks[0][row][column])}"
        case "total":
            way = " + ".join(map(_factor, blocks[0][row]))
        case "share":
            way = f"{_factor(blocks[0][row][column])} / {_factor(blocks[1][row][0])}"
        case "normalise":
            way = f"({written(blocks[0][row][column])} - {_factor(blocks[1][row][0])}) / {_factor(blocks[2][row][0])}"
        case _:
            way = quantity.words
    return f"{way} = {result}"


def _factor(number: Fraction | float) -> str:
    """A number as it stands in a product: negative ones and fractions in parentheses."""
    text = written(number)
    return f"({text})" if text.startswith("-") or "/" in text else text


def _products(ones: Sequence[Fraction | float], others: Sequence[Fraction | float]) -> str:
    return " + ".join(f"{_factor(a)} * {_factor(b)}" for a, b in zip(ones, others, strict=True))


def attention_map(words: Sequence[str], weights: Sequence[Sequence[float]], title: str = "attention") -> View:
    """How much of each word (columns) each word (rows) takes: T words, ``weights`` (T, T) whose rows sum to 1.

    What comes later than a row's word is not seen. Raises ValueError where shapes differ.
    """
    if len(weights) != len(words) or any(len(row) != len(words) for row in weights):
        raise ValueError(f"attention_map: {len(words)} words need {len(words)} rows of as many weights.")
    cells, sentences = [], []
    for i, row in enumerate(weights):
        shown = [written(weight) if j <= i else LATER for j, weight in enumerate(row)]
        shades = [_shade(float(weight)) if j <= i else HEADER for j, weight in enumerate(row)]
        most = max(range(i + 1), key=lambda j, row=row: row[j])
        sentences.append(f"{words[i]} looks most at {words[most]} ({written(row[most])}).")
        cells.append((words[i], shown, shades))
    head = f"{title}: a row looks at columns"
    html = _table(head, words, cells) + "".join(f"<div>{escape(sentence)}</div>" for sentence in sentences)
    return View(box(html), "\n".join([head, *aligned([["", *words], *([w, *shown] for w, shown, _ in cells)]), *sentences]))


def _shade(weight: float) -> str:
    """White for 0 to a light blue for 1, on which black text stays readable."""
    return "#" + "".join(f"{round(255 + weight * (full - 255)):02x}" for full in (0x7F, 0xBF, 0xEB))


@dataclass(frozen=True)
class ShareRow:
    """One candidate and its share of the probability."""

    label: str
    share: float
    chosen: bool

    @property
    def bar(self) -> str:
        return "█" * round(BAR * float(self.share)) or "▏"


def share_rows(labels: Sequence[str], shares: Sequence[float], chosen: int | None = None) -> list[ShareRow]:
    """A row for each candidate, in the given order. Raises ValueError where the two lengths differ."""
    return [ShareRow(label, share, k == chosen) for k, (label, share) in enumerate(zip(labels, shares, strict=True))]


def probability_bars(labels: Sequence[str], shares: Sequence[float], chosen: int | None = None, title: str = "shares") -> View:
    """Candidates with a bar as long as their share; ``chosen`` (an index) is marked in words."""
    rows = share_rows(labels, shares, chosen)
    lines, blocks = [title], []
    width = max((len(row.label) for row in rows), default=0)
    for row in rows:
        mark = " <- chosen" if row.chosen else ""
        lines.append(f"{row.label:<{width}}  {written(row.share):>7}  {row.bar}{mark}")
        blocks.append(
            f'<tr><td style="{CELL}">{escape(row.label)}</td><td style="{CELL}">{written(row.share)}</td><td style="border:0;width:70%">'
            f'<span style="display:inline-block;height:1em;width:{100 * float(row.share):.1f}%;min-width:1px;background:{SUPERVISED_LINE}">'
            f"</span>{' &lt;- chosen' if row.chosen else ''}</td></tr>"
        )
    table = f'<table style="border-collapse:collapse;width:100%">{"".join(blocks)}</table>'
    return View(box(f"<div>{escape(title)}</div>{table}"), "\n".join(lines))


def _table(title: str, columns: Sequence[str], cells: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    head = "".join(f'<th scope="col" style="{CELL};background:{HEADER}">{escape(c)}</th>' for c in ("", *columns))
    body = "".join(
        f'<tr><th scope="row" style="{CELL};background:{HEADER}">{escape(label)}</th>'
        + "".join(f'<td style="{CELL};background:{shade}">{escape(cell)}</td>' for cell, shade in zip(shown, shades, strict=True))
        + "</tr>"
        for label, shown, shades in cells
    )
    caption = f'<caption style="text-align:left;font-weight:bold;padding:4px 0">{escape(title)}</caption>'
    return f'<table style="border-collapse:collapse;border-color:{LINE}">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
