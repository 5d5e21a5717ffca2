"""What a fine-tuning run will cost, before it starts: examples, tokens, steps, memory, disk, time. Arithmetic, and one second of measuring."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolslm_helpers.model.counting import Decoder, decoder_of, total_parameters, training_flops
from toolslm_helpers.sizes import Size

if TYPE_CHECKING:
    from transformers import OPTConfig

# Of the machine's own matrix-product speed, what training OPT-350M's shape reaches. On a CPU: docs/results/cpu_share.json, two quiet cores,
# float32. On a GPU: benchmarks/full_size.py, the best of an H100 in half precision.
REACHED = {"cpu": 0.88, "cuda": 0.45}
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True)
class Forecast:
    """What a run will take. Memory, disk in bytes; ``seconds`` is None where no speed was measured."""

    examples: int
    stands_for: int  # rows, of which merging makes fewer examples
    tokens: int
    supervised: int
    processes: int
    batch_size: int  # of one process and one forward pass
    accumulation: int
    steps: int
    flops: int  # forward and backward, padding and what checkpointing computes again among them; of all processes
    state_bytes: int  # weights, gradients, AdamW's two averages; in half precision a copy of the weights
    activation_bytes: int  # at the longest batch
    checkpoint_bytes: int
    device: str
    seconds: float | None = None

    @property
    def memory_bytes(self) -> int:
        """Of one process, at its peak."""
        return self.state_bytes + self.activation_bytes

    def __str__(self) -> str:
        each = f"{self.batch_size} x {self.accumulation}" + (
            f" on each of {self.processes} processes" if self.processes > 1 else ""
        )
        a_step = self.batch_size * self.accumulation * self.processes
        share = a_step / max(1, self.examples)  # of an epoch, where the last step is whole
        rows = f", of {self.stands_for:,} rows merged" if self.stands_for > self.examples else ""
        as_rows = f", in place of {share * self.stands_for:.0f} rows" if rows else ""
        hours = "not measured" if self.seconds is None else f"about {_duration(self.seconds)}"
        return (
            f"{self.examples:,} examples{rows}, {self.tokens:,} tokens, {self.supervised:,} of them supervised\n"
            f"{self.steps:,} steps of {a_step} examples ({each}){as_rows}, {share * self.supervised:,.0f} supervised tokens a step\n"
            f"Memory on {self.device}: about {_giga(self.memory_bytes)} ({_giga(self.state_bytes)} for weights, gradients and AdamW, "
            f"{_giga(self.activation_bytes)} for activations)\n"
            f"Disk: {_giga(self.disk_bytes)} while it runs\n"
            f"Time: {hours} ({self.flops:.2e} FLOPs)"
        )

    @property
    def disk_bytes(self) -> int:
        """Two checkpoints, since the old one is deleted when the new one is whole, and the weights at the end."""
        return 2 * self.checkpoint_bytes + self.checkpoint_bytes // 3


def forecast(
    size: Size,
    config: "OPTConfig",
    lengths: Sequence[int],
    supervised: int,
    *,
    stands_for: int | None = None,
    processes: int = 1,
    device: str = "cpu",
    flops_a_second: float | None = None,
) -> Forecast:
    """The forecast of a run over examples of ``lengths`` tokens, in the order of training. ``size`` is one process's share of a step.

    ``stands_for`` is the number of rows in the examples where they are merged; None: as many as there are examples.
    """
    decoder, parameters = decoder_of(config), total_parameters(decoder_of(config))
    padded = padded_lengths(lengths, size.batch_size)
    flops = size.epochs * sum(size.batch_size * training_flops(decoder, longest) for longest in padded)
    flops = flops * 4 // 3 if size.gradient_checkpointing else flops  # the forward pass, a third of 6, once more
    half = size.precision != "fp32"
    reached = None if flops_a_second is None else flops_a_second * REACHED[device] * processes
    return Forecast(
        examples=len(lengths),
        stands_for=len(lengths) if stands_for is None else stands_for,
        tokens=int(sum(lengths)),
        supervised=supervised,
        processes=processes,
        batch_size=size.batch_size,
        accumulation=size.accumulation,
        steps=steps_of(len(lengths), size, processes),
        flops=flops,
        state_bytes=(16 + 2 * half) * parameters,
        activation_bytes=activation_bytes(decoder, size, max(lengths, default=0), config.dropout > 0, device),
        checkpoint_bytes=12 * parameters,  # weights and AdamW's averages, in float32
        device=device,
        seconds=None if reached is None else flops / reached,
    )


def steps_of(examples: int, size: Size, processes: int = 1) -> int:
    """Optimiser steps: the last batch of an epoch may be short, and so may the last step."""
    batches = math.ceil(examples / (size.batch_size * processes))
    return size.epochs * math.ceil(batches / size.accumulation)


def padded_lengths(lengths: Sequence[int], batch_size: int) -> list[int]:
    """The length that each batch, in order, is padded to."""
    return [int(max(lengths[k : k + batch_size])) for k in range(0, len(lengths), batch_size)]


def layer_bytes(decoder: Decoder, precision: str, dropout: bool, device: str) -> int:
    """What one layer of OPT keeps of one token for the backward pass.

    In float32: inputs of the three projections (D), queries, keys, values (3 D), what attention gives (D), input and output of the first
    norm (2 D), input of the second (D) and the hidden row of the feed-forward (F). In half precision (autocast) all but the inputs of
    the norms are halved. Dropout keeps two masks of D: a byte a number on a GPU, a float on a CPU.
    """
    D, F, small = decoder.width, decoder.feed_forward, _BYTES[precision]
    masks = 2 * D * (1 if device == "cuda" else 4) if dropout else 0
    return small * (6 * D + F) + 4 * 2 * D + masks


def activation_bytes(decoder: Decoder, size: Size, longest: int, dropout: bool, device: str) -> int:
    """What a batch of rows of ``longest`` tokens keeps, and about as much again as a layer keeps while it is worked backward through.

    With checkpointing, a layer keeps its input (D, float32), and one layer at a time is computed again.
    """
    tokens, one = size.batch_size * longest, layer_bytes(decoder, size.precision, dropout, device)
    kept = 4 * decoder.width if size.gradient_checkpointing else one
    return tokens * (decoder.layers * kept + one * (2 if size.gradient_checkpointing else 1))


def product_speed(device: str, precision: str, seconds: float = 0.5) -> float:
    """FLOP/s of this machine's own matrix product in a precision: the best of as many as fit into ``seconds``."""
    import torch

    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    n = 4096 if device == "cuda" else 1024
    a = torch.from_numpy(np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)).to(
        device, kind
    )  # leaves torch's seed alone
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until or best is math.inf:
        began = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best


def _giga(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
