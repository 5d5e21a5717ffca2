"""The first and the last line of a lesson: ``start_lesson`` says where it runs and seeds everything, ``record`` keeps results."""

import math
import os
import platform
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from toolslm_helpers import __version__
from toolslm_helpers.files import WorkbookError, atomic_write_json
from toolslm_helpers.sizes import Size, get_size

PACKAGES = ("torch", "transformers", "trl", "datasets", "numpy")
PASS_RATE_FIELDS = ("passed", "n", "low", "high")


@dataclass(frozen=True)
class Lesson:
    """One run of one lesson: its size and seed, and the folder that its results go to."""

    name: str
    size: Size
    seed: int
    interactive: bool
    output_dir: Path
    device: str
    versions: Mapping[str, str]
    started: float = field(default_factory=time.perf_counter, repr=False)

    def record(self, pass_rate: Mapping[str, Mapping[str, Any]] | None = None, **values: Any) -> Path:
        """Writes ``output_dir/<lesson>.json`` and prints what went into it.

        Each value is a number, a word, or a pair (number, unit). ``pass_rate`` is {model: {set: result}}, a result having passed,
        n, low and high. Raises WorkbookError for NaN or a list: a regression test could not compare it.
        """
        recorded = {name: _value(name, value) for name, value in values.items()}
        content = {
            "lesson": self.name,
            "size": self.size.name,
            "seed": self.seed,
            "seconds": round(time.perf_counter() - self.started, 3),
            "device": self.device,
            "versions": dict(self.versions),
            "values": recorded,
        }
        if pass_rate is not None:
            content["pass_rate"] = {m: {s: _pass_rate(r) for s, r in sets.items()} for m, sets in pass_rate.items()}
        path = atomic_write_json(self.output_dir / f"{self.name}.json", content)
        width = max((len(name) for name in recorded), default=0)
        print(f"recorded in {path}")
        for name, entry in recorded.items():
            print(f"  {name:{width}}  {entry['value']} {entry['unit']}".rstrip())
        return path


def start_lesson(lesson: str, size: str, seed: int, interactive: bool, output_dir: str | Path) -> Lesson:
    """Seeds Python, NumPy and PyTorch, resolves the size, and prints in three lines what runs where, in a fourth what a GPU is good for.

    A relative ``output_dir`` starts at the notebook's folder. Raises WorkbookError for an unknown size or a seed out of range.
    """
    resolved = get_size(size)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise WorkbookError(f"SEED is {seed!r}; expected a whole number from 0 to 4294967295. Set it in the parameters cell.")
    if resolved.data == "world":
        # Nothing is downloaded at smoke and tiny. Said before transformers loads, it neither asks the hub nor draws bars.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    _seed_everything(seed)
    run = Lesson(lesson, resolved, seed, interactive, Path(output_dir).resolve(), device_name(), package_versions())
    print(f"lesson {run.name} · size {resolved.name} · seed {seed} · {run.device}")
    print(" · ".join(f"{name} {number}" for name, number in run.versions.items()))
    print(f"results go to {run.output_dir}")
    if has_gpu() and resolved.name != "full":
        print(
            'A GPU is here. SIZE = "full" in the cell above trains OPT-350M on ToolBench; lesson 08 says what that takes before it starts.'
        )
    return run


def _seed_everything(seed: int) -> None:
    """One seed for every random number, and on a CPU the deterministic kernels (on a GPU they forbid fast attention)."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs time at every new tensor


def device_name() -> str:
    """The GPU and its memory, or the CPU and torch's threads."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)} ({torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB)"
    return f"CPU ({torch.get_num_threads()} threads)"


def has_gpu() -> bool:
    """Whether torch sees a GPU that it can use."""
    import torch

    return torch.cuda.is_available()


def package_versions() -> dict[str, str]:
    """Python's version and that of every package in ``PACKAGES``."""
    found = {"python": platform.python_version(), "toolslm_helpers": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _value(name: str, value: Any) -> dict[str, Any]:
    """(value, unit) or value -> {"value", "unit"}, in JSON's own types."""
    value, unit = value if isinstance(value, tuple) and len(value) == 2 else (value, "")
    value = value.item() if callable(getattr(value, "item", None)) else value
    if not isinstance(value, str | bool | int | float) or isinstance(value, float) and not math.isfinite(value):
        raise WorkbookError(
            f"record({name}={value!r}): expected a finite number, a word or (value, unit). "
            "Usual cause: a loss that became NaN, or a list. Record one number under each name."
        )
    return {"value": value, "unit": unit}


def _pass_rate(result: Any) -> dict[str, Any]:
    get = result.__getitem__ if isinstance(result, Mapping) else lambda name: getattr(result, name)
    return {name: _value(name, get(name))["value"] for name in PASS_RATE_FIELDS}
