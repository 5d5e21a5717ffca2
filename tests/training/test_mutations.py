"""The mutation lab: each mutation breaks what it says and nothing else, the check refuses two of them, and they train as they are."""

from dataclasses import replace

import numpy as np
import pytest

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError
from toolslm_helpers.model.checkpoints import new_model, save_model
from toolslm_helpers.model.loss import CLOSING, DELIMITER, FIRST, add_ledgers, kinds_of, ledger
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.text.flatten import FlatDataset, FlatExample, flatten_all
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training.mutations import CUT, MUTATIONS, batch_check, beginning, turn_check
from toolslm_helpers.training.sft import CheckedCollator, PaddingCollator, flatten_for, train, training_rows_of

TOKENIZER = load_small_tokenizer()
TRAJECTORIES = gold_trajectories(build_world(), 40)
DATA = flatten_all(TRAJECTORIES, TOKENIZER)
LAB = {mutation.name: mutation for mutation in MUTATIONS}
# User: Lisbon? Assistant: call </s> Function: sunny Assistant: done </s>
TEN = FlatExample(
    "ten", np.array([10, 11, 12, 13, 2, 14, 15, 12, 16, 2]), np.array([0, 0, 0, 1, 1, 0, 0, 0, 1, 1], dtype=bool),
    np.array([2, 2, 3, 3, 3, 4, 4, 3, 3, 3]), "",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("right", [-100, -100, -100, 13, 2, -100, -100, -100, 16, 2]),
        ("mask dropped", [10, 11, 12, 13, 2, 14, 15, 12, 16, 2]),
        ("mask one late", [-100, -100, -100, -100, 2, 14, -100, -100, -100, 2]),
        ("shifted twice", [-100, -100, 13, 2, -100, -100, -100, 16, 2, -100]),
        ("end masked", [-100, -100, -100, 13, -100, -100, -100, -100, 16, -100]),
        ("pad is </s>", [-100] * 10),
    ],
)
def test_ten_tokens(name, labels):
    (row,) = LAB[name](FlatDataset((TEN,), ()))
    assert row == {"input_ids": TEN.input_ids.tolist(), "labels": labels}


def books(name, data=DATA):
    """{kind: graded tokens} of a mutation's rows."""
    entries = add_ledgers([ledger(kinds_of(example), labels) for example, labels in LAB[name].labelled(data)])
    return {entry.kind: entry.graded for entry in entries}


def test_the_ledger_tells_them_apart():
    turns = sum(message.role == "assistant" for trajectory in TRAJECTORIES for message in trajectory.messages)
    right = books("right")
    assert right[FIRST] == right[CLOSING] == turns and not right["user"] and not right[DELIMITER]
    assert sum(books("mask dropped").values()) == DATA.tokens - len(DATA)
    assert books("mask one late") == right | {FIRST: 0, DELIMITER: turns}
    assert books("end masked") == right | {CLOSING: 0}
    assert set(books("pad is </s>").values()) == {0}


def test_right_rows_are_those_of_every_real_run():
    assert LAB["right"](DATA) == training_rows_of(DATA)


def test_truncated_rows_are_beginnings_and_rows_without_a_label_are_gone():
    longest = int(CUT * np.median([len(example) for example in DATA.examples]))
    whole = {tuple(example.input_ids[:longest]): example for example in DATA.examples}
    rows = LAB["truncated"](DATA)
    assert max(len(row["input_ids"]) for row in rows) == longest
    assert sum(row["input_ids"][-1:] != whole[tuple(row["input_ids"])].input_ids[-1:].tolist() for row in rows) > len(rows) / 4
    for row in rows:
        example = whole[tuple(row["input_ids"])]
        assert row["labels"] == example.labels[:longest].tolist() and any(label != -100 for label in row["labels"])
    first_answers = [int(example.loss_mask.argmax()) for example in DATA.examples]
    short = replace_lengths(DATA, sorted(first_answers)[10] + 1)
    assert 0 < len(LAB["truncated"](short)) <= len(short)


def replace_lengths(data, length):
    """The same examples, cut on the right: then some have no label within ``CUT`` of the median."""
    return FlatDataset(tuple(beginning(example, length) for example in data.examples), ())


