"""Our OPT is transformers' OPT: the same numbers, the same greedy tokens, the same gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.model.checkpoints import load_model
from toolslm_helpers.model.opt import OFFSET, OPT, attention_weights, seen_by

QUIRKS = {
    "OPT-350M's": {},
    "pre-norm": {"do_layer_norm_before": True},
    "pre-norm, no last norm": {"do_layer_norm_before": True, "_remove_final_layer_norm": True},
    "E = D": {"word_embed_proj_dim": 16},
    "no bias": {"enable_bias": False},
    "norms without weights": {"layer_norm_elementwise_affine": False},
    "one head": {"num_attention_heads": 1},
}


def pair(seed=0, **changes):
    """(ours, transformers') with the same random weights, larger than at a start, so that nothing is nearly uniform."""
    torch.manual_seed(seed)
    config = OPTConfig(**{
        "vocab_size": 50, "hidden_size": 16, "word_embed_proj_dim": 8, "num_hidden_layers": 2, "ffn_dim": 32, "num_attention_heads": 4,
        "max_position_embeddings": 24, "do_layer_norm_before": False, "init_std": 0.3, **changes,
    })  # fmt: skip
    theirs = OPTForCausalLM(config).eval()
    for name, parameter in theirs.named_parameters():
        if "bias" in name or "layer_norm" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return OPT.from_transformers(config, theirs.state_dict()).eval(), theirs


def padded(generator, rows=3, width=12, vocabulary=50):
    """Ids (B, T) with padding on the left of all rows but the first, and their mask."""
    ids = torch.randint(4, vocabulary, (rows, width), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, rows):
        mask[row, : int(torch.randint(1, width, (1,), generator=generator))] = 0
    return ids.masked_fill(mask == 0, 1), mask


@pytest.mark.parametrize("changes", QUIRKS.values(), ids=QUIRKS)
def test_logits_equal_transformers(changes):
    ours, theirs = pair(**changes)
    ids, mask = padded(torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=0)
    expected, found = theirs(ids, attention_mask=mask).logits, ours(ids, mask)
    torch.testing.assert_close(found[mask == 1], expected[mask == 1], atol=1e-5, rtol=0)
    assert found.isfinite().all(), "padding computes nothing that could spread"


@pytest.mark.parametrize("changes", QUIRKS.values(), ids=QUIRKS)
def test_gradients_equal_transformers(changes):
    ours, theirs = pair(**changes)
    ids = torch.randint(4, 50, (2, 10), generator=torch.Generator().manual_seed(1))
    weights = torch.randn(2, 10, 50, generator=torch.Generator().manual_seed(2))
    (ours(ids) * weights).mean().backward()
    (theirs(ids).logits * weights).mean().backward()
    known = dict(theirs.model.decoder.named_parameters())
    assert known.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, known[name].grad, atol=1e-5, rtol=1e-4, msg=name)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99), heads=st.sampled_from([1, 2, 3]), head_width=st.integers(1, 5), embedding=st.integers(2, 9),
    layers=st.integers(0, 3), width=st.integers(1, 20), norm_first=st.booleans(),
)  # fmt: skip
def test_any_shape(seed, heads, head_width, embedding, layers, width, norm_first):
    ours, theirs = pair(
        seed, hidden_size=heads * head_width, num_attention_heads=heads, word_embed_proj_dim=embedding, num_hidden_layers=layers,
        ffn_dim=width, do_layer_norm_before=norm_first,
    )  # fmt: skip
    ids, mask = padded(torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        ours(ids, mask)[mask == 1], theirs(ids, attention_mask=mask).logits[mask == 1], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("changes", QUIRKS.values(), ids=QUIRKS)
def test_greedy_tokens_equal_generate_with_left_padding(changes):
    ours, theirs = pair(**changes)
    ids, mask = padded(torch.Generator().manual_seed(3))
    expected = theirs.generate(
        ids, attention_mask=mask, max_new_tokens=8, min_new_tokens=8, do_sample=False, pad_token_id=1, eos_token_id=None
    )
    for _ in range(8):
        ids = torch.cat([ids, ours(ids, mask)[:, -1:].argmax(dim=-1)], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    assert ids.tolist() == expected.tolist()


def test_opt_mini_equals_transformers():
    theirs, tokenizer = load_model("sft")
    ours = OPT.from_transformers(theirs.config, theirs.state_dict()).eval()
    ids = torch.tensor([tokenizer("The annual price of Kelmora is 48. " * 20)["input_ids"]])
    assert torch.equal(ours(ids).argmax(dim=-1), theirs(ids).logits.argmax(dim=-1))
    # trained logits reach hundreds: in 32 bits the order of a product shows in the fourth decimal
    torch.testing.assert_close(ours.double()(ids), theirs.double()(ids).logits, atol=1e-9, rtol=0)
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()


@pytest.mark.slow
def test_the_full_shape_equals_transformers():
    """OPT-350M's shape with random weights: 331,196,416 parameters."""
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=50_272, hidden_size=1024, word_embed_proj_dim=512, num_hidden_layers=24, ffn_dim=4096, num_attention_heads=16,
        max_position_embeddings=2048, do_layer_norm_before=False,
    )  # fmt: skip
    theirs = OPTForCausalLM(config).eval()
    ours = OPT.from_transformers(config, theirs.state_dict()).eval()
    assert sum(p.numel() for p in ours.parameters()) == 331_196_416
    ids, mask = padded(torch.Generator().manual_seed(0), rows=2, width=128, vocabulary=50_265)
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=mask).logits
        torch.testing.assert_close(ours(ids, mask)[mask == 1], expected[mask == 1], atol=1e-4, rtol=1e-4)


