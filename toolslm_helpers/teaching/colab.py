"""Makes a hosted notebook (Colab) work: installs what is missing and leaves alone what the host has built in."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from toolslm_helpers.files import WorkbookError, repository_root

UNTOUCHED = ("torch", "numpy", "ipywidgets")  # the host's own builds: another version breaks its GPU or its widgets
NEEDED = ("accelerate", "datasets", "pydantic", "safetensors", "scipy", "statsmodels", "tokenizers", "transformers", "trl")


def pins() -> dict[str, str]:
    """{package: version} of ``requirements.txt``, in lower case."""
    lines = (repository_root() / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = (re.match(r"([\w.-]+)==([^\s;#]+)", line) for line in lines)
    return {pin[1].lower(): pin[2] for pin in pins if pin}


def missing(needed: Sequence[str] = NEEDED) -> list[str]:
    """Requirements ("trl==1.16.0") that are not installed at the pinned version."""
    pinned = pins()
    return [f"{name}=={pinned[name]}" for name in needed if _installed(name) != pinned[name]]


def install_missing(run: Callable[..., object] = subprocess.run) -> list[str]:
    """Installs what is missing with pip, held back from every package in ``UNTOUCHED``. Returns what it installed.

    Raises WorkbookError where pip fails, and for a kernel without torch: a local one without the workbook, no hosted one.
    """
    wanted = missing()
    if not wanted:
        return []
    held = [f"{name}=={number}" for name in UNTOUCHED if (number := _installed(name))]
    if not any(pin.startswith("torch==") for pin in held):
        raise WorkbookError("This kernel has no torch, so it is no Colab. Stop here, run `make lab` and use its kernel.")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(held) + "\n", encoding="utf-8")
        try:
            run([sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints), *wanted], check=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise WorkbookError(
                f"pip could not install {', '.join(wanted)} while keeping {', '.join(held)} ({error}). Expected network access. "
                "Restart the runtime and run this cell again; if it fails again, use a local Python 3.11 and `make lab`."
            ) from error
    return wanted


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
