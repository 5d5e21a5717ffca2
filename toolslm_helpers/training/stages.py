"""How opt-mini was made: pre-training on general text, then instruction tuning, both before it ever sees a tool.

A stage can be killed at any step and goes on from its last save: the batch of a step depends on the seed and the step alone.
"""

import itertools
import math
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.data.records import Trajectory
from toolslm_helpers.data.words import MODIFIERS, SEEN_THEMES, SHARED_ATTRIBUTES, coin_word
from toolslm_helpers.files import WorkbookError, atomic_write_json, atomic_write_text
from toolslm_helpers.model.checkpoints import OPT_MINI, load_model, new_model, save_model
from toolslm_helpers.training.corpus import instructions, pretraining_texts
from toolslm_helpers.training.halves import HALVES, backward_in_parts, one_core_each

if TYPE_CHECKING:
    import torch
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast

DOCUMENTS = 64  # a step
GROUP = 8  # steps whose documents are sorted by length together, so that a batch holds equals
FIRST = 4  # steps whose loss is recorded one by one
WARMUP_SHARE = 0.05  # of the steps; then linear decay to zero


@dataclass(frozen=True)
class Stage:
    """One stage: where it starts, how long it is, how fast it learns, and how the ids and labels of documents are made."""

    name: str
    start: str | None  # a checkpoint, or None for random weights
    steps: int
    matrix_rate: float  # Muon, the layers' matrices
    rest_rate: float  # AdamW, embeddings, norms and biases
    documents: Callable[["PreTrainedTokenizerFast", str, int], list[tuple[list[int], list[int]]]]


def _pretraining_documents(tokenizer: "PreTrainedTokenizerFast", stream: str, count: int) -> list[tuple[list[int], list[int]]]:
    """Every token is a label: pre-training learns to continue any text."""
    ids = tokenizer(list(itertools.islice(pretraining_texts(stream), count)))["input_ids"]
    return [(document, document) for document in ids]


def _instruction_documents(tokenizer: "PreTrainedTokenizerFast", stream: str, count: int) -> list[tuple[list[int], list[int]]]:
    """Only the assistant's tokens are labels: instruction tuning learns to answer, not to ask."""
    from toolslm_helpers.text.flatten import flatten

    conversations = [Trajectory(id=f"{stream} {k}", query="", functions=(), messages=tuple(messages))
                     for k, messages in enumerate(itertools.islice(instructions(stream), count))]  # fmt: skip
    examples = [flatten(conversation, tokenizer) for conversation in conversations]
    return [(example.input_ids.tolist(), example.labels.tolist()) for example in examples]


STAGES = {
    "base": Stage("base", None, 4_500, 2e-2, 4e-3, _pretraining_documents),
    "instruct": Stage("instruct", "base", 11_000, 5e-3, 1e-3, _instruction_documents),
}


def tokenizer_texts() -> Iterator[str]:
    """What the small tokenizer is trained on: a little running text for the common words, and many words once each.

    Merges must be pieces that many words share. A piece that belongs to one word only is, in fine-tuning, a target for that word only,
    and a piece that is never a target is never written.
    """
    yield from itertools.islice(pretraining_texts("tokenizer"), 60)
    rng = random.Random("tokenizer")
    yield from (coin_word(rng, False) for _ in range(8_000))
    words = [word for theme in SEEN_THEMES for word in (*theme.kinds, *(a for a, _ in theme.attributes))]
    yield from (words + [a for a, _ in SHARED_ATTRIBUTES] + list(MODIFIERS)) * 8


def make_tokenizer(folder: str | Path) -> Path:
    """Trains the small tokenizer into ``folder``/tokenizer.json; the shipped one was made so, in a second."""
    from toolslm_helpers.text.tokenizer import train_small_tokenizer

    return atomic_write_text(
        Path(folder) / "tokenizer.json", train_small_tokenizer(tokenizer_texts()).backend_tokenizer.to_str(pretty=True)
    )


@dataclass(frozen=True)
class _Groups:
    """The batches of a stage, a list of ``GROUP`` at an index: each a function of stage, seed and index alone, whoever asks for it."""

    stage: Stage
    tokenizer: "PreTrainedTokenizerFast"
    seed: int
    documents: int

    def __getitem__(self, group: int) -> list[tuple["torch.Tensor", "torch.Tensor"]]:
        import torch

        stream = f"{self.seed} {group}"
        documents = sorted(
            self.stage.documents(self.tokenizer, stream, self.documents * GROUP), key=lambda document: len(document[0])
        )
        batches = []
        for k in range(0, len(documents), self.documents):
            batch = documents[k : k + self.documents]
            longest = min(OPT_MINI["max_position_embeddings"], len(batch[-1][0]))
            ids = torch.tensor([(ids + [1] * (longest - len(ids)))[:longest] for ids, _ in batch])
            labels = torch.tensor([(labels + [-100] * (longest - len(labels)))[:longest] for _, labels in batch])
            batches.append((ids, labels))
        random.Random(stream).shuffle(batches)
        return batches