def test_no_token_sees_the_future():
    ours, _ = pair()
    ids = torch.randint(4, 50, (1, 10), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[0, 6:] = 7
    before, after = ours(ids), ours(changed)
    assert torch.equal(before[:, :6], after[:, :6]) and not torch.equal(before[:, 6:], after[:, 6:])


def test_the_attention_map_is_what_forward_uses():
    ours, _ = pair()
    attention = ours.layers[0].self_attn
    ids, mask = padded(torch.Generator().manual_seed(0))
    x, seen = ours.embed(ids, mask), seen_by(mask)
    weights = attention.weights(x, seen)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))
    assert (weights[~seen.expand_as(weights)] == 0).all()
    by_formula = attention.out_proj((weights @ attention.split(attention.v_proj(x))).transpose(1, 2).flatten(-2))
    torch.testing.assert_close(attention(x, seen), by_formula, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        attention_weights(torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(3, 3).tril().bool())[2], torch.full((3,), 1 / 3)
    )


def test_dropout_works_in_training_only():
    ours, _ = pair()
    ids = torch.arange(4, 14)[None]
    assert torch.equal(ours(ids), ours(ids))
    ours.train()
    assert not torch.equal(ours(ids), ours(ids))


@pytest.mark.parametrize(("changes", "message"), [
    ({"activation_function": "gelu"}, "relu"), ({"tie_word_embeddings": False}, "embedding matrix"),
])  # fmt: skip
def test_what_is_no_opt_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        OPT(OPTConfig(hidden_size=16, num_attention_heads=4, num_hidden_layers=1, **changes))


def test_heads_must_share_the_width():
    config = OPTConfig(hidden_size=16, num_attention_heads=3, num_hidden_layers=1)
    with pytest.raises(ValueError, match="not a multiple of 3 heads"):
        OPT(config)


def test_too_many_tokens_are_refused_but_padding_does_not_count():
    ours, _ = pair()
    with pytest.raises(ValueError, match="25 tokens; the model has 24 positions"):
        ours(torch.full((1, 25), 5))
    ids, mask = torch.full((1, 25), 5), torch.ones(1, 25, dtype=torch.long)
    mask[0, 0] = 0
    assert ours(ids, mask).shape == (1, 25, 50)
    assert ours.embed_positions.num_embeddings == 24 + OFFSET


def test_missing_weights_are_named():
    ours, theirs = pair()
    state = theirs.state_dict()
    del state["model.decoder.layers.0.fc1.weight"]
    with pytest.raises(RuntimeError, match="layers.0.fc1.weight"):
        OPT.from_transformers(theirs.config, state)
