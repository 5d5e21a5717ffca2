"""Single-epoch supervised fine-tuning with TRL's SFTTrainer, set up from a size.

Ids and labels are ours, made together by ``flatten`` and checked again in every batch: a trainer that gets no mask silently trains on
every token, and its loss curve looks fine. Around it: ``order`` (which row comes when), ``collators`` (rows to a batch), ``forecast`` (what
it will cost), ``runlog`` and ``watching`` (what it says and shows), ``trainer`` and ``continuing`` (what stops it, and how it goes on),
``processes`` (who does what).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.data.merge import MergedExample
from toolslm_helpers.files import WorkbookError, atomic_write_json
from toolslm_helpers.model.checkpoints import load_model, save_model
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.flatten import FlatDataset
from toolslm_helpers.training import continuing
from toolslm_helpers.training.collators import CheckedCollator, PaddingCollator
from toolslm_helpers.training.forecast import Forecast, forecast, product_speed
from toolslm_helpers.training.halves import one_core_each
from toolslm_helpers.training.material import Material, flatten_for, material_of, save_bad_batch, supervised_in, training_rows_of
from toolslm_helpers.training.order import WINDOW, dataset_of, fill, one_epoch, places_in_order
from toolslm_helpers.training.processes import process, rescaled, share_of
from toolslm_helpers.training.runlog import RunLog, dashboards, reporting
from toolslm_helpers.training.shards import Prepared
from toolslm_helpers.training.speed import Speed
from toolslm_helpers.training.trainer import careful_trainer, must_be_finite
from toolslm_helpers.training.unpadded import UnpaddedCollator, attend_within_rows
from toolslm_helpers.training.watching import Watch

if TYPE_CHECKING:
    from transformers import OPTConfig, PreTrainedTokenizerFast
    from trl import SFTConfig

    from toolslm_helpers.data.records import Trajectory

# What lessons and benchmarks take from here.
__all__ = [
    "WINDOW", "CheckedCollator", "PaddingCollator", "flatten_for", "load_start", "one_epoch", "supervised_in", "train", "trainer_settings",
    "training_rows_of",
]  # fmt: skip

LOG_EVERY = 10  # steps
DEFAULT = Speed()


@dataclass(frozen=True)
class SftRecord:
    """What one fine-tuning run did. ``curve`` is (step, training loss in nats a supervised token, learning rate, gradient norm)."""

    size: str
    seed: int
    start: str
    path: str
    examples: int
    refused: tuple[tuple[str, str], ...]
    tokens: int
    supervised_tokens: int
    steps: int
    seconds: float
    final_loss: float
    curve: tuple[tuple[int, float, float, float], ...]
    versions: dict[str, str]
    device: str
    processes: int = 1


def trainer_settings(
    size: Size,
    seed: int,
    output_dir: str | Path,
    *,
    save_every: int | None = None,
    fused: bool = False,
    log_every: int | None = None,
) -> "SFTConfig":
    """TRL's settings of a size. What is left out is TRL's default and means nothing here.

    Every ``log_every`` steps (None: ``LOG_EVERY``) loss and gradient norm are logged. Every ``save_every`` steps a checkpoint is written,
    and dashboards that are installed are told; None: neither. ``fused`` is AdamW in one kernel, which ``train`` asks for on a GPU.
    """
    import torch
    from trl import SFTConfig

    if save_every is not None and (save_every < 1 or save_every % LOG_EVERY):
        raise WorkbookError(
            f"a checkpoint every {save_every} steps: expected a multiple of {LOG_EVERY}, so that a curve goes on where it was left."
        )
    several_on_cpu = process()[1] > 1 and not torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(output_dir),
        num_train_epochs=size.epochs,
        per_device_train_batch_size=size.batch_size,
        gradient_accumulation_steps=size.accumulation,
        learning_rate=size.learning_rate,
        lr_scheduler_type="linear",  # warm-up, then linearly to zero
        warmup_steps=size.warmup_steps,
        max_grad_norm=size.max_grad_norm,
        weight_decay=size.weight_decay,
        optim="adamw_torch_fused" if fused else "adamw_torch",
        fp16=size.precision == "fp16",
        bf16=size.precision == "bf16",  # TRL's default is true, and that is eight times slower on most CPUs
        activation_checkpointing=size.gradient_checkpointing,
        train_sampling_strategy="sequential",  # ``one_epoch`` has put the rows in order
        max_length=None,  # lengths were checked in flatten; nothing may be cut here
        dataset_kwargs={"skip_prepare_dataset": True},  # ids and labels are ready
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        logging_steps=log_every or LOG_EVERY,
        logging_nan_inf_filter=False,  # the default logs an earlier mean in place of NaN
        save_strategy="no" if save_every is None else "steps",
        save_steps=save_every or 500,  # TRL's default, which means nothing where nothing is saved
        report_to="none" if save_every is None else dashboards() or "none",
        use_cpu=several_on_cpu,  # unless it is told, accelerate sees two processes without a GPU and joins nothing
        ddp_backend="gloo" if several_on_cpu else None,
        disable_tqdm=True,  # ``on_step`` reports instead
    )


def train(
    size: Size,
    seed: int,
    output_dir: str | Path,
    trajectories: Sequence["Trajectory | MergedExample"] | Prepared,
    start: str | Path | None = None,
    on_step: Callable[[int, int, float | None], None] | None = None,
    *,
    rows_of: Callable[[FlatDataset], list[dict[str, Any]]] = training_rows_of,
    collator: type[PaddingCollator] = CheckedCollator,
    save_every: int | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
    watch: Watch | None = None,
    speed: Speed = DEFAULT,
    log_every: int | None = None,
) -> SftRecord:
    """Fine-tunes ``start`` (default: the size's model) for one epoch; saves weights and training.json to ``output_dir``.

    ``trajectories`` are the training set (``agent.gold.training_trajectories`` gives a size's own), or what ``prepare`` made of it, which
    need not fit into memory. A size that counts step rows takes fewer merged examples a step (``processes.rescaled``). ``on_step`` hears
    (step, steps, latest logged loss), ``on_forecast`` what the run will cost, before it starts. ``watch`` is shown (steps made, steps, the
    model) before the first step and after every one, and may play it: the weights at the end are the same with and without. A point of
    the curve is the mean of ``log_every`` steps. The same seed gives the same weights on the same machine. Raises NotFinite, a
    WorkbookError, where the loss is not finite; the batch's rows are then in ``output_dir``/not_finite.json.

    With ``save_every``, a checkpoint is written every so many steps, and the same call goes on from the last one: to the same weights,
    on a CPU to the bit. Started several times by ``torchrun`` or ``accelerate launch``, the processes share each step's examples.

    ``rows_of`` and ``collator`` are for lesson 07, which trains on wrong labels to see what notices: ``training.mutations`` makes such
    rows, and ``PaddingCollator`` lets them pass. Left alone, labels are the mask's and every batch is checked.
    """
    import platform

    import torch
    import transformers
    import trl
    from transformers import set_seed

    set_seed(seed)
    output_dir, (rank, processes) = Path(output_dir), process()
    model, tokenizer = load_start(start or size.model)
    data = material_of(size, seed, trajectories, tokenizer, rows_of, collator is CheckedCollator)
    a_step = rescaled(size, data.stands_for, len(data.lengths), processes)
    share = share_of(a_step, processes)
    fused = torch.cuda.is_available() if speed.fused is None else speed.fused
    settings = trainer_settings(share, seed, output_dir / "trainer", save_every=save_every, fused=fused, log_every=log_every)
    settings._n_gpu = min(1, settings.n_gpu)  # several GPUs need several processes: one would batch for all of them
    expected = _forecast(
        share, model.config, data, processes, settings.device.type, measure=on_forecast is not None and rank == 0
    )
    if on_forecast is not None and rank == 0:
        on_forecast(expected)
    going_on = None
    if save_every is not None:
        identity = {
            "size": asdict(size), "seed": seed, "start": str(start or size.model), "data": data.fingerprint, "processes": processes,
        }  # fmt: skip
        going_on = continuing.begin(output_dir / "trainer", identity, expected.disk_bytes, rank)
    places = fill(
        places_in_order(data.lengths, a_step.batch_size, seed, speed.group), share.batch_size * processes if processes > 1 else 1
    )
    alone_on_cpu = settings.device.type == "cpu" and processes == 1
    # Two threads would draw dropout in either order; a batch of one row, or without padding, has no halves.
    halving = alone_on_cpu and speed.halves and share.batch_size > 1 and not speed.unpadded and not model.config.dropout
    if speed.unpadded:
        attend_within_rows(model)
        collator = UnpaddedCollator
    log = RunLog(output_dir, continuing.step_of(going_on) if going_on else 0) if rank == 0 else None
    trainer = careful_trainer(halving, alone_on_cpu and size.precision == "fp32" and not speed.all_logits)(
        model=model.train(),
        args=settings,
        train_dataset=dataset_of(data.rows, places),
        processing_class=tokenizer,
        data_collator=collator(tokenizer.pad_token_id),
        callbacks=[reporting(log, on_step, watch)] if log is not None else [],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.on_bad_loss = lambda step, loss, bad: save_bad_batch(output_dir, data, step, loss, bad)
    if log is not None and not going_on:
        log.write(event="start", **{name: value for name, value in asdict(expected).items() if value is not None})
    began = time.perf_counter()
    with one_core_each() if halving else nullcontext() as workers:
        trainer.workers = workers
        result = trainer.train(resume_from_checkpoint=str(going_on) if going_on else None)
    seconds = time.perf_counter() - began + (log.seconds_before if log else 0)
    curve = tuple(
        (line["step"], float(line["loss"]), float(line["learning_rate"]), float(line["grad_norm"]))
        for line in trainer.state.log_history
        if "loss" in line
    )
    versions = {"python": platform.python_version()} | {
        module.__name__: module.__version__ for module in (torch, transformers, trl)
    }
    record = SftRecord(
        size=size.name, seed=seed, start=str(start or size.model), path=str(output_dir), examples=len(data.lengths), refused=data.refused,
        tokens=sum(data.lengths), supervised_tokens=data.supervised, steps=result.global_step, seconds=round(seconds, 1),
        final_loss=curve[-1][1] if curve else result.training_loss, curve=curve, versions=versions, device=str(settings.device),
        processes=processes,
    )  # fmt: skip
    if rank == 0:
        must_be_finite(trainer.model, result.global_step)
        save_model(trainer.model.cpu(), output_dir)
        if size.data != "world":
            tokenizer.save_pretrained(output_dir)
        atomic_write_json(output_dir / "training.json", {key: value for key, value in asdict(record).items() if key != "path"})
        if save_every is not None:
            continuing.finish(output_dir / "trainer")
    trainer.accelerator.wait_for_everyone()
    return record


def _forecast(size: Size, config: "OPTConfig", data: Material, processes: int, device: str, measure: bool) -> Forecast:
    measured = product_speed(device, size.precision) if measure else None
    many = {"stands_for": data.stands_for, "processes": processes}
    return forecast(size, config, data.lengths, data.supervised, **many, device=device, flops_a_second=measured)


def load_start(name: str | Path) -> tuple[Any, "PreTrainedTokenizerFast"]:
    """(model, tokenizer) to fine-tune: a shipped checkpoint, a folder, or a model of the hub such as facebook/opt-350m.

    A folder may be what the hub has of a model, with its weights as pytorch_model.bin.
    """
    from toolslm_helpers.model.checkpoints import checkpoint_path
    from toolslm_helpers.text.tokenizer import CHAT_TEMPLATE

    as_on_the_hub = (Path(name) / "config.json").is_file() and (Path(name) / "pytorch_model.bin").is_file()
    if (checkpoint_path(name).is_dir() or Path(name).is_absolute()) and not as_on_the_hub:
        return load_model(name)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        # The hub holds OPT's weights in half precision; what is trained is float32, and autocast halves it where it may.
        model, tokenizer = AutoModelForCausalLM.from_pretrained(name, dtype="float32"), AutoTokenizer.from_pretrained(name)
    except Exception as error:  # offline, a wrong name, a gated model: the hub's clients raise many kinds
        raise WorkbookError(
            f"{name}: neither a folder with a checkpoint nor a model that can be fetched ({str(error).splitlines()[0]}). Usual cause: no "
            "network, or a wrong name. Connect once, or give a local folder."
        ) from error
    tokenizer.chat_template = CHAT_TEMPLATE
    return model, tokenizer
