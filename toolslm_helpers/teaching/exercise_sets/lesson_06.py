"""The exercises of lesson 06: shares by hand, temperature, a softmax that breaks, who is drawn and who stays, and only names on the list."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from toolslm_helpers.teaching.byhand import SAID, WORDS, by_hand
from toolslm_helpers.teaching.marking import Exercise, Mistake

AFTER_LISBON, AFTER_CALL = SAID.index("Lisbon"), SAID.index("call")
LOGITS = [float(x) for x in by_hand()["logits"].value[AFTER_CALL]]
RAISED = [2**x for x in LOGITS]
FINE, BROKEN = "fine", "nan"


def _shares(raised: Sequence[float]) -> list[float]:
    return [x / sum(raised) for x in raised]


def _down_a_column() -> list[float]:
    """Each word's share of its column: what a softmax over the wrong axis gives."""
    rows = by_hand()["raised"].value
    return [float(rows[AFTER_CALL][k] / sum(row[k] for row in rows)) for k in range(len(WORDS))]


def _three_softmaxes(answer: object) -> dict[str, str]:
    """What becomes of a table of logits in 32 bits, by what is subtracted first: shares, or nan somewhere. Raises ValueError for no table."""
    table = np.array(answer.tolist() if hasattr(answer, "tolist") else answer, dtype=np.float32)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError("expected two rows of finite numbers, at least two in each")

    def outcome(subtracted: object) -> str:
        with np.errstate(all="ignore"):
            raised = np.exp(table - subtracted)
            return FINE if np.isfinite(raised / raised.sum(axis=1, keepdims=True)).all() else BROKEN

    return {"nothing": outcome(np.float32(0)), "table": outcome(table.max()), "row": outcome(table.max(axis=1, keepdims=True))}


def _sorted_words(answer: dict) -> dict:
    """Each list of words in an order of its own, so that the learner's does not matter."""
    return {key: sorted(str(word).casefold() for word in words) for key, words in answer.items()}


def _kept(k3: str, p30: str, p85: str) -> dict:
    return {"k3": k3.split(), "p30": p30.split(), "p85": p85.split()}


def _often(near: str, middle: str, far: str) -> dict:
    return {"0.1": near, "0.5": middle, "1": far}


NAMES = [[5, 6, 9], [7, 8, 6, 4, 9], [5, 6, 8, 9]]  # 9 closes a name; the first is the beginning of the third


def _every_piece(written: list, names: list) -> list:
    return sorted({piece for name in names for piece in name})


def _after_the_last_piece(written: list, names: list) -> list:
    if not written:
        return sorted({name[0] for name in names})
    return sorted({name[k + 1] for name in names for k in range(len(name) - 1) if name[k] == written[-1]})


def _at_that_place(written: list, names: list) -> list:
    return sorted({name[len(written)] for name in names if len(name) > len(written)})


def _matching(pick: Callable[[list], list]) -> Callable[[list, list], list]:
    """The right rule, and then ``pick`` of the names' rests instead of their first pieces, each once."""

    def rule(written: list, names: list) -> list:
        return pick([name[len(written) :] for name in names if name[: len(written)] == written])

    return rule


