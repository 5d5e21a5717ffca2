"""OPT-350M's exact shape in training at 2,048 tokens on this machine: tokens a second, share of peak (MFU), peak memory, loss.

    python benchmarks/full_size.py [--seconds 50] [--output docs/results/full_size.json] [--layers 24] [--tokens 2048]
                                   [--batch 8] [--accumulation 4]

Weights are random and nothing is fetched. With TOOLBENCH_DIR set, the rows are ToolBench's own, as size full flattens them; without it
they are random token ids of full length, of which the last 5% are supervised (what flattening finds in ToolBench's rows). Settings are
size full's: AdamW, learning rate, weight decay, clipping at 0.3, dropout, 8 rows x 4 a step; on a GPU in bf16 and fp16, with gradient
checkpointing and without; then torch's cuDNN attention and compiled layers, each by itself; then TRL's trainer where it is installed.
On a CPU: float32.

What is counted: model FLOPs as ``model.counting.training_flops`` counts them (6 for each parameter and token, attention for every pair),
less those of the head at positions without a label, which nobody computes. What checkpointing computes again counts nothing. The
file is written anew after every setting; one that does not fit into memory is recorded as such.
"""

import argparse
import contextlib
import gc
import importlib.util
import inspect
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # from a clone, installed or not

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from transformers import OPTConfig, OPTForCausalLM  # noqa: E402

from toolslm_helpers.model.counting import OPT_350M, decoder_of, training_flops  # noqa: E402
from toolslm_helpers.sizes import FULL  # noqa: E402

IGNORED = -100
SUPERVISED = 0.05  # of the tokens of a made-up row: all assistant turns of ToolBench's rows are 5.5%
# Dense half-precision products with float32 sums, FLOP/s, as the makers' data sheets have them.
DATA_SHEET = {"H100 80GB HBM3": 989e12, "H200": 989e12, "A100": 312e12, "T4": 65e12}
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Setting:
    """One way to train. ``attention`` is the kernel that torch may choose ("torch": its own choice)."""

    precision: str
    checkpointing: bool
    batch: int
    accumulation: int
    attention: str = "torch"
    compiled: bool = False
    loop: str = "plain"  # or "trl": size full's trainer, as `toolslm sft` sets it up

    @property
    def least_seconds(self) -> float:
        """What it takes before anything is timed, on a GPU: with less left it is not begun."""
        return 3.0 + 12.0 * self.compiled + 7.0 * (self.loop == "trl")

    def __str__(self) -> str:
        words = [
            self.precision,
            "checkpointing" if self.checkpointing else "no checkpointing",
            f"{self.batch} x {self.accumulation}",
        ]
        words += [f"{self.attention} attention"] * (self.attention != "torch") + ["compiled layers"] * self.compiled
        return ", ".join(words + ["TRL"] * (self.loop == "trl"))


@dataclass(frozen=True)
class Measured:
    """What one setting gave. Seconds are the median of ``steps`` optimiser steps; memory in bytes."""

    setting: Setting
    steps: int
    seconds_a_step: float
    seconds_of_first_step: float  # allocation, choice of kernels, compilation
    tokens_a_second: float
    supervised_tokens_a_second: float
    model_flops_a_second: float
    share_of_measured: float  # of this device's own matrix product in the same precision
    mfu: float | None  # of the data sheet; None where it is not known
    peak_memory: int
    first_loss: float
    last_loss: float


@dataclass(frozen=True)
class Batch:
    """``rows`` sequences, padded to one length. ``places`` are the flat positions of (B, T - 1) whose next token is supervised."""

    ids: torch.Tensor  # (B, T)
    position_ids: torch.Tensor  # (B, T)
    places: torch.Tensor  # (S,)
    targets: torch.Tensor  # (S,)
    tokens: int  # without padding
    flops: int  # of the model, without the head where nothing is supervised


