"""Looks at the machine and says, line by line, what is fit for the workbook and what to do where it is not."""

import hashlib
import importlib.metadata
import os
import shutil
import socket
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from toolslm_helpers.files import WorkbookError, data_samples, read_json, repository_root

DISK_NEEDED = 1e9  # bytes: a whole run at tiny writes far less; checkpoints of full need more
MEMORY_NEEDED = 4e9  # bytes: torch, a kernel and opt-mini's training


@dataclass(frozen=True)
class Finding:
    """One line of the report: OK, NOTE (worth knowing, nothing to mend) or FAIL, with what to do."""

    status: Literal["OK", "NOTE", "FAIL"]
    subject: str
    text: str


def examine(output: Path) -> Iterator[Finding]:
    """Every check in turn, as it is made. ``output`` is where a run would write. A damaged file is a line, too."""
    for check in (python, packages, torch_and_gpu, partial(disk, output), memory, hub, data, checkpoints, port):
        try:
            yield check()
        except WorkbookError as error:
            yield Finding("FAIL", "files", str(error))


def read_pins(path: Path) -> dict[str, Requirement]:
    """The pinned list as requirements by name, those for another system or Python left out."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {pin.name: pin for pin in pins if pin.marker is None or pin.marker.evaluate()}


def python() -> Finding:
    """The interpreter against pyproject's requires-python."""
    wanted = tomllib.loads((repository_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    found = sys.version.split()[0]
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return Finding("OK", "Python", found)
    return Finding("FAIL", "Python", f"{found}, needed is {wanted}. Install one and run: rm -r .venv; make PYTHON=python3.12 run")


def packages() -> Finding:
    """What is installed against requirements.txt."""
    wrong = []
    pins = read_pins(repository_root() / "requirements.txt")
    for name, pin in pins.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "missing"
        if version == "missing" or not pin.specifier.contains(Version(version), prereleases=True):
            wrong.append(f"{name} is {version}, pinned is {pin.specifier}")
    if not wrong:
        return Finding("OK", "packages", f"all {len(pins)} as in requirements.txt")
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Finding("FAIL", "packages", f"{'; '.join(wrong[:3])}{more}. Run: {sys.executable} -m pip install -r requirements.txt")


def torch_and_gpu() -> Finding:
    """Whether torch computes, and on what."""
    try:
        import torch

        total = torch.ones(2, 2).sum().item()
    except (ImportError, OSError) as error:
        return Finding("FAIL", "torch", f"{error}. Run: {sys.executable} -m pip install -r requirements.txt")
    if total != 4:
        return Finding("FAIL", "torch", f"{torch.__version__} adds four ones to {total}. Install it again.")
    if not torch.cuda.is_available():
        return Finding("NOTE", "torch", f"{torch.__version__}, no GPU: smoke and tiny need none, full needs one with 16 GB")
    name, gigabytes = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / 1e9
    enough = "enough for full" if gigabytes > 15 else "smoke and tiny only: full needs 16 GB"
    return Finding("OK", "torch", f"{torch.__version__}, {name} with {gigabytes:.0f} GB: {enough}")


def disk(output: Path) -> Finding:
    """Free space where a run writes, and whether it may write there."""
    existing = next(folder for folder in (output.resolve(), *output.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return Finding("FAIL", "disk", f"{existing} cannot be written. Choose another folder with --output.")
    if free < DISK_NEEDED:
        return Finding("FAIL", "disk", f"{free / 1e9:.1f} GB free at {existing}, needed is {DISK_NEEDED / 1e9:.0f} GB.")
    return Finding("OK", "disk", f"{free / 1e9:.0f} GB free")


def memory() -> Finding:
    """Memory that a run could have now."""
    import psutil

    free, total = psutil.virtual_memory().available, psutil.virtual_memory().total
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if free < MEMORY_NEEDED:
        return Finding("FAIL", "memory", f"{text}, needed are {MEMORY_NEEDED / 1e9:.0f} GB. Close other programs and notebooks.")
    return Finding("OK", "memory", text)


def hub(timeout: float = 3) -> Finding:
    """Whether the Hugging Face hub answers: only size full needs it."""
    from huggingface_hub.constants import ENDPOINT

    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=timeout).close()
    except urllib.error.HTTPError:
        pass  # it answered
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("NOTE", "hub", f"{ENDPOINT} does not answer ({reason}): smoke and tiny never ask it, full needs it")
    return Finding("OK", "hub", f"{ENDPOINT} answers")


def data() -> Finding:
    """The shipped files against the hashes in every MANIFEST.json under data_samples ({path beside it: SHA-256})."""
    advice = "Restore it with: git checkout -- data_samples"
    manifests = sorted(data_samples().rglob("MANIFEST.json"))
    if not manifests:
        return Finding("FAIL", "data", f"no MANIFEST.json under {data_samples()}. {advice}")
    hashes = {manifest.parent / name: digest for manifest in manifests for name, digest in read_json(manifest).items()}
    for path, digest in hashes.items():
        if not path.is_file():
            return Finding("FAIL", "data", f"{path} is missing. {advice}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return Finding("FAIL", "data", f"{path} is not the shipped file (its hash differs). {advice}")
    return Finding("OK", "data", f"{len(hashes)} files as shipped")


def checkpoints() -> Finding:
    """Whether every shipped checkpoint of opt-mini loads. Raises WorkbookError for one that does not."""
    models = data_samples() / "models"
    folders = sorted(path.parent for path in models.glob("*/config.json"))
    if not folders:
        return Finding("FAIL", "checkpoints", f"none in {models}. Restore them with: git checkout -- data_samples")
    from toolslm_helpers.model.checkpoints import load_model

    for folder in folders:
        load_model(folder)
    return Finding("OK", "checkpoints", f"{', '.join(folder.name for folder in folders)} load")


def port(number: int = 8888) -> Finding:
    """Whether JupyterLab's port is free; where it is not, JupyterLab takes the next one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
        except OSError:
            return Finding("NOTE", "port", f"{number} is in use: JupyterLab will take the next one and print its address")
    return Finding("OK", "port", f"{number} is free for JupyterLab")
