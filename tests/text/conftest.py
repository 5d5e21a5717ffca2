"""Tokenizers for the tests of text/: a tiny one trained here, the shipped small one, and OPT's own where its files are."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolslm_helpers.text.tokenizer import SPECIAL_TOKENS, _with_opt_habits, load_opt_tokenizer, load_small_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CORPUS = [
    "System: Use the APIs.\nUser: What is the weather in Oslo?\n"
    "Assistant: \nThought: I need it.\nAction: get_weather\nAction Input: {}\n"
] * 3


@pytest.fixture(scope="session")
def tiny_tokenizer() -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _with_opt_habits(tokenizer)


@pytest.fixture(scope="session")
def small_tokenizer() -> "PreTrainedTokenizerFast":
    return load_small_tokenizer()


@pytest.fixture(scope="session")
def toolbench_dir() -> Path:
    folder = os.environ.get("TOOLBENCH_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs ToolBench's files: set TOOLBENCH_DIR to a folder with golden/, raw_trees/ and opt_tokenizer/")
    return Path(folder)


@pytest.fixture(scope="session")
def opt_tokenizer(toolbench_dir: Path) -> "PreTrainedTokenizerFast":
    folder = toolbench_dir / "opt_tokenizer"
    return load_opt_tokenizer(folder / "gpt2-vocab.json", folder / "gpt2-merges.txt")
