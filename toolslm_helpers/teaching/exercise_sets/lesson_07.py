"""The exercises of lesson 07: ten tokens graded by hand, a gradient, a mask that stays behind, who is untouched, rows, what notices."""

import math
from collections.abc import Callable, Sequence

from toolslm_helpers.teaching.byhand import SAID, TARGETS, WORDS, by_hand
from toolslm_helpers.teaching.marking import Exercise, Mistake

IGNORED = -100
# The ten tokens: User: Lisbon? Assistant: call </s> Function: sunny Assistant: done </s>, and the bits that tokens 1 to 9 cost.
BITS = (5, 3, 1, 1, 1, 6, 5, 4, 2)


def _graded(positions: Sequence[int], over: int | None = None) -> dict:
    """The answer of someone who grades these positions, and divides the sum by ``over`` instead of by their number."""
    possible = [t for t in positions if 1 <= t <= len(BITS)]
    return {"graded": list(positions), "bits": sum(BITS[t - 1] for t in possible) / (over or len(possible))}


def _in_order(answer: dict) -> dict:
    """Positions in their order, so that the learner's does not matter."""
    return answer | {"graded": sorted(answer["graded"])}


TURNS = [3, 4, 8, 9]
AFTER_LISBON = SAID.index("Lisbon")
SHARES = [float(x) for x in by_hand()["p"].value[AFTER_LISBON]]


def _pushed(target: str | None, over: float = 2, sign: int = 1) -> list[float]:
    """Shares minus one at the target, over the graded tokens."""
    return [sign * (share - (word == target)) / over for word, share in zip(WORDS, SHARES, strict=True)]


def _labels(graded: Callable[[list, int], bool], shown: Callable[[list, int], int] = lambda ids, t: ids[t]) -> Callable:
    """A function of (ids, mask): at every position ``shown`` where ``graded`` says so, else -100."""

    def labels(ids: list, mask: list) -> list:
        return [shown(ids, t) if graded(mask, t) else IGNORED for t in range(len(ids))]

    return labels


def _next(row: list, t: int) -> int:
    return row[t + 1] if t + 1 < len(row) else 0


TURN, TWO_TURNS, CUT_OFF = ([5, 6, 2, 9], [0, 1, 1, 0]), ([7, 3, 8, 2, 4, 3, 6, 2], [0, 0, 1, 1, 0, 0, 1, 1]), ([7, 8], [0, 1])


def _rows(rows: int, last_turn: int, all_turns: int, first_turn: int) -> dict:
    return {"rows": rows, "last_turn": last_turn, "all_turns": all_turns, "first_turn": first_turn}


def _does(dropped: str, late: str, end: str, pad: str) -> dict:
    return {"mask dropped": dropped, "mask one late": late, "end masked": end, "pad is </s>": pad}


def _zeros(*answers: str) -> dict:
    return dict(zip(("gradient", "share", "read", "target"), answers, strict=True))


ZERO, NOT_ZERO = "zero", "not zero"

