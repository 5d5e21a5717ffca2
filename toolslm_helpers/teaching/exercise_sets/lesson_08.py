"""The exercises of lesson 08: steps, rates and a first loss predicted on paper, a collator broken on purpose, and what a step of 32 rows
becomes on smaller cards, in parts, and in sixteen bits."""

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
            Mistake({step: 5e-5 * step / (100 * 5860) for step in (50, 100, 2980)},
                    "That takes the warm-up as 100 epochs. It is 100 steps, of 5,860 in the only epoch: the rate would never leave it."),
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
    Exercise(
        id="08.5", title="The same run on two smaller cards", kind="by hand", difficulty=3, importance=5, minutes=6,
        name="on_two_cards",
        shown='`{"accumulation": ..., "steps": ..., "examples_in_warm_up": ...}`, three whole numbers',
        hints=(
            "The weights move once all cards have gone through all of their micro-batches: 32 rows, as in the paper.",
            "32 = 2 cards x 4 rows x accumulation. Then a step is what it was: as many of them, and 100 steps of 32 rows to warm up.",
        ),
        expected={"accumulation": 4, "steps": 5_861, "examples_in_warm_up": 3_200},
        right="Effective batch, steps and warm-up are the paper's: only the hardware has changed, and nothing that is learned.",
        mistakes=(
            Mistake({"accumulation": 8, "steps": 2_931, "examples_in_warm_up": 6_400},
                    "The second card is forgotten: 2 x 4 x 8 is an effective batch of 64, so half as many steps, and another run."),
            Mistake({"accumulation": 8, "steps": 5_861, "examples_in_warm_up": 3_200},
                    "Steps and warm-up are right. But both cards take 4 rows at a time: 2 x 4 x 8 would be 64 rows to a step."),
            Mistake({"accumulation": 16, "steps": 5_861, "examples_in_warm_up": 3_200},
                    "Steps and warm-up are right. Each card takes 4 rows at a time, not one: 2 x 4 x 16 would be 128 rows to a step."),
            Mistake({"accumulation": 4, "steps": 23_443, "examples_in_warm_up": 3_200},
                    "Those are micro-batches (of 8 rows, on two cards). A step is made once in 4 of them: accumulation makes steps fewer."),
            Mistake({"accumulation": 4, "steps": 93_772, "examples_in_warm_up": 3_200},
                    "The steps were multiplied by the accumulation. It makes them fewer: 187,542 rows, 32 to a step."),
            Mistake({"accumulation": 4, "steps": 46_886, "examples_in_warm_up": 3_200},
                    "That counts 4 rows to a step: neither the second card nor the accumulation is in it. A step is 32 rows."),
            Mistake({"accumulation": 4, "steps": 5_861, "examples_in_warm_up": 800},
                    "The effective batch is miscounted: 100 steps of 8 rows leave the accumulation out. A step is 32 rows."),
            Mistake({"accumulation": 4, "steps": 5_861, "examples_in_warm_up": 400},
                    "That counts 4 rows to a step, which is one card's micro-batch. A step is 32 rows: cards and accumulation multiply."),
            Mistake({"accumulation": 4, "steps": 5_861, "examples_in_warm_up": 18_754_200},
                    "The warm-up is counted in epochs: 100 times all examples. It is 100 steps."),
            Mistake({"accumulation": 4, "steps": 5_861, "examples_in_warm_up": 100},
                    "The warm-up is counted in steps, not in examples: 100 of them, with 32 rows each."),
        ),
        otherwise="32 rows to a step, shared by 2 cards that take 4 rows at a time; 187,542 rows, the last step kept; 100 warm-up steps.",
    ),
    Exercise(
        id="08.6", title="Every token once", kind="by hand", difficulty=3, importance=5, minutes=7,
        name="accumulated",
        shown="a function; `accumulated([[1, 1, 1, 1], [6]])` gives `[0.8, 1.2]`: what each micro-batch adds to a loss of 2",
        hints=(
            "The loss of the step is the mean over the graded tokens of all micro-batches together. What is the sum of one of them in it?",
            "count = number of tokens in all micro-batches. For each micro-batch: the sum of its losses, divided by count.",
        ),
        cases=(
            ([[1.0, 1.0, 1.0, 1.0], [6.0]],),
            ([[2.0, 4.0], [3.0, 3.0], [0.5, 0.5, 0.5, 0.5]],),
            ([[0.25, 0.75, 2.0]],),
        ),
        expected=([0.8, 1.2], [0.75, 0.75, 0.25], [1.0]),
        right="Every graded token weighs the same, in whichever micro-batch it came. That is what num_items_in_batch is for.",
        mistakes=(
            Mistake(lambda parts: [sum(part) / len(part) / len(parts) for part in parts],
                    "The loss is averaged per micro-batch instead of per token: a token of a short micro-batch weighs more than the others."),
            Mistake(lambda parts: [sum(part) / len(part) for part in parts],
                    "Each is the mean of its micro-batch, and nothing divides by their number: gradients would grow with the accumulation."),
            Mistake(lambda parts: [sum(part) / len(parts) for part in parts],
                    "That divides by the number of micro-batches. The mean runs over tokens: divide by how many they have together."),
            Mistake(lambda parts: [float(sum(part)) for part in parts],
                    "Those are sums: nothing divides by the number of graded tokens, so that longer answers would move the weights further."),
            Mistake(lambda parts: sum(map(sum, parts)) / sum(map(len, parts)),
                    "That is the loss of the whole step. The trainer calls backward once for each micro-batch: give what each adds to it."),
        ),
        otherwise="Each micro-batch adds the sum of its token losses, divided by the number of tokens of all micro-batches.",
    ),
    Exercise(
        id="08.7", title="What saves a small gradient?", kind="predict", difficulty=3, importance=4, minutes=6,
        name="in_half_precision",
        shown='`{"survives": ..., "scale": ..., "largest": ...}`: does 1e-9 become anything but 0 in float16 (True or False); the smallest '
        "power of two that lifts it to 2**-14; the largest gradient that this scale leaves finite (float16's largest number is 65,504)",
        hints=(
            "Below half of 2**-24, which is 3e-8, float16 has nothing but 0. Multiplying by a power of two moves a number and loses nothing.",
            "2**-14 is about 6.1e-5. 6.1e-5 / 1e-9 is about 61,000: which power of two is the next larger one? Then 65,504 divided by it.",
        ),
        expected={"survives": False, "scale": 65_536, "largest": 65_504 / 65_536},
        tolerance=2e-3,
        right="65,536 is 2**16, the scale that PyTorch's GradScaler starts with; at it, a gradient above 1 overflows.",
        mistakes=(
            Mistake({"survives": True, "scale": 65_536, "largest": 65_504 / 65_536},
                    "The scale is right. But 1e-9 as it is lies far below the smallest float16, 6e-8: it is rounded to 0."),
            Mistake({"survives": False, "scale": 64, "largest": 65_504 / 64},
                    "64 lifts it to 2**-24, the very smallest float16, where a single bit is left of it. From 2**-14 on it has all eleven."),
            Mistake({"survives": False, "scale": 32_768, "largest": 65_504 / 32_768},
                    "One doubling short: 32,768 times 1e-9 is 3.3e-5, still below 2**-14."),
            Mistake({"survives": False, "scale": 65_536, "largest": 65_504},
                    "That is float16's largest number. The gradient is multiplied by the scale first: divide by it."),
            Mistake({"survives": False, "scale": 2.0**-16, "largest": 65_504 / 65_536},
                    "A scale makes the gradient larger; 2**-16 would make it smaller still."),
        ),
        otherwise="1e-9 lies between 0 and 2**-24; 2**-14 / 1e-9 is about 61,000; and what is scaled must stay below 65,504.",
    ),
)  # fmt: skip
