"""TRL's trainer with what it lacks for a run of hours: it stops at a loss that is no number, and its checkpoints are whole or none."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.text.flatten import IGNORED
from toolslm_helpers.training.continuing import mark_whole, not_written
from toolslm_helpers.training.halves import halving_trainer
from toolslm_helpers.training.material import LossNotFinite, WeightsNotFinite

if TYPE_CHECKING:
    import torch
    from trl import SFTTrainer

OnBadLoss = Callable[[int, float, Sequence[int]], None]
"""Hears (step, loss, places of the batch's rows) of a loss that is NaN or infinite, before the run stops."""


def careful_trainer(halving: bool, supervised_only: bool) -> type["SFTTrainer"]:
    """The trainer; with ``halving``, a batch's halves go to a core each (``training.halves``).

    ``supervised_only``: logits are made where a token is supervised and nowhere else. TRL does so on a GPU, where its kernel runs; on a
    CPU it makes them all, a tile at a time. In float32 and one process only: it calls the model's parts, past what accelerate wraps.
    """
    import torch
    import torch.nn.functional as F
    from safetensors import SafetensorError
    from trl import SFTTrainer

    class CarefulTrainer(halving_trainer() if halving else SFTTrainer):
        on_bad_loss: OnBadLoss | None = None

        def training_step(self, model, inputs, num_items_in_batch=None):
            places = inputs.pop("place", None)
            loss = super().training_step(model, inputs, num_items_in_batch)
            if not torch.isfinite(loss):
                if self.on_bad_loss is not None:
                    self.on_bad_loss(self.state.global_step + 1, loss.item(), [] if places is None else places.tolist())
                raise LossNotFinite(f"loss is {loss.item()} at step {self.state.global_step + 1}.")
            return loss

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            if not supervised_only or return_outputs:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            labels = inputs.pop("labels")[:, 1:]  # (B, T - 1)
            supervised = labels != IGNORED
            hidden = model.model.decoder(**inputs, use_cache=False).last_hidden_state[:, :-1]  # (B, T - 1, E)
            logits = model.lm_head(hidden[supervised])  # (supervised tokens, V)
            count = supervised.sum() if num_items_in_batch is None else num_items_in_batch
            # As TRL's: a batch that nobody checked may have no label at all, and teaches nothing.
            return F.cross_entropy(logits, labels[supervised], reduction="sum") / torch.as_tensor(count).clamp(min=1)

        def _save_checkpoint(self, model, trial):
            checkpoint = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            must_be_finite(self.model, self.state.global_step)
            try:
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()  # each process writes its own random state
                if self.args.should_save:
                    mark_whole(checkpoint)
            except (OSError, RuntimeError, SafetensorError, WorkbookError) as error:  # torch says RuntimeError for a full disk
                raise not_written(checkpoint, error) from error

        def create_model_card(self, *arguments: Any, **named: Any) -> None:
            """TRL writes one into every checkpoint; training.json says more."""

    return CarefulTrainer


def must_be_finite(model: "torch.nn.Module", step: int) -> None:
    """Raises WeightsNotFinite where a weight is NaN or infinite: going on from such a checkpoint, or using it, is of no use."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise WeightsNotFinite(
                f"{name} holds numbers that are not finite after step {step}: nothing was saved. Usual cause: gradients that overflowed. "
                "An earlier checkpoint is kept; lower the learning rate, or train in bf16 or fp32."
            )
