"""Every hyperparameter of the paper's fine-tuning: its value, what it does, what a size uses instead, and why (arXiv 2512.15943, training).

The paper's values that a ``Size`` has come from size ``full``, which is the paper's; what the paper does not say is called "not stated".
"""

from enum import Enum
from typing import TYPE_CHECKING

from toolslm_helpers.model.counting import OPT_350M, total_parameters
from toolslm_helpers.sizes import SIZES, Size
from toolslm_helpers.teaching.views import HyperparameterRow

if TYPE_CHECKING:
    from trl import SFTConfig

PAPER = SIZES["full"]
PAPER_EXAMPLES, PAPER_STEPS = 187_542, 5_860
NOT_STATED = "not stated"


def paper_settings(size: Size, settings: "SFTConfig", parameters: int, examples: int, steps: int) -> list[HyperparameterRow]:
    """A row for each, in the order in which one decides.

    ``settings`` are the trainer's; ``parameters`` of the model, ``examples`` and ``steps`` are those of this run.
    """
    return [*_what_is_read(size, parameters, examples, steps), *_how_it_moves(size, settings), *_how_it_fits(size, settings)]


def _what_is_read(size: Size, parameters: int, examples: int, steps: int) -> list[HyperparameterRow]:
    smaller = f"opt-mini: OPT-350M's architecture, {total_parameters(OPT_350M) / parameters:.0f} times smaller"
    return [
        _row("model", "whose weights are trained", PAPER.model, size.model, smaller),
        _row("training examples", "rows that are read", PAPER_EXAMPLES, examples,
             "the embedded world's; whole trajectories, where the paper has a row for each step"),
        _row("epochs", "how often each row is read", PAPER.epochs, size.epochs, ""),
        _row("graded tokens", "which tokens count in the loss", NOT_STATED, _supervised(size),
             "what the model itself has to write (lesson 07)"),
        _row("training length", "tokens that a row may have", NOT_STATED, size.max_length,
             "OPT has 2,048 positions, opt-mini 768; our rows fit, and ToolBench's must be shortened"),
        _row("batch size", "rows that pass through the model at once, on one device", PAPER.batch_size, size.batch_size,
             "fewer rows a step: more steps from the same rows"),
        _row("accumulation", "such micro-batches before the weights move once (section 11)", PAPER.accumulation, size.accumulation,
             "small examples: a batch fits at once"),
        _row("effective batch size", "rows behind one move: batch size times accumulation times devices",
             PAPER.effective_batch_size, size.effective_batch_size, f"{size.effective_batch_size} instead of 8 x 4"),
        _row("optimiser steps", "moves in one epoch: examples over effective batch size", PAPER_STEPS, steps, "as counted in section 3"),
    ]  # fmt: skip


def _how_it_moves(size: Size, settings: "SFTConfig") -> list[HyperparameterRow]:
    optimiser = "AdamW" if "adamw" in _written(settings.optim) else _written(settings.optim)
    return [
        _row("optimiser", "turns gradients into moves, each weight at its own scale", "AdamW", optimiser, ""),
        _row("learning rate", "how far a move goes, at its largest", PAPER.learning_rate, size.learning_rate,
             "a small model in a short run needs larger moves: section 8 tries the paper's"),
        _row("warm-up steps", "steps, not epochs, in which the rate climbs from 0", PAPER.warmup_steps, size.warmup_steps,
             "a shorter run, a shorter warm-up"),
        _row("schedule", "what the rate does after the warm-up", NOT_STATED, f"{_written(settings.lr_scheduler_type)}, to 0",
             "the trainer's default"),
        _row("gradient clipping", "the longest gradient that is used as it is; a longer one is shortened to it",
             PAPER.max_grad_norm, size.max_grad_norm, "clipped at a larger norm, so that the larger rate can work"),
        _row("weight decay", "share of a weight, times the rate, that is taken off it at each move", PAPER.weight_decay,
             size.weight_decay, ""),
    ]  # fmt: skip


def _how_it_fits(size: Size, settings: "SFTConfig") -> list[HyperparameterRow]:
    return [
        _row("precision", "bits of the numbers that the layers compute with (section 12)", PAPER.precision, size.precision,
             "half precision pays on a GPU, not on a CPU"),
        _row("gradient checkpointing", "forgets what layers computed, and computes it again on the way back (section 13)",
             PAPER.gradient_checkpointing, size.gradient_checkpointing, "saves memory for time; here memory is plenty"),
        _row("dataloader workers", "processes that fetch rows meanwhile (the paper lists them with its evaluation)", 4,
             settings.dataloader_num_workers, "our rows wait in memory: there is nothing to fetch"),
        _row("pinned memory", "memory that a GPU may read by itself", True, settings.dataloader_pin_memory,
             "only a GPU reads it"),
    ]  # fmt: skip


def _row(name: str, does: str, paper: object, here: object, why: str) -> HyperparameterRow:
    return HyperparameterRow(name, _written(paper), _written(here), why, does)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        value = value.value
    return f"{value:,}" if isinstance(value, int) else str(value)


def _supervised(size: Size) -> str:
    return {"all": "every assistant turn", "last": "the last assistant turn"}[size.supervise]
