"""What makes fine-tuning faster and leaves its result alone: one switch each, each proved to give the same loss (tests/training/test_speed.py).

Merging rows is a switch too, but of the data: ``toolslm prepare --merge`` (``data.merge``).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Speed:
    """The switches. All of them off is TRL's stock way of a step."""

    group: bool = True  # batches of similar length, so that little is padded (``order.one_epoch``)
    unpadded: bool = (
        False  # a batch's rows one behind the other, so that nothing is (``unpadded``); for long rows, not for two cores' halves
    )
    fused: bool | None = None  # AdamW in one kernel; None: on a GPU
    all_logits: bool = False  # True undoes what TRL does by itself: no logits where nothing is supervised
    halves: bool = True  # on a CPU, without dropout, half of a batch of several rows on each core (``halves``)


STOCK = Speed(group=False, fused=False, all_logits=True, halves=False)