EXERCISES = (
    Exercise(
        id="06.1", title="Six shares", kind="by hand", difficulty=1, importance=5, minutes=5,
        name="shares_of_call",
        shown="`[..., ..., ..., ..., ..., ...]`, the shares of `</s>`, `weather`, `Lisbon`, `call`, `sunny`, `done`; fractions such as "
              "`1/16` or three decimals",
        hints=(
            "A share is a part of a whole, so first make every number positive, then divide each by the sum of all six.",
            "Write 2 to the power of each logit: a half for -1, 1 for 0, 2 for 1. Add the six numbers. Divide each by that sum.",
        ),
        expected=_shares(RAISED), tolerance=1e-2,
        right="They add up to 1, and three words tie for the first place. The model on paper does not know yet what comes after call.",
        mistakes=(
            Mistake(LOGITS, "Those are the logits divided by their sum. A share is never below 0: raise 2 to each logit first."),
            Mistake(RAISED, "Those are the powers of 2. They add up to 8, shares add up to 1: one division is left to do."),
            Mistake(_shares([math.exp(x) for x in LOGITS]), "That is base e, as PyTorch does it. On paper the base is 2."),
            Mistake(_down_a_column(),
                    "You divided by the sums of the columns: the softmax went over the wrong axis. The six words compete with "
                    "one another after `call`, so divide by the total of that row."),
            Mistake([x / max(RAISED) for x in RAISED],
                    "You divided by the largest. Then the largest is 1 and the six add up to more: divide by the sum."),
            Mistake([float(x) for x in by_hand()["p"].value[AFTER_LISBON]],
                    "That is the row of `Lisbon`, worked out above. Take the row of `call`."),
            Mistake(_shares([2**x if x else 0 for x in LOGITS]),
                    "2 to the power of 0 is 1, not 0: a logit of 0 gets its share as well."),
        ),
        otherwise="Powers of 2 first: 1/2, 1/2, 2, 1, 2, 2. Then each over their sum.",
    ),
    Exercise(
        id="06.2", title="Half the temperature", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="shares_at_one_half",
        shown="`[..., ..., ..., ..., ..., ...]`, in the same order; fractions such as `1/54` or three decimals",
        hints=(
            "The temperature divides the logits, before anything is raised. Dividing by one half is the same as doubling.",
            "Double the logits: -2, -2, 2, 0, 2, 2. Write 2 to the power of each. Add them up (it is no whole number), and divide.",
        ),
        expected=_shares([x**2 for x in RAISED]), tolerance=3e-2,
        right="The three that lead have grown from 3/4 to 8/9 together, and still tie: temperature sharpens, it does not decide.",
        mistakes=(
            Mistake(_shares([math.sqrt(x) for x in RAISED]),
                    "You multiplied the logits by one half. Temperature divides: half the temperature doubles them. (Yours is "
                    "temperature 2.)"),
            Mistake(_shares(RAISED),
                    "Those are the shares at temperature 1. Dividing shares and scaling them back to 1 changes nothing: "
                    "temperature divides the logits."),
            Mistake([2 * x for x in _shares(RAISED)],
                    "You divided the shares by the temperature: now they add up to 2. Divide the logits, then start over."),
            Mistake([x**2 / sum(RAISED) for x in RAISED],
                    "The powers are right, but 8 was the total at temperature 1. Add up the new ones."),
            Mistake([x**2 for x in RAISED], "Those are the powers of 2. Divide each by their sum."),
            Mistake(_shares([math.exp(2 * x) for x in LOGITS]), "That is base e. On paper the base is 2."),
        ),
        otherwise="Doubled logits are -2, -2, 2, 0, 2, 2; their powers of 2 are 1/4, 1/4, 4, 1, 4, 4.",
    ),
    Exercise(
        id="06.3", title="The wrong maximum", kind="break it", difficulty=3, importance=4, minutes=6,
        name="breaking_rows",
        shown="a table such as `[[1, 2], [3, 4]]` with which draft 2 gives numbers, and `softmax_table` gives nan",
        hints=(
            "After the subtraction the largest number of the table is 0, and a row that lies far below it is raised to nothing but zeros. "
            "How far below is that in 32 bits, and how do you keep every number small enough for draft 2?",
            "Draft 2 works in rows up to 88, and down to about -103. Put one row near the upper end and one far below 0, such that they are "
            "more than 104 apart.",
        ),
        expected={"nothing": FINE, "table": BROKEN, "row": FINE},
        right="The cure was worse than the disease: those logits needed no help. Each row must be measured by its own maximum.",
        mistakes=(
            Mistake([[1, 2], [3, 4]],
                    "Nothing breaks: the rows are too near to each other. How far below the table's maximum must a row lie "
                    "before e to that power is 0?"),
            Mistake([[1000, 1000], [1000, 1000]],
                    "Here draft 2 breaks, and the maximum of the table repairs it: your rows are large, but level. Set them "
                    "apart."),
            Mistake([[0, 0], [1000, 1000]],
                    "The table's maximum fails, but so does draft 2: a number above 88, or a row with nothing above -103, is "
                    "too much for it. Stay between them."),
        ),
        otherwise="Two rows, each within -103 and 88, and far from each other.",
        observe=_three_softmaxes,
    ),
    Exercise(
        id="06.4", title="Who is drawn?", kind="predict", difficulty=2, importance=4, minutes=4,
        name="drawn",
        shown="five words, such as `[\"call\", \"call\", \"done\", \"call\", \"sunny\"]`, for the numbers 0.03, 0.25, 0.44, 0.60, 0.97",
        hints=(
            "Lay the shares end to end on a line from 0 to 1, in the order of the words. On whose part does the number fall?",
            "The cumulative shares are 1/20, 5/20, 9/20, 17/20, 19/20, 1. Take the first that is larger than the number; equal is not larger.",
        ),
        expected=["</s>", "Lisbon", "Lisbon", "call", "done"],
        right="One number, one word. A border belongs to the word on its right, and so each word gets exactly its share.",
        mistakes=(
            Mistake(["</s>", "weather", "Lisbon", "call", "done"],
                    "Only 0.25 is off. It lies on the border: the first cumulative share that is *larger* than 0.25 is that "
                    "of Lisbon."),
            Mistake(["</s>", "</s>", "weather", "Lisbon", "sunny"],
                    "Compared the wrong way round: you took the last word that the number has passed. It falls on the one "
                    "after that."),
            Mistake(["</s>"] * 5,
                    "Compared the wrong way round: the first cumulative share *below* the number is always that of the first "
                    "word. Look for the first above it."),
            Mistake(["call", "call", "weather", "Lisbon", "done"],
                    "You began with the likeliest word. That is as fair, but our line keeps the order of the words' numbers."),
            Mistake(["call"] * 5, "That is greedy: always the largest share. Here a number decides."),
        ),
        otherwise="Draw the line: </s> up to 0.05, weather up to 0.25, Lisbon up to 0.45, call up to 0.85, sunny up to 0.95, done.",
    ),
    Exercise(
        id="06.5", title="Who stays?", kind="by hand", difficulty=2, importance=4, minutes=4,
        name="who_stays",
        shown='`{"k3": [...], "p30": [...], "p85": [...]}`, three lists of words, in any order',
        hints=(
            "Order the words from the likeliest down. Top-k counts words, top-p adds up shares until it has enough.",
            "The order is call 0.40, weather 0.20, Lisbon 0.20, sunny 0.10, then two of 0.05. For top-p take words one after the other, and "
            "stop as soon as their sum is p or more; the word that gets you there stays.",
        ),
        expected=_sorted_words(_kept("call weather Lisbon", "call", "call weather Lisbon sunny")),
        right="With p = 0.3 one word stays, with p = 0.85 four. Top-p keeps few where the model is sure, and many where it is not.",
        mistakes=(
            Mistake(_kept("call weather Lisbon", "", "call weather Lisbon"),
                    "You dropped the word that crosses the threshold. It stays, or the sum does not reach p; with p = 0.3 you "
                    "would be left with nothing to say."),
            Mistake(_kept("call weather Lisbon", "call weather", "call weather Lisbon sunny </s>"),
                    "One word too many: stop at the word with which the sum reaches p."),
            Mistake(_kept("call weather Lisbon", "</s> weather Lisbon", "</s> weather Lisbon call"),
                    "You went through the words in the order of their numbers. Begin with the likeliest."),
            Mistake(_kept("call weather Lisbon", "call", ""),
                    "p is not a bar for each word to jump. It is for the sum of the likeliest."),
            Mistake(_kept("</s> weather Lisbon", "call", "call weather Lisbon sunny"),
                    "Both top-p are right. Top-k means the k likeliest, not the first k of the list."),
        ),
        otherwise="Likeliest first: 0.40, then 0.60, 0.80, 0.90, 0.95, 1. Where does the sum reach 0.3, where 0.85?",
        observe=_sorted_words,
    ),
    Exercise(
        id="06.6", title="How often the second?", kind="predict", difficulty=3, importance=5, minutes=4,
        name="how_often",
        shown='`{"0.1": ..., "0.5": ..., "1": ...}`, each one of `"1 in 2"`, `"1 in 4"`, `"1 in 10"`, `"1 in 150"`, `"1 in 22,000"`, `"never"`',
        hints=(
            "Temperature 0.1 makes every gap ten times as wide. What share has the lower of two logits that lie 1, 5, or 10 apart?",
            "With two candidates the second has 1 / (1 + e to the gap). Put in 1, 5 and 10; e to the 5 is about 148, e to the 10 about 22,000.",
        ),
        expected=_often("1 in 4", "1 in 150", "1 in 22,000"),
        right="So it hangs on the gap. Most decisions are safe, a close one is a coin, and a long answer has many decisions.",
        mistakes=(
            Mistake(_often("1 in 10", "1 in 10", "1 in 10"),
                    "Temperature 0.1 is no probability of 0.1. It divides the logits, and what follows hangs on how far they "
                    "are apart."),
            Mistake(_often("never", "never", "never"),
                    "Never is temperature 0. At any temperature above it the second has a share."),
            Mistake(_often("1 in 2", "1 in 2", "1 in 2"),
                    "You multiplied by 0.1, which makes the gaps ten times narrower. Temperature divides."),
            Mistake(_often("1 in 2", "1 in 2", "1 in 4"), "That is temperature 1. Divide the gaps by 0.1 first."),
            Mistake(_often("1 in 22,000", "1 in 150", "1 in 4"), "The other way round: the wider the gap, the rarer the second."),
            Mistake(_often("1 in 4", "1 in 150", "never"),
                    "Rare is not never: 1 in 22,000 is a few in an evaluation of a million tokens."),
        ),
        otherwise="Ten times the gap, then 1 / (1 + e to that).",
        observe=lambda answer: {str(key): value for key, value in answer.items()},
    ),
    Exercise(
        id="06.7", title="Only names on the list", kind="break it", difficulty=3, importance=5, minutes=8,
        name="next_allowed",
        shown="a function; `next_allowed([5, 6], [[5, 6, 9], [7, 8, 6, 4, 9], [5, 6, 8, 9]])` gives `[8, 9]`",
        hints=(
            "A name may go on only if it begins exactly as what is written. Of each such name, the piece at the next place is allowed.",
            "Let n be the length of written. For every name whose first n pieces are written, collect piece number n (counted from 0). Return "
            "them sorted, each once.",
        ),
        cases=(([], NAMES), ([5], NAMES), ([5, 6], NAMES), ([7], NAMES), ([7, 8, 6], NAMES)),
        expected=([5, 7], [6], [8, 9], [8], [4]),
        right="Whoever follows it writes a name on the list, letter by letter, whatever they know or do not know.",
        mistakes=(
            Mistake(_every_piece,
                    "That is draft 1 of the rule: every piece that occurs in some name. It must also fit what is written already."),
            Mistake(_after_the_last_piece,
                    "You look at the last piece only. After 5, 6 the piece 4 cannot come: no name begins 5, 6, 4. Compare all "
                    "that is written."),
            Mistake(_at_that_place,
                    "You look at the place only. After 5, 6 the piece 6 cannot come, though another name has it there: "
                    "compare what stands before it."),
            Mistake(_matching(lambda rests: sorted({piece for rest in rests for piece in rest})),
                    "You return all that is left of those names. Only the next piece of each may follow now."),
            Mistake(_matching(lambda rests: sorted({rest[0] for rest in rests if len(rest) > 1})),
                    "The closing piece is missing: no name could ever end, and 5, 6 would have to go on to 8."),
            Mistake(_matching(lambda rests: sorted({rest[0] for rest in rests[:1]})),
                    "You stop at the first name that fits. Several may go on from here: collect them all."),
            Mistake(_matching(lambda rests: sorted(rest[0] for rest in rests)),
                    "The right pieces, but some of them twice: each once."),
            Mistake(_matching(lambda rests: {rest[0] for rest in rests}),
                    "The right pieces as a set: return them as a sorted list."),
        ),
        otherwise="Keep the names that begin with all of written, and take the piece that follows in each.",
    ),
)  # fmt: skip
