"""Fine-tuning, ours beside TRL's stock trainer: the same targets, the same weights, the same machine; seconds a supervised token.

    python benchmarks/sft_speed.py tiny [--examples 120] [--rounds 3]
    TOOLBENCH_DIR=... python benchmarks/sft_speed.py full [--examples 12] [--layers 24]

Stock is SFTTrainer on step rows as it comes (checkpointing on, random order, padding, an attention mask), told only not to use bf16 on a
CPU. Ours is `training.sft.train` on the same rows merged. A step of either side trains about as many supervised tokens: stock takes as
many step rows as ours takes merged rows' worth. Full: 8 step rows a forward pass beside one merged row without checkpointing, which keeps
fewer activations. The learning rate is 0 and dropout off, so that both must find the same loss; AdamW does its work all the same. Each
side is a process of its own, with the same imports and the same data in memory, which tells its peak; the first step is not timed. By
turns, --rounds times; medians. Fewer --layers than the shape has flatter ours: the head, which ours leaves out where nothing is
supervised, is then a larger part.
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
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from toolslm_helpers.agent.gold import training_trajectories  # noqa: E402
from toolslm_helpers.data.merge import MergedExample, merge_rows, step_rows, unmerge  # noqa: E402
from toolslm_helpers.data.records import Trajectory  # noqa: E402
from toolslm_helpers.sizes import FULL, TINY, Size  # noqa: E402
from toolslm_helpers.text.encoder import encoder_of  # noqa: E402
from toolslm_helpers.text.shorten import needed_functions, shorten  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Data = tuple[list[Trajectory], list[MergedExample]]


def data_of(shape: str, examples: int) -> Data:
    """(step rows, the same merged), of which there are at most ``examples``.

    Both sides read the same contexts: what is too long is shortened as a whole (full) or left out (tiny), as the size says, and the step
    rows are then the beginnings of what is left. So both retain the same targets, and each costs the same on either side.
    """
    size, tokenizer = (TINY if shape == "tiny" else FULL), tokenizer_of(shape)
    if shape == "tiny":
        trajectories = training_trajectories(replace(TINY, train_trajectories=examples))
        rows = [row for trajectory in trajectories for row in step_rows(trajectory)]
    else:
        rows = training_trajectories(FULL)  # ToolBench's are step rows as they come
    merged = [fitted for one in merge_rows(rows) if (fitted := fitting(one, size, tokenizer)) is not None][:examples]
    return [row for one in merged for row in unmerge(one)], merged


def fitting(example: MergedExample, size: Size, tokenizer: "PreTrainedTokenizerFast") -> MergedExample | None:
    """The example in at most ``size.max_length`` tokens; None where the size refuses it, or nothing more gives way."""
    row = example.trajectory
    if size.truncation == "refuse":
        return example if encoder_of(tokenizer).length(row.messages) <= size.max_length else None
    shorter = shorten(row, tokenizer, size.max_length, 0, needed_functions(row))
    return replace(example, trajectory=shorter.trajectory) if shorter.fits else None


def tokenizer_of(shape: str) -> "PreTrainedTokenizerFast":
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
    """When each step ended, by the clock and by the processor's time, and the loss and the number of supervised tokens of each."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.worked: list[float] = []
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
                watch.worked.append(time.process_time())
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
            "processor_microseconds": 1e6
            * (self.worked[-1] - self.worked[0])
            / sum(supervised[1:]),  # of all threads, waiting too
            "peak_memory": peak_memory(),
        }


