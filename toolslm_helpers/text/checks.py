"""Is what is trained what should be? Read off ids and labels alone, in another way than ``flatten`` makes them.

A wrong mask is not seen in a loss curve. So before training, every example is looked at once more: a run of labels begins right behind
"Assistant: ", ends with the one ``</s>`` that is in it, and belongs to a turn that is to be trained. As ``flatten`` writes a ``</s>`` at the
beginning of a text and at the end of each assistant's turn and nowhere else, only one mask obeys these rules, as long as no content spells
the delimiter.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from toolslm_helpers.files import DataError
from toolslm_helpers.text.encoder import encoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out


def check_labels(
    name: str,
    ids: np.ndarray,
    labels: np.ndarray,
    tokenizer: "PreTrainedTokenizerFast",
    supervise: Literal["all", "last"] | None = None,
) -> None:
    """Raises DataError that begins with ``name`` where labels (T,) are not those of assistant turns in ids (T,).

    ``supervise`` says which turns there must be: "all", the "last" alone, or None for any.
    """
    if problem := _problem(np.asarray(ids), np.asarray(labels), tokenizer, supervise):
        raise DataError(f"{name}: {problem}")


def _problem(ids: np.ndarray, labels: np.ndarray, tokenizer: "PreTrainedTokenizerFast", supervise: str | None) -> str | None:
    supervised = labels != IGNORED
    if len(ids) != len(labels) or (labels[supervised] != ids[supervised]).any():
        return "labels are not its ids where supervised. Usual cause: labels shifted, or from another row."
    if not supervised[1:].any():
        return "no supervised token. Usual cause: truncation cut the answer off, or padding that shares the id of </s>."
    encoder = encoder_of(tokenizer)
    before, ends = encoder.prompt_end, np.flatnonzero(ids == encoder.end_id)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], supervised, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)  # (runs, 2): where each begins, and the place after its end
    for begin, end in runs:
        if begin < len(before) or not np.array_equal(ids[begin - len(before) : begin], before):
            return (
                f"what is trained begins at token {begin}, and not right behind 'Assistant: '. Usual cause: a mask that is shifted, "
                "inverted, of another role, or missing."
            )
        inside = ends[(begin <= ends) & (ends < end)]
        if len(inside) != 1 or inside[0] != end - 1:
            return (
                f"what is trained from token {begin} to {end} holds {len(inside)} </s>; expected one, at its end. Usual cause: an answer "
                "that was cut, a </s> that was masked as padding, or a mask that goes on behind a turn."
            )
    turns, trained = ends[ends > 0], runs[:, 1] - 1
    first = ids[: turns[0]]
    if len(first) < len(before) or not (sliding_window_view(first, len(before)) == before).all(axis=1).any():
        turns = turns[1:]  # truncation on the left took the beginning of the first
    expected = {"all": turns, "last": turns[-1:], None: trained}[supervise]
    if not np.array_equal(trained, expected):
        return f"{len(trained)} of {len(turns)} turns are trained; expected {supervise}. Usual cause: a mask made for other rows."
    return None
