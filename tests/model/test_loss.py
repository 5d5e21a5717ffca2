"""Masked cross-entropy equals the paper's, PyTorch's, transformers' and TRL's; its gradient autograd's; the ledger counts every token."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.loss.loss_utils import ForCausalLMLoss

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError
from toolslm_helpers.model.checkpoints import new_model
from toolslm_helpers.model.loss import (
    CLOSING,
    DELIMITER,
    FIRST,
    FURTHER,
    KINDS,
    Entry,
    add_ledgers,
    graded_ledger,
    kinds_of,
    ledger,
    logit_gradient,
    masked_cross_entropy,
    token_losses,
)
from toolslm_helpers.teaching.byhand import by_hand
from toolslm_helpers.text.flatten import flatten, flatten_all
from toolslm_helpers.text.tokenizer import load_small_tokenizer

TOKENIZER = load_small_tokenizer()
V = 7
WORLD = flatten_all(gold_trajectories(build_world(), 6), TOKENIZER).examples
SMALL = {"hidden_size": 16, "num_attention_heads": 4, "word_embed_proj_dim": 8, "ffn_dim": 32, "num_hidden_layers": 1}


def numbers(name):
    return torch.tensor([[float(x) for x in row] for row in by_hand()[name].value], dtype=torch.float64)


def batches():
    """Logits (B, T, V) and labels (B, T) of any size, with at least one label that counts."""
    shape = st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(0, 2**20))

    def make(shape):
        B, T, seed = shape
        stream = torch.Generator().manual_seed(seed)
        logits = 4 * torch.randn(B, T, V, generator=stream, dtype=torch.float64)
        labels = torch.randint(V, (B, T), generator=stream).where(torch.rand(B, T, generator=stream) < 0.4, -100)
        labels[0, -1] = 3
        return logits, labels

    return shape.map(make)


def pytorch(logits, labels, reduction="mean"):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction=reduction)


# --- the loss


def test_it_is_the_paper_s():
    """Base 2 is base e on logits times ln 2, and bits are nats over ln 2. The row after the last word may hold anything."""
    logits = torch.cat([numbers("logits") * math.log(2), torch.full((1, 6), 9.0, dtype=torch.float64)])
    labels = torch.tensor([-100, -100, 3, 5])  # weather Lisbon call done
    bits = token_losses(logits, labels) / math.log(2)
    assert bits.tolist() == pytest.approx([0.0, *numbers("losses")[1:, 0].tolist()])
    assert (masked_cross_entropy(logits, labels) / math.log(2)).item() == pytest.approx(numbers("loss").item())
    gradient = logit_gradient(logits, labels)  # of nats by natural logits: the same as of bits by logits of base 2
    assert torch.allclose(gradient[:3], numbers("gradient of logits")) and not gradient[3].any()


@settings(deadline=None, max_examples=60)
@given(batches())
def test_it_is_pytorch_s_and_transformers_s(batch):
    logits, labels = batch
    ours = masked_cross_entropy(logits, labels)
    assert torch.allclose(ours, pytorch(logits, labels))
    assert torch.allclose(ours.float(), ForCausalLMLoss(logits, labels, vocab_size=V), atol=1e-5)
    each = pytorch(logits, labels, "none").view(len(labels), -1)
    assert torch.allclose(token_losses(logits, labels), each)


@settings(deadline=None, max_examples=60)
@given(batches())
def test_the_gradient_is_autograd_s_and_zero_where_nothing_is_graded(batch):
    logits, labels = batch
    watched = logits.clone().requires_grad_()
    pytorch(watched, labels).backward()
    ours = logit_gradient(logits, labels)
    assert torch.allclose(ours, watched.grad)
    ungraded = torch.cat([labels[:, 1:] == -100, torch.ones(len(labels), 1, dtype=torch.bool)], dim=1)
    assert (ours[ungraded] == 0).all() and (ours[~ungraded] != 0).any()
    assert torch.allclose(ours.sum(dim=-1), torch.zeros_like(ours[..., 0]), atol=1e-12)


def test_parts_of_a_batch_add_up_by_the_count_of_the_whole():
    """What transformers calls num_items_in_batch; the mean of the parts' means is another number."""
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 9, V), torch.randint(V, (2, 9))
    labels[1, 2:] = -100
    count = int((labels[:, 1:] != -100).sum())
    parts = [(logits[k : k + 1], labels[k : k + 1]) for k in range(2)]
    whole = masked_cross_entropy(logits, labels)
    assert torch.allclose(sum(masked_cross_entropy(*part, count) for part in parts), whole)
    for part in parts:
        assert torch.allclose(
            masked_cross_entropy(*part, count), ForCausalLMLoss(*part, vocab_size=V, num_items_in_batch=count), atol=1e-6
        )
    assert not torch.allclose(sum(masked_cross_entropy(*part) for part in parts) / 2, whole)
    assert torch.allclose(torch.cat([logit_gradient(*part, count) for part in parts]), logit_gradient(logits, labels), atol=1e-7)


