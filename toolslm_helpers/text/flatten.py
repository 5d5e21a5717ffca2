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
from toolslm_helpers.text.encoder import Encoded, encoder_of
from toolslm_helpers.text.shorten import needed_functions, shorten
from toolslm_helpers.text.tokenizer import END

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Supervise = Literal["all", "last"] | Collection[int]  # which assistant turns are trained; integers are indices of messages
Truncation = Literal["refuse", "right", "left", "shorten"]

ROLES = ("start", "system", "user", "assistant", "function")  # what FlatExample.roles indexes; the leading </s> is "start"
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
TOGETHER = 64  # examples whose new messages are tokenized at once


@dataclass(frozen=True, eq=False)
class FlatExample:
    """One conversation as ids, T of them, with everything known about each. The arrays cannot be written to.

    ``roles`` holds the index in ``ROLES`` of the message that each token belongs to, delimiters included. ``text`` is the text
    before anything was cut off its ends, after it was shortened; ``cut`` counts the tokens that either took.
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
    seed: int

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
    seed: int = 0,
) -> FlatExample:
    """One trajectory as ids and mask.

    ``max_length`` is in tokens. A longer example raises ("refuse"), keeps its start ("right": what TRL does, and it loses
    targets), keeps the leading ``</s>`` and its end ("left"), or is shortened where no answer stands ("shorten": ``text.shorten``,
    by ``seed``; what is too long even then loses its beginning, and raises before it loses a supervised token).

    ``supervise`` is "all" assistant turns, or "last", as ToolBench trains its step rows, or the indices of the messages to train,
    as a merged example brings them.

    Raises DataError, with the trajectory's id, for an example that is too long, that has no supervised token, or whose assistant
    content does not begin at a token boundary.
    """
    how = _How(max_length, truncation, supervise, seed)
    return _flatten(trajectory, encoder_of(tokenizer).encode(trajectory.messages), tokenizer, how)


def flatten_each(
    trajectories: Iterable[Trajectory | MergedExample],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_length: int | None = None,
    truncation: Truncation = "refuse",
    supervise: Supervise = "all",
    seed: int = 0,
) -> Iterator[FlatExample | Refused]:
    """``flatten`` for many, in their order and as they come: an example each, or in its place why it was refused.

    A merged example brings its own turns to supervise.
    """
    how, encoder = _How(max_length, truncation, supervise, seed), encoder_of(tokenizer)
    trajectories = iter(trajectories)
    while some := list(islice(trajectories, TOGETHER)):
        pairs = [
            (one.trajectory, replace(how, supervise=one.supervised_turns)) if isinstance(one, MergedExample) else (one, how)
            for one in some
        ]
        all_encoded = encoder.encode_many([trajectory.messages for trajectory, _ in pairs])
        for (trajectory, its_own), encoded in zip(pairs, all_encoded, strict=True):
            try:
                yield _flatten(trajectory, encoded, tokenizer, its_own)
            except DataError as error:
                yield Refused(trajectory.id, str(error))


def flatten_all(
    trajectories: Iterable[Trajectory | MergedExample],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_length: int | None = None,
    truncation: Truncation = "refuse",
    supervise: Supervise = "all",
    seed: int = 0,
) -> FlatDataset:
    """``flatten_each``, gathered: what is refused is listed with its id and reason."""
    found = list(
        flatten_each(trajectories, tokenizer, max_length=max_length, truncation=truncation, supervise=supervise, seed=seed)
    )
    examples = tuple(example for example in found if isinstance(example, FlatExample))
    return FlatDataset(examples, tuple(refused for refused in found if isinstance(refused, Refused)))


def prompt_ids(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids to generate an assistant turn from, given the messages before it: those that training has before that turn."""
    encoded = encoder_of(tokenizer).encode(messages, prompt=True)
    return [tokenizer.eos_token_id, *np.concatenate([message.ids for message in encoded]).tolist()]


def _flatten(trajectory: Trajectory, encoded: Sequence[Encoded], tokenizer: "PreTrainedTokenizerFast", how: _How) -> FlatExample:
    length = 1 + sum(map(len, encoded))
    too_long = how.max_length is not None and length > how.max_length
    if too_long and how.truncation == "refuse":
        raise DataError(
            f"{trajectory.id}: {length} tokens, at most {how.max_length} expected. Usual cause: many or long functions. "
            "Set max_length higher, use the compact rendering, or choose truncation 'shorten', 'left' or 'right'."
        )
    if too_long and how.truncation == "shorten":
        trajectory = shorten(trajectory, tokenizer, how.max_length, how.seed, needed_functions(trajectory)).trajectory
        encoded = encoder_of(tokenizer).encode(trajectory.messages)
    ids = np.concatenate([np.array([tokenizer.eos_token_id], dtype=np.int32), *(message.ids for message in encoded)])
    mask = _mask(trajectory, encoded, how.supervise)
    roles = np.repeat(np.array([0, *(ROLES.index(m.role) for m in trajectory.messages)], dtype=np.int8), [1, *map(len, encoded)])
    if how.max_length is not None and len(ids) > how.max_length:
        kept = np.arange(how.max_length)
        if how.truncation != "right":
            kept[1:] += len(ids) - how.max_length  # position 0, the leading </s>, stays
        if how.truncation == "shorten" and mask[kept].sum() < mask.sum():
            raise DataError(
                f"{trajectory.id}: {len(ids)} tokens after all that can be shortened was, at most {how.max_length} expected; what is "
                "trained begins too far from the end. Set max_length higher, or train the last turn only."
            )
        ids, mask, roles = ids[kept], mask[kept], roles[kept]
    if not mask.any():
        raise DataError(
            f"{trajectory.id}: no supervised token in {len(ids)} tokens ({length} before truncation). "
            "Usual cause: no assistant turn, or truncation on the right, which cuts the answer off. Use truncation 'shorten'."
        )
    return FlatExample(trajectory.id, ids, mask, roles, _text(trajectory.messages), length - len(ids))


def _mask(trajectory: Trajectory, encoded: Sequence[Encoded], supervise: Supervise) -> np.ndarray:
    """(T,) bool, before anything is cut off."""
    starts = np.cumsum([1, *map(len, encoded)])  # of each message in the ids, and their end
    mask = np.zeros(starts[-1], dtype=bool)
    for k in _chosen(trajectory, supervise):
        if not encoded[k].aligned:
            raise DataError(
                f"{trajectory.id}: message {k} (assistant) does not begin at a token boundary: its first token "
                "would hold the delimiter's space. Expected a line break first. Write the turn with write_action."
            )
        begin, end = encoded[k].answer
        mask[starts[k] + begin : starts[k] + end] = True
    return mask


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


def _text(messages: Sequence[Message]) -> str:
    parts = [f"{m.role.capitalize()}: {m.content}{END if m.role == 'assistant' else ''}\n" for m in messages]
    return END + "".join(parts)
