"""What a run is trained on: rows in memory or prepared on disk, by their places, and what is known of them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolslm_helpers.data.merge import MergedExample
from toolslm_helpers.files import DataError, WorkbookError, atomic_write_json
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.checks import check_labels
from toolslm_helpers.text.flatten import IGNORED, FlatDataset, flatten_all
from toolslm_helpers.training.order import dataset_of
from toolslm_helpers.training.shards import Prepared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from toolslm_helpers.data.records import Trajectory


class NotFinite(WorkbookError):
    """``what`` is NaN or infinite: the run has stopped, and going on would be of no use."""

    what: str


class LossNotFinite(NotFinite):
    what = "loss"


class WeightsNotFinite(NotFinite):
    what = "weights"


def flatten_for(
    size: Size, trajectories: "Iterable[Trajectory]", tokenizer: "PreTrainedTokenizerFast", seed: int = 0
) -> FlatDataset:
    """The training examples of a size: its length, what it does with longer ones (by ``seed``), which turns it trains."""
    return flatten_all(
        trajectories, tokenizer, max_length=size.max_length, truncation=size.truncation, supervise=size.supervise, seed=seed
    )


def training_rows_of(examples: FlatDataset) -> list[dict[str, Any]]:
    """{"input_ids", "labels"} of each example; -100 where there is nothing to learn."""
    return [{"input_ids": e.input_ids.tolist(), "labels": e.labels.tolist()} for e in examples.examples]


def supervised_in(row: dict[str, Any]) -> int:
    """How many tokens of a row are graded; a label of its first token is not, since nothing predicts it."""
    return sum(label != IGNORED for label in row["labels"][1:])


@dataclass(frozen=True)
class Material:
    """What is trained on: rows in memory or prepared on disk, by their places, and what is known of them."""

    rows: list[dict[str, Any]] | Prepared
    names: Callable[[int], str]
    lengths: list[int]
    supervised: int
    stands_for: int  # rows: more than there are examples where those are merged and the size counts rows
    refused: tuple[tuple[str, str], ...]
    fingerprint: str  # of all ids and labels, or of what they were prepared from


def material_of(
    size: Size,
    seed: int,
    trajectories: Sequence["Trajectory | MergedExample"] | Prepared,
    tokenizer: "PreTrainedTokenizerFast",
    rows_of: Callable[[FlatDataset], list[dict[str, Any]]],
    check: bool,
) -> Material:
    """The rows of ``trajectories``, flattened here or prepared before. ``check``: every label is looked at. Raises DataError for none."""
    if isinstance(trajectories, Prepared):
        trajectories.must_be_for(tokenizer)
        data = trajectories
    else:
        data = flatten_for(size, trajectories, tokenizer, seed)
    if not len(data):
        why = f"the first because {data.refused[0][1]}" if data.refused else "because there was none to begin with"
        raise DataError(f"no training example is left: {len(data.refused)} refused, {why}")
    if isinstance(data, Prepared):  # its labels were checked before they were written
        asked = json.dumps([data.asked, asdict(data.totals)], sort_keys=True)
        found = hashlib.sha256(asked.encode()).hexdigest()
        stands_for = data.totals.rows_in_examples if size.supervise == "last" else len(data)
        return Material(data, lambda k: data[k].id, data.lengths.tolist(), data.supervised, stands_for, data.refused, found)
    rows = rows_of(data)
    if check:
        # A merged example has turns of its own.
        supervise = None if any(isinstance(one, MergedExample) for one in trajectories) else size.supervise
        for row, example in zip(rows, data.examples, strict=True):
            check_labels(example.id, row["input_ids"], row["labels"], tokenizer, supervise)
    found = hashlib.sha256()
    for row in rows:
        found.update(np.array([*row["input_ids"], *row["labels"]], dtype=np.int64).tobytes())
    lengths = [len(row["input_ids"]) for row in rows]
    names = [example.id for example in data.examples]
    stands_for = _rows_in(trajectories, data.refused) if size.supervise == "last" else len(rows)
    supervised = sum(map(supervised_in, rows))
    return Material(rows, names.__getitem__, lengths, supervised, stands_for, data.refused, found.hexdigest())


def _rows_in(trajectories: Sequence["Trajectory | MergedExample"], refused: Iterable[tuple[str, str]]) -> int:
    """How many step rows stand in the examples that were not refused."""
    gone = {name for name, _ in refused}
    return sum(len(one.absorbed) if isinstance(one, MergedExample) else 1 for one in trajectories if one.id not in gone)


def save_bad_batch(folder: Path, data: Material, step: int, loss: float, places: Sequence[int]) -> None:
    """Writes the rows of a batch whose loss is no number, and stops the run: a LossNotFinite that says where they are."""
    real = [place for place in places if place >= 0]
    names = [data.names(place) for place in real]
    ids = dataset_of(data.rows, real)[:]["input_ids"]
    path = atomic_write_json(
        folder / "not_finite.json",
        {"step": step, "loss": str(loss), "rows": [{"place": place, "id": name, "input_ids": list(map(int, row))}
                                                   for place, name, row in zip(real, names, ids, strict=True)]},
        indent=None,
    )  # fmt: skip
    raise LossNotFinite(
        f"loss is {loss} at step {step}. The {len(real)} rows of its batch ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}) are in "
        f"{path}. Usual cause: too high a learning rate, no clipping, or a weight of the start that is no number. Checkpoints are kept."
    )
