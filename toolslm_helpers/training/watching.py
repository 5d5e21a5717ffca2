"""Looking at a model while it is trained, without changing what becomes of it."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Watch = Callable[[int, int, "torch.nn.Module"], None]
"""Is shown (steps made, steps of the run, the model), and may play the model."""


@contextmanager
def undisturbed(model: "torch.nn.Module") -> Iterator[None]:
    """Within, the model evaluates (no dropout, no gradients); afterwards its mode and all random numbers are as if nobody had looked.

    Dropout draws from torch's generators, so a watcher that draws one number more would give every later step another mask.
    """
    import numpy
    import torch

    was_training = model.training
    python, array = random.getstate(), numpy.random.get_state()
    model.eval()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []), torch.no_grad():
            yield
    finally:
        model.train(was_training)
        random.setstate(python)
        numpy.random.set_state(array)
