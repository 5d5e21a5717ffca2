"""opt-mini and its checkpoints: made new, loaded, and saved whole or not at all."""

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from toolslm_helpers.files import WorkbookError, data_samples

if TYPE_CHECKING:
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast

# OPT-350M's quirks at a hundredth of its width: E smaller than D, post-norm, learned positions with an offset of 2, tied head.
OPT_MINI = {
    "vocab_size": 1000,
    "word_embed_proj_dim": 80,  # E
    "hidden_size": 160,  # D
    "num_hidden_layers": 4,  # L
    "num_attention_heads": 5,  # H
    "ffn_dim": 640,  # F
    "max_position_embeddings": 768,
    "do_layer_norm_before": False,
    "dropout": 0.0,  # one pass over the data: nothing is seen twice, nothing needs forgetting
    "attention_dropout": 0.0,
    "init_std": 0.04,  # 0.02 is for a width of 1,024; a narrow model needs larger first weights
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 2,
}


def new_model(seed: int, **changes: object) -> "OPTForCausalLM":
    """A new opt-mini with random weights. ``changes`` replace entries of its configuration.

    Positions start as sinusoids of the same size as the other weights: learned from there, near positions are alike from the first step.
    """
    import torch
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(seed)
    config = OPTConfig(**OPT_MINI | changes)
    model = OPTForCausalLM(config)
    rows, width = model.model.decoder.embed_positions.weight.shape  # (positions + 2, D)
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))  # (D / 2)
    angles = torch.arange(rows)[:, None] * frequencies  # (positions + 2, D / 2)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # (positions + 2, D), mean square 1/2
    with torch.no_grad():
        model.model.decoder.embed_positions.weight.copy_(waves * config.init_std * math.sqrt(2))
    return model


def checkpoint_path(name: str | Path) -> Path:
    """A folder with a checkpoint: a path as it stands, or the name of a shipped one (base, instruct, sft)."""
    shipped = data_samples() / "models" / str(name)
    return shipped if shipped.is_dir() else Path(name)


def load_model(name: str | Path) -> tuple["OPTForCausalLM", "PreTrainedTokenizerFast"]:
    """(model in evaluation mode, its tokenizer) from a folder or a shipped name. Raises WorkbookError where it is missing or damaged."""
    from transformers import AutoTokenizer, OPTForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from toolslm_helpers.text.tokenizer import load_small_tokenizer

    path = checkpoint_path(name)
    if not (path / "config.json").is_file() or not (path / "model.safetensors").is_file():
        raise WorkbookError(
            f"{path}: no checkpoint there (expected config.json and model.safetensors). Usual cause: a wrong path, or a run that did not "
            "finish. Shipped ones are called base, instruct and sft; `toolslm sft` makes another."
        )
    disable_progress_bar()  # four megabytes need none
    try:
        model = OPTForCausalLM.from_pretrained(path, dtype="float32").eval()  # what the hub holds in half precision, too
    except Exception as error:  # safetensors, json and transformers each raise their own
        raise WorkbookError(f"{path}: damaged checkpoint ({error}). Fetch or make it again.") from error
    own = any((path / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    tokenizer = AutoTokenizer.from_pretrained(path) if own else load_small_tokenizer()
    return model, tokenizer


def save_model(model: "OPTForCausalLM", path: str | Path) -> Path:
    """Saves weights (safetensors) and configuration to a new folder, then puts it in the place of ``path``."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder that is there may be a disk of its own, and a file is moved whole within one disk only.
    temporary = Path(tempfile.mkdtemp(dir=path if path.is_dir() else path.parent, prefix=f".{path.name}."))
    try:
        model.save_pretrained(temporary)
        for file in temporary.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner only
        os.chmod(temporary, 0o755)
        if path.is_dir():
            for file in temporary.iterdir():
                os.replace(file, path / file.name)
            temporary.rmdir()
        else:
            os.replace(temporary, path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise WorkbookError(
            f"{path}: checkpoint could not be saved ({error.strerror or error}). Free some space; the old one is untouched."
        ) from error
    return path