def peak_memory() -> int:
    """Bytes that this process had at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_ours(size: Size, data: Data, start: Path, folder: Path) -> None:
    from toolslm_helpers.training import sft

    sft.LOG_EVERY = 1
    sft.train(size, 0, folder / "ours", data[1], start=start)


def run_stock(size: Size, data: Data, batch: int, start: Path, folder: Path) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from toolslm_helpers.text.flatten import flatten_all
    from toolslm_helpers.training.sft import load_start, training_rows_of

    model, tokenizer = load_start(start)
    rows = training_rows_of(flatten_all(data[0], tokenizer, supervise="last"))
    settings = SFTConfig(
        output_dir=str(folder / "stock"), per_device_train_batch_size=batch, learning_rate=0.0, max_length=None, bf16=False, num_train_epochs=1,
        max_grad_norm=size.max_grad_norm, weight_decay=size.weight_decay, logging_steps=1, save_strategy="no", report_to="none", seed=0,
        disable_tqdm=True,
    )  # fmt: skip
    SFTTrainer(model=model.train(), args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()


def side(name: str, shape: str, examples: int, start: Path) -> dict[str, Any]:
    """What one side measures, in this process. Both sides import and read the same before they part."""
    from trl import SFTTrainer

    import toolslm_helpers.training.sft  # noqa: F401

    data, watch = data_of(shape, examples), Watch()
    size, batch = size_of(shape, data)
    watch.attach(SFTTrainer)
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        if name == "ours":
            run_ours(size, data, start, Path(folder))
        else:
            run_stock(size, data, batch, start, Path(folder))
    sizes = {"rows": len(data[name == "ours"]), "batch": size.batch_size if name == "ours" else batch, "memory_before": before}
    return watch.result() | sizes


def compare(shape: str, examples: int, layers: int | None, rounds: int) -> dict[str, Any]:
    """Both sides by turns; medians. Raises SystemExit where they did not train the same, or found another loss."""
    found: dict[str, list[dict[str, Any]]] = {"stock": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        start = start_of(shape, Path(folder), layers)
        for _ in range(rounds):
            for name, results in found.items():
                asked = [shape, "--examples", str(examples), "--side", name, "--start", str(start)]
                done = subprocess.run([sys.executable, "-W", "ignore", __file__, *asked], stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    raise SystemExit(f"{name} ended with {done.returncode}.")
                results.append(json.loads(done.stdout.splitlines()[-1]))
    stock, ours = ({**results[-1]} for results in found.values())
    for one, results in ((stock, found["stock"]), (ours, found["ours"])):
        for key in ("microseconds_a_supervised_token", "processor_microseconds", "peak_memory"):
            one[key] = statistics.median(result[key] for result in results)
    if stock["supervised"] != ours["supervised"] or abs(stock["loss"] - ours["loss"]) > 1e-5:
        raise SystemExit(f"the sides differ, so a ratio would mean nothing: {stock} {ours}")
    ratios = {
        name: round(stock[of] / ours[of], 3)
        for name, of in (
            ("times_faster", "microseconds_a_supervised_token"),
            ("times_less_work", "processor_microseconds"),
            ("times_the_memory", "peak_memory"),
        )
    }
    return {"shape": shape, "layers": layers, "stock": stock, "ours": ours} | ratios


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fine-tuning, ours beside stock.")
    parser.add_argument("shape", choices=("tiny", "full"))
    parser.add_argument("--examples", type=int, help="merged examples at most; 120 at tiny, 12 at full")
    parser.add_argument("--layers", type=int, help="fewer than the shape has, to try it")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers and what they were made with")
    parser.add_argument("--side", choices=("stock", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.shape == "full" and not os.environ.get("TOOLBENCH_DIR"):
        raise SystemExit(
            "full measures ToolBench's own rows: set TOOLBENCH_DIR to the folder with raw_trees/ and opt_tokenizer/."
        )
    examples = asked.examples or {"tiny": 120, "full": 12}[asked.shape]
    if asked.side:
        print(json.dumps(side(asked.side, asked.shape, examples, asked.start)))
        return 0
    found = compare(asked.shape, examples, asked.layers, asked.rounds)
    for name in ("stock", "ours"):
        one = found[name]
        print(
            f"{name:<6}{one['rows']:>6} rows, {one['batch']:>3} a pass, {one['steps']:>4} steps, {one['supervised']:,} supervised tokens,"
            f"{one['microseconds_a_supervised_token']:>12,.1f} us each, peak {one['peak_memory'] / 2**30:.2f} GiB "
            f"({one['memory_before'] / 2**30:.2f} before it trains), loss {one['loss']:.6f}"
        )
    print(
        f"ours is {found['times_faster']:.2f} times faster a supervised token ({found['times_less_work']:.2f} by the processor's time, for a "
        f"machine that is busy); stock needs {found['times_the_memory']:.2f} times the memory; the losses agree to 1e-5"
    )
    if asked.output:
        from toolslm_helpers.files import atomic_write_json
        from toolslm_helpers.results import provenance

        atomic_write_json(asked.output, provenance() | found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