def batches_from(
    stage: Stage, tokenizer: "PreTrainedTokenizerFast", seed: int, step: int, documents: int = DOCUMENTS, workers: int = 0
) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
    """(input ids, labels), both (B, T), of ``step`` and every later one; a batch is a function of seed and step.

    ``workers`` processes make them ahead of time: on a GPU a step takes less time than writing its documents.
    """
    from torch.utils.data import DataLoader

    groups, made = itertools.count(step // GROUP), _Groups(stage, tokenizer, seed, documents)
    loader = DataLoader(made, batch_size=None, sampler=groups, num_workers=workers)
    return itertools.islice(itertools.chain.from_iterable(loader), step % GROUP, None)


def optimizers(model: "OPTForCausalLM", stage: Stage) -> list["torch.optim.Optimizer"]:
    """Muon for the layers' matrices, in two halves that can step side by side, AdamW for everything else."""
    import torch

    from toolslm_helpers.training.muon import Muon

    matrices = [p for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2]
    known = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in known]
    return [
        Muon(matrices[0::2], lr=stage.matrix_rate),
        Muon(matrices[1::2], lr=stage.matrix_rate),
        torch.optim.AdamW(rest, lr=stage.rest_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _loss_share(model: "OPTForCausalLM", supervised: int, rows: tuple["torch.Tensor", "torch.Tensor"]) -> "torch.Tensor":
    """What some rows of a batch, ids (B, T) and targets (B, T - 1), add to its mean loss over ``supervised`` tokens: scalar, nats."""
    import torch.nn.functional as F

    ids, targets = rows
    logits = model(input_ids=ids).logits  # (B, T, V); no mask: padding follows the text, and a causal model looks back only
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum") / supervised


def run_stage(
    stage: str | Stage,
    output: str | Path,
    seed: int = 0,
    steps: int | None = None,
    start: str | Path | None = None,
    documents: int = DOCUMENTS,
    save_every: int = 250,
    stop_after: int | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Runs a stage ("base", "instruct" or one of your own) into the folder ``output``; goes on where an earlier run of it stopped.

    ``start`` is a checkpoint's folder in place of the stage's own, ``steps`` the length of the schedule, ``documents`` how many make a
    step. ``stop_after`` ends the run early (as a kill would, after a save), ``on_step`` hears (step, steps, loss in nats). Returns the
    record that training.json holds: data, steps, tokens, seed, curve, versions.
    """
    import torch

    from toolslm_helpers.text.tokenizer import load_small_tokenizer
    from toolslm_helpers.training.resume import load_state, save_state

    if isinstance(stage, str):
        if stage not in STAGES:
            raise WorkbookError(f"stage {stage!r} is not one of {', '.join(STAGES)}.")
        stage = STAGES[stage]
    output = Path(output)
    total = steps or stage.steps
    before = start or stage.start
    model, tokenizer = load_model(before) if before else (new_model(seed), load_small_tokenizer())
    model.train()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: ten bits of each factor, sums in float32
    model.to(device)
    parts = optimizers(model, stage)
    record = {
        "stage": stage.name,
        "seed": seed,
        "steps": total,
        "documents": documents,
        "step": 0,
        "tokens": 0,
        "supervised_tokens": 0,
        "seconds": 0.0,
        "first": [],  # the loss of the first steps, one by one: what a second run of them is compared with
        "curve": [],
        "pending": [],  # losses since the last point of the curve
    }
    record = load_state(output / "resume", model, parts, record)
    workers_of_data = max(1, (os.cpu_count() or 2) - 2) if device == "cuda" else 0
    batches = batches_from(stage, tokenizer, seed, record["step"], documents, workers_of_data)
    parts_of_batch = HALVES if device == "cpu" else 1
    began = time.perf_counter() - record["seconds"]
    parameters = list(model.parameters())
    with one_core_each() as workers:
        while record["step"] < min(total, stop_after or total):
            step = record["step"]
            ids, labels = next(batches)
            targets = labels[:, 1:].masked_fill(ids[:, 1:] == 1, -100)  # (B, T - 1)
            tokens, supervised = int((ids != 1).sum()), int((targets != -100).sum())
            warm = max(1, round(total * WARMUP_SHARE))
            factor = (step + 1) / warm if step < warm else (total - step) / max(1, total - warm)
            for part, rate in zip(parts, (stage.matrix_rate, stage.matrix_rate, stage.rest_rate), strict=True):
                part.param_groups[0]["lr"] = rate * factor
            share = partial(_loss_share, model, supervised)
            rows = list(zip(ids.to(device).chunk(parts_of_batch), targets.to(device).chunk(parts_of_batch), strict=True))
            loss = backward_in_parts(workers, share, rows, parameters)
            if not math.isfinite(loss):
                raise WorkbookError(
                    f"stage {stage.name}: loss is {loss} at step {step}. Usual cause: too high a learning rate. The last save is kept."
                )
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            list(workers.map(lambda part: part.step(), parts))
            model.zero_grad(set_to_none=True)
            record["pending"].append(loss)
            if step < FIRST:
                record["first"].append(round(loss, 4))
            record |= {
                "step": step + 1,
                "tokens": record["tokens"] + tokens,
                "seconds": round(time.perf_counter() - began, 1),
                "supervised_tokens": record["supervised_tokens"] + supervised,
            }
            if record["step"] % 50 == 0 or record["step"] == total:
                record["curve"].append([record["step"], round(sum(record["pending"]) / len(record["pending"]), 4)])
                record["pending"] = []
            if record["step"] % save_every == 0 or record["step"] == stop_after:
                save_state(output / "resume", model, parts, record)
            if on_step:
                on_step(record["step"], total, loss)
    if record["step"] == total:
        save_model(model.cpu(), output)
        del record["pending"]
        del batches  # ends its workers
        record["versions"] = {"python": platform.python_version(), "torch": torch.__version__}
        record["device"] = torch.cuda.get_device_name() if device == "cuda" else device
        atomic_write_json(output / "training.json", record)
    return record
