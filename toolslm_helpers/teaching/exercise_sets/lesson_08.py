"""The exercises of lesson 08: steps, rates and a first loss predicted on paper, and a collator broken on purpose."""

import math

from toolslm_helpers.teaching.marking import Exercise, Mistake

PAD, IGNORED = 1, -100
EVEN_GUESS_PIECES = 50_265  # pieces of OPT's own tokenizer


def _pad_with(filler: int, left: bool = False, masked: bool = True):
    """A collator's label half: rows of (ids, mask) -> label rows of one length, filled with ``filler``."""

    def labels_of(rows: list) -> list:
        longest = max(len(ids) for ids, _ in rows)
        result = []
        for ids, mask in rows:
            labels = [i if graded or not masked else IGNORED for i, graded in zip(ids, mask, strict=True)]
            gap = [filler] * (longest - len(ids))
            result.append(gap + labels if left else labels + gap)
        return result

    return labels_of


EXERCISES = (
    Exercise(
        id="08.1", title="Break the collator", kind="break it", difficulty=3, importance=5, minutes=7,
        name="labels_padded_wrong",
        shown="a function; `labels_padded_wrong([([5, 6, 2], [0, 1, 1]), ([7, 2], [1, 1])])` gives `[[-100, 6, 2], [7, 2, 1]]`",
        hints=(
            "Do what labels_of does, and fill the gap of a short row with the id of <pad> instead of -100.",
            "longest = the longest row. For each row: id where the mask is 1, else -100; then append PAD until it has that "
            "length.",
        ),
        cases=(
            ([([5, 6, 2], [0, 1, 1]), ([7, 2], [1, 1])],),
            ([([9, 2], [0, 1]), ([4, 3, 8, 2], [0, 0, 1, 1]), ([6], [1])],),
            ([([5, 2], [1, 1])],),
        ),
        expected=(
            [[-100, 6, 2], [7, 2, 1]],
            [[-100, 2, 1, 1], [-100, -100, 8, 2], [6, 1, 1, 1]],
            [[5, 2]],
        ),
        right="Now <pad> is homework: the model is graded on writing filler, and its loss can fall for a bad reason.",
        mistakes=(
            Mistake(_pad_with(IGNORED), "This one works, and that is the trouble: the gap holds -100, so nothing is broken yet."),
            Mistake(_pad_with(PAD, masked=False),
                    "Here the mask is gone as well: prompt tokens carry labels. Break one thing at a time."),
            Mistake(_pad_with(PAD, left=True), "The gap belongs at the end: a label must stay under its own token."),
            Mistake(_pad_with(0), "0 is the id of <s>. The id of <pad> is 1."),
        ),
        otherwise="Only the filler of short rows should differ from labels_of.",
    ),
    Exercise(
        id="08.2", title="Count the steps of the paper", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="steps_by_hand",
        shown='`{"micro_batches": ..., "steps_kept": ..., "steps_dropped": ...}`, three whole numbers',
        hints=(
            "Two roundings follow each other: examples into micro-batches of 8, micro-batches into steps of 4.",
            "187,542 / 8, rounded up: the last micro-batch is small but it is there. Divide by 4: rounding up keeps the last, "
            "incomplete step, rounding down drops it.",
        ),
        expected={"micro_batches": 23_443, "steps_kept": 5_861, "steps_dropped": 5_860},
        right="The paper's 5,860 and today's 5,861 are the same epoch. They differ in what becomes of the last, incomplete step.",
        mistakes=(
            Mistake({"micro_batches": 23_442, "steps_kept": 5_861, "steps_dropped": 5_860},
                    "The last 6 examples make a micro-batch as well, a small one. Round up."),
            Mistake({"micro_batches": 23_443, "steps_kept": 5_860, "steps_dropped": 5_861},
                    "The two are swapped: keeping the incomplete step gives one step more, not one fewer."),
            Mistake({"micro_batches": 23_443, "steps_kept": 5_861, "steps_dropped": 5_861},
                    "23,443 is no multiple of 4: dropping the incomplete step must cost one."),
            Mistake({"micro_batches": 23_443, "steps_kept": 23_443, "steps_dropped": 23_443},
                    "Those are micro-batches. The optimiser moves only once in four of them: that is the accumulation."),
            Mistake({"micro_batches": 5_861, "steps_kept": 5_861, "steps_dropped": 5_860},
                    "The steps are right. A micro-batch is what fits on the device at once: 8 examples, not 32."),
        ),
        otherwise="187,542 examples, 8 to a micro-batch, 4 micro-batches to a step.",
    ),
    Exercise(
        id="08.3", title="Predict the learning rate", kind="predict", difficulty=2, importance=4, minutes=4,
        name="rates_by_hand",
        shown="three learning rates of the paper's run: `{50: ..., 100: ..., 2980: ...}`; 2% off is close enough",
        hints=(
            "Two straight lines: from 0 up to the peak during the warm-up, then from the peak down to 0 at the last step.",
            "Step 50 is half-way up. Step 100 is the top. Step 2,980 is half-way between 100 and 5,860.",
        ),
        expected={50: 2.5e-5, 100: 5e-5, 2980: 2.5e-5},
        tolerance=0.02,
        right="Half the peak at step 50 on the way up, half the peak at step 2,980 on the way down.",
        mistakes=(
            Mistake({50: 5e-5, 100: 5e-5, 2980: 5e-5},
                    "That is a constant rate. With warm-up and decay it is at its peak only once."),
            Mistake({50: 2.5e-5, 100: 5e-5, 2980: 5e-5},
                    "The way up is right. After it the rate does not stay: it falls in a line to 0."),
            Mistake({step: 5e-5 * step / 5860 for step in (50, 100, 2980)},
                    "The rate reaches its peak at the end of the warm-up, step 100, not at the end of the run."),
            Mistake({50: 0.0, 100: 0.0, 2980: 2.5e-5}, "The warm-up is no pause: the rate rises a little at every step of it."),
        ),
        otherwise="Draw two straight lines: up to 5e-5 at step 100, down to 0 at step 5,860.",
    ),
    Exercise(
        id="08.4", title="The loss of knowing nothing", kind="predict", difficulty=2, importance=4, minutes=3,
        name="loss_of_even_guessing",
        shown="nats a token for a model that finds all 50,265 pieces of OPT's tokenizer equally likely; two decimals",
        hints=(
            "The loss of one token is minus the logarithm of the share that the right piece got.",
            "Each piece gets 1 / 50,265. Minus log of that is log(50265), with the natural logarithm.",
        ),
        expected=math.log(EVEN_GUESS_PIECES),
        tolerance=1e-3,
        right="About 10.8 nats. A first loss above it means confident and wrong; one far below it means that pre-training helps.",
        mistakes=(
            Mistake(math.log2(EVEN_GUESS_PIECES), "That is in bits (base 2). PyTorch counts in nats: natural logarithm."),
            Mistake(math.log10(EVEN_GUESS_PIECES), "That is base 10. PyTorch counts in nats: natural logarithm."),
            Mistake(-math.log(EVEN_GUESS_PIECES), "Right size, wrong sign: a loss is minus the logarithm of a share."),
            Mistake(1 / EVEN_GUESS_PIECES, "That is the share of each piece. The loss is minus its logarithm."),
            Mistake(0.0, "A loss of 0 is certainty: all the share on the right piece. This model spreads it evenly."),
        ),
        otherwise="One piece of 50,265, all equally likely: what is minus the natural logarithm of its share?",
    ),
)  # fmt: skip
