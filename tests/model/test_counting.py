"""Counted from the sizes alone, the parameters are those that transformers really makes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.model.checkpoints import OPT_MINI
from toolslm_helpers.model.counting import (
    DEEPSEEK_OCR,
    OPT_350M,
    Decoder,
    active_parameters,
    count,
    decoder_of,
    key_value_bytes,
    total_parameters,
    training_flops,
)
from toolslm_helpers.teaching.byhand import opt_config

OPT_350M_CONFIG = dict(
    vocab_size=50_272, word_embed_proj_dim=512, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, ffn_dim=4096,
    max_position_embeddings=2048, do_layer_norm_before=False,
)  # fmt: skip


def made(config):
    """Parameters of the model that transformers builds: shapes only, no memory."""
    with torch.device("meta"):
        return sum(p.numel() for p in OPTForCausalLM(config).parameters())


def parts(model):
    return {part.name: part.total for part in count(model)}


def test_opt_350m_part_by_part():
    assert parts(OPT_350M) == {
        "embedding": 25_739_264, "positions": 2_099_200, "project_in, project_out": 1_048_576, "attention": 24 * 4_198_400,
        "feed-forward": 24 * 8_393_728, "norms": 24 * 4_096,
    }  # fmt: skip
    assert total_parameters(OPT_350M) == 331_196_416 == made(OPTConfig(**OPT_350M_CONFIG))
    assert decoder_of(OPTConfig(**OPT_350M_CONFIG), "OPT-350M") == OPT_350M


@pytest.mark.parametrize("config", [OPTConfig(**OPT_MINI), opt_config()], ids=["opt-mini", "paper model"])
def test_the_models_of_the_series(config):
    assert total_parameters(decoder_of(config)) == made(config)


@settings(max_examples=25, deadline=None)
@given(
    heads=st.integers(1, 3), head_width=st.integers(1, 5), embedding=st.integers(1, 9), layers=st.integers(1, 4), width=st.integers(1, 20),
    vocabulary=st.integers(5, 60), context=st.integers(1, 40), norm_first=st.booleans(), bias=st.booleans(), affine=st.booleans(),
    no_last=st.booleans(),
)  # fmt: skip
def test_any_opt(heads, head_width, embedding, layers, width, vocabulary, context, norm_first, bias, affine, no_last):
    config = OPTConfig(
        vocab_size=vocabulary, hidden_size=heads * head_width, num_attention_heads=heads, word_embed_proj_dim=embedding,
        num_hidden_layers=layers, ffn_dim=width, max_position_embeddings=context, do_layer_norm_before=norm_first, enable_bias=bias,
        layer_norm_elementwise_affine=affine, _remove_final_layer_norm=no_last,
    )  # fmt: skip
    assert total_parameters(decoder_of(config)) == made(config)


def test_an_untied_head_counts():
    assert total_parameters(replace(OPT_350M, tied=False)) - total_parameters(OPT_350M) == 50_272 * 512


def test_active_leaves_out_what_is_only_looked_up():
    assert active_parameters(OPT_350M) == 331_196_416 - 2_050 * 1_024
    assert active_parameters(replace(OPT_350M, tied=False)) == active_parameters(OPT_350M), "the head, not the embedding"


def test_deepseek_ocr_gives_the_published_figures():
    assert total_parameters(DEEPSEEK_OCR) == 2_934_734_080
    assert active_parameters(DEEPSEEK_OCR) == 574_127_360
    assert active_parameters(DEEPSEEK_OCR) + 129_280 * 1280 == 739_605_760, "740 M with the embedding"


def mixture(**changes):
    """A small mixture of experts: ours, and transformers' code for DeepSeek-OCR 2, whose decoder is of the same kind (it has no head)."""
    model = pytest.importorskip("transformers.models.deepseek_ocr2.modeling_deepseek_ocr2")
    settings = pytest.importorskip("transformers.models.deepseek_ocr2.configuration_deepseek_ocr2")
    ours = replace(DEEPSEEK_OCR, **changes)
    config = settings.DeepseekOcr2TextConfig(
        vocab_size=ours.vocabulary, hidden_size=ours.width, intermediate_size=ours.feed_forward, num_hidden_layers=ours.layers,
        num_attention_heads=10, max_position_embeddings=ours.context, n_routed_experts=ours.experts, n_shared_experts=ours.shared_experts,
        num_experts_per_tok=ours.experts_used, moe_intermediate_size=ours.expert_width,
        mlp_layer_types=["dense"] * ours.dense_layers + ["sparse"] * (ours.layers - ours.dense_layers),
        pad_token_id=None, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    with torch.device("meta"):
        theirs = sum(p.numel() for p in model.DeepseekOcr2TextModel(config).parameters())
    return ours, theirs


@pytest.mark.parametrize(
    "changes",
    [{}, {"layers": 3, "width": 20, "experts": 4, "experts_used": 2, "shared_experts": 1, "expert_width": 7, "dense_layers": 2}],
    ids=["as published", "small"],
)
def test_a_mixture_of_experts_counts_as_transformers_makes_it(changes):
    ours, theirs = mixture(**changes)
    assert total_parameters(ours) == theirs + ours.vocabulary * ours.width


def test_experts_grow_the_model_and_not_the_work():
    many = replace(OPT_350M, experts=64)
    assert parts(many)["experts"] == 64 * parts(OPT_350M)["feed-forward"] and "feed-forward" not in parts(many)
    assert active_parameters(many) - active_parameters(OPT_350M) == parts(many)["router"] == 24 * 64 * 1024
    two = replace(OPT_350M, experts=64, experts_used=2)
    assert active_parameters(two) - active_parameters(many) == parts(OPT_350M)["feed-forward"]


def test_parts_say_how_they_are_computed():
    """Each formula, read as Python with the letters' values, is the part's total."""
    for model in (OPT_350M, DEEPSEEK_OCR, replace(OPT_350M, experts=8), replace(DEEPSEEK_OCR, bias=True)):
        letters = {"L": model.layers, "D": model.width, "E": model.embedding, "F": model.feed_forward, "V": model.vocabulary,
                   "F_expert": model.expert_width, "context": model.context}  # fmt: skip
        for part in count(model):
            assert eval(part.formula.replace(" layers", ""), {}, letters) == part.total, part


def test_keys_and_values_grow_with_layers_and_tokens():
    assert key_value_bytes(OPT_350M, 2048) == 2 * 24 * 1024 * 2048 * 2
    assert key_value_bytes(OPT_350M, 1, bytes_per_number=4) == 2 * 24 * 1024 * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"experts": 2, "experts_used": 3}, "3 of 2 experts"),
        ({"dense_layers": 25}, "25 dense layers of 24"),
    ],
)
def test_sizes_that_no_model_has_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(OPT_350M, **changes)


def test_a_model_without_experts_has_no_router():
    assert "router" not in parts(OPT_350M) and Decoder("x", 1, 2, 3, 4, 5).experts == 1


@pytest.mark.parametrize("tokens", [8, 200])
def test_training_flops_are_those_that_torch_counts(tokens):
    from torch.utils.flop_counter import FlopCounterMode

    sizes = {
        "vocab_size": 300,
        "hidden_size": 64,
        "word_embed_proj_dim": 32,
        "ffn_dim": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    model = OPTForCausalLM(OPTConfig(**sizes, do_layer_norm_before=False, dropout=0.0, attn_implementation="eager"))
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    # Torch counts matrix products only; biases, norms and the sums of gradients are a few percent on top.
    assert counter.get_total_flops() == pytest.approx(training_flops(decoder_of(model.config), tokens), rel=0.05)
