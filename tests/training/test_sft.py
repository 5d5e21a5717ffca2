"""Fine-tuning: the labels are the mask's, bad batches are refused, a small run learns, the same seed gives the same weights."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toolslm_helpers.agent.gold import gold_trajectories, training_trajectories
from toolslm_helpers.data.merge import merge_rows, step_rows
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.toolbench import write_rows
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError, WorkbookError, read_json
from toolslm_helpers.model.checkpoints import new_model, save_model
from toolslm_helpers.sizes import FULL, SMOKE, TINY, get_size
from toolslm_helpers.text.flatten import flatten_all
from toolslm_helpers.text.tokenizer import CHAT_TEMPLATE, load_opt_tokenizer, load_small_tokenizer
from toolslm_helpers.training.prepare import Plan, prepare
from toolslm_helpers.training.sft import (
    WINDOW,
    CheckedCollator,
    PaddingCollator,
    flatten_for,
    load_start,
    one_epoch,
    train,
    trainer_settings,
    training_rows_of,
)
from toolslm_helpers.training.shards import Prepared
from toolslm_helpers.training.speed import Speed


@pytest.fixture(scope="module")
def rows():
    return training_rows_of(flatten_all(gold_trajectories(build_world(), 8), load_small_tokenizer()))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_model(
        new_model(0, hidden_size=40, word_embed_proj_dim=20, ffn_dim=64, num_hidden_layers=1),
        tmp_path_factory.mktemp("start") / "model",
    )


DATA = gold_trajectories(build_world(), 40)


def flat_data():
    return flatten_for(SHORT, DATA, load_small_tokenizer())


SHORT = replace(SMOKE, batch_size=4, warmup_steps=1)


def test_collator_pads_and_keeps_labels(rows):
    batch = CheckedCollator(1)(rows)
    longest = max(len(row["input_ids"]) for row in rows)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["position_ids"].shape == (8, longest)
    for k, row in enumerate(rows):
        n = len(row["input_ids"])
        assert batch["input_ids"][k, :n].tolist() == row["input_ids"] and (batch["input_ids"][k, n:] == 1).all()
        assert batch["labels"][k, :n].tolist() == row["labels"] and (batch["labels"][k, n:] == -100).all()
        assert batch["position_ids"][k].tolist() == list(range(longest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda row: row | {"labels": [-100] * len(row["labels"])}, "no supervised token"),
        (lambda row: row | {"labels": row["labels"][1:] + [-100]}, "labels are not its ids"),
        (lambda row: row | {"labels": row["labels"][:-1]}, "labels are not its ids"),
    ],
)
def test_collator_refuses_what_is_not_a_mask(rows, damage, message):
    with pytest.raises(DataError, match=message):
        CheckedCollator(1)([rows[0], damage(rows[1])])


def test_a_run_is_checked_unless_somebody_takes_the_check_off(start, rows, tmp_path):
    """Only lesson 07 does, by name: padding alone pads as the check does, and looks at nothing."""

    def without_labels(data):
        return [row | {"labels": [-100] * len(row["labels"])} for row in training_rows_of(data)]

    with pytest.raises(DataError, match="no supervised token"):
        train(SHORT, 0, tmp_path / "a", DATA[:8], start=start, rows_of=without_labels)
    assert not (tmp_path / "a" / "model.safetensors").exists()
    assert train(SHORT, 0, tmp_path / "b", DATA[:8], start=start, rows_of=without_labels, collator=PaddingCollator).steps == 2
    for name, tensor in CheckedCollator(1)(rows).items():
        assert torch.equal(tensor, PaddingCollator(1)(rows)[name])


def test_paper_s_values_reach_the_trainer(tmp_path):
    settings = trainer_settings(replace(FULL, precision="fp32"), 0, tmp_path)  # fp16 itself needs a GPU
    assert FULL.precision == "fp16" and FULL.effective_batch_size == 32
    assert (settings.learning_rate, settings.warmup_steps, settings.max_grad_norm, settings.weight_decay) == (
        5e-5,
        100,
        0.3,
        0.01,
    )
    assert (settings.per_device_train_batch_size, settings.gradient_accumulation_steps, settings.num_train_epochs) == (8, 4, 1)
    assert settings.activation_checkpointing and not settings.bf16 and "adamw" in settings.optim


def test_one_epoch_is_one_pass_and_the_seed_decides(start, tmp_path):
    steps = []
    first = train(SHORT, 0, tmp_path / "a", DATA[:24], start=start, on_step=lambda *args: steps.append(args))
    again = train(SHORT, 0, tmp_path / "b", DATA[:24], start=start)
    other = train(SHORT, 1, tmp_path / "c", DATA[:24], start=start)
    assert first.steps == 24 // 4 == len(steps) and steps[-1][:2] == (6, 6)
    assert first.examples == 24 and first.supervised_tokens < first.tokens and not first.refused
    weights = [load_file(tmp_path / name / "model.safetensors")["model.decoder.layers.0.fc1.weight"] for name in "abc"]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert again.final_loss == first.final_loss != other.final_loss


def test_loss_is_the_mean_over_supervised_tokens(start, rows, tmp_path):
    """The first logged loss is plain cross-entropy of the untrained model over supervised tokens, one batch; padding is masked here."""
    model, _ = load_start(start)
    batch = CheckedCollator(1)(rows)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=(batch["input_ids"] != 1).long()).logits
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100
    )
    record = train(replace(SHORT, batch_size=8, warmup_steps=0), 0, tmp_path, DATA[:8], start=start)
    assert record.steps == 1
    assert record.final_loss == pytest.approx(expected.item(), abs=1e-4)


def test_halves_give_the_weights_of_whole_batches(start, tmp_path):
    halved = train(SHORT, 0, tmp_path / "halves", DATA[:16], start=start)
    whole = train(SHORT, 0, tmp_path / "whole", DATA[:16], start=start, speed=Speed(halves=False))
    assert halved.final_loss == pytest.approx(whole.final_loss, abs=1e-4)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("halves", "whole"))
    assert all(torch.allclose(a[name], b[name], atol=2e-4) for name in a)


def test_too_long_examples_are_listed_not_cut(start, tmp_path):
    record = train(replace(SHORT, max_length=300), 0, tmp_path, DATA[:24], start=start)
    assert record.refused and record.examples + len(record.refused) == 24
    assert "at most 300" in record.refused[0][1]


def test_diverging_run_stops_with_its_cause(start, tmp_path):
    model, _ = load_start(start)
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.weight.fill_(float("nan"))
    order = [row["id"] for row in one_epoch([{"id": e.id, "input_ids": e.input_ids} for e in flat_data().examples], 4, 0)]
    with pytest.raises(WorkbookError, match="loss is nan at step 1.*4 rows of its batch.*not_finite.json"):
        train(SHORT, 0, tmp_path / "out", DATA, start=save_model(model, tmp_path / "nan"))
    assert not (tmp_path / "out" / "model.safetensors").exists()
    saved = read_json(tmp_path / "out" / "not_finite.json")
    assert (saved["step"], saved["loss"], [row["id"] for row in saved["rows"]]) == (1, "nan", order[:4])
    ids = {example.id: example.input_ids.tolist() for example in flat_data().examples}
    assert all(row["input_ids"] == ids[row["id"]] for row in saved["rows"])


@pytest.mark.parametrize("halves", [True, False])
def test_a_loss_that_becomes_infinite_names_the_batch_of_that_step(start, tmp_path, monkeypatch, halves):
    """The third step's batch, whose loss a trainer is made to lose: its rows are written, and the step is not taken."""
    import trl

    true, calls = trl.SFTTrainer.compute_loss, []

    def infinite(self, model, inputs, *arguments, **named):
        calls.append(inputs["input_ids"].shape)
        loss = true(self, model, inputs, *arguments, **named)
        return loss * float("inf") if self.state.global_step == 2 else loss

    monkeypatch.setattr(trl.SFTTrainer, "compute_loss", infinite)
    with pytest.raises(WorkbookError, match="loss is inf at step 3"):
        train(SHORT, 0, tmp_path, DATA, start=start, speed=Speed(halves=halves, all_logits=True))
    order = [row["id"] for row in one_epoch([{"id": e.id, "input_ids": e.input_ids} for e in flat_data().examples], 4, 0)]
    assert [row["id"] for row in read_json(tmp_path / "not_finite.json")["rows"]] == order[8:12]
    assert len(calls) == (6 if halves else 3)