def test_a_row_that_loses_all_its_labels_is_dropped():
    late = FlatExample("late", np.arange(20, 40), np.arange(20) == 19, np.full(20, 3, dtype=np.int8), "")
    data = FlatDataset((late, *[replace(TEN, id=str(k)) for k in range(3)]), ())
    assert len(LAB["truncated"](data)) == 3


def test_a_beginning_says_what_was_cut():
    part = beginning(TEN, 4)
    assert part.input_ids.tolist() == [10, 11, 12, 13] and part.supervised == 1 and part.cut == 6 and len(TEN) == 10
    assert beginning(TEN, 12).cut == 0


def test_nested_rows_are_the_step_rows_with_all_their_turns_graded():
    """Without the line break that a step row has behind its last </s>, which is never graded."""
    steps = []
    for trajectory in TRAJECTORIES:
        ends = [k for k, message in enumerate(trajectory.messages) if message.role == "assistant"]
        steps += [trajectory.model_copy(update={"messages": trajectory.messages[: k + 1]}) for k in ends]
    expected = [(e.input_ids[:-1].tolist(), e.labels[:-1].tolist()) for e in flatten_all(steps, TOKENIZER).examples]
    roomy = FlatDataset(DATA.examples, ())
    rows = LAB["nested, all turns"](roomy)
    assert all((row["input_ids"], row["labels"]) in expected for row in rows)
    read = sum(len(row["input_ids"]) for row in rows)
    assert DATA.tokens <= read < DATA.tokens + max(map(len, DATA.examples)), "as many tokens as the right run reads, to the row"
    assert len(rows) < len(expected) and rows != LAB["nested, all turns"](DATA, seed=1) and rows == LAB["nested, all turns"](DATA)
    one = FlatDataset((TEN,), ())
    assert {len(row["input_ids"]) for row in LAB["nested, all turns"](one)} <= {5, 10}


def test_one_check_refuses_two_and_the_other_all_but_the_right_and_the_nested_ones():
    """Nested rows are no wrong labels: each is a conversation of its own, rightly graded. It is their number that is odd."""
    batches, turns = (
        {name: check(mutation(DATA), TOKENIZER) for name, mutation in LAB.items()} for check in (batch_check, turn_check)
    )
    assert {name for name, verdict in batches.items() if verdict} == {"shifted twice", "pad is </s>"}
    assert "not its ids" in batches["shifted twice"] and "no supervised token" in batches["pad is </s>"]
    assert {name for name, verdict in turns.items() if not verdict} == {"right", "nested, all turns"}
    assert (
        "right behind 'Assistant: '" in turns["mask one late"]
        and "0 </s>" in turns["end masked"]
        and "0 </s>" in turns["truncated"]
    )


def test_a_mutation_trains_through_the_real_trainer_only_where_the_check_is_taken_off(tmp_path):
    start = save_model(
        new_model(0, hidden_size=16, num_attention_heads=4, word_embed_proj_dim=8, ffn_dim=32, num_hidden_layers=1),
        tmp_path / "start",
    )
    size = replace(SMOKE, batch_size=4, warmup_steps=1)

    def run(name, collator):
        return train(size, 0, tmp_path / name, TRAJECTORIES[:8], start=start, rows_of=LAB[name], collator=collator)

    with pytest.raises(DataError, match="no supervised token"):
        run("pad is </s>", CheckedCollator)
    nothing = run("pad is </s>", PaddingCollator)
    assert nothing.supervised_tokens == 0 and nothing.final_loss == 0.0, "TRL's loss over no token is a perfect one"
    first = flatten_for(size, TRAJECTORIES[:8], TOKENIZER)
    dropped = run("mask dropped", PaddingCollator)
    assert dropped.supervised_tokens == first.tokens - 8 and dropped.tokens == first.tokens and dropped.final_loss > 1
    plain = train(size, 0, tmp_path / "plain", TRAJECTORIES[:8], start=start)
    right = run("right", PaddingCollator)
    assert right.final_loss == plain.final_loss and right.supervised_tokens == plain.supervised_tokens == first.supervised
