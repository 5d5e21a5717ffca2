r"""Each message is tokenized once: its ids are kept, and the next conversation that holds the same message is put together from them.

A conversation is one text, and a tokenizer may make one token of what stands on both sides of any place in it. So a text may be cut there,
and the ids of its parts joined, only where no token can cross. We cut in three places:

1. At every ``</s>`` that we write. It goes in by its id; what stands on either side of it are texts of their own from the start.
2. Before every delimiter, between the line break that ends a message and the capital letter that begins "System: ", "User: ",
   "Assistant: " or "Function: ".
3. Between the functions that ToolBench's system text lists: after a comma, before " {'name': ". So a prompt that is written once more with
   some functions shortened or dropped costs only what is new in it.

Why no token crosses. Byte-level BPE works inside pre-tokens, so it is enough that a pre-token ends at the cut, and that the pre-tokens of the
parts are those of the whole text.

- OPT's pattern (GPT-2's) is
  ``'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+``.
  Of all white space only a space (U+0020) stands in one pre-token with something else, and it stands before it. At cut 2 a line break is
  followed by a letter, at cut 3 a comma by a space: no pre-token holds either pair.
- To the right of a cut: matching goes from left to right and no alternative looks back, so the rest is cut up as a text of its own.
- To the left: one alternative looks ahead, ``\s+(?!\S)``, and at one character. Before a letter, "\n\n" is two pre-tokens; at the end of a
  text it is one. So a message is tokenized with a letter after it, and the letter's id taken off. Any letter does: after a line break each
  is a pre-token of its own, and ``\S``. A part that ends in a comma needs none: what it ends in is no white space, and nothing else looks.
- The small tokenizer's pattern is a list of words with a space each, ``[a-z]+``, ``[^A-Za-z0-9\s]+`` and ``[\s\S]``. A line break matches
  only the last, alone, and so does a space that follows a comma; nothing looks ahead; what looks back is the ``\b`` before a word, and no
  word begins at a cut.
- Pieces that a vocabulary adds whole ("\nThought: ") are found before all of that, anywhere in a text. None of them may hold the beginning of
  a delimiter after a line break, or the beginning of " {'name': " after a comma.

``can_join`` checks these conditions; a tokenizer that does not meet them gets each conversation as a whole. Tests compare both ways on random
and on real text.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from toolslm_helpers.data.records import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PROMPT_END = "Assistant: "
DELIMITERS = ("System: ", "User: ", PROMPT_END, "Function: ")
CAPACITY = 2_000_000  # tokens kept, and with their texts about 20 MB; the rows of a query follow each other, so few would do
_LETTER = "U"  # stands for the delimiter that follows a message
_FUNCTION = " {'name': "
_BETWEEN_FUNCTIONS = re.compile(f"(?<=,)(?={_FUNCTION})")
_SMALL_PATTERN = r"\\b\(\?:[a-z|]+\)" + re.escape(r" |[a-z]+|[^A-Za-z0-9\s]+|[\s\S]")  # whatever its list of words


@dataclass(frozen=True, eq=False)
class Encoded:
    """One message as ids: its delimiter, its content, an assistant's ``</s>``, and the line break.

    ``answer`` is (begin, end) of an assistant's content with its ``</s>`` among them, None for other roles. ``aligned`` says whether its
    content begins where a token does: only then has the prompt before it the ids that it has here.
    """

    ids: np.ndarray  # (n,) int32, cannot be written to
    answer: tuple[int, int] | None = None
    aligned: bool = True

    def __post_init__(self) -> None:
        self.ids.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Counts:
    """What an encoder was asked for so far, and how much of it had to be tokenized: the rest was kept from before."""

    messages: int = 0
    messages_new: int = 0
    tokens: int = 0
    tokens_new: int = 0


_Key = tuple[str, str, bool]  # role, content, whether a delimiter follows
K, V = TypeVar("K"), TypeVar("V", bound=Sized)


class _Kept(Generic[K, V]):
    """What was used last, as much of it as ``capacity`` allows in tokens."""

    def __init__(self, capacity: int):
        self.capacity, self.tokens = capacity, 0
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if (value := self._values.get(key)) is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        if key not in self._values:
            self._values[key] = value
            self.tokens += len(value)
        while self.tokens > self.capacity:
            self.tokens -= len(self._values.popitem(last=False)[1])


class MessageEncoder:
    """Conversations -> their messages as ids. The messages used last are kept, ``capacity`` tokens of them."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", capacity: int = CAPACITY):
        # Not the tokenizer itself: ``encoder_of`` lets go of an encoder together with it.
        self._backend = tokenizer.backend_tokenizer
        self.end_id: int = tokenizer.eos_token_id  # which is also the one that OPT begins a text with
        self.vocabulary = len(tokenizer)
        self.joins = can_join(tokenizer)
        self.counts = Counts()
        self._messages: _Kept[_Key, Encoded] = _Kept(capacity)
        self._parts: _Kept[str, np.ndarray] = _Kept(capacity)  # of messages that list functions

    def encode(self, messages: Sequence[Message], prompt: bool = False) -> list[Encoded]:
        """Each message as ids; joined, after the leading ``</s>``, they are those of the conversation.

        With ``prompt``, one more follows: what stands before the assistant's next turn.
        """
        return self.encode_many([messages], prompt)[0]

    def length(self, messages: Sequence[Message], prompt: bool = False) -> int:
        """Tokens of the conversation, the leading ``</s>`` included."""
        return 1 + sum(map(len, self.encode(messages, prompt)))

    def encode_many(self, conversations: Iterable[Sequence[Message]], prompt: bool = False) -> list[list[Encoded]]:
        """``encode`` for many: what is new in all of them is tokenized at once, which uses every core."""
        conversations = list(conversations)
        if not self.joins:
            return [self._encode_whole(messages, prompt) for messages in conversations]
        keys = [_keys(messages, prompt) for messages in conversations]
        found: dict[_Key, Encoded | None] = {}  # in the order in which they were asked for
        for key in (key for of_one in keys for key in of_one):
            if key not in found:
                found[key] = self._messages.get(key)
        new = [key for key, encoded in found.items() if encoded is None]
        for key, encoded in zip(new, self._encode_new(new), strict=True):
            found[key] = encoded
            self._messages.keep(key, encoded)
        ending = [Encoded(self._prompt_end)] if prompt else []
        encoded = [[found[key] for key in of_one] for of_one in keys]
        self.counts.messages += sum(map(len, encoded))
        self.counts.messages_new += len(new)
        self.counts.tokens += sum(len(message) for of_one in encoded for message in of_one)
        return [of_one + ending for of_one in encoded]

    @contextmanager
    def _plain_text(self) -> Iterator["Tokenizer"]:
        """The tokenizer, set to read a spelled special token as letters, and left as it was."""
        backend = self._backend
        if backend.padding is not None:  # left over from a call that padded; transformers sets both before every call
            backend.no_padding()
        if backend.truncation is not None:
            backend.no_truncation()
        before, backend.encode_special_tokens = backend.encode_special_tokens, True
        try:
            yield backend
        finally:
            backend.encode_special_tokens = before

    def _ids(self, texts: list[str]) -> list[np.ndarray]:
        """The ids of each text."""
        with self._plain_text() as backend:  # without offsets, which would cost as much again
            return [np.array(e.ids, dtype=np.int32) for e in backend.encode_batch_fast(texts, add_special_tokens=False)]

    @cached_property
    def _prompt_end(self) -> np.ndarray:
        return self._ids([PROMPT_END])[0]

    @cached_property
    def _line_break(self) -> np.ndarray:
        return self._ids(["\n"])[0]

    @cached_property
    def _letter(self) -> int:
        """How many tokens the letter is that stands for a delimiter."""
        return len(self._ids([_LETTER])[0])

    def _encode_new(self, keys: Sequence[_Key]) -> list[Encoded]:
        if not keys:
            return []
        texts = []
        for role, content, followed in keys:
            ending = "" if role == "assistant" else f"\n{_LETTER}" if followed else "\n"
            texts.append(f"{role.capitalize()}: {content}{ending}")
        encoded = []
        for (role, _, followed), ids in zip(keys, self._ids_of_parts(texts), strict=True):
            if role == "assistant":
                begin = len(self._prompt_end)
                aligned = bool(np.array_equal(ids[:begin], self._prompt_end))
                ids, answer = np.concatenate([ids, [np.int32(self.end_id)], self._line_break]), (begin, len(ids) + 1)
                encoded.append(Encoded(ids, answer, aligned))
            else:
                encoded.append(Encoded(ids[: len(ids) - self._letter].copy() if followed else ids))
        return encoded

    def _ids_of_parts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, joined from those of its parts where it lists functions; the parts are kept."""
        parts = [_BETWEEN_FUNCTIONS.split(text) for text in texts]
        found = {part: self._parts.get(part) for of_one in parts for part in of_one}
        new = [part for part, ids in found.items() if ids is None]
        found |= zip(new, self._ids(new), strict=True)
        for part in (part for of_one in parts for part in of_one if len(of_one) > 1):
            self._parts.keep(part, found[part])
        self.counts.tokens_new += sum(len(found[part]) for part in new)
        return [np.concatenate([found[part] for part in of_one]) for of_one in parts]

    def _encode_whole(self, messages: Sequence[Message], prompt: bool) -> list[Encoded]:
        """The same for a tokenizer whose tokens may cross a delimiter: texts between two ``</s>`` are tokenized as wholes.

        A token that crosses belongs to the message that its first character belongs to.
        """
        texts, places = [""], []  # a place: role, text, where the delimiter and the content begin in it
        for message in messages:
            delimiter = f"{message.role.capitalize()}: "
            places.append((message.role, len(texts) - 1, len(texts[-1]), len(texts[-1]) + len(delimiter)))
            texts[-1] += delimiter + message.content
            if message.role == "assistant":
                texts.append("")
            texts[-1] += "\n"
        if prompt:
            places.append(("prompt", len(texts) - 1, len(texts[-1]), 0))
            texts[-1] += PROMPT_END
        with self._plain_text() as backend:
            encodings = backend.encode_batch(texts, add_special_tokens=False)
        ids, offsets = [], []  # all ids after the leading </s>, and where those of each text begin
        for k, encoding in enumerate(encodings):
            ids += [self.end_id] * bool(k)
            offsets.append(len(ids))
            ids += encoding.ids
        starts = [offsets[text] + encodings[text].char_to_token(start) for _, text, start, _ in places]
        parts = np.split(np.array(ids, dtype=np.int32), starts[1:]) if starts else []
        encoded = []
        for (role, text, _, content), start, part in zip(places, starts, parts, strict=True):
            answer, aligned = None, True
            if role == "assistant":
                encoding = encodings[text]
                end = offsets[text] + len(encoding) + 1 - start
                first = encoding.char_to_token(content)  # None for an answer without text: nothing but its </s>
                aligned = first is None or encoding.token_to_chars(first)[0] == content
                answer = (end - 1 if first is None else offsets[text] + first - start, end)
            encoded.append(Encoded(part.copy(), answer, aligned))
        return encoded


def can_join(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Whether the ids of a conversation are those of its messages, one after the other (the conditions are the module's docstring)."""
    backend = tokenizer.backend_tokenizer
    if (
        type(backend.model).__name__ != "BPE"
        or backend.model.dropout
        or backend.normalizer is not None
        or backend.pre_tokenizer is None
    ):
        return False
    match json.loads(backend.pre_tokenizer.__getstate__()):
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            pass
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        } if re.fullmatch(_SMALL_PATTERN, pattern):
            pass
        case _:
            return False
    added = [token for token in backend.get_added_tokens_decoder().values() if not token.special]
    return not any(token.lstrip or token.rstrip or token.single_word or _crosses(token.content) for token in added)