def configuration(layers: int) -> OPTConfig:
    """facebook/opt-350m's configuration, with ``layers`` layers."""
    return OPTConfig(
        vocab_size=OPT_350M.vocabulary, hidden_size=OPT_350M.width, word_embed_proj_dim=OPT_350M.embedding, num_hidden_layers=layers,
        ffn_dim=OPT_350M.feed_forward, num_attention_heads=16, max_position_embeddings=OPT_350M.context, do_layer_norm_before=False,
        dropout=0.1, attention_dropout=0.0, layerdrop=0.0, init_std=0.02,
    )  # fmt: skip


def rows_of(tokens: int, count: int) -> tuple[str, list[tuple[list[int], list[int]]]]:
    """(where they come from, (ids, labels) of each row)."""
    if os.environ.get("TOOLBENCH_DIR"):
        with contextlib.suppress(ImportError):
            return _real_rows(tokens)
    ids = torch.randint(4, OPT_350M.vocabulary, (count, tokens), generator=torch.Generator().manual_seed(0)).tolist()
    graded = max(1, round(SUPERVISED * tokens))
    rows = [(row, [IGNORED] * (tokens - graded) + row[-graded:]) for row in ids]
    return f"random token ids, {tokens:,} a row, the last {graded} supervised", rows


def _real_rows(tokens: int) -> tuple[str, list[tuple[list[int], list[int]]]]:
    """ToolBench's step rows, as size full flattens them."""
    from toolslm_helpers.agent.gold import training_trajectories
    from toolslm_helpers.text.tokenizer import load_opt_tokenizer
    from toolslm_helpers.training.sft import flatten_for

    folder = Path(os.environ["TOOLBENCH_DIR"]) / "opt_tokenizer"
    tokenizer = load_opt_tokenizer(folder / "gpt2-vocab.json", folder / "gpt2-merges.txt")
    data = flatten_for(replace(FULL, max_length=tokens), training_trajectories(FULL), tokenizer)
    rows = [(example.input_ids.tolist(), example.labels.tolist()) for example in data.examples]
    return f"{len(rows)} step rows of ToolBench in at most {tokens:,} tokens, each trained on its last turn", rows


def batches_of(rows: list[tuple[list[int], list[int]]], setting: Setting, config: OPTConfig, device: str) -> Iterator[Batch]:
    """Batches without end, round and round the rows."""
    decoder, place = decoder_of(config), 0
    of_head = 6 * config.vocab_size * config.word_embed_proj_dim
    kept: dict[int, Batch] = {}
    while True:
        if place not in kept:
            some = [rows[(place + k) % len(rows)] for k in range(setting.batch)]
            longest = max(len(ids) for ids, _ in some)
            ids = torch.tensor([ids + [1] * (longest - len(ids)) for ids, _ in some])
            labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in some])[:, 1:]
            places = (labels != IGNORED).flatten().nonzero()[:, 0]
            tokens = sum(len(ids) for ids, _ in some)
            flops = sum(training_flops(decoder, len(ids)) for ids, _ in some) - of_head * (tokens - len(places))
            positions = torch.arange(longest).repeat(setting.batch, 1)
            content = (ids, positions, places, labels.flatten()[places])
            kept[place] = Batch(*(tensor.to(device) for tensor in content), tokens, flops)
        yield kept[place]
        place = (place + setting.batch) % len(rows)


def loss_of(model: OPTForCausalLM, batch: Batch) -> torch.Tensor:
    """Summed cross-entropy of a batch, nats; logits only where a token is supervised."""
    hidden = model.model.decoder(
        input_ids=batch.ids, position_ids=batch.position_ids, use_cache=False
    ).last_hidden_state  # (B, T, E)
    logits = model.lm_head(hidden[:, :-1].flatten(0, 1)[batch.places])  # (S, V)
    return F.cross_entropy(logits.float(), batch.targets, reduction="sum")


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def product_speed(precision: str, device: str) -> float:
    """FLOP/s of the machine's own square matrix product on random numbers: the best of several rounds."""
    n = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=TYPES[precision]) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        wait(device)
        begin = time.perf_counter()
        for _ in range(10 if device == "cuda" else 1):
            a @ b
        wait(device)
        best = min(best, (time.perf_counter() - begin) / (10 if device == "cuda" else 1))
    return 2 * n**3 / best


