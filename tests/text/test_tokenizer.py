"""Tokenizers with OPT's habits. The part about the small tokenizer's own pieces is at the end."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolslm_helpers.files import DataError
from toolslm_helpers.text.tokenizer import SPECIAL_TOKENS, load_opt_tokenizer

BYTES = "abcdefghijklmnopqrstuvwxyz:ĠĊ"  # enough of the byte alphabet for the texts below


def write_files(folder: Path, merges: str = "#version: 0.2\nh i\nĠ hi\n", **vocabulary: int) -> tuple[Path, Path]:
    pieces = [*SPECIAL_TOKENS, *BYTES, "hi", "Ġhi"]
    vocab_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    vocab_path.write_text(json.dumps({piece: id_ for id_, piece in enumerate(pieces)} | vocabulary), encoding="utf-8")
    merges_path.write_text(merges, encoding="utf-8")
    return vocab_path, merges_path


def test_opt_habits(tmp_path: Path) -> None:
    tokenizer = load_opt_tokenizer(*write_files(tmp_path))
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token) == (
        "</s>",
        "</s>",
        "<pad>",
        "<unk>",
    )
    assert tokenizer.convert_ids_to_tokens(tokenizer("hi hi")["input_ids"]) == ["</s>", "hi", "Ġhi"]
    assert tokenizer("hi").keys() == {"input_ids", "attention_mask"}  # OPT takes no token_type_ids
    assert tokenizer.decode(tokenizer("hi hi")["input_ids"]) == "</s>hi hi"
    assert tokenizer.padding_side == "right"


def test_habits_survive_saving(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = load_opt_tokenizer(*write_files(tmp_path))
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert loaded("hi hi")["input_ids"] == tokenizer("hi hi")["input_ids"]
    assert loaded.chat_template == tokenizer.chat_template
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (2, 2, 1)


@pytest.mark.parametrize(
    ("merges", "vocabulary", "complaint"),
    [
        ("#version: 0.2\nh i\n", {"</s>": 50256, "<s>": 50257}, "vocabulary: <s> has id 50257, expected 0"),
        ("#version: 0.2\nh i j\n", {}, r"merges\.txt: line 2: 'h i j' is no merge of two pieces of .*vocab\.json"),
        ("#version: 0.2\nh i\na b\n", {}, r"merges\.txt: line 3: 'a b' is no merge"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path: Path, merges: str, vocabulary: dict[str, int], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        load_opt_tokenizer(*write_files(tmp_path, merges, **vocabulary))


def test_missing_or_broken_files(tmp_path: Path) -> None:
    vocab_path, merges_path = write_files(tmp_path)
    with pytest.raises(DataError, match="absent.json: no such file"):
        load_opt_tokenizer(tmp_path / "absent.json", merges_path)
    with pytest.raises(DataError, match="absent.txt: could not be read"):
        load_opt_tokenizer(vocab_path, tmp_path / "absent.txt")
    vocab_path.write_text('["a"]')
    with pytest.raises(DataError, match="vocab.json: expected one JSON object from piece to id"):
        load_opt_tokenizer(vocab_path, merges_path)


def test_opts_own_files(opt_tokenizer) -> None:
    assert len(opt_tokenizer) == 50_265
    # Ids that OPT's model card and everyone's examples show: "Hello world".
    assert opt_tokenizer("Hello world")["input_ids"] == [2, 31414, 232]
    assert opt_tokenizer.convert_ids_to_tokens([1437, 50118]) == ["Ġ", "Ċ"]


@given(text=st.text())
def test_every_text_comes_back_and_none_needs_unk(tiny_tokenizer, text: str) -> None:
    ids = tiny_tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tiny_tokenizer.decode(ids) == text
    assert not set(ids) & {0, 1, 2, 3}
