"""The exercises of lesson 05: a lookup as a product, directions, a word at a place, padding that counts, the head, tied weights."""

from collections.abc import Sequence

from toolslm_helpers.teaching.byhand import EMBEDDING, OFFSET, POSITIONS, PROJECT_IN, WORDS
from toolslm_helpers.teaching.marking import Exercise, Mistake

SAID = ("done", "Lisbon")  # of exercise 05.1
OUTPUT = (1, -2)  # of exercise 05.5
TABLE = 50_272 * 512  # OPT-350M's embedding
WHOLE = 331_196_416  # all of OPT-350M, the embedding counted once


def _dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


# --- 05.1


def _one_hot(places: Sequence[int], value: Sequence[int] = (1, 1)) -> list[list[int]]:
    return [[v if k == place else 0 for k in range(len(WORDS))] for place, v in zip(places, value, strict=True)]


def _product(one_hot: list[list[int]], product: list[list[int]] | None = None) -> dict:
    columns = list(zip(*EMBEDDING, strict=True))
    return {"one_hot": one_hot, "product": product or [[_dot(row, column) for column in columns] for row in one_hot]}


_IDS = [WORDS.index(word) for word in SAID]
_ROWS = [list(EMBEDDING[i]) for i in _IDS]


# --- 05.3


def _placed(word: int, row: int | None, across: Sequence[Sequence[int]] = PROJECT_IN) -> dict:
    """``word`` at the place whose row is ``row`` (None: nothing is added), projected by the rows of ``across``."""
    projected = [_dot(EMBEDDING[word], line) for line in across]
    x = [a + b for a, b in zip(projected, POSITIONS[row], strict=True)] if row is not None else projected
    return {"word": list(EMBEDDING[word]), "projected": projected, "x": x}


_SUNNY = WORDS.index("sunny")
_FLAT = [number for line in PROJECT_IN for number in line]
_SIDEWAYS = tuple(zip(_FLAT[:4], _FLAT[4:], strict=True))  # project_in read as a table of (E, D)


# --- 05.4


def _counted(first: int, padding: int | None = None) -> object:
    """Rows for a mask when every place counts, the first of them at ``first``; padding reads row ``padding`` where it is given."""

    def rows(mask: list[int]) -> list[int]:
        return [first + k if token or padding is None else padding for k, token in enumerate(mask)]

    return rows


def _by_mask(offset: int) -> object:
    def rows(mask: list[int]) -> list[int]:
        return [sum(mask[: k + 1]) * token - 1 + offset for k, token in enumerate(mask)]

    return rows


_MASKS = (([0, 0, 1, 1, 1],), ([1, 1, 1],), ([0, 0, 0, 1],))


# --- 05.5


def _head(logits: Sequence[float], word: str) -> dict:
    return {"logits": list(logits), "next": word}


def _named(answer: dict) -> dict:
    """The word by its name, also where its id was given."""
    word = answer["next"]
    return {**answer, "next": WORDS[word] if type(word) is int and 0 <= word < len(WORDS) else word}


_LOGITS = [_dot(OUTPUT, row) for row in EMBEDDING]
_RAISED = [2.0**logit for logit in _LOGITS]


def _count(table: int, tied: int, untied: int) -> dict:
    return {"table": table, "tied": tied, "untied": untied}


