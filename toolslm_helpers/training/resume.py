"""A training run saved in the middle: weights, optimiser states and counters, in safetensors and JSON, whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json

if TYPE_CHECKING:
    import torch


def save_state(
    folder: Path, model: "torch.nn.Module", optimizers: Sequence["torch.optim.Optimizer"], record: dict[str, Any]
) -> None:
    """Writes the state to a new folder beside ``folder``, then swaps the two: a kill leaves the old or the new one."""
    import torch
    from safetensors.torch import save_file

    tensors = {f"model.{name}": p.detach().contiguous() for name, p in model.named_parameters()}
    for k, optimizer in enumerate(optimizers):
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{k}.{i}.{key}": torch.as_tensor(value).contiguous() for key, value in state.items()}
    new, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file(tensors, new / "state.safetensors")
    atomic_write_json(new / "record.json", record)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    folder: Path, model: "torch.nn.Module", optimizers: Sequence["torch.optim.Optimizer"], record: dict[str, Any]
) -> dict[str, Any]:
    """Loads what ``save_state`` wrote into model and optimisers and returns its record; ``record`` itself where nothing was saved.

    Raises WorkbookError where the saved run is another one (other stage, seed, number of steps or of documents).
    """
    from safetensors.torch import load_file

    old = folder.with_name(f"{folder.name}.old")
    if not folder.exists() and old.exists():  # killed between the two renames
        os.replace(old, folder)
    if not folder.exists():
        return record
    saved = read_json(folder / "record.json")
    for key in ("stage", "seed", "steps", "documents"):
        if saved.get(key) != record[key]:
            raise WorkbookError(
                f"{folder}: a run with {key} {saved.get(key)!r} was saved there, this one has {record[key]!r}. "
                "Choose another output folder, or delete this one to start over."
            )
    tensors = load_file(folder / "state.safetensors")
    model.load_state_dict({name: tensors[f"model.{name}"] for name, _ in model.named_parameters()}, strict=False)
    model.tie_weights()
    for k, optimizer in enumerate(optimizers):
        state_dict = optimizer.state_dict()
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer.{k}."):
                _, _, index, key = name.split(".")
                state_dict["state"].setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict(state_dict)
    return saved
