"""Checkpoints: opt-mini has OPT-350M's quirks, saves whole, loads equal, and says what is wrong where it cannot."""

import pytest
import torch

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.checkpoints import OPT_MINI, load_model, new_model, save_model


def test_quirks_of_opt_350m():
    model = new_model(0)
    decoder = model.model.decoder
    assert OPT_MINI["word_embed_proj_dim"] < OPT_MINI["hidden_size"]
    assert decoder.project_in.weight.shape == (160, 80) and decoder.project_out.weight.shape == (80, 160)  # E -> D -> E
    assert decoder.final_layer_norm is None and not decoder.layers[0].do_layer_norm_before  # post-norm
    assert decoder.embed_positions.weight.shape == (768 + 2, 160)  # the offset of 2
    assert model.lm_head.weight is decoder.embed_tokens.weight  # tied head
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000


def test_seed_decides_the_weights():
    weights = [new_model(seed).model.decoder.layers[0].fc1.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_saved_and_loaded_is_equal(tmp_path):
    model = new_model(0, num_hidden_layers=1)
    save_model(model, tmp_path / "m")
    save_model(model, tmp_path / "m")  # over an older one
    loaded, tokenizer = load_model(tmp_path / "m")
    ids = torch.tensor([tokenizer("The price of Kelmora is 48.")["input_ids"]])
    assert torch.equal(model.eval()(ids).logits, loaded(ids).logits)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"], "a temporary folder was left behind"


def test_missing_and_damaged(tmp_path):
    with pytest.raises(WorkbookError, match="no checkpoint there"):
        load_model(tmp_path / "nowhere")
    path = save_model(new_model(0, num_hidden_layers=1), tmp_path / "m")
    (path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(WorkbookError, match="damaged checkpoint"):
        load_model(path)
