"""The exercises of lesson 09: steps that are too large, Adam's first one, warm-up, clipping and noise, with numbers for a sheet of paper."""

import math

from toolslm_helpers.teaching.marking import Exercise, Mistake

A, B, THRESHOLD = (3.0, 4.0), (7.2, 9.6), 6.5  # norms 5 and 12, together 13


def _scaled(factor_a: float, factor_b: float, norm: float) -> dict:
    """An answer of 09.4: both gradients times a factor each, and the norm that the log shows."""
    return {"norm": norm, "A": [factor_a * x for x in A], "B": [factor_b * x for x in B]}


def _warmup(of: str):
    """Ways to make a number of warm-up steps of a share."""

    def steps(examples: int, batch: int, epochs: int, share: float) -> int:
        per_epoch = math.ceil(examples / batch)
        total = {
            "steps": epochs * per_epoch, "epochs": epochs, "one epoch": per_epoch, "examples": epochs * examples,
            "whole batches": epochs * (examples // batch),
        }[of]  # fmt: skip
        return round(share * total)

    return steps


def _norm(gradient: list[float]) -> float:
    return math.sqrt(sum(x * x for x in gradient))


EXERCISES = (
    Exercise(
        id="09.1", title="Walk down a parabola", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="walk_by_hand",
        shown='`{"x1": ..., "x2": ..., "x3": ..., "limit": ...}`: three positions, and a rate',
        hints=(
            "The slope of x * x at x is 2 * x. A step goes against it, as far as rate times slope.",
            "x1 = 1 - 1.25 * 2 * 1. The same again from there. Each step multiplies x by (1 - 2 * rate): from which rate on is that "
            "-1 or beyond?",
        ),
        expected={"x1": -1.5, "x2": 2.25, "x3": -3.375, "limit": 1.0},
        right="Each step overshoots by more than the last. The limit is a rate of 1: the rate times the curvature, 2, must stay below 2.",
        mistakes=(
            Mistake({"x1": -0.25, "x2": 0.0625, "x3": -0.015625, "limit": 2.0}, "The slope of x * x is 2 * x, not x."),
            Mistake({"x1": 3.5, "x2": 12.25, "x3": 42.875, "limit": 1.0}, "A step goes against the slope: subtract it."),
            Mistake({"x1": 1.5, "x2": 2.25, "x3": 3.375, "limit": 1.0},
                    "The distances are right. But each step jumps over the lowest point: the sign changes every time."),
            Mistake({"x1": -1.5, "x2": 2.25, "x3": -3.375, "limit": 2.0},
                    "2 is what the rate times the curvature must stay below. The curvature of x * x is 2 itself, so the rate's limit is half."),
            Mistake({"x1": -1.5, "x2": 2.25, "x3": -3.375, "limit": 0.5},
                    "At 0.5 one step lands exactly at the lowest point. A larger one jumps over it, and still comes nearer each time."),
        ),
        otherwise="Three times the same: new x = x - 1.25 * 2 * x. Then ask by what a step multiplies x.",
    ),
    Exercise(
        id="09.2", title="Adam's first step", kind="by hand", difficulty=3, importance=5, minutes=6,
        name="first_step",
        shown="`[..., ...]`: by how much the weight with the gradient 0.003 changes, and the one with the gradient -40",
        hints=(
            "After one step the corrected average of the gradients is the gradient itself, and that of the squares is its square.",
            "Divide the one by the root of the other: g / |g|. Then times the rate, and against the gradient.",
        ),
        expected=[-5e-4, 5e-4],
        right="Both move by exactly the rate. How large a gradient is does not matter to Adam's first step: only its sign does.",
        mistakes=(
            Mistake([-0.003 * 5e-4, 40 * 5e-4], "That is plain gradient descent. Adam divides by the root of the averaged squares."),
            Mistake([5e-4, -5e-4], "The right size. A step goes against the gradient: where it is positive, the weight falls."),
            Mistake([-5e-4 * 0.1 / math.sqrt(0.001), 5e-4 * 0.1 / math.sqrt(0.001)],
                    "These are the averages as they stand, 0.1 g and 0.001 g * g. The correction divides them by 0.1 and 0.001 first."),
            Mistake([-5e-4 / 0.003, 5e-4 / 40],
                    "Divided by the square, without the root. The root makes it g / |g|, which has no size of its own."),
        ),
        otherwise="The corrected averages are g and g * g. The step is minus the rate, times the first, over the root of the second.",
    ),
    Exercise(
        id="09.3", title="How many steps of warm-up?", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="warmup_steps",
        shown="a function; `warmup_steps(400, 8, 3, 0.1)`, for 400 examples, batch 8, 3 epochs and a share of a tenth, gives `15`",
        hints=(
            "A share of what? Of the optimiser's steps in the whole run.",
            "Steps of an epoch: examples / batch, rounded up. Times the epochs. Times the share, rounded to a whole number.",
        ),
        cases=((400, 8, 3, 0.1), (1_200, 8, 1, 0.1), (187_542, 32, 1, 0.02), (100, 32, 10, 0.1)),
        expected=(15, 15, 117, 4),
        right="Counted in steps of the optimiser, over all epochs. The paper's 100 of 5,860 are 1.7%.",
        mistakes=(
            Mistake(_warmup("epochs"),
                    "That is a share of the epochs. Warm-up is counted in optimiser steps: in a single epoch a tenth of an epoch rounds to "
                    "none, and a whole one would be the entire run."),
            Mistake(_warmup("one epoch"), "These are the steps of one epoch. Each further epoch adds as many: epochs multiply the steps."),
            Mistake(_warmup("examples"), "That counts examples. The rate changes once a step, and a step takes a whole batch."),
            Mistake(_warmup("whole batches"), "The last, smaller batch is a step as well: round the division up."),
        ),
        otherwise="Steps of an epoch (rounded up), times epochs, times the share; then round.",
    ),
    Exercise(
        id="09.4", title="Clip two gradients", kind="by hand", difficulty=3, importance=5, minutes=7,
        name="clipped_by_hand",
        shown='`{"norm": ..., "A": [..., ...], "B": [..., ...]}`; norm is the one that a trainer logs',
        hints=(
            "One norm for all parameters together, so one factor for all of them.",
            "Add the four squares, take the root. If it is above 6.5, multiply all four numbers by 6.5 over it. The log shows the norm from "
            "before.",
        ),
        expected=_scaled(0.5, 0.5, 13.0),
        right="13 becomes 6.5, and A and B keep their proportion: the step is shorter, its direction is the same.",
        mistakes=(
            Mistake(_scaled(1, 6.5 / 12, 13.0),
                    "Here each parameter was clipped by its own norm: A stays as it is and B does not, so that the step points elsewhere. "
                    "Clipping takes one global norm."),
            Mistake({"norm": 13.0, "A": [3.0, 4.0], "B": [6.5, 6.5]},
                    "Here each number was cut at 6.5 (that is clipping by value). Clipping by norm multiplies all of them by one factor."),
            Mistake(_scaled(0.5, 0.5, 6.5), "The gradients are right. But the logged norm is the one from before the clipping: 13."),
            Mistake(_scaled(6.5 / 17, 6.5 / 17, 17.0), "Norms are not added: the squares are. 5 and 12 make 13, as in the triangle."),
            Mistake(_scaled(0.5, 6.5 / 12, 13.0), "A and B got different factors. One global norm, 13, gives one factor."),
            Mistake(_scaled(1.3, 6.5 / 12, 13.0),
                    "A was made longer, up to 6.5. Clipping only ever shortens; and it takes the norm of all parameters together."),
        ),
        otherwise="The root of 9 + 16 + 51.84 + 92.16, then one factor for all four.",
    ),
    Exercise(
        id="09.5", title="A clip that is always on", kind="break it", difficulty=3, importance=4, minutes=5,
        name="clip_always",
        shown="a function; `clip_always([0.003, 0.004], 1.0)` gives `[0.6, 0.8]`, as `clip_always([3.0, 4.0], 1.0)` does",
        hints=(
            "The same factor as in clipping, and nobody asks whether it is below 1.",
            "norm = the root of the sum of the squares. Multiply every number by max_norm / norm, whatever the norm is.",
        ),
        cases=(([3.0, 4.0], 1.0), ([0.003, 0.004], 1.0), ([0.0, -2.0, 0.0], 0.5)),
        expected=([0.6, 0.8], [0.6, 0.8], [0.0, -0.5, 0.0]),
        right="Now every step is equally long, also where the gradient says that one has arrived. The next cell shows what that does.",
        mistakes=(
            Mistake(lambda g, most: [x * min(1.0, most / _norm(g)) for x in g],
                    "This one works, and that is the trouble: a small gradient stays small. Take the question out that protects it."),
            Mistake(lambda g, most: [max(-most, min(most, x)) for x in g], "That cuts each number by itself, and leaves small ones alone."),
            Mistake(lambda g, most: [most * (x > 0) - most * (x < 0) for x in g],
                    "That keeps only the signs. Here the direction is kept, and the length is made max_norm."),
            Mistake(lambda g, most: [x * most / sum(y * y for y in g) for x in g], "The root is missing: that divides by the norm squared."),
        ),
        otherwise="Divide by the norm, multiply by max_norm, and ask nothing.",
    ),
    Exercise(
        id="09.6", title="The share of clipped steps", kind="by hand", difficulty=2, importance=4, minutes=4,
        name="share_clipped",
        shown="a function; `share_clipped([0.2, 0.3, 0.5, 2.0], 0.3)` gives `0.5`",
        hints=(
            "A step was clipped if its norm, from before, was above the threshold.",
            "Count the norms > threshold. Divide by how many steps there were.",
        ),
        cases=(([0.2, 0.3, 0.5, 2.0], 0.3), ([1.0, 1.0, 1.0], 1.0), ([5.0, 4.0, 0.9, 3.0, 2.0], 1.0)),
        expected=(0.5, 0.0, 0.8),
        right="Steps that were cut, of all steps. At the threshold itself nothing is cut but a millionth.",
        mistakes=(
            Mistake(lambda norms, most: sum(n >= most for n in norms) / len(norms),
                    "A norm equal to the threshold is cut by a millionth, if at all. Count those above it."),
            Mistake(lambda norms, most: sum(n > most for n in norms), "That is how many. Divide by the number of steps."),
            Mistake(lambda norms, most: 100 * sum(n > most for n in norms) / len(norms), "In percent; a share lies between 0 and 1."),
            Mistake(lambda norms, most: sum(n <= most for n in norms) / len(norms), "Those are the steps that were left alone."),
            Mistake(lambda norms, most: sum(n > most for n in norms) / max(1, sum(n <= most for n in norms)),
                    "Clipped against unclipped is not a share: divide by all steps."),
            Mistake(lambda norms, most: sum(max(0.0, n - most) for n in norms) / sum(norms),
                    "That is how much length was cut away. The share asks how many steps were cut at all."),
        ),
        otherwise="How many norms lie above the threshold, of all of them?",
    ),
    Exercise(
        id="09.7", title="How noisy is a batch?", kind="predict", difficulty=2, importance=4, minutes=3,
        name="noise_falls",
        shown='`{"8 to 32": ..., "8 to 1": ...}`: the new standard deviation as a multiple of the old one; two decimals',
        hints=(
            "The variance of a mean over B independent values is that of one value, divided by B.",
            "The standard deviation is its root. From 8 to 32 B becomes four times as large; from 8 to 1 an eighth.",
        ),
        expected={"8 to 32": 0.5, "8 to 1": math.sqrt(8)},
        tolerance=0.01,
        right="Half the noise costs four times the examples. That is why large batches are dear, and why small ones may still be fine.",
        mistakes=(
            Mistake({"8 to 32": 0.25, "8 to 1": 8.0}, "Those are the variances. The standard deviation is the root of the variance."),
            Mistake({"8 to 32": 2.0, "8 to 1": 1 / math.sqrt(8)}, "The wrong way round: a larger batch is less noisy."),
            Mistake({"8 to 32": 1.0, "8 to 1": 1.0}, "The gradient's mean stays the same; its noise does not. Means of many scatter less."),
            Mistake({"8 to 32": 1 / 24, "8 to 1": 7.0}, "It is the ratio of the sizes that counts, not their difference."),
        ),
        otherwise="Variance falls as 1 / B. What becomes of its root where B is four times as large, or an eighth?",
    ),
)  # fmt: skip
