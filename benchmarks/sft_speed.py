"""Fine-tuning, ours beside TRL's stock trainer: the same targets, the same weights, the same machine; seconds a supervised token.

    python benchmarks/sft_speed.py tiny [--examples 120]
    TOOLBENCH_DIR=... python benchmarks/sft_speed.py full [--examples 16] [--layers 24]

Stock is SFTTrainer on step rows as it comes (checkpointing on, random order, padding, an attention mask), told only not to use bf16 on a
CPU. Ours is `training.sft.train` on the same rows merged. A step of either side trains about as many supervised tokens: stock takes as
many step rows as ours takes merged rows' worth. Full: 8 step rows a forward pass beside one merged row without checkpointing, which keeps
fewer activations. The learning rate is 0 and dropout off, so that both must find the same loss; AdamW does its work all the same. Each
side is a process of its own, which tells its peak memory; the first step is not timed. By turns, --rounds times; medians.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from toolslm_helpers.data.merge import MergedExample, merge_rows, step_rows  # noqa: E402
from toolslm_helpers.data.records import Trajectory  # noqa: E402
from toolslm_helpers.sizes import FULL, TINY, Size  # noqa: E402

Data = tuple[list[Trajectory], list[MergedExample]]


def data_of(shape: str, examples: int) -> Data:
    """(step rows, the same merged), of which there are about ``examples``; only what fits as it is, so that no side loses a target."""
    from toolslm_helpers.text.flatten import flatten_all

    if shape == "tiny":
        from toolslm_helpers.agent.gold import gold_trajectories
        from toolslm_helpers.data.world import build_world

        rows = [row for trajectory in gold_trajectories(build_world(), examples) for row in step_rows(trajectory)]
        return rows, list(merge_rows(rows))
    from toolslm_helpers.data.toolbench import read_tree, training_rows, trajectory_of

    folder = Path(os.environ["TOOLBENCH_DIR"])
    names = json.loads((folder / "golden" / "toolllama_conversations_from_trees.json").read_text())
    trees = [read_tree(folder / "raw_trees" / name) for name in names]
    every = [trajectory_of(row) for tree in trees for row in training_rows(tree, compat=False)]
    kept: list[MergedExample] = [
        one for one in merge_rows(every) if len(flatten_all([one], tokenizer_of(shape), max_length=FULL.max_length).examples) == 1
    ][:examples]
    absorbed = {name for one in kept for name in one.absorbed}
    rows = [row for row in every if row.id in absorbed]
    return rows, list(merge_rows(rows))


def tokenizer_of(shape: str) -> Any:
    from toolslm_helpers.text.tokenizer import load_opt_tokenizer, load_small_tokenizer

    if shape == "tiny":
        return load_small_tokenizer()
    folder = Path(os.environ["TOOLBENCH_DIR"]) / "opt_tokenizer"
    return load_opt_tokenizer(folder / "gpt2-vocab.json", folder / "gpt2-merges.txt")


def start_of(shape: str, folder: Path, layers: int | None) -> Path:
    """A checkpoint with random weights, without dropout, and its tokenizer."""
    from toolslm_helpers.model.checkpoints import OPT_MINI, new_model, save_model
    from toolslm_helpers.model.counting import OPT_350M

    changes: dict[str, Any] = {"num_hidden_layers": layers or OPT_MINI["num_hidden_layers"]}
    if shape == "full":
        changes = {
            "vocab_size": OPT_350M.vocabulary, "hidden_size": OPT_350M.width, "word_embed_proj_dim": OPT_350M.embedding, "init_std": 0.02,
            "num_hidden_layers": layers or OPT_350M.layers, "ffn_dim": OPT_350M.feed_forward, "num_attention_heads": 16,
            "max_position_embeddings": OPT_350M.context,
        }  # fmt: skip
    path = save_model(new_model(0, **changes), folder / "start")
    tokenizer_of(shape).save_pretrained(path)
    return path


def size_of(shape: str, data: Data) -> tuple[Size, int]:
    """(our size, stock's rows a forward pass)."""
    rows, merged = data
    size = replace(
        TINY if shape == "tiny" else FULL, learning_rate=0.0, warmup_steps=0, precision="fp32", gradient_checkpointing=False
    )
    share = len(rows) / len(merged)  # step rows a merged example
    if shape == "tiny":
        return size, round(size.batch_size * share)
    stock = FULL.batch_size
    return replace(size, batch_size=1, accumulation=max(1, round(stock / share)), supervise="all"), stock


class Watch:
    """When each step ended, and the loss and the number of supervised tokens of each."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []
        self.supervised: list[int] = []

    def attach(self, trainer_class: type) -> None:
        """Counts labels where a trainer takes its batches, and looks at the clock where a step ends."""
        watch, batches, log = self, trainer_class.get_batch_samples, trainer_class.log

        def get_batch_samples(self, *arguments: Any, **named: Any) -> Any:
            found = batches(self, *arguments, **named)
            watch.supervised.append(sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in found[0]))
            return found

        def logged(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
            if "loss" in logs:
                watch.ends.append(time.perf_counter())
                watch.losses.append(float(logs["loss"]))
            log(self, logs, *arguments, **named)

        trainer_class.get_batch_samples, trainer_class.log = get_batch_samples, logged

    def result(self) -> dict[str, Any]:
        steps = len(self.ends)
        if steps < 2:
            raise SystemExit("fewer than two steps: nothing to time. Ask for more --examples.")
        supervised = self.supervised[:steps]
        total = sum(loss * count for loss, count in zip(self.losses, supervised, strict=True))
        return {
            "steps": steps,
            "supervised": sum(supervised),
            "loss": total / sum(supervised),
            "microseconds_a_supervised_token": 1e6 * (self.ends[-1] - self.ends[0]) / sum(supervised[1:]),
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def run_ours(size: Size, data: Data, start: Path, folder: Path, watch: Watch) -> None:
    from trl import SFTTrainer

    from toolslm_helpers.training import sft

    watch.attach(SFTTrainer)
    sft.LOG_EVERY = 1
    sft.train(size, 0, folder / "ours", data[1], start=start)


def run_stock(size: Size, data: Data, batch: int, start: Path, folder: Path, watch: Watch) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from toolslm_helpers.text.flatten import flatten_all
    from toolslm_helpers.training.sft import load_start, training_rows_of

    watch.attach(SFTTrainer)
    model, tokenizer = load_start(start)
    rows = training_rows_of(flatten_all(data[0], tokenizer, supervise="last"))
    settings = SFTConfig(
        output_dir=str(folder / "stock"), per_device_train_batch_size=batch, learning_rate=0.0, max_length=None, bf16=False, num_train_epochs=1,
        max_grad_norm=size.max_grad_norm, weight_decay=size.weight_decay, logging_steps=1, save_strategy="no", report_to="none", seed=0,
        disable_tqdm=True,
    )  # fmt: skip
    SFTTrainer(model=model.train(), args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()


def side(name: str, shape: str, examples: int, start: Path) -> dict[str, Any]:
    """What one side measures, in this process."""
    data, watch = data_of(shape, examples), Watch()
    size, batch = size_of(shape, data)
    with tempfile.TemporaryDirectory() as folder:
        if name == "ours":
            run_ours(size, data, start, Path(folder), watch)
        else:
            run_stock(size, data, batch, start, Path(folder), watch)
    return watch.result() | {"rows": len(data[name == "ours"]), "batch": size.batch_size if name == "ours" else batch}


def compare(shape: str, examples: int, layers: int | None, rounds: int) -> dict[str, Any]:
    """Both sides by turns; medians. Raises SystemExit where they did not train the same, or found another loss."""
    found: dict[str, list[dict[str, Any]]] = {"stock": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        start = start_of(shape, Path(folder), layers)
        for _ in range(rounds):
            for name, results in found.items():
                command = [
                    sys.executable,
                    "-W",
                    "ignore",
                    __file__,
                    shape,
                    "--examples",
                    str(examples),
                    "--side",
                    name,
                    "--start",
                    str(start),
                ]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    raise SystemExit(f"{name} ended with {done.returncode}.")
                results.append(json.loads(done.stdout.splitlines()[-1]))
    stock, ours = ({**results[-1]} for results in found.values())
    for one, results in ((stock, found["stock"]), (ours, found["ours"])):
        for key in ("microseconds_a_supervised_token", "peak_memory"):
            one[key] = statistics.median(result[key] for result in results)
    if stock["supervised"] != ours["supervised"] or abs(stock["loss"] - ours["loss"]) > 1e-5:
        raise SystemExit(f"the sides differ, so a ratio would mean nothing: {stock} {ours}")
    ratio = stock["microseconds_a_supervised_token"] / ours["microseconds_a_supervised_token"]
    return {"shape": shape, "layers": layers, "stock": stock, "ours": ours, "times_faster": round(ratio, 3)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fine-tuning, ours beside stock.")
    parser.add_argument("shape", choices=("tiny", "full"))
    parser.add_argument("--examples", type=int, help="merged examples; 120 at tiny, 16 at full")
    parser.add_argument("--layers", type=int, help="fewer than the shape has, to try it")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers and what they were made with")
    parser.add_argument("--side", choices=("stock", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.shape == "full" and not os.environ.get("TOOLBENCH_DIR"):
        raise SystemExit(
            "full measures ToolBench's own rows: set TOOLBENCH_DIR to the folder with raw_trees/, golden/ and opt_tokenizer/."
        )
    examples = asked.examples or {"tiny": 120, "full": 16}[asked.shape]
    if asked.side:
        print(json.dumps(side(asked.side, asked.shape, examples, asked.start)))
        return 0
    found = compare(asked.shape, examples, asked.layers, asked.rounds)
    for name in ("stock", "ours"):
        one = found[name]
        print(
            f"{name:<6}{one['rows']:>6} rows, {one['batch']:>3} a pass, {one['steps']:>4} steps, {one['supervised']:,} supervised tokens,"
            f"{one['microseconds_a_supervised_token']:>12,.1f} us each, peak {one['peak_memory'] / 2**30:.2f} GiB, loss {one['loss']:.6f}"
        )
    print(f"ours is {found['times_faster']:.2f} times faster a supervised token; the losses agree to 1e-5")
    if asked.output:
        from toolslm_helpers.files import atomic_write_json
        from toolslm_helpers.results import provenance

        atomic_write_json(asked.output, provenance() | found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