def data_sheet() -> float | None:
    """FLOP/s of the data sheet in half precision; None for a device that is not in ``DATA_SHEET``."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return next((peak for part, peak in DATA_SHEET.items() if part in name), None)


def new_model(config: OPTConfig, device: str) -> OPTForCausalLM:
    torch.manual_seed(0)
    with torch.device(device):  # random numbers are made where they are needed
        model = OPTForCausalLM._from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(device).train()


def attention_choice(attention: str) -> contextlib.AbstractContextManager:
    """torch's own choice of kernel, or cuDNN's first and torch's others where it does not apply."""
    if attention == "torch":
        return contextlib.nullcontext()
    others = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel([SDPBackend.CUDNN_ATTENTION, *others], set_priority=True)


def plain_steps(
    setting: Setting, config: OPTConfig, rows: list[tuple[list[int], list[int]]], device: str
) -> Iterator[tuple[float, int, int, int]]:
    """Optimiser steps without end: (loss in nats a supervised token, tokens, supervised tokens, model FLOPs) of each."""
    model = new_model(config, device)
    if setting.checkpointing:
        enable = getattr(
            model, "activation_checkpointing_enable", model.gradient_checkpointing_enable
        )  # renamed between versions
        enable({"use_reentrant": False})
    if setting.compiled:
        for layer in model.model.decoder.layers:  # all layers are one code: compiled once
            layer.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=FULL.learning_rate, weight_decay=FULL.weight_decay, fused=True)
    scaler = torch.amp.GradScaler(device, enabled=setting.precision == "fp16")
    half = setting.precision != "fp32"
    batches = batches_of(rows, setting, config, device)
    while True:
        some = [next(batches) for _ in range(setting.accumulation)]
        supervised, total = sum(len(batch.targets) for batch in some), torch.zeros((), device=device)
        for batch in some:
            with torch.autocast(device, TYPES[setting.precision], enabled=half), attention_choice(setting.attention):
                loss = loss_of(model, batch) / supervised
            scaler.scale(loss).backward()
            total += loss.detach()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), FULL.max_grad_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        yield total.item(), sum(batch.tokens for batch in some), supervised, sum(batch.flops for batch in some)


def measure(steps: Iterator[tuple[float, int, int, int]], until: float, most: int, device: str) -> dict[str, Any]:
    """Times steps until the clock says ``until`` or there are ``most`` of them; the first is apart, and one more is always taken."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    found, seconds = [], []
    while len(seconds) < 2 or (len(seconds) < most + 1 and time.perf_counter() + max(seconds[1:]) < until):
        begin = time.perf_counter()
        found.append(next(steps))
        wait(device)
        seconds.append(time.perf_counter() - begin)
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of the process so far, libraries too
    return {"found": found, "seconds": seconds, "memory": memory}


def trl_steps(
    setting: Setting, config: OPTConfig, rows: list[tuple[list[int], list[int]]], until: float, most: int
) -> dict[str, Any]:
    """The same measurements of size full's own trainer, as ``training.sft`` sets it up."""
    import tempfile
    from unittest.mock import patch

    import transformers
    import trl
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from toolslm_helpers.text.tokenizer import load_small_tokenizer
    from toolslm_helpers.training.sft import CheckedCollator, trainer_settings

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
    batches = batches_of(rows, setting, config, "cpu")
    some = [[next(batches) for _ in range(setting.accumulation)] for _ in seconds]
    counts = [tuple(map(sum, zip(*((b.tokens, len(b.targets), b.flops) for b in step), strict=True))) for step in some]
    return {"found": [(loss, *count) for loss, count in zip(losses, counts, strict=False)], "seconds": seconds, "memory": memory}


