"""A batch on two cores: each works through half of it.

A small model's matrices are too small to be shared between cores: two threads that take half of the rows each finish sooner than two
threads that take half of every product. The gradient is that of the whole batch, added up in a fixed order, so that the same seed gives
the same weights.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from toolslm_helpers.text.flatten import IGNORED

if TYPE_CHECKING:
    import torch
    from trl import SFTTrainer

HALVES = 2
Part = TypeVar("Part")


@contextmanager
def one_core_each() -> Iterator[Executor]:
    """Workers for the halves of a batch. Within, torch computes with one thread a worker; after it, with as many as before."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(HALVES, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            yield workers
    finally:
        torch.set_num_threads(threads)


def backward_in_parts(
    workers: Executor,
    loss_of: Callable[[Part], "torch.Tensor"],
    parts: Sequence[Part],
    parameters: Sequence["torch.nn.Parameter"],
) -> float:
    """Adds the gradient of ``sum(loss_of(part) for part in parts)`` to the parameters' ``grad`` and returns that sum.

    Each part is one worker's. ``loss_of`` gives the part's share of the batch's loss: a sum over its tokens, divided by the whole
    batch's number of tokens; a mean over the part would weigh short parts too much.
    """
    import torch

    def work(part: Part) -> tuple[float, tuple["torch.Tensor", ...]]:
        loss = loss_of(part)
        return loss.item(), torch.autograd.grad(loss, parameters)  # not backward(): two threads must not add to one ``grad``

    done = list(workers.map(work, parts))
    for _, gradients in done:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return sum(loss for loss, _ in done)


def halving_trainer() -> type["SFTTrainer"]:
    """TRL's trainer, each training step's batch worked through in halves, a core each: the same loss, the same gradient, sooner.

    It needs no GPU and one process, where a batch is one tensor a name; its ``workers`` are those of ``one_core_each``.
    """
    import torch
    from trl import SFTTrainer

    class HalvingTrainer(SFTTrainer):
        workers: Executor

        def training_step(self, model, inputs, num_items_in_batch=None):
            model.train()
            inputs = self._prepare_inputs(inputs)
            if num_items_in_batch is None:  # then TRL takes each half's own mean
                num_items_in_batch = (inputs["labels"][:, 1:] != IGNORED).sum()
            parts = zip(*(tensor.chunk(HALVES) for tensor in inputs.values()), strict=True)
            halves = [dict(zip(inputs, part, strict=True)) for part in parts]
            parameters = [p for p in model.parameters() if p.requires_grad]

            def share(half):
                return self.compute_loss(model, half, num_items_in_batch=num_items_in_batch)

            return torch.tensor(backward_in_parts(self.workers, share, halves, parameters))

    return HalvingTrainer
