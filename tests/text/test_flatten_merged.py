"""Merged examples as ids: each supervised token is one of a step row's, behind exactly the ids that it had there."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.data.merge import merge_rows, step_rows
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.toolbench import read_rows, read_tree, training_rows, trajectory_of
from toolslm_helpers.files import DataError
from toolslm_helpers.text.flatten import FlatExample, flatten, flatten_all

CONTENTS = {"s": "Use.", "u1": "Weather?", "u2": "Again.", "f1": '{"error": ""}', "f2": "</s>", "f3": ""}
ANSWERS = {"a1": "\nThought: \nAction: f", "a2": "\nFinish </s>", "a3": ""}


def row(words: list[str], id_: str) -> Trajectory:
    roles = {"s": "system", "u": "user", "a": "assistant", "f": "function"}
    messages = tuple(Message(role=roles[word[0]], content={**CONTENTS, **ANSWERS}[word]) for word in words)
    return Trajectory(id=id_, query="q", functions=(), messages=messages)


def supervised(examples: list[FlatExample]) -> Counter[tuple[int, ...]]:
    """Every supervised token, with all the ids before it."""
    return Counter(tuple(e.input_ids[: at + 1].tolist()) for e in examples for at in np.flatnonzero(e.loss_mask))


def test_only_the_turns_asked_for_are_trained(tiny_tokenizer) -> None:
    one = row(["s", "u1", "a1", "f1", "a2", "f2", "a1"], "one")
    for turns in ((2,), (4, 6), (6, 2)):
        example = flatten(one, tiny_tokenizer, supervise=turns)
        texts = [one.messages[turn].content + "</s>" for turn in sorted(turns)]
        assert tiny_tokenizer.decode(example.input_ids[example.loss_mask]) == "".join(texts)
    whole = flatten(one, tiny_tokenizer, supervise=[2, 4, 6])
    assert whole.loss_mask.tolist() == flatten(one, tiny_tokenizer).loss_mask.tolist()
    for wrong in ((1,), (7,), (-1,), (2, 3)):
        with pytest.raises(DataError, match=f"one: message {wrong[-1]} is to be trained and is no assistant turn"):
            flatten(one, tiny_tokenizer, supervise=wrong)
    with pytest.raises(DataError, match="no supervised token"):
        flatten(one, tiny_tokenizer, supervise=())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*CONTENTS, *ANSWERS]), max_size=6), max_size=8))
def test_any_step_rows_and_their_merged_examples_supervise_the_same(tiny_tokenizer, paths: list[list[str]]) -> None:
    rows = [row(["s", "u1", *path, answer], f"row {k}") for k, path in enumerate(paths) for answer in ANSWERS]
    apart = flatten_all(rows, tiny_tokenizer, supervise="last")
    merged = flatten_all(merge_rows(rows), tiny_tokenizer)
    assert not apart.refused and not merged.refused
    assert supervised(list(merged.examples)) == supervised(list(apart.examples))
    assert merged.supervised == apart.supervised and merged.tokens <= apart.tokens


def test_the_real_rows_and_their_merged_examples_supervise_the_same(toolbench_dir: Path, opt_tokenizer) -> None:
    rows = read_rows(toolbench_dir / "golden" / "toolllama_train_like.json")
    examples = merge_rows(rows)
    apart = flatten_all(rows, opt_tokenizer, supervise="last")
    merged = flatten_all(examples, opt_tokenizer)
    assert (len(rows), len(examples)) == (35, 12)
    assert supervised(list(merged.examples)) == supervised(list(apart.examples))
    assert apart.tokens > 2.5 * merged.tokens


def test_mended_rows_of_a_tree_become_one_example(toolbench_dir: Path, opt_tokenizer) -> None:
    for file in sorted(toolbench_dir.glob("**/*_DFS_woFilter_w2.json")):
        rows = [trajectory_of(r) for r in training_rows(read_tree(file))]
        examples = merge_rows(rows)
        assert len(examples) == bool(rows), file
        if examples:
            assert [r.messages for r in step_rows(examples[0].trajectory)] == [r.messages for r in rows]
            assert (
                flatten(examples[0].trajectory, opt_tokenizer).supervised
                == flatten_all(rows, opt_tokenizer, supervise="last").supervised
            )