def summary(setting: Setting, raw: dict[str, Any], product: float) -> Measured:
    timed, seconds = raw["found"][1:], raw["seconds"][1:]
    elapsed = sum(seconds[: len(timed)])
    tokens, supervised, flops = (sum(step[k] for step in timed) / elapsed for k in (1, 2, 3))
    peak = data_sheet() if setting.precision != "fp32" else None
    return Measured(
        setting, len(timed), round(statistics.median(seconds), 4), round(raw["seconds"][0], 3), round(tokens, 1), round(supervised, 1),
        round(flops), round(flops / product, 4), round(flops / peak, 4) if peak else None, raw["memory"], round(raw["found"][0][0], 5),
        round(raw["found"][-1][0], 5),
    )  # fmt: skip


def attention_check(config: OPTConfig, device: str) -> dict[str, Any]:
    """Whether attention is given a mask with our batches (none is what lets torch take a flash kernel), and whether flash alone runs."""
    model, masks = new_model(config, device), []
    handle = model.model.decoder.layers[0].register_forward_pre_hook(
        lambda module, arguments, named: masks.append(named.get("attention_mask")), with_kwargs=True
    )
    ids = torch.randint(4, config.vocab_size, (2, 128), device=device)
    half = torch.float16 if device == "cuda" else torch.float32
    found: dict[str, Any] = {"implementation": config._attn_implementation or model.config._attn_implementation}
    try:
        with torch.no_grad(), torch.autocast(device, half, enabled=device == "cuda"), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            model.model.decoder(input_ids=ids, position_ids=torch.arange(128, device=device).repeat(2, 1), use_cache=False)
        found["flash_alone_runs"] = True
    except RuntimeError as error:
        found["flash_alone_runs"] = str(error).splitlines()[0][:200]
    handle.remove()
    return found | {"mask_given": any(mask is not None for mask in masks)}


