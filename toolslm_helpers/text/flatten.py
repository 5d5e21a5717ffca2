"""Messages become one sequence of ids, and a mask that says which of them the model is trained on. The two never travel apart.

The text of a conversation is OPT's ``</s>``, then "System: ...\\n", "User: ...\\n", "Assistant: ...</s>\\n", "Function: ...\\n":
what ``CHAT_TEMPLATE`` renders. Supervised are an assistant's content and the ``</s>`` after it, and nothing else.

Where the spaces go: a delimiter ends in ": ", and an assistant's content begins with a line break, as ToolBench's does.
Byte-level BPE then has a token boundary right before the content, so that the prompt, which ends in "Assistant: ", has exactly
the ids that training saw there. Content for which that is not so is refused.

Special tokens: every ``</s>`` that we write is put between the pieces by its id, and the pieces are tokenized as plain text. The
library's own path (``apply_chat_template``) gives the same ids and mask, unless a content spells a special token: there it reads
the one that ends a turn, and we read the letters.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from toolslm_helpers.data.merge import MergedExample
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.files import DataError
from toolslm_helpers.text.tokenizer import END

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Supervise = Literal["all", "last"] | Collection[int]  # which assistant turns are trained; integers are indices of messages
Truncation = Literal["refuse", "right", "left"]

ROLES = ("start", "system", "user", "assistant", "function")  # what FlatExample.roles indexes; the leading </s> is "start"
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
PROMPT_END = "Assistant: "


@dataclass(frozen=True, eq=False)
class FlatExample:
    """One conversation as ids, T of them, with everything known about each. The arrays cannot be written to.

    ``roles`` holds the index in ``ROLES`` of the message that each token belongs to, delimiters included. ``text`` is the whole
    text; where ``cut`` tokens were cut off, ids, mask and roles are shorter than it.
    """

    id: str
    input_ids: np.ndarray  # (T,) int32
    loss_mask: np.ndarray  # (T,) bool
    roles: np.ndarray  # (T,) int8
    text: str
    cut: int = 0

    def __post_init__(self) -> None:
        if not len(self.input_ids) == len(self.loss_mask) == len(self.roles):
            raise ValueError(f"{self.id}: {len(self.input_ids)} ids, {len(self.loss_mask)} mask values, {len(self.roles)} roles.")
        for array in (self.input_ids, self.loss_mask, self.roles):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def labels(self) -> np.ndarray:
        """(T,) int64: the id where the token is supervised, ``IGNORED`` elsewhere. Not shifted: the model does that."""
        return np.where(self.loss_mask, self.input_ids, IGNORED).astype(np.int64)

    @property
    def supervised(self) -> int:
        """How many tokens are supervised."""
        return int(self.loss_mask.sum())


@dataclass(frozen=True)
class FlatDataset:
    """Examples, and an account of what did not become one. ``refused`` are (id, reason) pairs."""

    examples: tuple[FlatExample, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.examples))

    @property
    def supervised(self) -> int:
        return sum(example.supervised for example in self.examples)

    @property
    def cut(self) -> int:
        """Tokens that truncation removed from the examples kept."""
        return sum(example.cut for example in self.examples)

    def __len__(self) -> int:
        return len(self.examples)


def flatten(
    trajectory: Trajectory,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_length: int | None = None,
    truncation: Truncation = "refuse",
    supervise: Supervise = "all",
) -> FlatExample:
    """One trajectory as ids and mask.

    ``max_length`` is in tokens. A longer example raises ("refuse"), keeps its start ("right": what TRL does, and it loses
    targets), or keeps the leading ``</s>`` and its end ("left"). ``supervise`` is "all" assistant turns, or "last", as ToolBench
    trains its step rows, or the indices of the messages to train, as a merged example brings them.

    Raises DataError, with the trajectory's id, for an example that is too long, that has no supervised token, or whose assistant
    content does not begin at a token boundary.
    """
    if truncation not in ("refuse", "right", "left"):
        raise ValueError(f"truncation is {truncation!r}; expected 'refuse', 'right' or 'left'.")
    if isinstance(supervise, str) and supervise not in ("all", "last"):
        raise ValueError(f"supervise is {supervise!r}; expected 'all', 'last' or indices of messages.")
    ids, turns, text = _encode(trajectory.messages, tokenizer)
    mask, roles = np.zeros(len(ids), dtype=bool), np.zeros(len(ids), dtype=np.int8)
    for turn in turns:
        roles[turn.start :] = ROLES.index(turn.role)
    for turn in _chosen(turns, supervise, trajectory.id):
        if not turn.aligned:
            raise DataError(
                f"{trajectory.id}: message {turns.index(turn)} (assistant) does not begin at a token boundary: its first token "
                "would hold the delimiter's space. Expected a line break first. Write the turn with write_action."
            )
        mask[turn.content : turn.end] = True
    length = len(ids)
    if max_length is not None and length > max_length:
        if truncation == "refuse":
            raise DataError(
                f"{trajectory.id}: {length} tokens, at most {max_length} expected. Usual cause: many or long functions. "
                "Set max_length higher, use the compact rendering, or choose truncation 'left' or 'right'."
            )
        kept = np.arange(max_length)
        if truncation == "left":
            kept[1:] += length - max_length  # position 0, the leading </s>, stays
        ids, mask, roles = ids[kept], mask[kept], roles[kept]
    if not mask.any():
        raise DataError(
            f"{trajectory.id}: no supervised token in {len(ids)} tokens ({length} before truncation). "
            "Usual cause: no assistant turn, or truncation on the right, which cuts the answer off. Use truncation 'left'."
        )
    return FlatExample(trajectory.id, ids, mask, roles, text, length - len(ids))


def flatten_all(
    trajectories: Iterable[Trajectory | MergedExample],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_length: int | None = None,
    truncation: Truncation = "refuse",
    supervise: Supervise = "all",
) -> FlatDataset:
    """``flatten`` for many: what it refuses is listed with its id and reason instead of raised.

    A merged example brings its own turns to supervise.
    """
    examples, refused = [], []
    for one in trajectories:
        trajectory, turns = (one.trajectory, one.supervised_turns) if isinstance(one, MergedExample) else (one, supervise)
        try:
            examples.append(flatten(trajectory, tokenizer, max_length=max_length, truncation=truncation, supervise=turns))
        except DataError as error:
            refused.append((trajectory.id, str(error)))
    return FlatDataset(tuple(examples), tuple(refused))


def prompt_ids(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids to generate an assistant turn from, given the messages before it: those that training has before that turn."""
    return _encode(messages, tokenizer, PROMPT_END)[0].tolist()


