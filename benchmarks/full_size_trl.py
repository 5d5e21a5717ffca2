"""Size full's own trainer on OPT-350M's shape: full_size.py's measurement of what `toolslm sft` sets up. It needs trl, datasets and pydantic."""

import inspect
import resource
import tempfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
import transformers
import trl
from datasets import Dataset
from opt_350m import FULL, OPTConfig, Row, attention_choice, batches_of, new_model, wait
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training.sft import CheckedCollator, trainer_settings

if TYPE_CHECKING:
    from full_size import Setting


def trl_steps(setting: "Setting", config: OPTConfig, rows: list[Row], until: float, most: int) -> dict[str, Any]:
    """The same measurements of size full's own trainer, as ``training.sft`` sets it up."""

    def known(**named: Any) -> SFTConfig:
        """An older transformers (a lent machine has one) knows a setting by its older name."""
        if "activation_checkpointing" not in inspect.signature(SFTConfig).parameters:
            named["gradient_checkpointing"] = named.pop("activation_checkpointing")
        return SFTConfig(**named)

    tokenizer: PreTrainedTokenizerFast = load_small_tokenizer()  # the rows are ids already: only its pad id is asked for
    size = replace(
        FULL, precision=setting.precision, gradient_checkpointing=setting.checkpointing, batch_size=setting.batch,
        accumulation=setting.accumulation,
    )  # fmt: skip
    a_step = size.effective_batch_size
    content = [dict(zip(("input_ids", "labels"), rows[k % len(rows)], strict=True)) for k in range(a_step * (most + 1))]
    seconds, losses = [], []
    clock = [0.0]

    class Clock(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            clock[0] = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            wait(args.device.type)
            seconds.append(time.perf_counter() - clock[0])
            if len(seconds) > 2 and time.perf_counter() + max(seconds[1:]) > until:
                control.should_training_stop = True

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    with tempfile.TemporaryDirectory() as folder:
        with patch.object(trl, "SFTConfig", known):
            settings = trainer_settings(size, 0, folder)
        settings.logging_steps = 1
        device = settings.device.type
        trainer = SFTTrainer(
            model=new_model(config, device), args=settings, train_dataset=Dataset.from_list(content), processing_class=tokenizer,
            data_collator=CheckedCollator(tokenizer.pad_token_id), callbacks=[Clock()],
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with attention_choice(setting.attention):
            trainer.train()
        memory = (
            torch.cuda.max_memory_allocated() if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
    batches = batches_of(rows, setting.batch, config, "cpu")
    some = [[next(batches) for _ in range(setting.accumulation)] for _ in seconds]
    counts = [tuple(map(sum, zip(*((b.tokens, len(b.targets), b.flops) for b in step), strict=True))) for step in some]
    return {"found": [(loss, *count) for loss, count in zip(losses, counts, strict=False)], "seconds": seconds, "memory": memory}
