"""The exercises of lesson 02: who is graded, a mask that never teaches to stop, what each stage does, how low a loss can go."""

import math
from collections.abc import Callable

from toolslm_helpers.teaching.marking import Exercise, Mistake

IGNORED = -100
NAMES = 8  # equally likely names of exercise 02.4


def _positions(answer: dict) -> dict:
    """Each list of positions in order; a single number counts as a list of one."""
    return {key: sorted(value) if isinstance(value, list | tuple | set) else [value] for key, value in answer.items()}


def _graded(left_out: list[int], every_turn: list[int], last_turn: list[int]) -> dict:
    return {"left_out": left_out, "every_turn": every_turn, "last_turn": last_turn}


def _labels(end: Callable[[int], int], mask: bool = True, ends: bool = True) -> Callable:
    """A rule for labels: ``end(id)`` is the label of an assistant's closing token; without ``ends`` no turn ever closes."""

    def labels_of(ids: list, opens: int, closes: int) -> list:
        labels, speaking = [], not mask
        for i in ids:
            labels.append(IGNORED if not speaking else end(i) if i == closes else i)
            speaking = not mask or (speaking or i == opens) and not (ends and i == closes)
        return labels

    return labels_of


def _shortened(ids: list, opens: int, closes: int) -> list:
    return [label for i, label in zip(ids, _labels(lambda i: IGNORED)(ids, opens, closes), strict=True) if i != closes]


