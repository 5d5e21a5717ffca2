"""The exercises of lesson 01: a row of attention, a mask that comes too late, who sees whom, E against D, 331,196,416, what grows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

from toolslm_helpers.model.counting import OPT_350M, Decoder, active_parameters, total_parameters
from toolslm_helpers.teaching.byhand import by_hand
from toolslm_helpers.teaching.marking import Exercise, Mistake

PAPER = by_hand()
ROW = 1  # Lisbon, the second token
QUERY, KEY, VALUE = ([[float(n) for n in row] for row in PAPER[f"{name} 2"].value] for name in ("query", "key", "value"))
SCORES = [[float(n) for n in row] for row in PAPER["scores 2"].value]


# --- 01.1: one row of attention


def _answer(raised: Sequence[float], total: float | None = None, of: Sequence[Sequence[float]] = VALUE) -> dict:
    """Shares of ``raised`` and the mix that they make; ``total`` where it is not their sum."""
    shares = [r / (sum(raised) if total is None else total) for r in raised]
    return {"shares": shares, "mixed": [sum(s * row[k] for s, row in zip(shares, of, strict=True)) for k in range(2)]}


def _floats(answer: dict) -> dict:
    """Two decimals are enough, and fractions count like the numbers that they are, typed as 2/3 or as "2/3"."""
    return {
        name: [round(float(Fraction(n) if isinstance(n, str) else n), 2) for n in numbers] for name, numbers in answer.items()
    }


def _row_of_lisbon() -> tuple[dict, tuple[Mistake, ...]]:
    s = SCORES[ROW]
    two = [2**score for score in s]  # with the later token
    seen = [*two[:2], 0.0]
    columns = [sum(2 ** SCORES[i][j] for i in range(3) if j <= i) for j in range(3)]
    asked = [sum(a * b for a, b in zip(KEY[ROW], q, strict=True)) for q in QUERY]
    head_1 = [[float(n) for n in PAPER[name].value[ROW]] for name in ("attention 1", "mixed 1")]
    by_column = _answer([seen[j] / columns[j] for j in range(3)], 1)
    return _answer(seen), (
        Mistake(_answer(seen, sum(two)),
                "You took the shares first and the later token away afterwards: the row no longer sums to 1, and `call` has still "
                "had a say in it. The mask comes before the shares."),
        Mistake(_answer(two), "`call` comes after Lisbon: it may not be seen. What comes later gets 0, before the shares are taken."),
        Mistake(_answer([*two[:2], 1.0]),
                "A score of 0 is not a mask: 2 to the power of 0 is 1, a full vote. What is later gets the power 0, as if its score "
                "were minus infinity."),
        Mistake(by_column, "Those are shares of a column. The one who asks shares itself out: each row sums to 1."),
        Mistake(_answer([math.exp(x) for x in s[:2]] + [0.0]),
                "That is base e, as in the real model. On paper the base is 2: 2 to the power of each score."),
        Mistake(_answer([2 ** (x / math.sqrt(2)) for x in s[:2]] + [0.0]),
                "You divided the scores by the root of K. The real model does; on paper the root is left out, and base 2 makes up for it."),
        Mistake(_answer([2 ** (x / 2) for x in s[:2]] + [0.0]),
                "You divided the scores by K. On paper nothing is divided, and the real model divides by the root of K."),
        Mistake(_answer([*(2**x for x in asked[:2]), 0.0]),
                "You took Lisbon's key and the others' queries. The row belongs to the one who asks: its query, their keys."),
        Mistake(_answer(seen, of=KEY), "The shares are right. What is mixed are the values; keys are only there to be found by."),
        Mistake(_answer(seen, of=QUERY), "The shares are right. What is mixed are the values; queries only ask."),
        Mistake({"shares": head_1[0], "mixed": head_1[1]}, "That is head 1. Take the query, keys and values of head 2."),
    )  # fmt: skip


# --- 01.2: the mask, too late


def _shares(
    late: bool = True, axis: int = 1, divide: Callable[[int], float] = math.sqrt, base: float = math.e, seen: str = "past"
) -> Callable:
    """Attention shares in plain Python, with one way or another to go wrong. q, k are T rows of K numbers."""

    def shares(q: list, k: list) -> list:
        T, may = len(q), {"past": lambda i, j: j <= i, "all": lambda i, j: True, "future": lambda i, j: j >= i}[seen]
        scores = [[sum(a * b for a, b in zip(x, y, strict=True)) / divide(len(x)) for y in k] for x in q]
        raised = [[base ** scores[i][j] if late or may(i, j) else 0.0 for j in range(T)] for i in range(T)]
        if axis:
            share = [[n / sum(row) for n in row] for row in raised]
        else:
            share = [[raised[i][j] / sum(raised[m][j] for m in range(T)) for j in range(T)] for i in range(T)]
        return [[share[i][j] if may(i, j) else 0.0 for j in range(T)] for i in range(T)]

    return shares


CASES = (
    ([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]]),
    (QUERY, KEY),
    ([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]], [[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]),
)


# --- 01.3: who sees whom


def _places(answer: dict) -> dict:
    """Each list of places in order; a single number counts as a list of one."""
    return {key: sorted(value) if isinstance(value, list | tuple | set) else [value] for key, value in answer.items()}


def _changes(one: list[int], many: list[int]) -> dict:
    return {"one_layer": one, "all_layers": many}


# --- 01.4 and 01.5: counting


def _projections(V: int = 50_272, matrices: int = 2, biases: int = 0, heads: int = 0, counted: bool = True) -> dict:
    """What E = 512 saves; ``heads`` more embeddings, ``counted``: whether the projections are taken off."""
    wide, narrow, between = (1 + heads) * V * 1024, (1 + heads) * V * 512, matrices * 512 * 1024 + biases
    return {"embedding_at_1024": wide, "projections": between, "saved": wide - narrow - between * counted}


def _count(V: int = 50_272, E: int = 512, rows: int = 2050, matrices: int = 2, projected: int = 4, bias: int = 1, up: int = 4096,
           vectors: int = 4, extra: int = 0, layers: int = 24, shown: int = 1) -> dict:  # fmt: skip
    """The table of exercise 01.5, with any of its numbers wrong; ``shown``: how many layers the three layer parts are given for."""
    D, F = 1024, 4096
    attention, feed_forward, norms = projected * (D * D + D * bias), 2 * D * F + bias * (up + D), vectors * D
    parts = {"embedding": V * E, "positions": rows * D, "projections": matrices * 512 * D}
    of_a_layer = {"attention": attention, "feed_forward": feed_forward, "norms": norms}
    total = sum(parts.values()) + layers * sum(of_a_layer.values()) + extra
    return parts | {name: shown * number for name, number in of_a_layer.items()} | {"total": total}


FORGOTTEN = {  # what is added up again where two come together
    "The head is tied: it is the embedding, read the other way. It is counted already.": {"extra": 50_272 * 512},
    "Positions: the table has 2,050 rows, not 2,048. Two rows stand before the first position, so place 0 is row 2.": {
        "rows": 2048
    },
    "Attention and feed-forward have biases: one number for each output of each of their six matrices.": {"bias": 0},
    "OPT-350M has no layer norm after its last layer: with post-norm every layer ends in one anyway.": {"extra": 2 * 1024},
    "Two projections: one on the way in, one on the way out.": {"matrices": 1},
    "The table has 50,272 rows. The tokenizer knows 50,265 pieces; seven rows stand for none.": {"V": 50_265},
    "A layer has two norms, and each has a scale and a shift: four rows of D.": {"vectors": 2},
}


def _both(one: dict, other: dict) -> dict:
    """Two mistakes in one count; what both add to the total comes twice."""
    return one | other | {"extra": one.get("extra", 0) + other.get("extra", 0)}


COUNTS = (
    *(Mistake(_count(**wrong), message) for message, wrong in FORGOTTEN.items()),
    Mistake(
        _count(projected=3),
        "Attention has four matrices: queries, keys, values, and one that brings the heads' results together.",
    ),
    Mistake(_count(up=1024), "The biases of the feed-forward: F on the way up, D on the way down. One for each output."),
    Mistake(_count(up=0), "The feed-forward has two biases: F on the way up, D on the way down."),
    Mistake(_count(E=1024), "The embedding's rows are 512 wide; project_in widens them afterwards."),
    Mistake(_count(layers=1), "The parts are right. The total wants all 24 layers."),
    Mistake(_count(shown=24), "The total is right. Attention, feed-forward and norms are asked for one layer."),
    Mistake(
        _count(vectors=2, extra=24 * 2 * 1024),
        "The total is right. But a layer has two norms, each with scale and shift: 4 * 1024.",
    ),
    *(Mistake(_count(**_both(FORGOTTEN[a], FORGOTTEN[b])), f"Two things. {a} And: {b}") for a, b in combinations(FORGOTTEN, 2)),
)


# --- 01.6: what grows


LARGER = {
    "layers": replace(OPT_350M, layers=48), "experts": replace(OPT_350M, experts=64),
    "vocabulary": replace(OPT_350M, vocabulary=129_280), "context": replace(OPT_350M, context=8192),
}  # fmt: skip


def _grown(measure: Callable[[Decoder], int]) -> list[str]:
    """The four changes, the one that adds most first."""
    return sorted(LARGER, key=lambda name: -measure(LARGER[name]))


def _growth(most: str, active: str, fewest: str) -> dict:
    return {"most_parameters": most, "most_active": active, "fewest_parameters": fewest}


LISBON, LISBON_MISTAKES = _row_of_lisbon()

EXERCISES = (
    Exercise(
        id="01.1", title="One row of attention", kind="by hand", difficulty=2, importance=5, minutes=6,
        name="lisbon_by_hand", shown='`{"shares": [three shares], "mixed": [two numbers]}`; fractions like `1/3` may be typed as they are',
        hints=(
            "Lisbon's query times each key gives three scores. Which of the three may count? 2 to the power of those, shared out, "
            "and the values mixed in these shares.",
            "Scores of Lisbon: its query times the key of weather, of Lisbon. `call` comes later: 0. Powers of 2, divided by their "
            "sum. Then mixed = share of weather * value of weather + share of Lisbon * value of Lisbon, for K1 and for K2.",
        ),
        expected=_floats(LISBON), observe=_floats, tolerance=2e-2,
        right="Two thirds weather, one third itself, nothing of what is not said yet.",
        mistakes=LISBON_MISTAKES,
        otherwise="Go in the order scores, mask, powers of 2, shares, mix. Do your shares sum to 1, and is the last one 0?",
    ),
    Exercise(
        id="01.2", title="The mask, too late", kind="break it", difficulty=3, importance=4, minutes=6,
        name="shares_masked_late",
        shown="a function; `shares_masked_late([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]])` gives about `[[0.1956, 0.0], "
              "[0.5, 0.5]]`",
        hints=(
            "Take attention_3 and move one thing: first the softmax over all tokens, then the mask.",
            "q and k come as lists: make tensors of them. Scores as in attention_3, softmax over the last axis, no mask before it; "
            "then set to 0 what is above the diagonal: `.tril()` does that.",
        ),
        cases=CASES, expected=[_shares()(*case) for case in CASES], tolerance=1e-4,
        right="It looks like attention, but its rows no longer sum to 1, and what they lack depends on words that are not written yet.",
        mistakes=(
            Mistake(_shares(late=False),
                    "This is attention as it should be: its rows sum to 1. (Sharing out again after a late mask mends it.) Break it: "
                    "the mask last, and nothing after it."),
            Mistake(_shares(seen="all"), "There is no mask at all. Take away what comes later, but only after the softmax."),
            Mistake(_shares(axis=0), "Your softmax runs down the columns. The one who asks shares itself out: the last axis, dim=-1."),
            Mistake(_shares(axis=0, late=False),
                    "Your mask is early and your softmax runs down the columns (dim=0). Softmax over dim=-1, then the mask."),
            Mistake(_shares(divide=float), "You divided by K. It is the root of K: `q.shape[-1] ** 0.5`."),
            Mistake(_shares(divide=lambda K: 1.0), "The scores are not divided by the root of K. Break one thing at a time."),
            Mistake(_shares(seen="future"),
                    "The wrong half is left: you kept what comes later and took away the past. `.tril()`, not `.triu()`."),
            Mistake(_shares(base=2.0, divide=lambda K: 1.0), "Base 2 and no root: that is the way on paper. Start from attention_3."),
        ),
        otherwise="Softmax of the scaled scores over the last axis first, the mask last: 0 for what comes later.",
    ),
    Exercise(
        id="01.3", title="Who notices?", kind="predict", difficulty=2, importance=5, minutes=3,
        name="who_notices", shown='`{"one_layer": [places], "all_layers": [places]}`, places being 1, 2 or 3',
        hints=(
            "Whom does each place look at? And whom do those look at that it looks at?",
            "Place 1 sees only itself, in every layer. Place 2 sees 1 and 2. Who sees place 3? Is there a layer in which that is "
            "different?",
        ),
        expected=_changes([3], [3]), observe=_places,
        right="Only the place itself. Nothing flows back, through however many layers: that is why a model may be graded on every "
              "token at once.",
        mistakes=(
            Mistake(_changes([1, 2, 3], [1, 2, 3]), "That is a model without a mask. Here nobody looks at what comes later."),
            Mistake(_changes([3], [1, 2, 3]), "The mask is in each of the layers: what cannot flow back in one cannot flow back in many."),
            Mistake(_changes([3], [2, 3]), "The mask is in each of the layers. Place 2 never looks at place 3, however deep the stack."),
            Mistake(_changes([], [3]),
                    "Place 3 looks at itself, too, and its own row x is another one: its output changes in the first layer."),
            Mistake(_changes([], []), "The word itself is another one, so its own place gives something else."),
            Mistake(_changes([1, 2], [1, 2]), "It is the other way round: later places see earlier ones."),
        ),
        otherwise="For each place, list the places that it may look at. Is place 3 among them?",
    ),
    Exercise(
        id="01.4", title="Half the width", kind="by hand", difficulty=2, importance=3, minutes=4,
        name="half_the_width", shown='`{"embedding_at_1024": ..., "projections": ..., "saved": ...}`, whole numbers',
        hints=(
            "A table of V rows costs V times its width. A projection without bias costs inputs times outputs, and there are two of them.",
            "embedding_at_1024 = 50,272 * 1,024. projections = 2 * 512 * 1,024. saved = embedding_at_1024 - (50,272 * 512 + projections).",
        ),
        expected=_projections(),
        right="Two small matrices save 24.7 million parameters, about 7% of the model.",
        mistakes=(
            Mistake(_projections(heads=1), "The head is the same table, read the other way. Count it once."),
            Mistake(_projections(matrices=1), "There are two projections: into the width of the model, and back."),
            Mistake(_projections(counted=False),
                    "Take off what the projections cost: without them rows of 512 do not fit into a model of 1,024."),
            Mistake(_projections(V=50_265), "50,265 is the tokenizer's count. The table has 50,272 rows."),
            Mistake(_projections(biases=1536), "OPT's two projections have no bias."),
        ),
        otherwise="Three numbers: V * 1024; 2 * 512 * 1024; and the difference between V * 1024 and what OPT-350M really has there.",
    ),
    Exercise(
        id="01.5", title="331,196,416", kind="by hand", difficulty=3, importance=5, minutes=12,
        name="count_by_hand",
        shown='`{"embedding": ..., "positions": ..., "projections": ..., "attention": ..., "feed_forward": ..., "norms": ..., '
              '"total": ...}`; attention, feed_forward and norms of one layer, total of all 24',
        hints=(
            "A matrix has inputs times outputs, a bias one number for each output. What is tied is counted once; what is only a rule "
            "(ReLU, mask, softmax) has none.",
            "V*E. (2048+2)*D. 2*E*D. Attention: four matrices D x D with a bias each. Feed-forward: D x F and F x D, biases F and D. "
            "Norms: two a layer, D scales and D shifts each. Total: the first three and 24 times the sum of the last three.",
        ),
        expected=_count(),
        right="Every single one. Two thirds of each layer is the feed-forward, one third attention; the norms are dust.",
        mistakes=COUNTS,
        otherwise="Take the paper model's table line by line and put OPT-350M's sizes in. Which line is the first that you are not "
                  "sure of?",
        tolerance=1e-12,
    ),
    Exercise(
        id="01.6", title="What grows?", kind="predict", difficulty=2, importance=4, minutes=3,
        name="what_grows",
        shown='`{"most_parameters": ..., "most_active": ..., "fewest_parameters": ...}`, each one of `"layers"`, `"experts"`, '
              '`"vocabulary"`, `"context"`',
        hints=(
            "Where do most of OPT-350M's parameters lie: in its layers or in its tables? And how many of 64 experts does one token visit?",
            "64 experts: 63 more feed-forwards in every layer, one used. 48 layers: all that is in a layer, twice. Vocabulary: "
            "79,008 more rows of 512. Context: 6,144 more rows of 1,024, which are only looked up.",
        ),
        expected=_growth(_grown(total_parameters)[0], _grown(active_parameters)[0], _grown(total_parameters)[-1]),
        right="Experts make a model large, layers make it work more, and a longer context costs hardly any parameters.",
        mistakes=(
            Mistake(_growth("layers", "layers", "context"),
                    "Twice the layers is once more of each. 64 experts are 63 times more of the largest part."),
            Mistake(_growth("experts", "experts", "context"),
                    "A token visits one of the 64 experts: as much work as with one. What does every token go through?"),
            Mistake(_growth("experts", "vocabulary", "context"),
                    "The head does grow with the vocabulary, by 79,008 rows of 512. Compare that with everything in 24 more layers."),
            Mistake(_growth("experts", "layers", "vocabulary"),
                    "79,008 rows of 512, or 6,144 rows of 1,024: which is more?"),
            Mistake(_growth("vocabulary", "layers", "context"),
                    "The vocabulary adds 79,008 rows of 512, about 40 million. How much is one more feed-forward in each of 24 "
                    "layers, 63 times?"),
            Mistake(_growth("experts", "layers", "experts"), "Experts cannot be both the most and the fewest."),
            Mistake(_growth("experts", "context", "vocabulary"),
                    "A row of the table of positions is looked up, nothing is multiplied with it. (A long context costs elsewhere: "
                    "see below.)"),
            Mistake(_growth("experts", "layers", "layers"),
                    "24 more layers are 302 million parameters. Which of the four is a small table?"),
        ),
        otherwise="For each of the four: how many rows or layers more, how wide, and is one token multiplied with them?",
    ),
)  # fmt: skip