def test_what_is_prepared_trains_as_what_is_in_memory(start, tmp_path):
    file = write_rows(tmp_path / "rows.json", gold_trajectories(build_world(), 13, "toolbench"))
    size = replace(SHORT, max_length=700, truncation="shorten")
    tokenizer, folder = load_small_tokenizer(), tmp_path / "prepared"
    prepare(lambda begin: TrajectoryStream(file, begin), tokenizer, folder, replace(Plan.of(size, seed=3), shard=5))
    rows = list(TrajectoryStream(file))
    from_memory = train(size, 3, tmp_path / "memory", rows, start=start)
    from_disk = train(size, 3, tmp_path / "disk", Prepared(folder), start=start)
    assert from_disk.curve == from_memory.curve and (from_disk.examples, from_disk.steps) == (13, 4)
    assert (from_disk.tokens, from_disk.supervised_tokens) == (from_memory.tokens, from_memory.supervised_tokens)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("memory", "disk")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    other = load_small_tokenizer()
    other.add_tokens(["Skylark"])
    prepare(lambda begin: TrajectoryStream(file, begin), other, tmp_path / "other", Plan.of(size))
    with pytest.raises(DataError, match="prepared with another tokenizer"):
        train(size, 3, tmp_path / "out", Prepared(tmp_path / "other"), start=start)
    (tmp_path / "none.json").write_text("[]")
    prepare(lambda begin: TrajectoryStream(tmp_path / "none.json", begin), tokenizer, tmp_path / "empty", Plan.of(size))
    with pytest.raises(DataError, match="no training example is left"):
        train(size, 3, tmp_path / "out", Prepared(tmp_path / "empty"), start=start)


