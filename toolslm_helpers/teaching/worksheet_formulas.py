"""For each operation of the by-hand numbers: the formula of a cell on a worksheet, and how to do the same with a pencil."""

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Block(NamedTuple):
    """Numbers on the sheet: the row and the column of the first (both from 1), and how many rows and columns of them there are."""

    top: int
    left: int
    rows: int
    columns: int

    def cell(self, i: int, j: int) -> str:
        """Address of the cell in row ``i``, column ``j``, both from 0."""
        return f"{_letters(self.left + j)}{self.top + i}"

    def row(self, i: int) -> str:
        return f"{self.cell(i, 0)}:{self.cell(i, self.columns - 1)}"

    def column(self, j: int) -> str:
        return f"{self.cell(0, j)}:{self.cell(self.rows - 1, j)}"

    @property
    def one(self) -> str:
        """The address of its only cell."""
        return self.cell(0, 0)


def _letters(column: int) -> str:
    high, low = divmod(column - 1, 26)
    return (_letters(high) if high else "") + chr(ord("A") + low)


def _paired(ones: Iterator[str], others: Iterator[str]) -> str:
    return "+".join(f"{a}*{b}" for a, b in zip(ones, others, strict=True))


# For each of OPERATIONS, the formula of the cell in row i, column j (from 0), given the blocks that it follows from. Only functions that
# Excel 2010, LibreOffice and Google Sheets share, and no array formulas: SUMPRODUCT for a row times a row, written out for a row times a column.
FORMULAS: dict[str, Callable[..., str]] = {
    "lookup": lambda i, j, ids, table: f"INDEX({table.column(j)},{ids.cell(i, 0)}+1)",
    "linear": lambda i, j, x, weight, *bias: (
        f"SUMPRODUCT({x.row(i)},{weight.row(j)})" + "".join(f"+{one.cell(0, j)}" for one in bias)
    ),
    "add": lambda i, j, *blocks: "+".join(block.cell(i, j) for block in blocks),
    "relu": lambda i, j, x: f"MAX(0,{x.cell(i, j)})",
    "causal power": lambda i, j, scores, base: (  # the mask, counted on the sheet itself: column's place <= row's place
        f"IF(COLUMNS({scores.cell(i, 0)}:{scores.cell(i, j)})<=ROWS({scores.cell(0, j)}:{scores.cell(i, j)}),"
        f"{base.one}^{scores.cell(i, j)},0)"
    ),
    "power": lambda i, j, x, base: f"{base.one}^{x.cell(i, j)}",
    "divide": lambda i, j, x, by: f"{x.cell(i, j)}/{by.one}",
    "below largest": lambda i, j, x: f"{x.cell(i, j)}-MAX({x.row(i)})",
    "total": lambda i, j, x: f"SUM({x.row(i)})",
    "running total": lambda i, j, x: f"SUM({x.cell(i, 0)}:{x.cell(i, j)})",
    "mean": lambda i, j, x: f"AVERAGE({x.row(i)})",
    "mean distance": lambda i, j, x: f"AVEDEV({x.row(i)})",
    "standard deviation": lambda i, j, x: f"SQRT(DEVSQ({x.row(i)})/COUNT({x.row(i)})+0.00001)",
    "share": lambda i, j, x, total: f"{x.cell(i, j)}/{total.cell(i, 0)}",
    "normalise": lambda i, j, x, mean, spread: f"({x.cell(i, j)}-{mean.cell(i, 0)})/{spread.cell(i, 0)}",
    "mix": lambda i, j, weights, values: _paired(
        (weights.cell(i, k) for k in range(weights.columns)), (values.cell(k, j) for k in range(values.rows))
    ),
    "largest": lambda i, j, x: f"MATCH(MAX({x.row(i)}),{x.row(i)},0)-1",
    "drawn": lambda i, j, running, uniform: f"SUMPRODUCT(({running.row(i)}<={uniform.cell(i, 0)})*1)",
    "loss": lambda i, j, p, targets, base: f"-LOG(INDEX({p.row(i)},{targets.cell(i, 0)}+1),{base.one})",
    "graded mean": lambda i, j, x, graded: f"SUMPRODUCT({x.column(0)},{graded.column(0)})/SUM({graded.column(0)})",
    "logit gradient": lambda i, j, p, targets, graded: (
        f"({p.cell(i, j)}-IF({targets.cell(i, 0)}+1=COLUMNS({p.cell(i, 0)}:{p.cell(i, j)}),1,0))"
        f"*{graded.cell(i, 0)}/SUM({graded.column(0)})"
    ),
    "outer sum": lambda i, j, g, x: f"SUMPRODUCT({g.column(i)},{x.column(j)})",
    "step": lambda i, j, weight, gradient, rate: f"{weight.cell(i, j)}-{rate.one}*{gradient.cell(i, j)}",
}  # fmt: skip

# The same in words, each with an example that one can check in the head.
HOW_TO = {
    "lookup": "Row of a table: the number says which row to copy; the first row has number 0.",
    "linear": "Row times row: multiply the numbers in pairs, then add the products. (1, 2) times (3, 4) is 1·3 + 2·4 = 11.",
    "add": "Sum: add the numbers that stand at the same place.",
    "relu": "ReLU: copy the number; where it is below 0, write 0.",
    "causal power": "Power with mask: base to the power of the score. A word sees itself and what stands before it; for a later word write 0.",
    "power": "Power: the base raised to the number. 2 to the 3 is 8, 2 to the 0 is 1, 2 to the -1 is 1/2.",
    "divide": "Division: divide every number by the one number.",
    "below largest": "Below the largest: take the row's largest number away from each. The shares stay the same, and no power gets too large.",
    "total": "Total: add up the row.",
    "running total": "Running total: add up the row from its left end to here.",
    "mean": "Mean: add up the row, divide by how many numbers it has.",
    "mean distance": "Spread: how far is each number of the row from the mean, without its sign? Take the mean of that.",
    "standard deviation": "Standard deviation: square each distance from the mean, take their mean, add 0.00001, take the root.",
    "share": "Share: divide each number by the total of its row. The shares of a row add up to 1.",
    "normalise": "Normalise: (number - mean) / spread, with the mean and the spread of its own row.",
    "mix": "Row times column: multiply a row of the first block with a column of the second in pairs, then add the products.",
    "largest": "Largest: the place of the row's largest number, counted from 0; the first one if several are equal.",
    "drawn": "Draw: the first place whose running total is above the uniform number, counted from 0.",
    "loss": "Loss: which power of the base is the target's share? Change its sign. Base 2: 1/4 is 2 to the -2, so it costs 2 bits.",
    "graded mean": "Graded mean: add up where graded is 1, divide by how many those are.",
    "logit gradient": "Gradient: the share, minus 1 at the target's place; then times graded, divided by how many tokens are graded.",
    "outer sum": "Column times column: for each token multiply the two numbers, then add over the tokens.",
    "step": "Step: number - rate · gradient.",
}  # fmt: skip
