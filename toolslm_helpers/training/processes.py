"""What one process takes of a step: accelerate does the work; here stands what the effective batch becomes.

The paper's 32 examples a step are 32 in all, however many processes share them under ``torchrun`` or ``accelerate launch``. They are step
rows: of merged examples, as many make a step as stand for 32 rows.
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
    return _in_passes(size, each)


def rescaled(size: Size, rows: int, examples: int, processes: int = 1) -> Size:
    """The size for ``examples`` merged examples that stand for ``rows`` rows; itself where they are as many.

    A step is trained on as many supervised tokens as a step of rows is, on average: each row's target is in one example, once. So there
    are as many steps, and the learning rate and the warm-up mean what they did. The number of examples is rounded to one that
    ``processes`` can share.
    """
    if rows == examples:
        return size
    return _in_passes(size, processes * max(1, round(size.effective_batch_size * examples / rows / processes)))


def _in_passes(size: Size, examples: int) -> Size:
    """``examples`` a step in as few equal passes as ``size.batch_size`` allows."""
    passes = next(k for k in range(1, examples + 1) if examples % k == 0 and examples // k <= size.batch_size)
    return replace(size, batch_size=examples // passes, accumulation=passes)
