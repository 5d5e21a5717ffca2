"""Single-epoch supervised fine-tuning with TRL's SFTTrainer, set up from a size.

Ids and labels are ours, made together by ``flatten`` and checked again in every batch: a trainer that gets no mask silently trains on
every token, and its loss curve looks fine.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.data.merge import MergedExample
from toolslm_helpers.files import DataError, WorkbookError, atomic_write_json
from toolslm_helpers.model.checkpoints import load_model, save_model
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.checks import check_labels
from toolslm_helpers.text.flatten import IGNORED, FlatDataset, flatten_all
from toolslm_helpers.training.halves import halving_trainer, one_core_each
from toolslm_helpers.training.shards import Prepared

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig

    from toolslm_helpers.data.records import Trajectory

WINDOW = 3  # batches: little padding, and every batch still a mixture


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


@dataclass(frozen=True)
class PaddingCollator:
    """Pads a batch on the right, and takes the labels as they come: for lesson 07, which breaks them on purpose.

    Rows are {"input_ids", "labels"}; gives "input_ids", "labels", "position_ids", all (B, T). There is no attention mask: what pads
    stands behind all that is learned, where a causal model does not look, and without a mask attention takes its fast path.
    """

    pad_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        ids = [torch.as_tensor(row["input_ids"]) for row in rows]
        labels = [torch.as_tensor(row["labels"]) for row in rows]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_id),  # (B, T)
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),  # (B, T)
            "position_ids": torch.arange(max(map(len, ids))).repeat(len(ids), 1),  # (B, T)
        }


@dataclass(frozen=True)
class CheckedCollator(PaddingCollator):
    """Pads a batch, and refuses labels that are not what a mask makes of the ids. What every real run uses.

    Raises DataError for a row without a supervised token (its loss would be NaN, or silently nothing) and for a label that is neither
    its id nor -100.
    """

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        import torch

        for row, content in enumerate(rows):
            i, label = torch.as_tensor(content["input_ids"]), torch.as_tensor(content["labels"])
            supervised = label != IGNORED
            if i.shape != label.shape or not torch.equal(label[supervised], i[supervised]):
                raise DataError(
                    f"row {row} of a batch: labels are not its ids where supervised. Usual cause: labels shifted, or from another row."
                )
            if not supervised[1:].any():
                raise DataError(f"row {row} of a batch: no supervised token. Usual cause: truncation cut the answer off.")
        return super().__call__(rows)


def trainer_settings(size: Size, seed: int, output_dir: str | Path) -> "SFTConfig":
    """TRL's settings of a size. What is left out is TRL's default and means nothing here."""
    import torch
    from trl import SFTConfig

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
        optim="adamw_torch",
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
        logging_steps=10,
        logging_nan_inf_filter=False,  # the default logs an earlier mean in place of NaN
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,  # ``on_step`` reports instead
    )


def flatten_for(
    size: Size, trajectories: "Iterable[Trajectory]", tokenizer: "PreTrainedTokenizerFast", seed: int = 0
) -> FlatDataset:
    """The training examples of a size: its length, what it does with longer ones (by ``seed``), which turns it trains."""
    return flatten_all(
        trajectories, tokenizer, max_length=size.max_length, truncation=size.truncation, supervise=size.supervise, seed=seed
    )


def one_epoch(rows: Sequence[dict[str, Any]], batch_size: int, seed: int) -> list[dict[str, Any]]:
    """The rows in the order of one epoch: shuffled, then batches of similar length within every ``WINDOW`` batches, in random order.

    The library's own grouping by length sorts fifty batches at a time. Short examples are the ones where the model asks back or gives
    up, so it would see a whole batch of nothing else, every fifty steps, and unlearn to call.
    """
    rng = random.Random(seed)
    shuffled = rng.sample(rows, len(rows))
    ordered = []
    for k in range(0, len(shuffled), batch_size * WINDOW):
        window = sorted(shuffled[k : k + batch_size * WINDOW], key=lambda row: len(row["input_ids"]))
        batches = [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
        if len(window) == batch_size * WINDOW:  # the last window may end in a short batch, which must stay the last
            rng.shuffle(batches)
        ordered += [row for batch in batches for row in batch]
    return ordered


def training_rows_of(examples: FlatDataset) -> list[dict[str, Any]]:
    """{"input_ids", "labels"} of each example; -100 where there is nothing to learn."""
    return [{"input_ids": e.input_ids.tolist(), "labels": e.labels.tolist()} for e in examples.examples]


def supervised_in(row: dict[str, Any]) -> int:
    """How many tokens of a row are graded; a label of its first token is not, since nothing predicts it."""
    return sum(label != IGNORED for label in row["labels"][1:])


def prepared_epoch(prepared: Prepared, batch_size: int, seed: int) -> "Dataset":
    """The rows of one epoch in ``one_epoch``'s order, read from disk when the trainer asks for them."""
    from datasets import Dataset

    rows = [{"input_ids": range(length), "place": place} for place, length in enumerate(prepared.lengths.tolist())]
    ordered = one_epoch(rows, batch_size, seed)  # by lengths alone
    return Dataset.from_dict({"place": [row["place"] for row in ordered]}).with_transform(prepared.rows)


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
) -> SftRecord:
    """Fine-tunes ``start`` (default: the size's model) for one epoch; saves weights and training.json to ``output_dir``.

    ``trajectories`` are the training set (``agent.gold.training_trajectories`` gives a size's own), or what ``prepare`` made of it, which
    need not fit into memory. ``on_step`` hears (step, steps,
    latest logged loss). The same seed gives the same weights on the same machine. Raises WorkbookError where the loss is not finite.

    ``rows_of`` and ``collator`` are for lesson 07, which trains on wrong labels to see what notices: ``training.mutations`` makes such
    rows, and ``PaddingCollator`` lets them pass. Left alone, labels are the mask's and every batch is checked.
    """
    import platform

    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback, set_seed

    set_seed(seed)
    output_dir = Path(output_dir)
    model, tokenizer = load_start(start or size.model)
    if isinstance(trajectories, Prepared):
        trajectories.must_be_for(tokenizer)
        data = trajectories
    else:
        data = flatten_for(size, trajectories, tokenizer, seed)
    if not len(data):
        why = f"the first because {data.refused[0][1]}" if data.refused else "because there was none to begin with"
        raise DataError(f"no training example is left: {len(data.refused)} refused, {why}")
    if isinstance(data, Prepared):  # its labels were checked before they were written
        dataset, counts = prepared_epoch(data, size.batch_size, seed), (len(data), data.tokens, data.supervised)
    else:
        rows = rows_of(data)
        if collator is CheckedCollator:
            # A merged example has turns of its own.
            supervise = None if any(isinstance(one, MergedExample) for one in trajectories) else size.supervise
            for row, example in zip(rows, data.examples, strict=True):
                check_labels(example.id, row["input_ids"], row["labels"], tokenizer, supervise)
        dataset = Dataset.from_list(one_epoch(rows, size.batch_size, seed))
        counts = len(rows), sum(len(row["input_ids"]) for row in rows), sum(map(supervised_in, rows))
    curve: list[tuple[int, float, float, float]] = []

    class Report(TrainerCallback):
        """Keeps the curve, tells ``on_step``, and stops a run whose loss is no number."""

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                curve.append((state.global_step, float(logs["loss"]), float(logs["learning_rate"]), float(logs["grad_norm"])))
                if not curve[-1][1] == curve[-1][1]:
                    raise WorkbookError(
                        f"loss is NaN at step {state.global_step}. Usual cause: too high a learning rate, or no clipping."
                    )

        def on_step_end(self, args, state, control, **kwargs):
            if on_step is not None:
                on_step(state.global_step, state.max_steps, curve[-1][1] if curve else None)

    settings = trainer_settings(size, seed, output_dir / "trainer")
    alone_on_cpu = settings.device.type == "cpu" and settings.world_size == 1
    trainer = (halving_trainer() if alone_on_cpu else trl.SFTTrainer)(
        model=model.train(),
        args=settings,
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=collator(tokenizer.pad_token_id),
        callbacks=[Report()],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    began = time.perf_counter()
    with one_core_each() as workers:
        trainer.workers = workers
        result = trainer.train()
    seconds = time.perf_counter() - began
    save_model(trainer.model.cpu(), output_dir)
    if size.data != "world":
        tokenizer.save_pretrained(output_dir)
    versions = {"python": platform.python_version()} | {
        module.__name__: module.__version__ for module in (torch, transformers, trl)
    }
    record = SftRecord(
        size=size.name, seed=seed, start=str(start or size.model), path=str(output_dir), examples=counts[0], refused=data.refused,
        tokens=counts[1], supervised_tokens=counts[2], steps=result.global_step, seconds=round(seconds, 1),
        final_loss=curve[-1][1] if curve else result.training_loss, curve=tuple(curve),
        versions=versions,
        device=str(trainer.args.device),
    )  # fmt: skip
    atomic_write_json(output_dir / "training.json", {key: value for key, value in asdict(record).items() if key != "path"})
    return record


def load_start(name: str | Path) -> tuple[Any, "PreTrainedTokenizerFast"]:
    """(model, tokenizer) to fine-tune: a shipped checkpoint, a folder, or a model of the hub such as facebook/opt-350m."""
    from toolslm_helpers.model.checkpoints import checkpoint_path
    from toolslm_helpers.text.tokenizer import CHAT_TEMPLATE

    if checkpoint_path(name).is_dir() or Path(name).is_absolute():
        return load_model(name)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model, tokenizer = AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    except Exception as error:  # offline, a wrong name, a gated model: the hub's clients raise many kinds
        raise WorkbookError(
            f"{name}: neither a folder with a checkpoint nor a model that can be fetched ({str(error).splitlines()[0]}). Usual cause: no "
            "network, or a wrong name. Connect once, or give a local folder."
        ) from error
    tokenizer.chat_template = CHAT_TEMPLATE
    return model, tokenizer
