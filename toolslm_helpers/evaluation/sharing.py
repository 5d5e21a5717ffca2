"""Queries shared out over processes: under ``accelerate launch`` or ``torchrun`` each plays its part, and all get the whole result.

A query's random numbers depend on the seed, the query and the step only (``Conversation.turn_seed``), so who plays it does not matter.
"""

from collections.abc import Sequence
from typing import TypeVar

from toolslm_helpers.training.processes import process

T = TypeVar("T")


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part: every n-th item, so that each part has queries of every set."""
    rank, size = process()
    return items[rank::size]


def together(part: Sequence[T], total: int) -> list[T]:
    """All items again, in their order before ``share``, in every process. Every process must call it.

    Raises ValueError where the parts do not add up to ``total``: then the processes did not share out the same items.
    """
    if process()[1] == 1:
        parts = [list(part)]
    else:
        import torch
        from accelerate import PartialState
        from accelerate.utils import gather_object

        PartialState(cpu=not torch.cuda.is_available())  # starts the processes' connection, once
        parts = gather_object([list(part)])
    if [len(one) for one in parts] != [len(range(k, total, len(parts))) for k in range(len(parts))]:
        found = ", ".join(str(len(one)) for one in parts)
        raise ValueError(
            f"parts of {found} items for {total} in all. Usual cause: the processes were started with different settings."
        )
    whole: list[T] = [parts[0][0]] * total if total else []
    for k, one in enumerate(parts):
        whole[k :: len(parts)] = one
    return whole