def _crosses(added: str) -> bool:
    """Whether an added piece could match across a cut: what stands after a cut, or its beginning, follows in it what stands before."""
    cuts = [("\n", delimiter) for delimiter in DELIMITERS] + [(",", _FUNCTION)]
    return any(
        added[k] == before and (after.startswith(added[k + 1 :]) or added[k + 1 :].startswith(after))
        for k in range(len(added) - 1)
        for before, after in cuts
    )


def _keys(messages: Sequence[Message], prompt: bool) -> list[_Key]:
    last = len(messages) - 1
    return [
        (message.role, message.content, prompt or k < last or message.role == "assistant") for k, message in enumerate(messages)
    ]


_encoders: "WeakKeyDictionary[PreTrainedTokenizerFast, MessageEncoder]" = WeakKeyDictionary()


def encoder_of(tokenizer: "PreTrainedTokenizerFast") -> MessageEncoder:
    """The encoder of a tokenizer, with all that it has kept; a new one where the tokenizer has other tokens by now."""
    encoder = _encoders.get(tokenizer)
    if encoder is None or (encoder.end_id, encoder.vocabulary) != (tokenizer.eos_token_id, len(tokenizer)):
        encoder = _encoders[tokenizer] = MessageEncoder(tokenizer)
    return encoder