def test_a_checkpoint_in_half_precision_is_trained_in_float32(start, tmp_path):
    """OPT's weights are float16 on the hub; AdamW's small steps would be lost in them."""
    model, _ = load_start(start)
    model.half().save_pretrained(tmp_path / "half")
    assert load_start(tmp_path / "half")[0].dtype == torch.float32


def test_a_folder_as_the_hub_has_it_is_a_start(start, tmp_path):
    """facebook/opt-350m, downloaded: weights in pytorch_model.bin and half precision, a tokenizer of its own."""
    model, _ = load_start(start)
    folder, words = tmp_path / "opt-350m", load_small_tokenizer()
    words.add_tokens(["Skylark"])
    words.save_pretrained(folder)
    model.half().config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    found, tokenizer = load_start(folder)
    assert found.dtype == torch.float32 and len(tokenizer) == len(load_small_tokenizer()) + 1
    assert tokenizer.chat_template == CHAT_TEMPLATE
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].float()), name


def test_the_hub_s_two_files_of_opt_s_tokenizer_are_read_as_opt_s_own(start, tmp_path):
    if "TOOLBENCH_DIR" not in os.environ:
        pytest.skip("TOOLBENCH_DIR is not set: it names a folder with ToolBench's files")
    files = Path(os.environ["TOOLBENCH_DIR"]) / "opt_tokenizer"
    model, _ = load_start(start)
    model.save_pretrained(tmp_path)
    shutil.copy(files / "gpt2-vocab.json", tmp_path / "vocab.json")
    shutil.copy(files / "gpt2-merges.txt", tmp_path / "merges.txt")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "GPT2Tokenizer", "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>", '
        '"add_prefix_space": false, "errors": "replace"}'
    )
    tokenizer, ours = load_start(tmp_path)[1], load_opt_tokenizer(files / "gpt2-vocab.json", files / "gpt2-merges.txt")
    rows = gold_trajectories(build_world(), 3, "toolbench")
    for theirs, expected in zip(flatten_all(rows, tokenizer).examples, flatten_all(rows, ours).examples, strict=True):
        assert theirs.input_ids.tolist() == expected.input_ids.tolist() and theirs.labels.tolist() == expected.labels.tolist()


def test_a_shard_in_which_nothing_is_supervised_is_passed_over(start, tmp_path):
    """Rows that end before an assistant speaks leave a shard without an example; training goes from the one before to the one after."""
    file = write_rows(tmp_path / "rows.json", gold_trajectories(build_world(), 8, "toolbench"))
    rows = read_json(file)
    for row in rows[4:6]:
        row["conversations"] = row["conversations"][:2]
    file.write_text(json.dumps(rows))
    size, tokenizer = replace(SHORT, max_length=700, truncation="shorten", batch_size=2), load_small_tokenizer()
    prepare(lambda begin: TrajectoryStream(file, begin), tokenizer, tmp_path / "prepared", replace(Plan.of(size), shard=2))
    assert [shard["examples"] for shard in read_json(tmp_path / "prepared" / "manifest.json")["shards"]] == [2, 2, 0, 2]
    record = train(size, 0, tmp_path / "out", Prepared(tmp_path / "prepared"), start=start, save_every=10)
    assert (record.examples, record.steps, len(record.refused)) == (6, 3, 2)