class _Turn(NamedTuple):
    """Where one message begins in the ids, and its content. ``end`` is an assistant's: the place after its ``</s>``."""

    role: str
    start: int
    content: int
    end: int
    aligned: bool  # whether the content begins where a token does


def _chosen(turns: Sequence[_Turn], supervise: Supervise, id_: str) -> list[_Turn]:
    """The turns to train."""
    answers = [turn for turn in turns if turn.role == "assistant"]
    if isinstance(supervise, str):
        return answers if supervise == "all" else answers[-1:]
    if wrong := [index for index in supervise if not 0 <= index < len(turns) or turns[index].role != "assistant"]:
        raise DataError(
            f"{id_}: message {wrong[0]} is to be trained and is no assistant turn. Usual cause: turns of another example."
        )
    return [turns[index] for index in supervise]


def _encode(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerFast", ending: str = ""
) -> tuple[np.ndarray, list[_Turn], str]:
    """(ids, turns, text). The pieces between the ``</s>`` that we write are tokenized as plain text, then joined by its id."""
    pieces, places = [""], []
    for message in messages:
        delimiter = f"{message.role.capitalize()}: "
        places.append((message.role, len(pieces) - 1, len(pieces[-1]), len(pieces[-1]) + len(delimiter)))
        pieces[-1] += delimiter + message.content
        if message.role == "assistant":
            pieces.append("")
        pieces[-1] += "\n"
    pieces[-1] += ending
    encoded = tokenizer(pieces, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False)
    ids = []
    offsets = []  # of each piece in ids
    for piece in encoded["input_ids"]:
        ids.append(tokenizer.eos_token_id)  # which is also the one that OPT begins a text with
        offsets.append(len(ids))
        ids += piece
    turns = []
    for role, piece, start, content in places:
        encoding, offset = encoded.encodings[piece], offsets[piece]
        length = len(encoding)
        first = encoding.char_to_token(content)
        if first is None:  # an answer without text: nothing but its </s>
            first, aligned = length, True
        else:
            aligned = encoding.token_to_chars(first)[0] == content
        turns.append(_Turn(role, offset + encoding.char_to_token(start), offset + first, offset + length + 1, aligned))
    return np.array(ids, dtype=np.int32), turns, END + END.join(pieces)
