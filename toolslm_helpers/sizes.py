"""The three sizes. ``SIZE`` is the one parameter that changes what a lesson costs; the cells are the same at every size.

``full`` carries the paper's values (arXiv 2512.15943, section on training); where ``tiny`` differs, lesson 08 shows both and says why.
"""

from dataclasses import dataclass
from typing import Literal

from toolslm_helpers.files import WorkbookError


@dataclass(frozen=True)
class Size:
    """What one size trains and judges. Lengths are in tokens, counts of training rows and queries are None for "all"."""

    name: str
    model: str  # where SFT starts: a folder under data_samples/models, or a hub id
    data: Literal["world", "toolbench"]
    rendering: Literal["compact", "toolbench"]  # how a system message lists its functions
    max_length: int
    batch_size: int  # examples per device and forward pass
    accumulation: int  # forward passes per optimiser step
    learning_rate: float
    warmup_steps: int
    max_grad_norm: float
    weight_decay: float
    epochs: int
    precision: Literal["fp32", "fp16", "bf16"]
    gradient_checkpointing: bool
    train_trajectories: int | None
    eval_queries_per_set: int | None
    max_iterations: int = 10
    temperature: float = 0.1
    max_new_tokens: int = 112
    supervise: Literal["all", "last"] = "all"  # which assistant turns of an example are trained
    truncation: Literal["refuse", "left", "shorten"] = "refuse"  # what becomes of an example that is longer than max_length

    @property
    def effective_batch_size(self) -> int:
        """Examples per optimiser step on one device."""
        return self.batch_size * self.accumulation


TINY = Size(
    name="tiny", model="instruct", data="world", rendering="compact", max_length=768, batch_size=4, accumulation=1,
    learning_rate=5e-4, warmup_steps=100, max_grad_norm=1.0, weight_decay=0.01, epochs=1, precision="fp32",
    gradient_checkpointing=False, train_trajectories=8_000, eval_queries_per_set=None,
)  # fmt: skip

SMOKE = Size(
    name="smoke", model="instruct", data="world", rendering="compact", max_length=768, batch_size=8, accumulation=1,
    learning_rate=5e-4, warmup_steps=4, max_grad_norm=1.0, weight_decay=0.01, epochs=1, precision="fp32",
    gradient_checkpointing=False, train_trajectories=160, eval_queries_per_set=4,
)  # fmt: skip

FULL = Size(
    name="full", model="facebook/opt-350m", data="toolbench", rendering="toolbench", max_length=2048, batch_size=8, accumulation=4,
    learning_rate=5e-5, warmup_steps=100, max_grad_norm=0.3, weight_decay=0.01, epochs=1, precision="fp16",
    gradient_checkpointing=True, train_trajectories=None, eval_queries_per_set=None, max_new_tokens=512,
    supervise="last", truncation="shorten",  # ToolBench's step rows: one target each, at the end; more than half exceed 2,048 tokens
)  # fmt: skip

SIZES = {size.name: size for size in (SMOKE, TINY, FULL)}


def get_size(name: str) -> Size:
    """The size of that name. Raises WorkbookError that lists the three."""
    if name not in SIZES:
        raise WorkbookError(
            f"SIZE is {name!r}; expected one of {', '.join(map(repr, SIZES))}. Set it in the parameters cell or with --size."
        )
    return SIZES[name]
