"""ToolBench's own arithmetic: as its program did it on real rows, and what its two numbers do."""

import json
import os
from pathlib import Path

import pytest

from toolslm_helpers.data.toolbench import read_rows
from toolslm_helpers.teaching.split_mask import joined, labels_by_splitting
from toolslm_helpers.teaching.toy import toy_trajectory
from toolslm_helpers.text.flatten import flatten
from toolslm_helpers.text.tokenizer import END_ID, load_opt_tokenizer, load_small_tokenizer

SMALL = load_small_tokenizer()
TOY = toy_trajectory().messages
LAST = f"{TOY[-1].content}</s>"


@pytest.fixture(scope="module")
def toolbench():
    folder = os.environ.get("TOOLBENCH_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs ToolBench's files: set TOOLBENCH_DIR to a folder with golden/ and opt_tokenizer/")
    return Path(folder)


def graded(text, **settings):
    ids, labels = labels_by_splitting(text, SMALL, **settings)
    assert ((labels == ids) | (labels == -100)).all() and labels[0] == -100
    return SMALL.decode(ids[labels != -100])


def with_observation(content):
    return joined([*TOY[:5], TOY[5].model_copy(update={"content": content}), TOY[6]])


def test_the_last_turn_and_its_end_and_the_constant_says_where_it_begins():
    assert graded(joined(TOY), constant=1) == LAST
    assert graded(joined(TOY), constant=2) == "Assistant: " + LAST
    assert graded(joined(TOY), constant=0) == LAST.removeprefix("\nThought: ")
    last = flatten(toy_trajectory(), SMALL, supervise="last")
    assert graded(joined(TOY), constant=1) == SMALL.decode(last.input_ids[last.loss_mask])


def test_padding_that_is_the_end_token_takes_every_label_away():
    assert graded(joined(TOY), pad_id=END_ID) == ""
    assert graded(joined(TOY[:3]), pad_id=END_ID) == ""


def test_an_observation_can_choose_what_is_graded():
    assert 'Function: {"a</s>' in graded(with_observation('{"a</s>"}'), constant=1)
    assert "Function:Assistant: " in graded(with_observation(""), constant=1)
    assert graded(with_observation("a"), constant=1) == LAST


def test_a_row_without_room_is_cut_on_the_right_and_loses_its_labels():
    ids, labels = labels_by_splitting(joined(TOY), SMALL, room=40)
    assert len(ids) == len(labels) == 40 and (labels == -100).all()
    whole = len(SMALL(joined(TOY))["input_ids"])
    half = graded(joined(TOY), constant=1, room=whole - 8)
    assert half and LAST.startswith(half) and not half.endswith("</s>"), "half an answer is graded: a cut row is not given up"


def test_a_text_is_joined_with_one_end_token_and_an_empty_message_has_no_line():
    assert joined(TOY[:2]).endswith(f"\nUser: {TOY[1].content}</s>") and joined(TOY).count("</s>") == 1
    assert joined([TOY[1].model_copy(update={"content": ""}), TOY[0]]).startswith("User:System: ")
    assert joined([TOY[0].model_copy(update={"content": "a"}), TOY[1].model_copy(update={"content": ""})]) == "System: a\nUser:"


def test_it_is_what_the_program_made_of_real_rows(toolbench):
    texts, spans = (
        sum(json.loads((toolbench / "golden" / f"{name}.json").read_text(encoding="utf-8")).values(), [])
        for name in ("flattened_prompts", "mask_spans_opt_bpe")
    )
    folder = toolbench / "opt_tokenizer"
    tokenizer = load_opt_tokenizer(folder / "gpt2-vocab.json", folder / "gpt2-merges.txt")
    rows = read_rows(toolbench / "golden" / "toolllama_train_like.json")
    assert len(rows) == len(texts) == len(spans) > 30
    for row, text, span in zip(rows, texts, spans, strict=True):
        assert joined(row.messages) == text
        ids, labels = labels_by_splitting(text, tokenizer, room=8192)
        places = (labels != -100).nonzero()[0]
        assert len(places) == span["n_unmasked_upstream_arithmetic"] and (ids != 1).sum() == span["n_tokens_bos_eos"]
        assert (places[0], places[-1]) == (span["first_unmasked_index"], span["last_unmasked_index"])
        target = flatten(row, tokenizer, supervise="last")
        beginning = tokenizer.decode(ids[places])
        assert beginning == " " + tokenizer.decode(target.input_ids[target.loss_mask]), "one token early: the delimiter's space"