EXERCISES = (
    Exercise(
        id="05.1", title="The lookup as a product", kind="by hand", difficulty=1, importance=4, minutes=4,
        name="lookup_by_hand",
        shown='`{"one_hot": [[...], [...]], "product": [[...], [...]]}`: two rows of six numbers, two rows of two',
        hints=(
            "One row for each word that is said, in the order in which it is said; one column for each word of the vocabulary.",
            "done has id 5: its one stands in the sixth column. Lisbon has id 2: third column. A one times a row is that row, a zero times "
            "a row is nothing.",
        ),
        expected=_product(_one_hot(_IDS)),
        right="Six multiplications a number, five of them by zero: the product copies two rows, as the index does.",
        mistakes=(
            Mistake(_product([list(column) for column in zip(*_one_hot(_IDS), strict=True)], _ROWS),
                    "Your one-hot matrix stands on its side: a row for each word of the vocabulary. It has (T, V) = (2, 6), so that its rows "
                    "meet the table's columns; on the other side of the product the shapes would not fit."),
            Mistake(_product(_one_hot(_IDS), [list(column) for column in zip(*_ROWS, strict=True)]),
                    "The one-hot rows are right; the product is transposed. Each word said gets a row of the table, not a column."),
            Mistake(_product(_one_hot([i - 1 for i in _IDS])),
                    "Ids begin at 0: </s> has the first column, so id 5 is the sixth and id 2 the third."),
            Mistake(_product(_one_hot(_IDS, _IDS)),
                    "You wrote the ids into the rows. An id only says where: there stands a 1, or the word would count five times."),
            Mistake(_product(_one_hot(sorted(_IDS))),
                    "Right rows, wrong order: the rows follow the text (done, then Lisbon), the columns follow the vocabulary."),
            Mistake(_product([[0, 0, 1, 0, 0, 1]], [[-2, -2]]),
                    "Both words in one row: that is their sum, and nobody can tell their order any more. Each token has a row of its own."),
        ),
        otherwise="Each row of one_hot has a single 1, in the column of its word's id; each row of the product is then a row of the table.",
    ),
    Exercise(
        id="05.2", title="How many directions?", kind="predict", difficulty=3, importance=4, minutes=4,
        name="directions",
        shown='`{"paper": ..., "opt-mini": ..., "OPT-350M": ...}`, three whole numbers',
        hints=(
            "However many words there are, each projected vector is a sum of the same few columns of project_in.",
            "A row of E numbers times project_in: the first number times the first column, plus the second times the second ... How many "
            "columns are there to mix?",
        ),
        expected={"paper": 2, "opt-mini": 80, "OPT-350M": 512},
        right="E each time. More numbers in a vector, but no more to say: the wider vectors lie in a flat part of the wider space.",
        mistakes=(
            Mistake({"paper": 4, "opt-mini": 160, "OPT-350M": 1024},
                    "Those are the widths after the projection. Numbers in a vector are not directions: four that follow from two are two."),
            Mistake({"paper": 6, "opt-mini": 1000, "OPT-350M": 50_272},
                    "Those are the vocabularies. A thousand vectors can lie in one plane; count the directions that are needed to reach them."),
            Mistake({"paper": 4, "opt-mini": 80, "OPT-350M": 512},
                    "On paper as well: look at the columns D1 to D4 again. The last is the first with the other sign."),
            Mistake({"paper": 2, "opt-mini": 160, "OPT-350M": 1024},
                    "On paper you saw it. More words do not help: each is mixed of the same 80 (or 512) columns of project_in."),
        ),
        otherwise="Ask how many columns of project_in there are to mix: the projected vectors of all words are mixtures of them.",
    ),
    Exercise(
        id="05.3", title="sunny stands first", kind="by hand", difficulty=2, importance=5, minutes=6,
        name="sunny_first",
        shown='`{"word": [2 numbers], "projected": [4 numbers], "x": [4 numbers]}`',
        hints=(
            "Look up the word, take it across with project_in, then add the row of its place. The first place is not the first row.",
            "word: row 4 of the embedding. projected: word times each of the four rows of project_in. x: plus row 0 + 2 of positions.",
        ),
        expected=_placed(_SUNNY, OFFSET),
        right="What it is and where it stands, in one vector of four numbers. From here on nobody keeps the two apart.",
        mistakes=(
            Mistake(_placed(_SUNNY, 0),
                    "You read row 0 of positions. The offset is missing: the first place is row 2; rows 0 and 1 belong to padding."),
            Mistake(_placed(_SUNNY, 1), "You read row 1. Places are counted from 0, and then 2 is added: the first place is row 2."),
            Mistake(_placed(_SUNNY, OFFSET + 1), "You read row 3, that is the second place. The first place is 0, and 0 + 2 = 2."),
            Mistake(_placed(_SUNNY, None), "x is still without its place: add row 2 of positions."),
            Mistake(_placed(_SUNNY, OFFSET, _SIDEWAYS),
                    "project_in is transposed: you read it as two rows of four. It has (D, E) = (4, 2), and each of its four rows makes one "
                    "number."),
            Mistake(_placed(_SUNNY - 1, OFFSET), "That is the row of call. Ids begin at 0: sunny has id 4, the fifth row."),
        ),
        otherwise="Check the three parts one after the other: the row of the word, four sums of two products, then row 2 of positions.",
    ),
    Exercise(
        id="05.4", title="Count the padding", kind="break it", difficulty=2, importance=5, minutes=5,
        name="rows_padding_counted",
        shown="a function; `rows_padding_counted([0, 0, 1, 1, 1])` gives `[2, 3, 4, 5, 6]`",
        hints=(
            "Break one thing only: it counts every entry of the mask, whatever its value. The offset stays.",
            "The first place reads row 2, the next one row 3, and so on, as many as the mask has entries.",
        ),
        cases=_MASKS,
        expected=([2, 3, 4, 5, 6], [2, 3, 4], [2, 3, 4, 5]),
        right="Without padding it is right, so no test without padding sees it. With two pads on the left every word is two places late.",
        mistakes=(
            Mistake(_by_mask(OFFSET), "This one is right: padding does not count. The exercise wants it broken: count every place."),
            Mistake(_counted(0), "Two things are broken now: padding counts, and the offset of 2 is gone. Break one at a time."),
            Mistake(_by_mask(0), "Here padding does not count, but the offset of 2 is gone. Break the other one."),
            Mistake(_counted(OFFSET, padding=1),
                    "Padding reads its own row 1 here, but the words are late all the same. The plainest version does not look at the mask at "
                    "all: it counts places."),
            Mistake(_counted(OFFSET + 1), "Places are counted from 0: the first one reads row 2."),
        ),
        otherwise="The first place reads row 2, the next row 3, and so on; the values in the mask play no part.",
    ),
    Exercise(
        id="05.5", title="The table read backwards", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="head_by_hand",
        shown='`{"logits": [6 numbers], "next": a word}`',
        hints=(
            "The head asks each word of the vocabulary: how well does your row go with this vector? It multiplies and adds.",
            "For each word: 1 times its first number, plus -2 times its second. The next word has the largest sum.",
        ),
        expected=_head(_LOGITS, "done"),
        right="The same six rows that words go in by. A word comes out when the layers end near the direction of its row.",
        mistakes=(
            Mistake(_head([_dot(OUTPUT[::-1], row) for row in EMBEDDING], "call"),
                    "You multiplied the first number of the output by the second of the row, and the other way round. First with first."),
            Mistake(_head([_dot((OUTPUT[0], -OUTPUT[1]), row) for row in EMBEDDING], "</s>"),
                    "The sign of -2 got lost: -2 times -1 is 2, and -2 times 1 is -2."),
            Mistake(_head([_dot(OUTPUT, column) for column in zip(*EMBEDDING[:2], strict=True)], "</s>"),
                    "Two logits for six words: you multiplied by the table as it stands. The head reads it transposed: each word's row "
                    "gives one logit."),
            Mistake(_head([sum((a - b) ** 2 for a, b in zip(OUTPUT, row, strict=True)) for row in EMBEDDING], "done"),
                    "Those are squared distances. The head multiplies and adds: a long row in the right direction scores high, however far "
                    "away."),
            Mistake(_head([r / sum(_RAISED) for r in _RAISED], "done"),
                    "That is one step further, the shares after the softmax (lesson 06). The logits come before it."),
            Mistake(_head(_RAISED, "done"), "Those are powers of 2, the first half of the softmax. The logits are the exponents."),
        ),
        otherwise="For each of the six words: 1 times the first number of its row, plus -2 times the second.",
        observe=_named,
    ),
    Exercise(
        id="05.6", title="Count it once", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="tied_count",
        shown='`{"table": ..., "tied": ..., "untied": ...}`, three whole numbers of parameters',
        hints=(
            "Tied: the table stands at both ends and is stored once. Untied: the head would have a table of its own, of the same shape.",
            "table = V times E. tied = table + everything else. untied = tied + table once more.",
        ),
        expected=_count(TABLE, WHOLE, WHOLE + TABLE),
        right="One matrix, two jobs: what is learned by writing a word is at once known when reading it.",
        mistakes=(
            Mistake(_count(TABLE, WHOLE + TABLE, WHOLE + 2 * TABLE),
                    "You counted the tied matrix twice: once as embedding, once as head. It is stored once, and counted once."),
            Mistake(_count(TABLE, WHOLE + TABLE, WHOLE + TABLE),
                    "tied counts the table twice: once as embedding, once as head. That is the untied model; the tied one has a table less."),
            Mistake(_count(TABLE, WHOLE - TABLE, WHOLE), "Tied is not gone: the embedding is still stored, once. The head comes free."),
            Mistake(_count(50_265 * 512, WHOLE - 7 * 512, WHOLE - 7 * 512 + 50_265 * 512),
                    "50,265 is the number of the tokenizer's pieces. The table has 50,272 rows: seven are never used, but stored."),
            Mistake(_count(2 * TABLE, WHOLE + TABLE, WHOLE + 3 * TABLE),
                    "You took the width D = 1,024. The table is narrower than the layers: E = 512, and project_in takes it across."),
        ),
        otherwise="table = 50,272 times 512; then add everything else, once with one table and once with two.",
    ),
)  # fmt: skip