@pytest.mark.parametrize("prepared", [True, False])
def test_a_step_of_merged_examples_trains_on_as_many_tokens_as_one_of_rows(tmp_path, prepared):
    """Size full counts step rows; so many merged examples make a step that it has as many targets, and there are as many steps."""
    small = {"hidden_size": 16, "num_attention_heads": 1, "word_embed_proj_dim": 8, "ffn_dim": 16, "num_hidden_layers": 1}
    start = save_model(new_model(0, **small, max_position_embeddings=2600), tmp_path / "start")
    exact = {"precision": "fp32", "gradient_checkpointing": False, "warmup_steps": 0, "max_length": 2600}
    size, tokenizer = replace(FULL, batch_size=4, accumulation=2, **exact), load_small_tokenizer()
    trajectories = gold_trajectories(build_world(), 12, "toolbench")
    rows = [row for trajectory in trajectories for row in step_rows(trajectory)]
    file, found, said = write_rows(tmp_path / "rows.json", rows), {}, []
    for merge in (False, True):
        data = merge_rows(rows) if merge else rows
        if prepared:
            prepare(lambda begin: TrajectoryStream(file, begin), tokenizer, tmp_path / f"{merge}", Plan.of(size, merge))
            data = Prepared(tmp_path / f"{merge}")
        found[merge] = train(size, 0, tmp_path / "out", data, start=start, on_forecast=said.append)
    apart, merged = found[False], found[True]
    assert merged.supervised_tokens == apart.supervised_tokens and merged.examples == 12 < apart.examples == len(rows)
    a_step = round(8 * 12 / len(rows))
    assert 1 < a_step < 8 and merged.steps == -(-12 // a_step) and abs(merged.steps - apart.steps) <= 1
    rows_said, merged_said = map(str, said)
    assert f"{apart.steps} steps of 8 examples (4 x 2), {8 * apart.supervised_tokens / len(rows):,.0f} supervised" in rows_said
    assert (
        f"12 examples, of {len(rows)} rows merged" in merged_said
        and f"{merged.steps} steps of {a_step} examples (" in merged_said
    )
    as_rows, tokens = a_step * len(rows) / 12, a_step * merged.supervised_tokens / 12
    assert f"in place of {as_rows:.0f} rows, {tokens:,.0f} supervised tokens a step" in merged_said
    assert abs(as_rows - 8) <= len(rows) / 12 / 2  # as near as whole examples come


def test_full_says_what_data_it_needs(monkeypatch):
    monkeypatch.delenv("TOOLBENCH_DIR", raising=False)
    with pytest.raises(DataError, match="TOOLBENCH_DIR.*download"):
        training_trajectories(FULL)


def test_missing_start_and_unknown_size(tmp_path):
    with pytest.raises(WorkbookError, match="no checkpoint there"):
        load_start(tmp_path / "nowhere")
    with pytest.raises(WorkbookError, match="'medium'.*'smoke', 'tiny', 'full'"):
        get_size("medium")
    assert get_size("tiny") is TINY


def test_full_keeps_the_target_of_every_real_row():
    """ToolBench's step rows under OPT's tokenizer at 2,048 tokens: none is lost, each is trained on its last turn only."""
    if "TOOLBENCH_DIR" not in os.environ:
        pytest.skip("TOOLBENCH_DIR is not set: it names a folder with ToolBench's files")
    folder = Path(os.environ["TOOLBENCH_DIR"]) / "opt_tokenizer"
    tokenizer = load_opt_tokenizer(folder / "gpt2-vocab.json", folder / "gpt2-merges.txt")
    rows = training_trajectories(FULL)
    data = flatten_for(FULL, rows, tokenizer)
    assert len(data) == len(rows) > 30 and not data.refused
    assert data.cut > 0, "no row is longer than 2,048 tokens: the test tests nothing"
    for row, example in zip(rows, data.examples, strict=True):
        assert len(example) <= FULL.max_length
        assert tokenizer.decode(example.input_ids[example.loss_mask]) == row.messages[-1].content + "</s>"


def test_one_epoch_is_every_row_once_in_mixed_batches():
    """Each window of batches is a random sample; inside it equals stand beside equals; the seed decides the order."""
    lengths = [100 + 37 * k % 500 for k in range(195)]
    rows = [{"input_ids": list(range(length)), "labels": [k]} for k, length in enumerate(lengths)]
    ordered = one_epoch(rows, 8, seed=0)
    assert sorted(row["labels"][0] for row in ordered) == list(range(len(rows)))
    assert ordered == one_epoch(rows, 8, seed=0) != one_epoch(rows, 8, seed=1)

    def batches(rows):
        return [[len(row["input_ids"]) for row in rows[k : k + 8]] for k in range(0, len(rows), 8)]

    def filling(rows):
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches(rows))

    assert filling(ordered) < 0.6 * filling(rows)
    median = sorted(lengths)[len(lengths) // 2]
    for k in range(0, len(rows) // 8 - WINDOW, WINDOW):  # no run of batches holds short rows only
        assert max(map(max, batches(ordered)[k : k + WINDOW])) > median
