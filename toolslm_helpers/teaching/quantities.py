"""Numbers that follow from numbers: named blocks, each by one operation from blocks before it.

A notebook shows them, a worksheet writes them as live formulas, a test compares them with torch. Where the given numbers are integers
or fractions, everything stays a fraction as long as it can: on paper 1/3 is 1/3, and a rounding never hides a mistake.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

Number = Fraction | float
Matrix = tuple[tuple[Number, ...], ...]


@dataclass(frozen=True)
class Quantity:
    """One block of numbers: ``value`` (rows x columns), and how it follows from the quantities that it is made ``of``."""

    name: str
    shape: str  # such as "(T, D)"
    words: str  # the formula in words
    operation: str  # "given", or a key of OPERATIONS
    of: tuple[str, ...]
    value: Matrix
    rows: tuple[str, ...] = ()  # labels
    columns: tuple[str, ...] = ()


def _rowwise(function: Callable[[tuple], Sequence]) -> Callable[[Matrix], Matrix]:
    return lambda x: tuple(tuple(function(row)) for row in x)


def _cellwise(function: Callable[..., Number]) -> Callable[..., Matrix]:
    return lambda *blocks: tuple(tuple(map(function, *rows)) for rows in zip(*blocks, strict=True))


def _dot(a: Sequence[Number], b: Sequence[Number]) -> Number:
    return sum((x * y for x, y in zip(a, b, strict=True)), start=Fraction(0))


def power(base: Number, exponent: Number) -> Number:
    """``base`` to the ``exponent``: a fraction where it is one, else the nearest 64-bit number."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        return base**exponent.numerator
    return float(base) ** float(exponent)


def _lookup(ids: Matrix, table: Matrix) -> Matrix:
    return tuple(table[int(row[0])] for row in ids)


def _linear(x: Matrix, weight: Matrix, bias: Matrix | None = None) -> Matrix:
    """Each row of ``x`` with each row of ``weight``: x times weight transposed, as torch's Linear keeps its weight."""
    return tuple(tuple(_dot(row, w) + (bias[0][k] if bias else 0) for k, w in enumerate(weight)) for row in x)


def _causal_power(scores: Matrix, base: Matrix) -> Matrix:
    return tuple(
        tuple(power(base[0][0], s) if j <= i else Fraction(0) for j, s in enumerate(row)) for i, row in enumerate(scores)
    )


def _standard_deviation(row: Sequence[Number]) -> float:
    """The root of the mean squared distance from the mean, with the 0.00001 that keeps OPT's norms from dividing by 0."""
    mean = sum(row) / len(row)
    return math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + Fraction(1, 100_000))


def _loss(p: Matrix, targets: Matrix, base: Matrix) -> Matrix:
    def bits(share: Number) -> Number:
        found = -math.log(share) / math.log(base[0][0])
        return Fraction(round(found)) if power(base[0][0], Fraction(-round(found))) == share else found

    return tuple((bits(row[int(target[0])]),) for row, target in zip(p, targets, strict=True))


def _logit_gradient(p: Matrix, targets: Matrix, graded: Matrix) -> Matrix:
    count = sum((row[0] for row in graded), start=Fraction(0))
    return tuple(
        tuple((share - (column == int(target[0]))) * flag[0] / count for column, share in enumerate(row))
        for row, target, flag in zip(p, targets, graded, strict=True)
    )


# Each takes the values of the quantities it is made of. The worksheet has a formula of the same name for each.
OPERATIONS: dict[str, Callable[..., Matrix]] = {
    "lookup": _lookup,  # ids (T, 1), table (R, C) -> the rows (T, C)
    "linear": _linear,  # x (T, I), weight (O, I), bias (1, O) or none -> (T, O)
    "add": _cellwise(lambda *cells: sum(cells, start=Fraction(0))),
    "relu": _cellwise(lambda x: max(x, Fraction(0))),
    "causal power": _causal_power,  # scores (T, T), base (1, 1) -> base ** score where a row may look, else 0
    "power": lambda x, base: tuple(tuple(power(base[0][0], cell) for cell in row) for row in x),
    "divide": lambda x, by: tuple(tuple(cell / by[0][0] for cell in row) for row in x),  # by the one number of ``by`` (1, 1)
    "below largest": _rowwise(lambda row: [cell - max(row) for cell in row]),
    "total": _rowwise(lambda row: [sum(row, start=Fraction(0))]),
    "running total": _rowwise(lambda row: list(accumulate(row))),
    "mean": _rowwise(lambda row: [sum(row, start=Fraction(0)) / len(row)]),
    "mean distance": _rowwise(lambda row: [sum((abs(x - sum(row) / len(row)) for x in row), start=Fraction(0)) / len(row)]),
    "standard deviation": _rowwise(lambda row: [_standard_deviation(row)]),
    "share": lambda x, total: tuple(tuple(cell / t[0] for cell in row) for row, t in zip(x, total, strict=True)),
    "normalise": lambda x, mean, spread: tuple(
        tuple((cell - m[0]) / s[0] for cell in row) for row, m, s in zip(x, mean, spread, strict=True)
    ),
    "mix": lambda weights, values: tuple(tuple(_dot(row, column) for column in zip(*values, strict=True)) for row in weights),
    "largest": _rowwise(lambda row: [Fraction(row.index(max(row)))]),  # the first of the largest, counted from 0
    "drawn": lambda running, uniform: tuple(  # the first place whose running total exceeds uniform (T, 1), counted from 0
        (Fraction(sum(cell <= u[0] for cell in row)),) for row, u in zip(running, uniform, strict=True)
    ),
    "loss": _loss,  # p (T, V), targets (T, 1), base (1, 1) -> -log(p of the target) (T, 1)
    "graded mean": lambda x, graded: ((_dot([r[0] for r in x], [g[0] for g in graded]) / sum(g[0] for g in graded),),),
    "logit gradient": _logit_gradient,  # (p - one where the target is) / graded tokens, 0 where not graded
    "outer sum": lambda g, x: tuple(tuple(_dot(a, b) for b in zip(*x, strict=True)) for a in zip(*g, strict=True)),  # g transposed, x
    "step": lambda weight, gradient, rate: _cellwise(lambda w, g: w - rate[0][0] * g)(weight, gradient),
}  # fmt: skip


class Paper:
    """Quantities in the order in which they are computed; each by name."""

    def __init__(self) -> None:
        self.quantities: dict[str, Quantity] = {}

    def __getitem__(self, name: str) -> Quantity:
        return self.quantities[name]

    def given(self, name: str, shape: str, words: str, value: Sequence[Sequence[Number | int]], rows=(), columns=()) -> str:
        """Adds numbers that are simply given; integers become fractions. Returns the name."""
        exact = tuple(tuple(Fraction(cell) if isinstance(cell, int) else cell for cell in row) for row in value)
        return self._add(Quantity(name, shape, words, "given", (), exact, tuple(rows), tuple(columns)))

    def then(self, name: str, operation: str, of: Sequence[str], shape: str, words: str, rows=(), columns=()) -> str:
        """Adds what follows by ``operation`` from the quantities named in ``of``. Returns the name."""
        value = OPERATIONS[operation](*(self[part].value for part in of))
        return self._add(Quantity(name, shape, words, operation, tuple(of), value, tuple(rows), tuple(columns)))

    def _add(self, quantity: Quantity) -> str:
        if quantity.name in self.quantities:
            raise ValueError(f"quantity {quantity.name!r} is there already")
        self.quantities[quantity.name] = quantity
        return quantity.name
