"""Two exercises for each worksheet: one asks for a value, one for an input that yields a wanted value.

Their status follows from given cells and the answer alone, so that it also works on a blank sheet; base 2 throughout.
"""

from collections.abc import Sequence
from fractions import Fraction

from toolslm_helpers.teaching.quantities import Quantity
from toolslm_helpers.teaching.worksheet_layout import Block, Exercise

HEARD = ("weather", "Lisbon", "call")


def _block(
    name: str, words: str, value: Sequence[Sequence[int | Fraction]], rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> Quantity:
    cells = tuple(tuple(Fraction(cell) for cell in row) for row in value)
    return Quantity(name, "", words, "given", (), cells, tuple(rows), tuple(columns))


def _answer(name: str, words: str, columns: Sequence[str] = ("answer",)) -> Quantity:
    return _block(name, words, [[0] * len(columns)], ("your turn",), columns)


def _shares(scores: Sequence[str]) -> list[str]:
    """Formulas of the shares that these scores get."""
    total = "+".join(f"2^({score})" for score in scores)
    return [f"2^({score})/({total})" for score in scores]


def _attention(query: Block, keys: Block) -> list[str]:
    return _shares([f"SUMPRODUCT({query.row(0)},{keys.row(k)})" for k in range(keys.rows)])


def _mean_bits(shares: Sequence[str], graded: Block) -> str:
    """The formula of the mean loss over the graded tokens."""
    return f"-({'+'.join(f'LOG({share},2)*{graded.cell(k, 0)}' for k, share in enumerate(shares))})/SUM({graded.column(0)})"


EXERCISES: dict[str, tuple[Exercise, Exercise]] = {
    "01": (
        Exercise(
            "A · forward", "A query meets three keys. Base 2, nothing is masked. What share of attention does Lisbon get?",
            (_block("query of A", "what is asked", [[1, -2]], ("call",), ("K1", "K2")),
             _block("keys of A", "what each word offers", [[1, 1], [0, -1], [2, 1]], HEARD, ("K1", "K2"))),
            _answer("share of Lisbon", "between 0 and 1"),
            lambda b: [(b["share of Lisbon"].one, _attention(b["query of A"], b["keys of A"])[1])],
            0.001,
        ),
        Exercise(
            "B · inverse", "Find a query for which the three words get the wanted shares. Base 2, nothing is masked.",
            (_block("keys of B", "what each word offers", [[1, 0], [0, 1], [2, 1]], HEARD, ("K1", "K2")),
             _block("wanted shares", "of attention", [["1/2"], ["1/4"], ["1/4"]], HEARD, ("share",))),
            _answer("query of B", "two numbers", ("K1", "K2")),
            lambda b: [(share, b["wanted shares"].cell(k, 0)) for k, share in enumerate(_attention(b["query of B"], b["keys of B"]))],
            0.005,
        ),
    ),
    "05": (
        Exercise(
            "A · forward", "Another word at another place. Take its row of embedding, project it with project_in, and add the row of its place.",
            (_block("word of A", "done", [[5]], ("done",), ("id",)),
             _block("place of A", "third: its row is place + 2", [[4]], ("third",), ("row",))),
            _answer("x of A", "word + place", ("D1", "D2", "D3", "D4")),
            lambda b: [(b["x of A"].cell(0, j), _placed(b, j)) for j in range(4)],
            0.001,
        ),
        Exercise(
            "B · inverse", "Find an output whose logits for Lisbon and for sunny are the wanted ones. Their rows stand in embedding.",
            (_block("wanted logits", "of two words", [[1, 2]], ("wanted",), ("Lisbon", "sunny")),),
            _answer("output of B", "two numbers", ("E1", "E2")),
            lambda b: [(f"SUMPRODUCT({b['output of B'].row(0)},{b['embedding'].row(word)})", b["wanted logits"].cell(0, k))
                       for k, word in enumerate((2, 4))],
            0.001,
        ),
    ),
    "06": (
        Exercise(
            "A · forward", "Three logits at a temperature. Base 2. What share does Lisbon get?",
            (_block("logits of A", "of three words", [[4, 2, 0]], ("logit",), HEARD), _block("temperature of A", "divide by it", [[2]])),
            _answer("share at A", "between 0 and 1"),
            lambda b: [(b["share at A"].one, _shares([f"{b['logits of A'].cell(0, k)}/{b['temperature of A'].one}" for k in range(3)])[1])],
            0.001,
        ),
        Exercise(
            "B · inverse", "Find the temperature at which weather's share is the wanted number of times Lisbon's share. Base 2.",
            (_block("logits of B", "of two words", [[4, 2]], ("logit",), HEARD[:2]),
             _block("wanted times", "share of weather / share of Lisbon", [[16]])),
            _answer("temperature of B", "above 0"),
            lambda b: [(f"2^(({b['logits of B'].cell(0, 0)}-{b['logits of B'].cell(0, 1)})/{b['temperature of B'].one})",
                        b["wanted times"].one)],
            0.01,
        ),
    ),
    "07": (
        Exercise(
            "A · forward", "Three predictions gave these shares to what came next. What is the loss, in bits, over the graded ones?",
            (_block("shares of A", "of the word that came next", [["1/4"], ["1/8"], ["1/2"]], HEARD, ("share",)),
             _block("graded of A", "1 where the assistant wrote it", [[0], [1], [1]], HEARD, ("graded",))),
            _answer("loss of A", "bits"),
            lambda b: [(b["loss of A"].one, _mean_bits([b["shares of A"].cell(k, 0) for k in range(3)], b["graded of A"]))],
            0.001,
        ),
        Exercise(
            "B · inverse", "Which share must the last word get, so that the mean over the graded ones is the wanted loss?",
            (_block("shares of B", "of the first two words", [["1/16"], ["1/4"]], HEARD[:2], ("share",)),
             _block("graded of B", "the last one is yours", [[0], [1], [1]], HEARD, ("graded",)),
             _block("wanted loss", "bits", [["5/2"]])),
            _answer("share of B", "between 0 and 1"),
            lambda b: [(_mean_bits([b["shares of B"].cell(0, 0), b["shares of B"].cell(1, 0), b["share of B"].one], b["graded of B"]),
                        b["wanted loss"].one)],
            0.005,
        ),
    ),
}  # fmt: skip


def _placed(b: dict[str, Block], j: int) -> str:
    """Column ``j`` of x of A, from the tables that stand on the sheet."""
    embedding, project_in, positions = b["embedding"], b["project_in"], b["positions"]
    word = [f"INDEX({embedding.column(e)},{b['word of A'].one}+1)*{project_in.cell(j, e)}" for e in range(embedding.columns)]
    return "+".join([*word, f"INDEX({positions.column(j)},{b['place of A'].one}+1)"])
