"""The scripts that measure the full shape: each setting gives numbers or says why not, and both sides of the comparison train the same."""

import importlib.util
import json
import os
import sys
import time
from dataclasses import replace

import pytest
import torch

from toolslm_helpers.files import repository_root
from toolslm_helpers.model.counting import OPT_350M, decoder_of, total_parameters, training_flops
from toolslm_helpers.sizes import TINY


def script(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", repository_root() / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


full_size, sft_speed, cpu_share = script("full_size"), script("sft_speed"), script("cpu_share")
SETTING = full_size.Setting("fp32", False, 2, 1)


def small_configuration(layers):
    """The script's own, narrower, so that a step takes a moment."""
    config = CONFIGURATION(layers)
    config.update({"vocab_size": 200, "hidden_size": 32, "word_embed_proj_dim": 16, "ffn_dim": 64, "num_attention_heads": 2})
    return config


CONFIGURATION = full_size.configuration


def test_the_shape_is_opt_350m():
    config = full_size.configuration(24)
    assert replace(decoder_of(config), name="OPT-350M") == OPT_350M and total_parameters(decoder_of(config)) == 331_196_416
    assert config.dropout == 0.1 and config.attention_dropout == 0 and not config.do_layer_norm_before


def test_a_batch_counts_what_is_computed_and_no_more():
    """Padding counts nothing, and the head counts where a token is supervised."""
    config = small_configuration(1)
    rows = [([5, 6, 7, 8], [-100, -100, 7, 8]), ([9, 10], [-100, 10])]
    batch = next(full_size.batches_of(rows, SETTING.batch, config, "cpu"))
    assert batch.ids.tolist() == [[5, 6, 7, 8], [9, 10, 1, 1]] and batch.tokens == 6
    assert batch.places.tolist() == [1, 2, 3] and batch.targets.tolist() == [7, 8, 10]
    decoder = decoder_of(config)
    assert batch.flops == training_flops(decoder, 4) + training_flops(decoder, 2) - 6 * 200 * 16 * (6 - 3)
    model = full_size.new_model(config, "cpu").eval()
    labels = torch.tensor([[-100, -100, 7, 8], [-100, 10, -100, -100]])
    with torch.no_grad():
        logits = model(input_ids=batch.ids).logits[:, :-1].flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum")
        assert full_size.loss_of(model, batch).item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_setting_that_fails_is_recorded_and_the_next_goes_on(tmp_path, monkeypatch):
    def steps(setting, *rest):
        if setting.checkpointing:
            raise torch.OutOfMemoryError("no room")
        yield from ((loss, 40, 2, 1000) for loss in (3.0, 2.0, 1.0))

    monkeypatch.setattr(full_size, "plain_steps", steps)
    monkeypatch.setattr(full_size, "configuration", small_configuration)
    monkeypatch.setattr(full_size, "product_speed", lambda precision, device: 1e6)
    monkeypatch.setattr(full_size, "plan", lambda *_: [SETTING, replace(SETTING, checkpointing=True), SETTING])
    output, said = tmp_path / "out.json", []
    assert full_size.main(["--tokens", "20", "--steps", "2", "--seconds", "1e9", "--output", str(output)], said.append) == 0
    record = json.loads(output.read_text())
    first, failed, last = record["settings"]
    assert failed["skipped"] == "out of memory" and any("skipped: out of memory" in line for line in said)
    assert (first["steps"], first["first_loss"], first["last_loss"], last["steps"]) == (2, 3.0, 1.0, 2)
    assert record["commit"] and record["versions"]["torch"] and not record["attention"]["mask_given"]
    late = tmp_path / "late.json"
    assert full_size.main(["--tokens", "20", "--seconds", "0", "--output", str(late)], said.append) == 0
    assert {entry["skipped"] for entry in json.loads(late.read_text())["settings"]} == {"no time left"}


def test_both_loops_really_train(monkeypatch):
    """TRL's trainer and the plain loop, a step or two of a narrow model: numbers, and a loss near that of guessing."""
    rows = [(list(range(4 + k, 24 + k)), [-100] * 15 + list(range(19 + k, 24 + k))) for k in range(8)]
    for setting in (SETTING, replace(SETTING, checkpointing=True), replace(SETTING, loop="trl")):
        found = full_size.run_one(setting, small_configuration(1), rows, "cpu", 1e9, time.perf_counter(), 1)
        assert "skipped" not in found, found
        assert found["steps"] >= 1 and found["tokens_a_second"] > 0 and found["mfu"] is None
        assert 4.5 < found["first_loss"] < 6.5  # ln 200 = 5.3


def test_a_share_is_of_the_products_beside_it():
    """100 FLOPs in 2 s beside products of 50 and 150 a second, of which the mean would have taken 1 s."""
    first = cpu_share.Round(100, 20, 2.0, (50.0, 150.0))
    assert first.share() == pytest.approx(0.5) and first.share(seen_only=True) == pytest.approx(0.4)
    busy = cpu_share.Round(100, 20, 4.0, (25.0, 75.0))  # all takes twice as long: the share is the same
    found = cpu_share.shares_of([first, busy, first], optimiser=2.0)
    assert (found.share, found.share_of_seen_pairs, found.seconds_a_row) == (0.5, 0.4, 2.0)
    assert found.share_with_optimiser == pytest.approx(0.5 * 64 / 66, abs=1e-4) and found.share_with_optimiser_each_row == 0.25


def test_the_share_is_measured_and_recorded(tmp_path, monkeypatch, capsys):
    row = list(range(4, 24)), [-100] * 19 + [23]
    monkeypatch.setattr(cpu_share, "rows_of", lambda tokens, count: ("made up", [row] * count))
    monkeypatch.setattr(cpu_share, "configuration", small_configuration)
    monkeypatch.setattr(cpu_share, "product_speed", lambda precision, device: 1e6)
    output = tmp_path / "share.json"
    assert cpu_share.main(["--layers", "2", "--tokens", "20", "--rounds", "2", "--output", str(output)]) == 0
    record, decoder = json.loads(output.read_text()), decoder_of(small_configuration(2))
    assert len(record["rounds"]) == 2 and record["product_flops"] == 1e6 and record["versions"]["torch"]
    for one in record["rounds"]:
        assert one["flops"] == training_flops(decoder, 20) - 6 * 200 * 16 * (20 - 1)  # one token supervised
        assert one["hidden_flops"] == 12 * 2 * 32 * (20 * 19 // 2)
    shares = [record[name] for name in ("share", "share_with_optimiser", "share_with_optimiser_each_row")]
    assert shares == sorted(shares, reverse=True) and record["share"] > record["share_of_seen_pairs"] > 0
    assert "forward and backward" in capsys.readouterr().out


def test_the_sides_of_the_comparison_supervise_the_same_tokens():
    from toolslm_helpers.text.flatten import flatten_all
    from toolslm_helpers.text.tokenizer import load_small_tokenizer

    rows, merged = sft_speed.data_of("tiny", 12)
    words = load_small_tokenizer()
    apart, together = flatten_all(rows, words, supervise="last"), flatten_all(merged, words)
    assert len(rows) > len(merged) and apart.supervised == together.supervised and apart.tokens > together.tokens
    size, batch = sft_speed.size_of("tiny", (rows, merged))
    assert size.learning_rate == 0 and batch == round(TINY.batch_size * len(rows) / len(merged))
    full, stock = sft_speed.size_of("full", (rows, merged))
    assert (full.batch_size, stock) == (1, 8) and full.accumulation == round(8 * len(merged) / len(rows))


@pytest.mark.parametrize("shape", ["tiny", "full"])
def test_the_sides_of_the_comparison_read_the_same_contexts(shape):
    """A step row's ids are the beginning of its merged example's, whatever was shortened, and all of them fit."""
    from toolslm_helpers.text.flatten import flatten_all

    if shape == "full" and "TOOLBENCH_DIR" not in os.environ:
        pytest.skip("TOOLBENCH_DIR is not set: it names a folder with ToolBench's files")
    (rows, merged), words = sft_speed.data_of(shape, 8), sft_speed.tokenizer_of(shape)
    apart, together = flatten_all(rows, words, supervise="last").examples, flatten_all(merged, words).examples
    assert len(together) == 8 < len(apart) == len(rows) and max(map(len, together)) <= (768 if shape == "tiny" else 2048)
    begins = {tuple(example.input_ids[:n].tolist()) for example in together for n in map(len, apart) if n <= len(example)}
    assert {tuple(example.input_ids.tolist()) for example in apart} <= begins


def test_what_is_too_long_is_left_out_or_shortened_as_a_whole():
    from toolslm_helpers.agent.gold import gold_trajectories
    from toolslm_helpers.data.merge import merge_rows, step_rows, unmerge
    from toolslm_helpers.data.world import build_world
    from toolslm_helpers.text.encoder import encoder_of
    from toolslm_helpers.text.tokenizer import load_small_tokenizer

    words, (example,) = load_small_tokenizer(), merge_rows(step_rows(gold_trajectories(build_world(), 1)[0]))
    length = encoder_of(words).length(example.trajectory.messages)
    assert sft_speed.fitting(example, replace(TINY, max_length=length), words) == example
    assert sft_speed.fitting(example, replace(TINY, max_length=length - 1), words) is None
    shorter = sft_speed.fitting(example, replace(TINY, max_length=length - 1, truncation="shorten"), words)
    assert encoder_of(words).length(shorter.trajectory.messages) < length and shorter.supervised_turns == example.supervised_turns
    assert [row.messages[-1] for row in unmerge(shorter)] == [row.messages[-1] for row in unmerge(example)]