EXERCISES = (
    Exercise(
        id="07.1", title="Grade ten tokens", kind="by hand", difficulty=2, importance=5, minutes=7,
        name="ten_tokens",
        shown='`{"graded": [...], "bits": ...}`, the positions of the tokens that have a label, and the mean of what they cost',
        hints=(
            "A token is graded if the assistant has to write it. The mean is over those, and over nothing else.",
            "Positions: what stands after each delimiter of the assistant, up to and with the end token. Then write down what each of them "
            "costs (a share of 1/2 is 1 bit, 1/4 is 2), add up, and divide by how many there are.",
        ),
        expected=_graded(TURNS), tolerance=1e-2,
        right="Four tokens, 8 bits, 2 bits each. Everything else was read, and none of it was homework.",
        mistakes=(
            Mistake(_graded(range(1, 10)),
                    "You graded all nine predictions, as a trainer does that has no mask. Whose words are `Lisbon?` and `sunny`?"),
            Mistake({"graded": TURNS, "bits": sum(BITS) / 9},
                    "The positions are right. The mean is over all nine predictions: take only those that you listed."),
            Mistake(_graded(TURNS, over=9),
                    "The right sum over the wrong number: 8 bits belong to four graded tokens, not to all nine predictions."),
            Mistake(_graded(TURNS, over=1), "Those are the bits in all. The loss is their mean: divide by the graded tokens."),
            Mistake({"graded": TURNS, "bits": 2 * math.log(2)}, "That is in nats, as PyTorch counts. On paper: bits, base 2."),
            Mistake(_graded([1, 2, 5, 6, 7]),
                    "Your mask is inverted: you graded what the user and the API said, and left out the assistant."),
            Mistake({"graded": [0, 1, 2, 5, 6, 7], "bits": 4},
                    "Your mask is inverted, and holds position 0, which nothing predicts. Grade the assistant's words."),
            Mistake(_graded([3, 8]),
                    "The end token is forgotten: each turn's `</s>` is the assistant's too. Without its grade nobody learns to stop."),
            Mistake(_graded([2, 3, 4, 7, 8, 9]),
                    "You counted the delimiter as content: `Assistant: ` is written by the program before the model's turn begins."),
            Mistake(_graded([4, 5, 9]),
                    "Off by one: you graded what is predicted *at* the assistant's tokens. The mask belongs to the token that is "
                    "predicted, so it moves along with the targets."),
            Mistake(_graded([2, 3, 7, 8]),
                    "Off by one: those are the tokens at which the assistant's words are predicted, and you took what *they* cost. "
                    "A label belongs to the predicted token."),
            Mistake({"graded": [2, 3, 7, 8], "bits": 2},
                    "The bits are right. The positions are those of the rows of logits; the labels stand one later, at the "
                    "predicted tokens."),
            Mistake(_graded([8, 9]),
                    "That is the last turn only, ToolBench's way with its step rows. Here all of the assistant's turns are graded."),
        ),
        otherwise="After each `Assistant: ` two tokens are the model's own. 1 + 1 + 4 + 2 bits.",
        observe=_in_order,
    ),
    Exercise(
        id="07.2", title="Which way is each score pushed?", kind="by hand", difficulty=3, importance=5, minutes=5,
        name="pushed",
        shown="`[..., ..., ..., ..., ..., ...]`, for `</s>`, `weather`, `Lisbon`, `call`, `sunny`, `done`; fractions such as `1/40` or three "
              "decimals",
        hints=(
            "The gradient at a score is the share that its word got, minus what it should have got: 1 for the right word, 0 for the others.",
            "Write the shares down. Subtract 1 from that of sunny. Divide all six by 2, since two tokens are graded.",
        ),
        expected=_pushed("sunny"), tolerance=1e-2,
        right="One word is pulled up, five are pushed down, each by its own share, and the six add up to 0.",
        mistakes=(
            Mistake(_pushed("sunny", sign=-1),
                    "That is the way in which the scores will move. The gradient points the other way: a step goes *against* it."),
            Mistake(_pushed("sunny", over=1),
                    "That would be for one graded token. The loss is a mean over two: each of them moves the scores half as much."),
            Mistake(_pushed("sunny", over=3),
                    "You divided by three predictions. The mean is over the two graded ones: the mask decides what one divides by."),
            Mistake(_pushed(WORDS[TARGETS[AFTER_LISBON]]), "That is the row above, where `call` came next. Now `sunny` does."),
            Mistake(_pushed(None), "Those are the shares over two. At the right word, 1 must come off first."),
            Mistake([0.0 if word != "sunny" else (share - 1) / 2 for word, share in zip(WORDS, SHARES, strict=True)],
                    "The right word is right. But all others have a gradient too: each is pushed down, by its share."),
            Mistake([0.0] * 6, "Zero it is only where nothing is graded. This prediction is."),
        ),
        otherwise="(share - 1 at sunny) / 2. The shares are 1/20, 1/5, 1/5, 2/5, 1/10, 1/20.",
    ),
    Exercise(
        id="07.3", title="Zero for whom?", kind="predict", difficulty=3, importance=5, minutes=4,
        name="for_the_ungraded",
        shown='`{"gradient": ..., "share": ..., "read": ..., "target": ...}`, each `"zero"` or `"not zero"`',
        hints=(
            "No grade means: no push at its own scores. It does not mean that the token is not there.",
            "gradient: read the row. share: the step moves weights that all rows use. read: attention looks back at every word. target: does "
            "the loss ever ask what the user's word was?",
        ),
        expected=_zeros(ZERO, NOT_ZERO, NOT_ZERO, ZERO),
        right="Its scores are not pushed and its word is no homework; but it is read, and the weights that move are its weights too.",
        mistakes=(
            Mistake(_zeros(ZERO, ZERO, ZERO, ZERO),
                    "Masked is not deleted. The later words look at it, and the step moves weights that its prediction uses as well."),
            Mistake(_zeros(ZERO, ZERO, NOT_ZERO, ZERO),
                    "The share after `weather` moves as well: there is one project_out for all words, and the step changed it."),
            Mistake(_zeros(ZERO, NOT_ZERO, ZERO, ZERO),
                    "The first word is read by all that come after it: with another one, `call` and `done` are predicted differently."),
            Mistake(_zeros(NOT_ZERO, NOT_ZERO, NOT_ZERO, NOT_ZERO),
                    "Read the first row of the gradient above: exactly zero. And where in the loss would the user's word be asked for?"),
            Mistake(_zeros(ZERO, NOT_ZERO, NOT_ZERO, NOT_ZERO),
                    "As a *target* the word stands only in an ungraded prediction: its label is -100, whatever the word is."),
            Mistake(_zeros(NOT_ZERO, NOT_ZERO, NOT_ZERO, ZERO),
                    "The gradient at an ungraded row is not small, it is zero: read the first row of the matrix above."),
        ),
        otherwise="Ask of each: does it pass through a graded prediction?",
    ),
    Exercise(
        id="07.4", title="How often is a turn graded?", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="turns_graded",
        shown='`{"rows": ..., "last_turn": ..., "all_turns": ..., "first_turn": ...}`, four whole numbers',
        hints=(
            "A trajectory of T turns becomes T rows. The row that ends at turn k holds turns 1 to k.",
            "rows: 2 + 3 + 5. last_turn: one turn a row. all_turns: 1 + 2, 1 + 2 + 3, 1 + ... + 5, added up. first_turn: in how many of the "
            "five rows does the first turn stand?",
        ),
        expected=_rows(10, 10, 24, 5),
        right="Ten turns were played, and 24 are graded: the first turn of the longest trajectory five times, its last turn once.",
        mistakes=(
            Mistake(_rows(3, 3, 10, 1),
                    "You counted rows as trajectories. ToolBench writes a row for each assistant turn: 2 + 3 + 5 of them."),
            Mistake(_rows(3, 10, 24, 5),
                    "The turns are right. Rows are not trajectories: there is one for each assistant turn."),
            Mistake(_rows(10, 10, 10, 1),
                    "That is each turn once, which is what grading the *last* turn of each row gives. With all turns, the row that ends at "
                    "turn 5 grades five of them."),
            Mistake(_rows(10, 3, 24, 5), "Every row has a last turn, not every trajectory: ten rows, ten last turns."),
            Mistake(_rows(10, 10, 38, 5),
                    "You took T rows of T turns. The row that ends at turn k holds only k of them: 1 + 2 + ... + T."),
            Mistake(_rows(10, 10, 24, 1), "The first turn stands in every row of its trajectory: how many rows are that?"),
        ),
        otherwise="Draw the five rows of the longest trajectory under each other, and count columns.",
    ),
    Exercise(
        id="07.5", title="The mask that stays behind", kind="break it", difficulty=3, importance=5, minutes=7,
        name="mask_stays_behind",
        shown="a function; `mask_stays_behind([5, 6, 2, 9], [0, 1, 1, 0])` gives `[-100, -100, 2, 9]`",
        hints=(
            "The targets move by one place, the mask does not: what is graded is the token that comes after a masked-in one.",
            "At position t: ids[t] if mask[t - 1] is 1, else -100. Nothing stands before position 0, so it has -100.",
        ),
        cases=(TURN, TWO_TURNS, CUT_OFF),
        expected=([-100, -100, 2, 9], [-100, -100, -100, 2, 4, -100, -100, 2], [-100, -100]),
        right="The first token of every turn has lost its label, and what follows the turn has one. No shape is wrong, and nothing warns.",
        mistakes=(
            Mistake(_labels(lambda mask, t: bool(mask[t])),
                    "These labels are right, and that is the trouble: nothing is broken yet. Let the mask stay one place behind."),
            Mistake(_labels(lambda mask, t: not mask[t]), "That mask is inverted. Here it is the assistant's, one place too late."),
            Mistake(_labels(lambda mask, t: bool(_next(mask, t))),
                    "Off by one the other way: your mask runs ahead, and grades the delimiter before each turn."),
            Mistake(_labels(lambda mask, t: bool(_next(mask, t)), _next),
                    "You moved the labels as well: that is the other accident, labels shifted before a model that shifts them again."),
            Mistake(_labels(lambda mask, t: bool(mask[t]), lambda ids, t: ids[t - 1]),
                    "Your mask stands where it should and the ids have moved. A label must be its own token's id: only the mask is late."),
            Mistake(_labels(lambda mask, t: t > 0 and bool(mask[t - 1] and mask[t])),
                    "You only took the first token of each turn away. A late mask also grades what comes right after the turn."),
        ),
        otherwise="ids[t] where mask[t - 1] is 1, -100 elsewhere.",
    ),
    Exercise(
        id="07.6", title="What will the training loss say?", kind="predict", difficulty=3, importance=5, minutes=4,
        name="training_loss_says",
        shown='`{"mask dropped": ..., "mask one late": ..., "end masked": ..., "pad is </s>": ...}`, each `"higher"`, '
              '`"about the same"` or `"zero"`',
        hints=(
            "The training loss is a mean over what the run itself grades. Which of the four grade something that nobody can know?",
            "Dropped: the user's words are graded too. Late: one token of each turn is another one. End masked: one token of each turn is "
            "missing. Padding that is the end token: nothing is left to be graded.",
        ),
        expected=_does("higher", "about the same", "about the same", "zero"),
        right="One looks worse, two look as always, one looks perfect. Now see which of them can still call a tool.",
        mistakes=(
            Mistake(_does("higher", "higher", "higher", "higher"),
                    "A wrong label is not a hard one. Where the run grades nearly the same tokens, its loss is nearly the same; where it "
                    "grades none, there is nothing to pay for."),
            Mistake(_does("about the same", "about the same", "about the same", "about the same"),
                    "Two of them grade nearly what they should. But one also grades words that nobody can know beforehand, and one grades "
                    "nothing."),
            Mistake(_does("higher", "about the same", "about the same", "higher"),
                    "Where every label is -100, the sum is 0. TRL divides it by at least 1, so what it reports is ..."),
            Mistake(_does("higher", "higher", "about the same", "zero"),
                    "A late mask grades the token after each turn instead of its first one: one in a whole turn, and an easy one."),
            Mistake(_does("higher", "about the same", "higher", "zero"),
                    "Without the </s> the run grades one token of each turn less. What the model does not learn is not in its own mean."),
            Mistake(_does("about the same", "about the same", "about the same", "zero"),
                    "Without a mask the run also grades what users and APIs say, much of which nobody can know: its mean is higher."),
        ),
        otherwise="Ask for each: what does this run's own mean run over?",
    ),
)  # fmt: skip
