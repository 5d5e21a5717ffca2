"""The small tokenizer has OPT's habits, and names and numbers can be copied: the same pieces wherever they stand."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolslm_helpers.data.words import coin_word
from toolslm_helpers.files import DataError
from toolslm_helpers.text import tokenizer as module
from toolslm_helpers.text.tokenizer import PROTOCOL_PIECES, SPECIAL_TOKENS, load_small_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_small_tokenizer()


def pieces(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_opt_s_habits(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3]
    assert tokenizer.bos_token == tokenizer.eos_token == "</s>" and tokenizer.pad_token == "<pad>"
    assert tokenizer("price")["input_ids"][0] == 2 and len(tokenizer) == 1000


@pytest.mark.parametrize("frame", ["the {} of", "get_{}_for", '"{}": 3', "({}:string)", "{}."])
def test_a_word_is_the_same_pieces_wherever_it_stands(tokenizer, frame):
    rng = random.Random(0)
    for word in [coin_word(rng, False) for _ in range(200)] + ["temperature", "average", "ranking"]:
        ids, inside = pieces(tokenizer, word), pieces(tokenizer, frame.format(word))
        assert any(inside[k : k + len(ids)] == ids for k in range(len(inside))), (word, frame)


def test_names_keep_their_pieces_after_a_capital(tokenizer):
    ids = pieces(tokenizer, "Kelmora")
    for frame in ("of Kelmora?", '": "Kelmora"}', "Hi Kelmora's"):
        inside = pieces(tokenizer, frame)
        assert any(inside[k : k + len(ids)] == ids for k in range(len(inside)))


def test_digits_stand_alone(tokenizer):
    assert len(pieces(tokenizer, "1987")) == 4
    assert pieces(tokenizer, "19")[0] == pieces(tokenizer, "1")[0]


def test_the_protocol_s_pieces_are_whole(tokenizer):
    for piece in PROTOCOL_PIECES:
        assert len(pieces(tokenizer, piece)) == 1


@given(st.text())
def test_every_text_comes_back(text):
    tokenizer = load_small_tokenizer()
    for token in SPECIAL_TOKENS:
        text = text.replace(token, "")
    assert tokenizer.decode(pieces(tokenizer, text)) == text


def test_missing_and_damaged_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "small_tokenizer_path", lambda: tmp_path / "tokenizer.json")
    with pytest.raises(DataError, match="toolslm stages tokenizer"):
        load_small_tokenizer()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="toolslm stages tokenizer"):
        load_small_tokenizer()
