"""The mutation lab of lesson 07: the labels of a training set, broken in the ways in which they really break.

A mutation turns examples whose mask is right into rows {"input_ids", "labels"}. ``train(rows_of=..., collator=PaddingCollator)`` then
trains on them by the same trainer, with the same settings and in the same order as on right ones.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from toolslm_helpers.files import DataError
from toolslm_helpers.text.checks import check_labels
from toolslm_helpers.text.flatten import IGNORED, FlatDataset, FlatExample
from toolslm_helpers.text.tokenizer import END_ID
from toolslm_helpers.training.sft import CheckedCollator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# What OPT's 2,048 positions are of the median length of ToolBench's rows under OPT's tokenizer (2,299 tokens, measured on 50 rows).
CUT = 2048 / 2299

Labels = Callable[[np.ndarray, np.ndarray], np.ndarray]  # ids (T,), loss mask (T,) bool -> labels (T,)


def mask_dropped(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every token is its own label: what a trainer does to which nobody gives a mask."""
    return ids


def mask_one_late(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The shift forgotten: graded is what is predicted *at* a supervised token, which is the token after it."""
    return np.where(np.concatenate([[False], mask[:-1]]), ids, IGNORED)


def shifted_twice(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The labels moved one place to the left before a model that does it again: it learns the token after the next."""
    return np.append(np.where(mask, ids, IGNORED)[1:], IGNORED)


def end_masked(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The ``</s>`` that ends a turn has no label, as where every label that equals the padding's id is taken away."""
    return np.where(mask & (ids != END_ID), ids, IGNORED)


def pad_is_end(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Nothing has a label: what ToolBench's program makes of a row that holds a ``</s>`` where ``</s>`` is the padding too.

    It counts the tokens that are no padding, finds that they are fewer than it cut the row into, and takes every label away
    (``teaching.split_mask`` follows it step by step).
    """
    return np.full_like(ids, IGNORED) if END_ID in ids else np.where(mask, ids, IGNORED)


Labelled = tuple[FlatExample, np.ndarray]  # an example, whole or cut, and the labels (T,) that it is trained on


@dataclass(frozen=True)
class Mutation:
    """One way to break labels. ``labels`` changes each example's by themselves; ``choose`` makes other rows of the set."""

    name: str
    about: str
    labels: Labels | None = None
    choose: Callable[[FlatDataset, int], list[Labelled]] | None = None

    def labelled(self, data: FlatDataset, seed: int = 0) -> list[Labelled]:
        """What is trained on. ``data`` must be flattened with supervise="all"; ``seed`` draws where a budget must be kept."""
        if self.choose:
            return self.choose(data, seed)
        return [(e, self.labels(e.input_ids, e.loss_mask) if self.labels else e.labels) for e in data.examples]

    def __call__(self, data: FlatDataset, seed: int = 0) -> list[dict[str, Any]]:
        """The rows {"input_ids", "labels"} of ``labelled``, as the trainer takes them."""
        return [{"input_ids": e.input_ids.tolist(), "labels": labels.tolist()} for e, labels in self.labelled(data, seed)]


def beginning(example: FlatExample, length: int) -> FlatExample:
    """The first ``length`` tokens of an example."""
    parts = {name: getattr(example, name)[:length] for name in ("input_ids", "loss_mask", "roles")}
    return replace(example, cut=max(0, len(example) - length), **parts)


def truncated(data: FlatDataset, seed: int = 0) -> list[Labelled]:
    """Every row cut on the right at ``CUT`` times the median length; rows that have no label left are dropped, as TRL drops them."""
    longest = int(CUT * statistics.median(map(len, data.examples)))
    rows = [beginning(example, longest) for example in data.examples]
    return [(row, row.labels) for row in rows if row.supervised]


def nested(data: FlatDataset, seed: int = 0) -> list[Labelled]:
    """A row for each assistant turn, up to and with it, as ToolBench cuts its trajectories, but *all* turns of each row graded.

    One pass over them reads a trajectory of T turns T times. To keep to the budget, rows are drawn until they hold the tokens of
    ``data``.
    """
    rows = []
    for example in data.examples:
        closing = np.flatnonzero(example.loss_mask & (example.input_ids == END_ID))
        rows += [beginning(example, int(end) + 1) for end in closing]
    random.Random(f"nested rows {seed}").shuffle(rows)
    read = accumulate(map(len, rows))  # tokens up to and with each row
    return [(row, row.labels) for row, tokens in zip(rows, read, strict=True) if tokens - len(row) < data.tokens]


MUTATIONS = (
    Mutation("right", "the assistant's words and the </s> after each turn"),
    Mutation("mask dropped", "no mask reaches the trainer: every token is its own label", mask_dropped),
    Mutation("mask one late", "the mask did not move along with the targets", mask_one_late),
    Mutation("shifted twice", "the labels were shifted before a model that shifts them itself", shifted_twice),
    Mutation("end masked", "the </s> that ends a turn has no label", end_masked),
    Mutation("truncated", "long rows cut on the right, where the answer stands", choose=truncated),
    Mutation("pad is </s>", "padding and </s> share an id, and ToolBench's program takes every label away", pad_is_end),
    Mutation("nested, all turns", "a row for each turn, and every turn of each row graded", choose=nested),
)


def batch_check(rows: Sequence[dict[str, Any]], tokenizer: "PreTrainedTokenizerFast") -> str | None:
    """What the check of every batch says, ``CheckedCollator``: it compares labels with ids. None where it lets the rows pass."""
    try:
        CheckedCollator(tokenizer.pad_token_id)(rows)
    except DataError as error:
        return str(error)
    return None


def turn_check(rows: Sequence[dict[str, Any]], tokenizer: "PreTrainedTokenizerFast") -> str | None:
    """What the check says that reads the turns off the ids, ``text.checks``, of the first row that it refuses; None where it refuses none."""
    for k, row in enumerate(rows):
        try:
            check_labels(f"row {k}", np.array(row["input_ids"]), np.array(row["labels"]), tokenizer, "all")
        except DataError as error:
            return str(error)
    return None
