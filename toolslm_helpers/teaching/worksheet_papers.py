"""What stands on the worksheets of lessons 01, 05, 06 and 07: the paper model, and more words by the book.

"small" is ``by_hand()``, cut to the lesson. "medium" follows the same graph with other numbers and without the paper's changes: base e,
the root of the head width, the standard deviation. (worksheet_own.py adds the third sheet, from the shipped checkpoint.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any

from toolslm_helpers.teaching.byhand import WORDS, by_hand
from toolslm_helpers.teaching.quantities import Paper

CALL = ("find", "hotel", "in", "Oslo")  # T = 4, the words of the medium sheets
MORE_WORDS = ("</s>", "find", "hotel", "in", "Oslo", "call", "room", "done")  # V = 8
SAID, E, D, K, F = (
    by_hand()[name].columns or by_hand()[name].rows for name in ("scores 1", "embedded", "x", "query 1", "hidden")
)
SEED = 185  # of the medium sheets: one for which nothing gets large and everything has something to do
HEAD_1 = ("weight of query 1", "query 1", "weight of key 1", "key 1", "weight of value 1", "value 1", "scores 1",
          "raised 1", "total 1", "attention 1", "mixed 1", "weight of out 1", "out 1")  # fmt: skip
HEAD_2 = tuple(name.replace("1", "2") for name in HEAD_1)
NORM_1 = ("added 1", "mean of added 1", "spread of added 1", "normed 1")
FEED_FORWARD = ("fc1", "fc1 bias", "hidden", "rectified", "fc2", "forward")
NORM_2 = tuple(name.replace("1", "2") for name in NORM_1)
IN = ("tokens", "rows", "embedding", "positions", "project_in", "embedded", "projected", "placed", "x")
TIED = ("normed 2", "project_out", "output", "logits")
SOFTMAX = ("raised", "total", "p")
AFTER = ("output after", "logits after", "raised after", "total after", "p after", "losses after", "loss after")
LEARN = ("targets", "losses", "graded", "loss", "gradient of logits", "gradient of output", "gradient of project_out", "rate",
         "project_out after", *AFTER)  # fmt: skip
MADE_IN_05 = {"words": "a row for each word; lesson 05 makes it"}
MADE_IN_01 = {"words": "the last row of each word; lesson 01 makes it"}
NATS = {"words": "minus the logarithm of the target's share, in nats", "columns": ("nats",)}


def copy(
    p: Paper,
    names: Sequence[str],
    values: Mapping[str, Any] | None = None,
    labels: Mapping[tuple, tuple] | None = None,
    **changes: dict,
) -> Paper:
    """Adds the paper model's quantities of these names to ``p``: the same formulas, from ``values`` where they differ.

    What follows from something that ``p`` lacks is given. ``labels`` maps the paper model's labels to other ones; ``changes`` (a name, its
    spaces as _) are fields of ``Quantity`` to change.
    """
    values, labels = values or {}, labels or {}
    for name in names:
        q = replace(by_hand()[name], **changes.get(name.replace(" ", "_"), {}))
        rows, columns = labels.get(q.rows, q.rows), labels.get(q.columns, q.columns)
        if name in values or q.operation == "given" or not all(part in p.quantities for part in q.of):
            p.given(name, q.shape, q.words, values.get(name, q.value), rows, columns)
        else:
            p.then(name, q.operation, q.of, q.shape, q.words, rows, columns)
    return p


def small(lesson: str) -> Paper:
    """The paper model, cut to the lesson."""
    p = copy(Paper(), ["base"] if lesson != "05" else [])
    if lesson == "01":
        return copy(p, ("x", *HEAD_1, *HEAD_2, *NORM_1, *FEED_FORWARD, *NORM_2), x=MADE_IN_05)
    if lesson == "05":
        return copy(p, (*IN, *TIED), normed_2=MADE_IN_01)
    if lesson == "06":
        copy(p, ("logits", *SOFTMAX, "next"), logits={"words": "lesson 05 makes them"})
        add_temperature(p, Fraction(1, 2), SAID, WORDS)
        return add_draw(p, [[Fraction(1, 2)], [Fraction(5, 8)], [Fraction(5, 8)]], SAID, WORDS)
    copy(p, TIED[:2], normed_2=MADE_IN_01)
    return copy(p, ("embedding", "output", "logits", *SOFTMAX, *LEARN))


def medium(lesson: str) -> Paper:
    """The same steps as OPT takes them, on more words and other numbers."""
    random = Random(f"{SEED} {lesson}")

    def whole(rows: int, columns: int, most: int = 1) -> list[list[int]]:
        return [[random.randint(-most, most) for _ in range(columns)] for _ in range(rows)]

    p = Paper()
    if lesson != "05":
        p.given("base", "(1, 1)", "e, which is raised to a score", [[math.e]])
    if lesson == "01":
        return _medium_layer(p, whole)
    if lesson == "05":
        wide, narrow = ("E1", "E2", "E3"), ("D1", "D2", "D3", "D4", "D5")
        places = ("0 (padding)", "1 (padding)", "2 (first)", "3 (second)", "4 (third)", "5 (fourth)")
        values = {"tokens": [[1], [2], [3], [4]], "rows": [[2], [3], [4], [5]], "embedding": whole(8, 3, 2), "positions": whole(6, 5, 2),
                  "project_in": whole(5, 3), "normed 2": whole(4, 5, 2), "project_out": whole(3, 5)}  # fmt: skip
        labels = {SAID: CALL, WORDS: MORE_WORDS, E: wide, D: narrow, by_hand()["positions"].rows: places}
        return copy(p, (*IN, *TIED), values, labels, normed_2=MADE_IN_01)
    if lesson == "06":
        logits = [[0.2, 1.1, 3.4, 0.6, -0.5, 2.9, 1.7, -1.2], [-1.0, 0.3, 0.8, 4.1, 2.2, 0.1, -0.4, 1.5]]
        labels = {SAID: ("find", "hotel"), WORDS: MORE_WORDS}
        copy(p, ("logits", *SOFTMAX, "next"), {"logits": logits}, labels, logits={"words": "given here"})
        add_temperature(p, 0.7, ("find", "hotel"), MORE_WORDS)
        return add_draw(p, [[0.64], [0.95]], ("find", "hotel"), MORE_WORDS)
    values = {"normed 2": whole(4, 4), "project_out": whole(2, 4), "embedding": whole(8, 2), "targets": [[2], [3], [5], [7]],
              "graded": [[0], [1], [0], [1]], "rate": [[0.5]]}  # fmt: skip
    labels = {SAID: CALL, WORDS: MORE_WORDS}
    copy(p, TIED[:2], values, labels, normed_2=MADE_IN_01)
    names = ("embedding", "output", "logits", *SOFTMAX, *LEARN)
    return copy(p, names, values, labels, losses=NATS, losses_after=NATS)


def _medium_layer(p: Paper, whole: Any) -> Paper:
    """Attention with one head of K = 4, so that the root is 2; feed-forward with F = 6; norms with the standard deviation."""
    square, hidden = ("K1", "K2", "K3", "K4"), tuple(f"F{k + 1}" for k in range(6))
    values = {"x": whole(4, 4, 2), "fc1": whole(6, 4), "fc1 bias": whole(1, 6), "fc2": whole(4, 6)}
    values |= {f"weight of {name} 1": whole(4, 4) for name in ("query", "key", "value", "out")}
    labels = {SAID: CALL, K: square, F: hidden}
    copy(p, ("x", *HEAD_1[:7]), values, labels, x=MADE_IN_05)
    p.given("root of K", "(1, 1)", "the root of the head width 4", [[2]])
    p.then(
        "scaled 1",
        "divide",
        ["scores 1", "root of K"],
        "(T, T)",
        "score / root of K: wide heads do not get large scores",
        CALL,
        CALL,
    )
    spread = {"operation": "standard deviation", "words": "standard deviation of the row"}
    return copy(
        p, (*HEAD_1[7:], *NORM_1, *FEED_FORWARD, *NORM_2), values, labels, raised_1={"of": ("scaled 1", "base")}, added_1={"of": ("x", "out 1")},
        spread_of_added_1=spread, spread_of_added_2=spread,
    )  # fmt: skip


def add_temperature(p: Paper, temperature: Any, rows: tuple, columns: tuple, logits: str = "logits") -> Paper:
    """Adds the shares at a temperature: logits divided by it, then the softmax."""
    p.given("temperature", "(1, 1)", "below 1: surer; above 1: less sure", [[temperature]])
    p.then("cooled", "divide", [logits, "temperature"], "(T, V)", "logit / temperature", rows, columns)
    p.then("raised cooled", "power", ["cooled", "base"], "(T, V)", "base to the power of the cooled logit", rows, columns)
    p.then("total cooled", "total", ["raised cooled"], "(T, 1)", "sum of the row", rows, ("total",))
    p.then("p cooled", "share", ["raised cooled", "total cooled"], "(T, V)", "share at this temperature", rows, columns)
    return p


def add_draw(p: Paper, uniform: list, rows: tuple, columns: tuple) -> Paper:
    """Adds the running totals of the shares at a temperature, a uniform number, and the word that it draws."""
    p.then(
        "running total",
        "running total",
        ["p cooled"],
        "(T, V)",
        "shares at this temperature, added up from the left",
        rows,
        columns,
    )
    p.given("uniform", "(T, 1)", "a number from 0 to 1, drawn by lot", uniform, rows, ("uniform",))
    p.then(
        "drawn", "drawn", ["running total", "uniform"], "(T, 1)", "the first word whose running total is above it", rows, ("id",)
    )
    return p
