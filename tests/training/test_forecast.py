"""The forecast: steps as the trainer takes them, memory as autograd keeps it, FLOPs as the order of rows makes them."""

from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.model.counting import OPT_350M, decoder_of, total_parameters, training_flops
from toolslm_helpers.sizes import FULL, SMOKE
from toolslm_helpers.training.forecast import (
    REACHED,
    activation_bytes,
    forecast,
    layer_bytes,
    padded_lengths,
    product_speed,
    steps_of,
)


def small(**changes):
    sizes = {
        "vocab_size": 100, "hidden_size": 64, "word_embed_proj_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 192,
        "max_position_embeddings": 64, "do_layer_norm_before": False, "dropout": 0.0,
    }  # fmt: skip
    return OPTConfig(**sizes | changes)


def kept_bytes(config, checkpointing, rows=2, tokens=64):
    """What autograd really keeps of a forward pass, weights apart."""
    torch.manual_seed(0)
    model = OPTForCausalLM(config).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    weights, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    ids = torch.randint(4, 100, (rows, tokens))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model.decoder(input_ids=ids, position_ids=torch.arange(tokens).repeat(rows, 1), use_cache=False)
    return sum(count for count, _ in kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_layer_keeps_what_autograd_keeps_of_it(dropout):
    """Measured on a smaller shape: two more layers, so that what is outside them cancels; a few bytes a token are statistics."""
    found = [kept_bytes(small(num_hidden_layers=layers, dropout=dropout), False) for layers in (1, 3)]
    of_one = (found[1] - found[0]) / 2 / (2 * 64)
    assert layer_bytes(decoder_of(small()), "fp32", dropout > 0, "cpu") == pytest.approx(of_one, rel=0.02)


def test_checkpointing_keeps_a_row_of_numbers_a_layer():
    found = [kept_bytes(small(num_hidden_layers=layers), True) for layers in (1, 3)]
    size = replace(SMOKE, gradient_checkpointing=True, batch_size=2)
    ours = [activation_bytes(decoder_of(small(num_hidden_layers=layers)), size, 64, False, "cpu") for layers in (1, 3)]
    assert ours[1] - ours[0] == pytest.approx(found[1] - found[0], rel=0.02)


def peak_bytes(config, size, tokens):
    """What torch has reserved at most in a pass forward and backward, above what stays: a second one, so gradients are there already."""
    torch.manual_seed(0)
    model = OPTForCausalLM(config).train()
    if size.gradient_checkpointing:
        model.activation_checkpointing_enable()
    ids = torch.randint(4, 200, (size.batch_size, tokens))
    places = torch.arange(tokens).repeat(size.batch_size, 1)

    def run():
        with torch.autocast("cpu", torch.bfloat16, enabled=size.precision != "fp32"):
            hidden = model.model.decoder(input_ids=ids, position_ids=places, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[:, -9:-1])  # few tokens are supervised
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, -8:].flatten())
        loss.backward()

    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = profile.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(change for _, change in changes))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("precision", "copies"), [("fp32", 0), ("bf16", 2)])  # bf16 is fp16's size, and a CPU has it
def test_the_forecast_of_a_smaller_shape_is_what_is_measured(checkpointing, precision, copies):
    """Never less than measured, so that what is promised fits; at most half as much again, so that it is not refused for nothing."""
    config = small(
        vocab_size=200,
        hidden_size=128,
        word_embed_proj_dim=64,
        num_hidden_layers=8,
        ffn_dim=512,
        max_position_embeddings=256,
        dropout=0.1,
    )
    size = replace(FULL, batch_size=4, precision=precision, gradient_checkpointing=checkpointing)
    expected = forecast(size, config, [256] * 4, 32)
    parameters = total_parameters(decoder_of(config))
    measured = peak_bytes(config, size, 256)
    promised = expected.activation_bytes + copies * parameters  # weights, gradients and averages lie there before and after
    assert expected.state_bytes == (16 + copies) * parameters
    assert measured <= promised <= 1.5 * measured, (measured, promised, promised / measured)


def test_full_fits_into_sixteen_gigabytes():
    """The promise of size full, by arithmetic: 8 rows of 2,048 tokens on a GPU in half precision."""
    config = OPTConfig(
        vocab_size=50_272, hidden_size=1024, word_embed_proj_dim=512, num_hidden_layers=24, ffn_dim=4096, num_attention_heads=16,
        max_position_embeddings=2048, do_layer_norm_before=False, dropout=0.1,
    )  # fmt: skip
    found = forecast(FULL, config, [2048] * 187_542, 9_000_000, device="cuda", flops_a_second=400e12)
    assert total_parameters(decoder_of(config)) == total_parameters(OPT_350M) == 331_196_416
    assert found.state_bytes == 18 * 331_196_416 and found.checkpoint_bytes == 12 * 331_196_416
    assert 5.9e9 < found.state_bytes < found.memory_bytes < 12e9, "16 GB less what the driver, the logits and fragments take"
    free = forecast(replace(FULL, gradient_checkpointing=False), config, [2048] * 16, 1, device="cuda")
    assert free.memory_bytes > 16e9 and free.seconds is None
    assert found.steps == 5_861 and found.seconds == pytest.approx(found.flops / (400e12 * REACHED["cuda"]))
    text = str(found)
    assert (
        "187,542 examples" in text
        and "5,861 steps of 32 examples (8 x 4)" in text
        and "hours" in text
        and "not measured" not in text
    )
    assert "on each of 2 processes" in str(forecast(replace(FULL, accumulation=2), config, [9] * 64, 1, processes=2))


def test_flops_are_those_of_the_padded_batches():
    lengths, size, config = [3, 9, 5, 2, 7], replace(SMOKE, batch_size=2), small()
    assert padded_lengths(lengths, 2) == [9, 5, 7]
    decoder = decoder_of(config)
    found = forecast(size, config, lengths, 4)
    assert found.flops == 2 * sum(training_flops(decoder, n) for n in (9, 5, 7)) and found.tokens == 26
    again = forecast(replace(size, gradient_checkpointing=True), config, lengths, 4)
    assert again.flops == found.flops * 4 // 3


@pytest.mark.parametrize(
    ("examples", "batch", "accumulation", "processes", "steps"),
    [(187_542, 8, 4, 1, 5861), (187_542, 8, 2, 2, 5861), (8, 8, 1, 1, 1), (9, 8, 1, 1, 2), (33, 8, 4, 1, 2)],
)
def test_steps(examples, batch, accumulation, processes, steps):
    assert steps_of(examples, replace(SMOKE, batch_size=batch, accumulation=accumulation), processes) == steps


def test_a_measured_speed_is_positive_and_leaves_the_seed_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert product_speed("cpu", "fp32", 0.01) > 1e8
    assert torch.equal(torch.rand(2), expected)
