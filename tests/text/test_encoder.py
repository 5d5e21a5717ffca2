"""Joined from its messages or tokenized as a whole: the same ids, for any text, as long as the tokenizer allows it; and what is kept."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from toolslm_helpers.data.prompt import system_prompt
from toolslm_helpers.data.records import Function, Message
from toolslm_helpers.data.toolbench import read_tree, training_rows
from toolslm_helpers.text.encoder import MessageEncoder, can_join, encoder_of
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.tokenizer import SPECIAL_TOKENS, _with_opt_habits

# Runs of white space merge here, as they do in OPT's vocabulary: a line break at the wrong end of a cut gives other ids.
SPACED = [
    "System: a\n\nUser: b \n \n    Function: \n\n\n  c,  {'name': 'f'}, {'name': 'g'},\n\n  {'name': \n d \n  e \n  e \n"
] * 20


def trained(pre_tokenizer=None, texts=SPACED):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _with_opt_habits(tokenizer)


@pytest.fixture(scope="module")
def spaced_tokenizer():
    tokenizer = trained()
    assert {"ĊĊ", "ĠĠ", "ĠĊ"} <= set(tokenizer.get_vocab())
    return tokenizer


def messages_of(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=content) for role, content in turns)


def as_whole(tokenizer) -> MessageEncoder:
    encoder = MessageEncoder(tokenizer)
    encoder.joins = False
    return encoder


def assert_same(tokenizer, messages, encoder: MessageEncoder | None = None) -> None:
    for prompt in (False, True):
        joined = (encoder or MessageEncoder(tokenizer)).encode(messages, prompt)
        whole = as_whole(tokenizer).encode(messages, prompt)
        assert len(joined) == len(messages) + prompt
        for ours, theirs in zip(joined, whole, strict=True):
            assert ours.ids.tolist() == theirs.ids.tolist()
            assert ours.aligned == theirs.aligned
            if ours.aligned:
                assert ours.answer == theirs.answer


# Joined equals whole

ROLES = ("system", "user", "assistant", "function")
spaces = st.text(alphabet=" \n\t\r\u00a0\u2028", max_size=4)
functions = st.sampled_from(
    [", {'name': 'f'}", "], {'name': ", ",\n {'name': 'g'", ",  {'name': ", "System: ", "Action: ", "'s", ","]
)
texts = st.lists(st.text(max_size=6) | spaces | functions | st.sampled_from(SPECIAL_TOKENS), max_size=6).map("".join)
conversations = st.lists(st.tuples(st.sampled_from(ROLES), texts), max_size=6).map(lambda turns: messages_of(*turns))


@settings(deadline=None)
@given(conversations)
@example(messages_of(("user", "\n"), ("user", ""), ("function", " ")))
@example(messages_of(("assistant", ""), ("assistant", "\n\n x"), ("assistant", "x"), ("assistant", " \n")))
@example(messages_of(("system", "a,\n"), ("system", ", {'name': "), ("user", "x, {'name': 'f'}, {'name': 'g'")))
def test_any_conversation(spaced_tokenizer, messages) -> None:
    assert_same(spaced_tokenizer, messages)


@settings(deadline=None)
@given(conversations)
@example(messages_of(("user", "I need the "), ("user", "\nAction: "), ("user", "System:"), ("system", "the, {'name': the ")))
def test_any_conversation_with_the_small_tokenizer(small_tokenizer, messages) -> None:
    assert_same(small_tokenizer, messages)


@settings(deadline=None)
@given(conversations)
def test_any_conversation_with_opts_tokenizer(opt_tokenizer, messages) -> None:
    assert_same(opt_tokenizer, messages)


def test_every_real_row(toolbench_dir: Path, opt_tokenizer) -> None:
    rows = [row for file in sorted(toolbench_dir.glob("**/*_DFS_woFilter_w2.json")) for row in training_rows(read_tree(file))]
    encoder = MessageEncoder(opt_tokenizer)  # one for all: most messages come from what it kept
    for row in rows:
        assert_same(opt_tokenizer, row.conversations, encoder)
    assert encoder.counts.messages_new < encoder.counts.messages / 2


@pytest.mark.parametrize("rendering", ["compact", "toolbench"])
def test_every_world_trajectory(small_tokenizer, rendering: str) -> None:
    from toolslm_helpers.agent.gold import gold_trajectories
    from toolslm_helpers.data.world import build_world

    encoder = MessageEncoder(small_tokenizer)
    for trajectory in gold_trajectories(build_world(), 60, rendering):
        assert_same(small_tokenizer, trajectory.messages, encoder)


def test_cut_carelessly_the_ids_would_be_others(spaced_tokenizer) -> None:
    def ids(text: str) -> list[int]:
        return spaced_tokenizer(text, add_special_tokens=False)["input_ids"]

    whole = ids("User: x\n\nUser: y")
    assert ids("User: x\n\n") + ids("User: y") != whole  # the end of a text is no place before a letter
    assert ids("User: x\n\nU")[:-1] + ids("User: y") == whole


# Who may be joined


def test_the_tokenizers_of_the_workbook_join(tiny_tokenizer, spaced_tokenizer, small_tokenizer) -> None:
    assert can_join(tiny_tokenizer) and can_join(spaced_tokenizer)
    assert can_join(small_tokenizer), (
        "its pattern is another: prove that for it too no token crosses a cut, then allow it in can_join"
    )


def test_opts_tokenizer_joins(opt_tokenizer, tmp_path) -> None:
    from transformers import AutoTokenizer

    assert can_join(opt_tokenizer)
    opt_tokenizer.save_pretrained(tmp_path)
    assert can_join(AutoTokenizer.from_pretrained(tmp_path)), "and so it does beside a checkpoint"


def split(pattern: str):
    pieces = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


@pytest.mark.parametrize(
    "pre_tokenizer",
    [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Whitespace(), split(r"\n\w+|[\s\S]"), split(r"[\s\S]+")],
)
def test_another_way_of_cutting_a_text_up_does_not_join(pre_tokenizer) -> None:
    assert not can_join(trained(pre_tokenizer))


@pytest.mark.parametrize(
    ("added", "joins"),
    [
        (AddedToken("\nThought: "), True),
        (AddedToken("\nAction: "), True),
        (AddedToken("Assistant: "), True),
        (AddedToken("\n\nUser: Hello"), False),
        (AddedToken("\nUs"), False),
        (AddedToken("x\nFunction: "), False),
        (AddedToken(", {'name': 'f'"), False),
        (AddedToken(", "), False),
        (AddedToken("x", lstrip=True), False),
        (AddedToken("x", rstrip=True), False),
        (AddedToken("x", single_word=True), False),
    ],
)
def test_an_added_piece_must_not_cross(added: AddedToken, joins: bool) -> None:
    tokenizer = trained()
    tokenizer.add_tokens([added])
    assert can_join(tokenizer) == joins
    conversation = messages_of(
        ("system", ", {'name': 'f'}, {'name': 'g'}\n x"), ("user", " x\n"), ("user", "Hello"), ("assistant", "\nThought: x")
    )
    assert_same(tokenizer, conversation)  # whichever way it goes


def test_other_things_that_do_not_join() -> None:
    normalizing, dropping = trained(), trained()
    normalizing.backend_tokenizer.normalizer = normalizers.NFC()
    dropping.backend_tokenizer.model.dropout = 0.1
    assert not can_join(normalizing) and not can_join(dropping)


# What is kept


CHAT = messages_of(("system", "Use."), ("user", "What?"), ("assistant", "\nx"), ("function", "y"), ("assistant", "\nz"))


def test_a_message_is_tokenized_once(tiny_tokenizer) -> None:
    encoder = MessageEncoder(tiny_tokenizer)
    first = encoder.encode(CHAT[:3])
    assert (encoder.counts.messages, encoder.counts.messages_new) == (3, 3)
    assert encoder.counts.tokens == sum(map(len, first)) >= encoder.counts.tokens_new - 2  # and the letter after two of them
    before = encoder.counts.tokens_new
    second = encoder.encode_many([CHAT, CHAT])
    assert (encoder.counts.messages, encoder.counts.messages_new) == (13, 5)
    assert second[0][0] is second[1][0] is first[0]
    assert encoder.counts.tokens_new - before <= sum(map(len, second[0][3:])) + 1
    encoder.encode(messages_of(("user", "Use.")))
    assert encoder.counts.messages_new == 6, "the same content in another role is another message"


def test_no_more_is_kept_than_allowed(tiny_tokenizer) -> None:
    alone = {message: MessageEncoder(tiny_tokenizer).encode([message, CHAT[1]])[0].ids.tolist() for message in CHAT}
    encoder = MessageEncoder(tiny_tokenizer, capacity=25)
    for _ in range(3):
        for message in CHAT:
            assert encoder.encode([message, CHAT[1]])[0].ids.tolist() == alone[message]
            assert encoder._messages.tokens <= 25
    assert encoder.counts.messages_new > len(CHAT) + 1, "nothing was ever thrown away: the test tests nothing"
    together = MessageEncoder(tiny_tokenizer, capacity=0).encode([*CHAT, CHAT[0]])
    assert [message.ids.tolist() for message in together[:4]] == [alone[message] for message in CHAT[:4]]


def test_what_was_used_last_stays(tiny_tokenizer) -> None:
    a, b, c = (messages_of(("user", letter))[0] for letter in "abc")
    length = len(MessageEncoder(tiny_tokenizer).encode([a])[0])
    encoder = MessageEncoder(tiny_tokenizer, capacity=2 * length)
    for message in (a, b, a, c, a):  # b is the one that went
        encoder.encode([message], prompt=True)
    assert encoder.counts.messages_new == 3
    encoder.encode([b], prompt=True)
    assert encoder.counts.messages_new == 4


def test_functions_of_a_system_text_are_kept_each_by_itself(tiny_tokenizer) -> None:
    offered = [Function(name=f"get_{k}", description="What it does. " * 5) for k in range(6)]
    encoder = MessageEncoder(tiny_tokenizer)
    encoder.encode(messages_of(("system", system_prompt(offered, []))), prompt=True)
    before = encoder.counts.tokens_new
    changed = [offered[0], *offered[2:4], Function(name="get_4"), offered[5]]
    messages = messages_of(("system", system_prompt(changed, [])))
    encoder.encode(messages, prompt=True)
    one = len(tiny_tokenizer(" " + str(changed[3].model_dump()))["input_ids"])
    assert (
        encoder.counts.messages_new == 2 and encoder.counts.tokens_new - before <= one + 1 < len(encoder.encode(messages)[0]) / 4
    )
    assert_same(tiny_tokenizer, messages, encoder)


def test_the_encoder_goes_with_its_tokenizer_and_follows_its_changes() -> None:
    tokenizer = trained()
    encoder = encoder_of(tokenizer)
    assert encoder_of(tokenizer) is encoder
    before = prompt_ids(CHAT[:2], tokenizer)
    tokenizer.add_tokens(["What?"])
    assert encoder_of(tokenizer) is not encoder
    assert prompt_ids(CHAT[:2], tokenizer) == as_ids(tokenizer, CHAT[:2]) != before
    encoder, gone = weakref.ref(encoder_of(tokenizer)), weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None and encoder() is None


def as_ids(tokenizer, messages) -> list[int]:
    return [2, *np.concatenate([message.ids for message in as_whole(tokenizer).encode(messages, prompt=True)])]


def test_what_other_calls_left_behind_does_no_harm(tiny_tokenizer) -> None:
    expected = prompt_ids(CHAT, tiny_tokenizer)
    tiny_tokenizer(["a", "a b c"], padding=True, truncation=True, max_length=2)
    for encoder in (MessageEncoder(tiny_tokenizer), as_whole(tiny_tokenizer)):
        ids = np.concatenate([message.ids for message in encoder.encode(CHAT, prompt=True)]).tolist()
        assert [2, *ids] == expected and not encoder._backend.encode_special_tokens
    assert tiny_tokenizer("</s>")["input_ids"] == [2, 2]  # and nothing of ours is left behind
    assert len(tiny_tokenizer(["a", "a b c"], padding=True)["input_ids"][0]) > 2


def test_ids_cannot_be_written_to(tiny_tokenizer) -> None:
    with pytest.raises(ValueError, match="read-only"):
        MessageEncoder(tiny_tokenizer).encode(CHAT)[0].ids[0] = 0
