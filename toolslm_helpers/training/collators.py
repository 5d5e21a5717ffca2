"""A batch from rows: padded to one length, and refused where its labels are not what a mask makes of the ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolslm_helpers.files import DataError
from toolslm_helpers.text.flatten import IGNORED
from toolslm_helpers.training.order import FILLER

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PaddingCollator:
    """Pads a batch on the right, and takes the labels as they come: for lesson 07, which breaks them on purpose.

    Rows are {"input_ids", "labels"}; gives "input_ids", "labels", "position_ids", all (B, T). There is no attention mask: what pads
    stands behind all that is learned, where a causal model does not look, and without a mask attention takes its fast path. Where the
    rows have a "place" in the data, it goes along, (B,): it is what names the rows of a batch whose loss is no number.
    """

    pad_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        ids = [torch.as_tensor(row["input_ids"]) for row in rows]
        labels = [torch.as_tensor(row["labels"]) for row in rows]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_id),  # (B, T)
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),  # (B, T)
            "position_ids": torch.arange(max(map(len, ids))).repeat(len(ids), 1),  # (B, T)
        } | places_of(rows)


@dataclass(frozen=True)
class CheckedCollator(PaddingCollator):
    """Pads a batch, and refuses labels that are not what a mask makes of the ids. What every real run uses.

    Raises DataError for a row without a supervised token (its loss would be NaN, or silently nothing) and for a label that is neither
    its id nor -100.
    """

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        check_rows(rows)
        return super().__call__(rows)


def check_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Raises DataError where labels are not the ids that a mask leaves, or none are left; a filler has none, by design."""
    import torch

    for row, content in enumerate(rows):
        i, label = torch.as_tensor(content["input_ids"]), torch.as_tensor(content["labels"])
        supervised = label != IGNORED
        if i.shape != label.shape or not torch.equal(label[supervised], i[supervised]):
            raise DataError(
                f"row {row} of a batch: labels are not its ids where supervised. Usual cause: labels shifted, or from another row."
            )
        if not supervised[1:].any() and content.get("place") != FILLER:
            raise DataError(f"row {row} of a batch: no supervised token. Usual cause: truncation cut the answer off.")


def places_of(rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
    """{"place": (B,)} where the rows know their places in the data, else nothing."""
    import torch

    return {"place": torch.tensor([int(row["place"]) for row in rows])} if "place" in rows[0] else {}
