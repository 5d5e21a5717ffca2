"""Each switch that makes training faster leaves its loss alone: on the same weights and the same rows, to 1e-5."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.merge import merge_rows, step_rows
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError
from toolslm_helpers.model.checkpoints import new_model, save_model
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.text.flatten import flatten_all
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training import sft
from toolslm_helpers.training.collators import CheckedCollator
from toolslm_helpers.training.order import places_in_order
from toolslm_helpers.training.sft import train
from toolslm_helpers.training.speed import STOCK
from toolslm_helpers.training.unpadded import UnpaddedCollator, attend_within_rows

TRAJECTORIES = gold_trajectories(build_world(), 24)
SIZE = replace(SMOKE, batch_size=4, accumulation=2, warmup_steps=0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    model = new_model(0, hidden_size=32, num_attention_heads=4, word_embed_proj_dim=16, ffn_dim=64, num_hidden_layers=2)
    return save_model(model, tmp_path_factory.mktemp("start") / "model")


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    monkeypatch.setattr(sft, "LOG_EVERY", 1)


@pytest.fixture(scope="module")
def stock(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "LOG_EVERY", 1)
        return train(SIZE, 1, folder, TRAJECTORIES, start=start, speed=STOCK), folder


@pytest.mark.parametrize("switch", [{"all_logits": False}, {"unpadded": True}, {"fused": True}, {"halves": True}])
def test_a_switch_gives_the_same_losses_and_the_same_weights(start, stock, tmp_path, switch):
    record, folder = stock
    switched = train(SIZE, 1, tmp_path, TRAJECTORIES, start=start, speed=replace(STOCK, **switch))
    assert [point[0] for point in switched.curve] == [1, 2, 3]
    for (_, loss, _, norm), (_, expected, _, expected_norm) in zip(switched.curve, record.curve, strict=True):
        assert loss == pytest.approx(expected, abs=1e-5) and norm == pytest.approx(expected_norm, rel=1e-4)
    weights = [load_file(one / "model.safetensors") for one in (tmp_path, folder)]
    assert all(torch.allclose(tensor, weights[1][name], atol=1e-5) for name, tensor in weights[0].items())


def test_the_switches_do_what_they_say(start, tmp_path, monkeypatch):
    """Which collator, attention and optimiser run, and for how many positions logits are made."""
    import trl

    seen = {}

    def step(self, model, inputs, count=None):
        seen.update(
            shape=tuple(inputs["input_ids"].shape), attention=model.config._attn_implementation, optimiser=self.args.optim
        )
        with torch.no_grad():
            self.compute_loss(model, dict(inputs), num_items_in_batch=count)
        raise InterruptedError

    monkeypatch.setattr(trl.SFTTrainer, "training_step", step)
    made = []
    true = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda logits, *a, **k: made.append(len(logits)) or true(logits, *a, **k)
    )
    lengths = [len(e) for e in flatten_all(TRAJECTORIES, load_small_tokenizer()).examples]
    first = [lengths[place] for place in places_in_order(lengths, 4, 1, False)[:4]]
    for speed, shape, attention in (
        (STOCK, (4, max(first)), "sdpa"),
        (replace(STOCK, unpadded=True, fused=True), (1, sum(first)), "sdpa_rows"),
        (replace(STOCK, all_logits=False), (4, max(first)), "sdpa"),
    ):
        made.clear()
        with pytest.raises(InterruptedError):
            train(SIZE, 1, tmp_path, TRAJECTORIES, start=start, speed=speed)
        assert (seen["shape"], seen["attention"]) == (shape, attention)
        assert seen["optimiser"] == ("adamw_torch_fused" if speed.fused else "adamw_torch")
        assert bool(made) is not speed.all_logits and sum(made) < 0.5 * sum(first)


def test_grouping_sees_the_same_rows_at_less_padding(start):
    """The loss of the whole epoch, at one set of weights, is the same in both orders; fewer places are computed."""
    model, tokenizer = sft.load_start(start)
    rows = sft.training_rows_of(flatten_all(TRAJECTORIES, tokenizer))
    lengths, collate = [len(row["input_ids"]) for row in rows], CheckedCollator(1)
    found = {}
    for group in (False, True):
        places = places_in_order(lengths, 4, 1, group)
        batches = [collate([rows[place] for place in places[k : k + 4]]) for k in range(0, len(places), 4)]
        with torch.no_grad():
            losses = [
                torch.nn.functional.cross_entropy(
                    model(input_ids=batch["input_ids"]).logits[:, :-1].flatten(0, 1),
                    batch["labels"][:, 1:].flatten(),
                    reduction="sum",
                )
                for batch in batches
            ]
        found[group] = sum(losses).item(), sum(batch["input_ids"].numel() for batch in batches)
    supervised = sum(map(sft.supervised_in, rows))
    assert found[True][0] / supervised == pytest.approx(found[False][0] / supervised, abs=1e-5)
    assert found[True][1] < found[False][1]


def test_merged_rows_cost_the_same_loss_as_step_rows(start):
    """Per supervised token; the tokens are the same, once each."""
    model, tokenizer = sft.load_start(start)
    steps = [row for trajectory in TRAJECTORIES for row in step_rows(trajectory)]
    losses = []
    for data in (flatten_all(steps, tokenizer, supervise="last"), flatten_all(merge_rows(steps), tokenizer)):
        total = 0.0
        for row in sft.training_rows_of(data):
            batch = CheckedCollator(1)([row])
            with torch.no_grad():
                logits = model(input_ids=batch["input_ids"]).logits[0, :-1]
            total += torch.nn.functional.cross_entropy(logits, batch["labels"][0, 1:], reduction="sum").item()
        losses.append((total / data.supervised, data.supervised, data.tokens))
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-5) and losses[0][1] == losses[1][1] and losses[1][2] < losses[0][2]


def test_rows_that_stand_behind_each_other_do_not_see_each_other(start):
    """Logits of a row in an unpadded batch are those of the row alone; with plain attention they are not, or this would test nothing."""
    model, tokenizer = sft.load_start(start)
    rows = sft.training_rows_of(flatten_all(TRAJECTORIES[:3], tokenizer))
    batch = UnpaddedCollator(1)([row | {"place": k} for k, row in enumerate(rows)])
    assert batch["place"].tolist() == [0, 1, 2] and batch["labels"][0, sum(batch["row_lengths"][:1])] == -100
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows]
        leaking = model(**inputs).logits[0]
        attend_within_rows(model)
        together = model(**inputs, row_lengths=batch["row_lengths"]).logits[0].split(batch["row_lengths"])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(alone, together, strict=True))
    assert not torch.allclose(leaking[-5:], alone[-1][-5:], atol=1e-4)
    with pytest.raises(DataError, match="no supervised token"):
        UnpaddedCollator(1)([rows[0], rows[1] | {"labels": [-100] * len(rows[1]["labels"])}])
