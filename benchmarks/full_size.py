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
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from opt_350m import (  # noqa: E402
    FULL,
    OPT_350M,
    ROOT,
    TYPES,
    OPTConfig,
    Row,
    attention_choice,
    batches_of,
    configuration,
    data_sheet,
    loss_of,
    new_model,
    product_speed,
    rows_of,
    wait,
)  # fmt: skip
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402

from toolslm_helpers.files import atomic_write_json  # noqa: E402


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


def plain_steps(setting: Setting, config: OPTConfig, rows: list[Row], device: str) -> Iterator[tuple[float, int, int, int]]:
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
    batches = batches_of(rows, setting.batch, config, device)
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


def run_one(
    setting: Setting,
    config: OPTConfig,
    rows: list[Row],
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
            from full_size_trl import trl_steps

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
        atomic_write_json(asked.output, content)
    say(f"{time.perf_counter() - BEGAN:.0f} s; recorded in {asked.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