def plan(device: str, batch: int, accumulation: int) -> list[Setting]:
    """What is measured, the most important first."""
    if device == "cpu":
        return [Setting("fp32", False, batch, accumulation), Setting("fp32", True, batch, accumulation)]
    plain = [Setting(precision, kept, batch, accumulation) for precision in ("bf16", "fp16") for kept in (False, True)]
    bf16 = plain[0]
    return [
        *plain,
        replace(bf16, attention="cudnn"),
        replace(bf16, compiled=True),
        replace(bf16, loop="trl"),
        replace(bf16, compiled=True, attention="cudnn"),
        replace(bf16, loop="trl", precision="fp16", checkpointing=True),
        replace(bf16, compiled=True, checkpointing=True),
        replace(bf16, compiled=True, attention="cudnn", batch=4 * batch, accumulation=max(1, accumulation // 4)),
    ]


def made_with() -> dict[str, Any]:
    """Commit, device and versions, as ``results.provenance`` says them; without the packages it needs, what is known."""
    with contextlib.suppress(Exception):  # no git, no pydantic: a lent machine has neither
        from toolslm_helpers.results import provenance

        return provenance()
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "trl", "datasets", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    name = f"CPU ({torch.get_num_threads()} threads)"
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name(0)} ({torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB)"
    commit = ""
    with contextlib.suppress(OSError):
        asked = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"commit": commit, "device": name, "versions": found}


def write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def run_one(
    setting: Setting,
    config: OPTConfig,
    rows: list[tuple[list[int], list[int]]],
    device: str,
    product: float,
    until: float,
    most: int,
) -> dict[str, Any]:
    """One setting's line of the record: what it gave, or why it gave nothing."""
    named = {"name": str(setting)}
    try:
        if setting.loop == "trl":
            if not all(importlib.util.find_spec(name) for name in ("trl", "datasets", "pydantic")):
                return named | {"skipped": "trl, datasets or pydantic is not installed"}
            raw = trl_steps(setting, config, rows, until, most)
        else:
            raw = measure(plain_steps(setting, config, rows, device), until, most, device)
        return named | asdict(summary(setting, raw, product))
    except torch.OutOfMemoryError:
        return named | {"skipped": "out of memory"}
    except Exception as error:  # a kernel that does not apply, a compiler that is missing: the next setting goes on
        return named | {"skipped": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"}
    finally:
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        if setting.compiled:
            torch._dynamo.reset()


def line(entry: dict[str, Any]) -> str:
    if "skipped" in entry:
        return f"{entry['name']:<64} skipped: {entry['skipped']}"
    mfu = f"{100 * entry['mfu']:5.1f}%" if entry["mfu"] is not None else "     -"
    return (
        f"{entry['name']:<64}{entry['tokens_a_second']:>11,.0f} tokens/s{100 * entry['share_of_measured']:>7.1f}% of measured{mfu:>8} MFU"
        f"{entry['peak_memory'] / 2**30:>7.1f} GiB{entry['seconds_a_step']:>9.3f} s a step ({entry['steps']}), "
        f"first {entry['seconds_of_first_step']:.1f} s, loss {entry['first_loss']:.4f} -> {entry['last_loss']:.4f}"
    )


def main(arguments: list[str] | None = None, say: Callable[[str], None] = lambda text: print(text, flush=True)) -> int:
    parser = argparse.ArgumentParser(description="OPT-350M's shape in training at 2,048 tokens.")
    parser.add_argument(
        "--seconds", type=float, default=50.0, help="when to begin no further setting, from the start of the program"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "full_size.json")
    parser.add_argument("--layers", type=int, default=OPT_350M.layers)
    parser.add_argument("--tokens", type=int, default=FULL.max_length)
    parser.add_argument("--batch", type=int, help=f"rows a forward pass; {FULL.batch_size} on a GPU, 1 on a CPU")
    parser.add_argument("--accumulation", type=int, help=f"forward passes a step; {FULL.accumulation} on a GPU, 1 on a CPU")
    parser.add_argument("--steps", type=int, default=4, help="the most steps timed in a setting")
    parser.add_argument("--commit", default="", help="what the files are of, where there is no git")
    asked = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    batch = asked.batch or (FULL.batch_size if device == "cuda" else 1)
    accumulation = asked.accumulation or (FULL.accumulation if device == "cuda" else 1)
    settings, config = plan(device, batch, accumulation), configuration(asked.layers)
    source, rows = rows_of(asked.tokens, max(64, 4 * batch))
    products = {precision: product_speed(precision, device) for precision in dict.fromkeys(s.precision for s in settings)}
    content = made_with() | {
        "shape": {**asdict(OPT_350M), "layers": asked.layers},
        "tokens_a_row": asked.tokens,
        "rows": source,
        "tf32": False,
        "matrix_product_flops": {name: round(speed) for name, speed in products.items()},
        "data_sheet_flops": data_sheet(),
        "attention": attention_check(configuration(1), device),
        "settings": [],
    }
    content["commit"] = asked.commit or content["commit"]
    say(f"{content['device']}, torch {torch.__version__}, {asked.layers} layers; {source}; attention {content['attention']}")
    for name, speed in products.items():
        say(f"matrix product in {name}: {speed / 1e12:,.2f} TFLOP/s")
    for k, setting in enumerate(settings):
        now = time.perf_counter()
        left = BEGAN + asked.seconds - now
        if left < (setting.least_seconds if device == "cuda" else 0):
            entry = {"name": str(setting), "skipped": "no time left"}
        else:
            until = now + left / (len(settings) - k)  # what one does not use is for the others
            entry = run_one(setting, config, rows, device, products[setting.precision], until, asked.steps)
        content["settings"].append(entry)
        say(line(entry))
        write(asked.output, content)
    say(f"{time.perf_counter() - BEGAN:.0f} s; recorded in {asked.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