def test_it_is_trl_s_own(tmp_path):
    """SFTTrainer.compute_loss on a batch of real rows, with the count of a larger batch and without."""
    from datasets import Dataset
    from trl import SFTTrainer

    from toolslm_helpers.sizes import SMOKE
    from toolslm_helpers.text.flatten import FlatDataset
    from toolslm_helpers.training.sft import CheckedCollator, trainer_settings, training_rows_of

    rows, collator = training_rows_of(FlatDataset(WORLD, ())), CheckedCollator(TOKENIZER.pad_token_id)
    trainer = SFTTrainer(
        new_model(0, **SMALL), trainer_settings(SMOKE, 0, tmp_path), train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER, data_collator=collator,
    )  # fmt: skip
    batch = collator(rows)
    model = trainer.model.train()
    logits = model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits
    for count in (None, 10_000):
        theirs = trainer.compute_loss(model, dict(batch), num_items_in_batch=count and torch.tensor(count))
        assert theirs.item() == pytest.approx(masked_cross_entropy(logits, batch["labels"], count).item(), rel=1e-5)
    assert model(**batch).loss.item() == pytest.approx(masked_cross_entropy(logits, batch["labels"]).item(), rel=1e-5)


def test_one_row_without_a_batch_and_half_precision():
    logits, labels = torch.randn(5, V), torch.tensor([-100, 2, -100, 3, 1])
    batched = masked_cross_entropy(logits[None], labels[None])
    assert torch.equal(masked_cross_entropy(logits, labels), batched)
    half = masked_cross_entropy(logits.half(), labels)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(batched.item(), abs=1e-2)


def test_a_label_at_the_first_position_and_logits_at_the_last_count_for_nothing():
    logits, labels = torch.randn(4, V), torch.tensor([5, -100, 2, 1])
    other, moved = logits.clone(), labels.clone()
    other[-1], moved[0] = 100.0, -100
    assert torch.equal(masked_cross_entropy(logits, labels), masked_cross_entropy(other, moved))


def test_nothing_to_grade_is_an_error_unless_it_is_a_part():
    logits, labels = torch.randn(1, 3, V), torch.tensor([[4, -100, -100]])
    for ask in (masked_cross_entropy, logit_gradient):
        with pytest.raises(DataError, match="no supervised token.*truncation"):
            ask(logits, labels)
    assert masked_cross_entropy(logits, labels, count=8).item() == 0 and not logit_gradient(logits, labels, 8).any()


@pytest.mark.parametrize(
    ("labels", "message"),
    [([1, 2], r"need labels \(3,\), found \(2,\)"), ([0, 7, 1], "label 7 .*below 7"), ([0, -1, 1], "label -1")],
)
def test_labels_that_do_not_fit_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        token_losses(torch.randn(3, V), torch.tensor(labels))


# --- the ledger