EXERCISES = (
    Exercise(
        id="02.1", title="Who is graded?", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="graded_by_hand",
        shown='`{"left_out": [...], "every_turn": [...], "last_turn": [...]}`, three lists of positions',
        hints=(
            "A token is graded if something stands before it to predict it, and if the rule says that the model should have "
            "written it.",
            "Left out: which token has nothing before it? Every turn: the positions of what stands after each `Assistant: `, up to "
            "and with its `</s>`. Last turn: the same, for the last one only.",
        ),
        expected=_graded([0], [6, 7, 11, 12], [11, 12]),
        right="12 of 13, 4 of 13, 2 of 13: the same text, three homeworks. The delimiter is given, the </s> must be written.",
        mistakes=(
            Mistake(_graded([], [6, 7, 11, 12], [11, 12]),
                    "Both turns are right. But the token at position 0 has nothing before it: no prediction, no grade."),
            Mistake(_graded([0], [6, 11], [11]),
                    "The </s> that ends a turn belongs to it: a model that is never graded on it never learns to stop."),
            Mistake(_graded([0], [5, 6, 7, 10, 11, 12], [10, 11, 12]),
                    "`Assistant: ` is given to the model, it opens the turn. What stands after it is the model's own."),
            Mistake(_graded([0], [5, 6, 10, 11], [10, 11]),
                    "Those are the tokens that predict. The grade belongs to the token that is predicted, one further on."),
            Mistake(_graded([0], [6, 7, 11, 12], [6, 7, 11, 12]),
                    "The last rule grades one turn only, the one at the end; the earlier call is context to it."),
            Mistake(_graded([0], [6, 7, 9, 11, 12], [11, 12]),
                    "Position 9 is what the API said. Grading it would teach the model to make up answers instead of asking."),
            Mistake(_graded([12], [6, 7, 11, 12], [11, 12]),
                    "The last token has twelve before it to be predicted from. Which token has none?"),
        ),
        otherwise="Go box by box: does the rule grade it, and does anything stand before it?",
        observe=_positions,
    ),
    Exercise(
        id="02.2", title="Never learn to stop", kind="break it", difficulty=3, importance=4, minutes=6,
        name="labels_never_stop",
        shown="a function; `labels_never_stop([0, 1, 5, 6, 0, 4, 5, 7, 0], 5, 0)` gives "
              "`[-100, -100, -100, 6, -100, -100, -100, 7, -100]`",
        hints=(
            "Take labels_2 and change one thing: the token that closes a turn gets no label.",
            "Keep `speaking` as it is. The label is i while speaking is true and i is not closes, else -100.",
        ),
        cases=(
            ([0, 1, 5, 6, 0, 4, 5, 7, 0], 5, 0),
            ([2, 8, 9, 3, 4, 2, 7, 7], 9, 2),
            ([2, 9, 2, 9, 4, 4], 9, 2),
        ),
        expected=(
            [-100, -100, -100, 6, -100, -100, -100, 7, -100],
            [-100, -100, -100, 3, 4, -100, -100, -100],
            [-100, -100, -100, -100, 4, 4],
        ),
        right="Every word is still taught, the end of a turn is not. The loss looks as good as before, and the model rambles.",
        mistakes=(
            Mistake(_labels(lambda i: i), "This is labels_2 itself: the </s> is still graded, so nothing is broken yet."),
            Mistake(_labels(lambda i: IGNORED, ends=False),
                    "You took the end of the turn out of the mask: now the user and the tools are graded as well. Take it out of "
                    "the labels only."),
            Mistake(_labels(lambda i: IGNORED, mask=False),
                    "The mask is gone: the prompt is graded as well. Break one thing at a time."),
            Mistake(_shortened, "A label must stay under its own token: put -100 in its place, do not leave it out."),
            Mistake(_labels(lambda i: 1), "1 is the id of <pad>: that grades the model on writing filler. No grade is -100."),
        ),
        otherwise="Only the labels of closing tokens should differ from labels_2: -100 instead of the id.",
    ),
    Exercise(
        id="02.3", title="Three ages, one prompt", kind="predict", difficulty=2, importance=5, minutes=3,
        name="what_each_does",
        shown='`{"base": ..., "instruct": ..., "sft": ...}`, each one of `"goes on"`, `"answers"`, `"calls"`',
        hints=(
            "What a model does with a prompt is what it was graded on: which of the three was graded on </s>, which on Action:?",
            "Count the graded </s> and the graded Action: of each stage above. No </s>: it cannot stop. No Action: it cannot call.",
        ),
        expected={"base": "goes on", "instruct": "answers", "sft": "calls"},
        right="Text, answer, call: each age does what its last lessons graded. Now see whether the models agree with you.",
        mistakes=(
            Mistake({"base": "answers", "instruct": "answers", "sft": "calls"},
                    "base may well find the answer. But it was never graded on </s>: what does it do after the answer?"),
            Mistake({"base": "goes on", "instruct": "calls", "sft": "calls"},
                    "instruct has never seen a call: no Thought, no Action in all its texts. What is left to it?"),
            Mistake({"base": "goes on", "instruct": "goes on", "sft": "calls"},
                    "instruct was graded on the </s> at the end of every answer: it has learned to stop."),
            Mistake({"base": "calls", "instruct": "calls", "sft": "calls"},
                    "A prompt that lists APIs does not make a caller. Who has ever seen what a call looks like?"),
            Mistake({"base": "goes on", "instruct": "answers", "sft": "answers"},
                    "sft was graded on Thought, Action and Action Input after just such prompts."),
        ),
        otherwise='Give each model one of the three: "goes on", "answers", "calls". Look at what its stage graded.',
    ),
    Exercise(
        id="02.4", title="How low can it go?", kind="by hand", difficulty=3, importance=5, minutes=6,
        name="lowest_loss",
        shown='`{"first": ..., "again": ..., "mean": ...}` in nats; two decimals',
        hints=(
            "A perfect reader still cannot know which name comes. It can only give each of the eight the same share. And the second "
            "time?",
            "first = minus log of 1/8, natural logarithm. again: the right name gets the whole share, and minus log of 1 is ... "
            "mean: half of their sum.",
        ),
        expected={"first": math.log(NAMES), "again": 0.0, "mean": math.log(NAMES) / 2},
        tolerance=5e-3,
        right="About one nat a token, and no training in the world can lower it: it is a property of the text, not of the model.",
        mistakes=(
            Mistake({"first": 3.0, "again": 0.0, "mean": 1.5}, "Three doublings: that is in bits (base 2). A nat uses the natural logarithm."),
            Mistake({"first": math.log10(NAMES), "again": 0.0, "mean": math.log10(NAMES) / 2},
                    "That is base 10. A nat uses the natural logarithm."),
            Mistake({"first": 0.0, "again": 0.0, "mean": 0.0},
                    "Zero means certainty. Nobody can be certain of a name that is drawn by lot."),
            Mistake({"first": math.log(NAMES), "again": math.log(NAMES), "mean": math.log(NAMES)},
                    "The second time the name stands in the text already: a perfect reader copies it, at no cost."),
            Mistake({"first": 1 / NAMES, "again": 1.0, "mean": (1 / NAMES + 1) / 2},
                    "Those are the shares of the right name. The loss is minus their logarithm."),
            Mistake({"first": math.log(NAMES), "again": 0.0, "mean": math.log(NAMES)},
                    "That is the sum. The loss of a text is the mean over its tokens, here two."),
            Mistake({"first": -math.log(NAMES), "again": 0.0, "mean": -math.log(NAMES) / 2},
                    "Right size, wrong sign: a loss is minus the logarithm of a share."),
        ),
        otherwise="What share can the best possible reader give the right name, first when it is new, then when it is known?",
    ),
)  # fmt: skip
