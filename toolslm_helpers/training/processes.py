"""Several processes under ``torchrun`` or ``accelerate launch``: accelerate does the work; here stands what the effective batch becomes.

The paper's 32 examples a step are 32 in all, however many processes share them.
"""

import os
from dataclasses import replace

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.sizes import Size


def process() -> tuple[int, int]:
    """(this process's number from 0, how many there are), as ``torchrun`` and ``accelerate launch`` say it; (0, 1) without them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def share_of(size: Size, processes: int) -> Size:
    """What one of ``processes`` takes of a step: less accumulation, then smaller batches, the same number of examples a step in all.

    Raises WorkbookError where a step's examples cannot be shared out evenly.
    """
    each, left_over = divmod(size.effective_batch_size, processes)
    if left_over:
        raise WorkbookError(
            f"a step of {size.effective_batch_size} examples cannot be shared by {processes} processes. Start as many as divide it."
        )
    accumulation = next(k for k in range(1, each + 1) if each % k == 0 and each // k <= size.batch_size)
    return replace(size, batch_size=each // accumulation, accumulation=accumulation)