def test_every_token_has_its_kind():
    turns = (("system", "s"), ("user", "u"), ("assistant", "\nXY"), ("function", "f"), ("assistant", "\n"), ("assistant", ""))
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    example = flatten(Trajectory(id="x", query="", functions=(), messages=messages), TOKENIZER)
    found = [(TOKENIZER.decode([i]), kind) for i, kind in zip(example.input_ids, kinds_of(example), strict=True)]
    assert found == [
        ("</s>", "start"),
        ("System: ", "system"), ("s", "system"), ("\n", "system"),
        ("User: ", "user"), ("u", "user"), ("\n", "user"),
        ("Assistant: ", DELIMITER), ("\n", FIRST), ("X", FURTHER), ("Y", FURTHER), ("</s>", CLOSING), ("\n", DELIMITER),
        ("Function: ", "function"), ("f", "function"), ("\n", "function"),
        ("Assistant: ", DELIMITER), ("\n", FIRST), ("</s>", CLOSING), ("\n", DELIMITER),
        ("Assistant: ", DELIMITER), ("</s>", CLOSING), ("\n", DELIMITER),
    ]  # fmt: skip


def test_the_ledger_counts_each_token_once_and_what_is_graded():
    example = WORLD[0]
    kinds, entries = kinds_of(example), ledger(kinds_of(example), example.labels)
    assert [entry.kind for entry in entries] == list(KINDS)
    assert {entry.kind: entry.tokens for entry in entries} == {kind: kinds.count(kind) for kind in KINDS}
    assert sum(entry.tokens for entry in entries) == len(example) and sum(entry.graded for entry in entries) == example.supervised
    assert {entry.kind for entry in entries if entry.graded} == {FIRST, FURTHER, CLOSING}
    everything = ledger(kinds, example.input_ids)
    assert sum(entry.graded for entry in everything) == len(example) - 1, "nothing predicts the first token"
    assert everything[0] == Entry("start", 1, 0, 0.0)


def test_the_ledger_adds_up_the_nats_of_what_is_graded():
    kinds, labels = ["start", "user", "user", FIRST, CLOSING], [-100, 4, -100, 5, 2]
    entries = {entry.kind: entry for entry in ledger(kinds, labels, [1.0, 2.0, 4.0, 8.0])}
    assert entries["user"] == Entry("user", 2, 1, 1.0) and entries["user"].mean == 1.0
    assert entries[FIRST].nats == 4.0 and entries[CLOSING].nats == 8.0 and entries["start"].mean is None
    twice = {entry.kind: entry for entry in add_ledgers([list(entries.values())] * 2)}
    assert twice["user"] == Entry("user", 4, 2, 2.0) and twice["user"].mean == 1.0


@pytest.mark.parametrize("arguments", [(["user"], [1, 2]), (["user", "user"], [1, 2], [0.1, 0.2]), (["a tool", "user"], [1, 2])])
def test_a_ledger_of_what_does_not_fit_is_refused(arguments):
    with pytest.raises(ValueError):
        ledger(*arguments)


@pytest.mark.parametrize("masked", [True, False])
def test_the_graded_ledger_is_the_loss_of_all_examples_together(masked):
    """Batches of unequal rows, padded; the sum of nats over the graded tokens is the loss of each row alone."""
    model = new_model(0, **SMALL).eval()
    entries = graded_ledger(model, WORLD, masked=masked, batch_size=4)
    nats = count = 0
    for example in WORLD:
        ids = torch.tensor(example.input_ids.tolist())
        labels = torch.tensor(example.labels.tolist()) if masked else ids
        with torch.no_grad():
            nats += token_losses(model(input_ids=ids[None]).logits[0], labels).sum().item()
        count += int((labels[1:] != -100).sum())
    assert sum(entry.graded for entry in entries) == count
    assert sum(entry.nats for entry in entries) == pytest.approx(nats, rel=1e-5)
    assert sum(entry.tokens for entry in entries) == sum(map(len, WORLD))
