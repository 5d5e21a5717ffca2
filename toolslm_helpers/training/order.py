"""The order of one epoch: every row once, decided by the seed, batches of similar length, the same on one process and on several."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolslm_helpers.text.flatten import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset

    from toolslm_helpers.training.shards import Prepared

WINDOW = 3  # batches: little padding, and every batch still a mixture
FILLER = -1  # the place of a row that is none: it teaches nothing, and makes the last batches of several processes equal


def one_epoch(rows: Sequence[dict[str, Any]], batch_size: int, seed: int, group: bool = True) -> list[dict[str, Any]]:
    """The rows in the order of one epoch: shuffled, then batches of similar length within every ``WINDOW`` batches, in random order.

    ``group=False`` leaves it at the shuffling. The library's own grouping by length sorts fifty batches at a time. Short examples are the
    ones where the model asks back or gives up, so it would see a whole batch of nothing else, every fifty steps, and unlearn to call.
    """
    rng = random.Random(seed)
    shuffled = rng.sample(rows, len(rows))
    if not group:
        return shuffled
    ordered = []
    for k in range(0, len(shuffled), batch_size * WINDOW):
        window = sorted(shuffled[k : k + batch_size * WINDOW], key=lambda row: len(row["input_ids"]))
        batches = [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
        if len(window) == batch_size * WINDOW:  # the last window may end in a short batch, which must stay the last
            rng.shuffle(batches)
        ordered += [row for batch in batches for row in batch]
    return ordered


def places_in_order(lengths: Sequence[int], batch_size: int, seed: int, group: bool = True) -> list[int]:
    """The places of rows in ``one_epoch``'s order, by their lengths alone: nothing else is read."""
    rows = [{"input_ids": range(length), "place": place} for place, length in enumerate(lengths)]
    return [row["place"] for row in one_epoch(rows, batch_size, seed, group)]


def fill(places: Sequence[int], whole: int) -> list[int]:
    """``places`` and as many fillers as make them a multiple of ``whole``, the rows that all processes take at once."""
    return [*places, *[FILLER] * (-len(places) % whole)]


def filler_row() -> dict[str, Any]:
    """A row of two tokens and no label: its loss and its gradient are 0."""
    return {"input_ids": [2, 2], "labels": [IGNORED, IGNORED], "place": FILLER}


def dataset_of(rows: "Sequence[dict[str, Any]] | Prepared", places: Sequence[int]) -> "Dataset":
    """What the trainer walks through, in the order of ``places``: {"input_ids", "labels", "place"}.

    Prepared rows are read from disk when the trainer asks for them.
    """
    from datasets import Dataset

    from toolslm_helpers.training.shards import Prepared

    if isinstance(rows, Prepared):
        return Dataset.from_dict({"place": list(places)}).with_transform(rows.rows)
    return Dataset.from_list([filler_row() if place == FILLER else rows[place] | {"place": place} for place in places])
