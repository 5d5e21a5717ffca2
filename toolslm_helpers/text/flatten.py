"""Messages become one sequence of ids, and a mask that says which of them the model is trained on. The two never travel apart.

The text of a conversation is OPT's ``</s>``, then "System: ...\\n", "User: ...\\n", "Assistant: ...</s>\\n", "Function: ...\\n":
what ``CHAT_TEMPLATE`` renders. Supervised are an assistant's content and the ``</s>`` after it, and nothing else.

Where the spaces go: a delimiter ends in ": ", and an assistant's content begins with a line break, as ToolBench's does.
Byte-level BPE then has a token boundary right before the content, so that the prompt, which ends in "Assistant: ", has exactly
the ids that training saw there. Content for which that is not so is refused.

Special tokens: every ``</s>`` that we write is put in by its id, and what stands between them is tokenized as plain text, each
message once (``text.encoder``). The library's own path (``apply_chat_template``) gives the same ids and mask, unless a content
spells a special token: there it reads the one that ends a turn, and we read the letters.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from toolslm_helpers.data.merge import MergedExample
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.files import DataError
from toolslm_helpers.text.encoder import PROMPT_END as PROMPT_END
from toolslm_helpers.text.encoder import Encoded, MessageEncoder, encoder_of
from toolslm_helpers.text.tokenizer import END

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Supervise = Literal["all", "last"] | Collection[int]  # which assistant turns are trained; integers are indices of messages
Truncation = Literal["refuse", "right", "left"]

ROLES = ("start", "system", "user", "assistant", "function")  # what FlatExample.roles indexes; the leading </s> is "start"
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
TOGETHER = 64  # examples whose new messages are tokenized at once


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


class Refused(NamedTuple):
    """What did not become an example, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class FlatDataset:
    """Examples, and an account of what did not become one."""

    examples: tuple[FlatExample, ...]
    refused: tuple[Refused, ...]

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


@dataclass(frozen=True)
class _How:
    """The choices of ``flatten``."""

    max_length: int | None
    truncation: Truncation
    supervise: Supervise

    def __post_init__(self) -> None:
        if self.truncation not in get_args(Truncation):
            raise ValueError(f"truncation is {self.truncation!r}; expected one of {', '.join(map(repr, get_args(Truncation)))}.")
        if isinstance(self.supervise, str) and self.supervise not in ("all", "last"):
            raise ValueError(f"supervise is {self.supervise!r}; expected 'all', 'last' or indices of messages.")


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
    how, encoder = _How(max_length, truncation, supervise), encoder_of(tokenizer)
    return _flatten(trajectory, encoder.encode(trajectory.messages), encoder, how)


def flatten_each(
    trajectories: Iterable[Trajectory | MergedExample],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_length: int | None = None,
    truncation: Truncation = "refuse",
    supervise: Supervise = "all",
) -> Iterator[FlatExample | Refused]:
    """``flatten`` for many, in their order and as they come: an example each, or in its place why it was refused.

    A merged example brings its own turns to supervise.
    """
    how, encoder = _How(max_length, truncation, supervise), encoder_of(tokenizer)
    trajectories = iter(trajectories)
    while some := list(islice(trajectories, TOGETHER)):
        pairs = [
            (one.trajectory, replace(how, supervise=one.supervised_turns)) if isinstance(one, MergedExample) else (one, how)
            for one in some
        ]
        all_encoded = encoder.encode_many([trajectory.messages for trajectory, _ in pairs])
        for (trajectory, its_own), encoded in zip(pairs, all_encoded, strict=True):
            try:
                yield _flatten(trajectory, encoded, encoder, its_own)
            except DataError as error:
                yield Refused(trajectory.id, str(error))


def flatten_all(
    trajectories: Iterable[Trajectory | MergedExample],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_length: int | None = None,
    truncation: Truncation = "refuse",
    supervise: Supervise = "all",
) -> FlatDataset:
    """``flatten_each``, gathered: what is refused is listed with its id and reason."""
    found = list(flatten_each(trajectories, tokenizer, max_length=max_length, truncation=truncation, supervise=supervise))
    examples = tuple(example for example in found if isinstance(example, FlatExample))
    return FlatDataset(examples, tuple(refused for refused in found if isinstance(refused, Refused)))


def prompt_ids(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids to generate an assistant turn from, given the messages before it: those that training has before that turn."""
    encoder = encoder_of(tokenizer)
    return _joined(encoder.encode(messages, prompt=True), encoder.end_id).tolist()


def _joined(encoded: Sequence[Encoded], end_id: int) -> np.ndarray:
    return np.concatenate([np.array([end_id], dtype=np.int32), *(message.ids for message in encoded)])


def _flatten(trajectory: Trajectory, encoded: Sequence[Encoded], encoder: MessageEncoder, how: _How) -> FlatExample:
    ids = _joined(encoded, encoder.end_id)
    roles = np.repeat(_roles(trajectory.messages), [1, *map(len, encoded)])
    mask = np.zeros(len(ids), dtype=bool)
    starts = np.cumsum([1, *map(len, encoded)])
    for k in _chosen(trajectory, how.supervise):
        if not encoded[k].aligned:
            raise DataError(
                f"{trajectory.id}: message {k} (assistant) does not begin at a token boundary: its first token "
                "would hold the delimiter's space. Expected a line break first. Write the turn with write_action."
            )
        begin, end = encoded[k].answer
        mask[starts[k] + begin : starts[k] + end] = True
    length = len(ids)
    if how.max_length is not None and length > how.max_length:
        if how.truncation == "refuse":
            raise DataError(
                f"{trajectory.id}: {length} tokens, at most {how.max_length} expected. Usual cause: many or long functions. "
                "Set max_length higher, use the compact rendering, or choose truncation 'left' or 'right'."
            )
        kept = np.arange(how.max_length)
        if how.truncation == "left":
            kept[1:] += length - how.max_length  # position 0, the leading </s>, stays
        ids, mask, roles = ids[kept], mask[kept], roles[kept]
    if not mask.any():
        raise DataError(
            f"{trajectory.id}: no supervised token in {len(ids)} tokens ({length} before truncation). "
            "Usual cause: no assistant turn, or truncation on the right, which cuts the answer off. Use truncation 'left'."
        )
    return FlatExample(trajectory.id, ids, mask, roles, _text(trajectory.messages), length - len(ids))


def _chosen(trajectory: Trajectory, supervise: Supervise) -> Sequence[int]:
    """The indices of the messages to train."""
    answers = [k for k, message in enumerate(trajectory.messages) if message.role == "assistant"]
    if isinstance(supervise, str):
        return answers if supervise == "all" else answers[-1:]
    if wrong := [k for k in supervise if k not in answers]:
        raise DataError(
            f"{trajectory.id}: message {wrong[0]} is to be trained and is no assistant turn. Usual cause: turns of another example."
        )
    return list(supervise)


def _roles(messages: Sequence[Message]) -> np.ndarray:
    return np.array([0, *(ROLES.index(message.role) for message in messages)], dtype=np.int8)


def _text(messages: Sequence[Message]) -> str:
    parts = [f"{m.role.capitalize()}: {m.content}{END if m.role == 'assistant' else ''}\n" for m in messages]
    return END + "".join(parts)
