"""Masked cross-entropy: what every prediction costs, the mean over supervised tokens, its gradient, and a ledger of who is supervised.

Labels are as ``FlatExample`` has them: the token's own id, or ``IGNORED``, and *not shifted*. The shift happens here, once: the logits
of position t are about token t + 1, so position 0 is never graded and the last position grades nothing.

Shape letters: B batch, T tokens, V vocabulary. Losses are in nats (natural logarithm).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from toolslm_helpers.files import DataError
from toolslm_helpers.text.flatten import IGNORED, ROLES, FlatExample
from toolslm_helpers.text.tokenizer import END_ID

if TYPE_CHECKING:
    from transformers import OPTForCausalLM

PAD_ID = 1  # OPT's; any id would do, since nobody looks at it

# --- the loss and its gradient


def token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What each prediction costs: logits (..., T, V), labels (..., T) -> (..., T - 1) nats, 0 where the next token has no label.

    Entry t is about token t + 1. Half precision is widened first, as transformers does. Raises ValueError where shapes or labels do
    not fit the logits.
    """
    log_p, targets, supervised = _shifted(logits, labels)
    picked = log_p.gather(-1, targets.masked_fill(~supervised, 0)[..., None])[..., 0]  # (..., T - 1)
    return (-picked).masked_fill(~supervised, 0.0)


def masked_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """Mean loss over the supervised tokens: logits (..., T, V), labels (..., T) -> scalar, nats.

    ``count`` is what the sum is divided by: the supervised tokens of the whole effective batch, where this is only a part of it
    (transformers calls it ``num_items_in_batch``). Without it, those of this batch. Raises DataError where that is 0.
    """
    return token_losses(logits, labels).sum() / _count(labels, count)


def logit_gradient(logits: torch.Tensor, labels: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """The gradient of ``masked_cross_entropy`` by its logits, by the formula: (..., T, V).

    (share - 1 at the target) / count in a row whose next token is supervised; exactly 0 in all others, the last row among them.
    """
    log_p, targets, supervised = _shifted(logits, labels)
    at_target = torch.zeros_like(log_p).scatter_(-1, targets.masked_fill(~supervised, 0)[..., None], 1.0)  # (..., T - 1, V)
    gradient = (log_p.exp() - at_target) * supervised[..., None] / _count(labels, count)
    return torch.cat([gradient, torch.zeros_like(log_p[..., :1, :])], dim=-2)  # (..., T, V)


def _shifted(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(log shares (..., T - 1, V), the token after each position (..., T - 1), whether it is supervised)."""
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"logits {tuple(logits.shape)} need labels {tuple(logits.shape[:-1])}, found {tuple(labels.shape)}.")
    targets = labels[..., 1:]
    supervised = targets != IGNORED
    if (wrong := targets[supervised & ((targets < 0) | (targets >= logits.shape[-1]))]).numel():
        raise ValueError(f"label {wrong[0].item()} is neither an id below {logits.shape[-1]} nor {IGNORED}.")
    log_p = logits[..., :-1, :].to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    return log_p, targets, supervised


def _count(labels: torch.Tensor, count: int | None) -> int:
    count = int((labels[..., 1:] != IGNORED).sum()) if count is None else count
    if count < 1:
        raise DataError(
            "no supervised token: the mean over nothing is no number. Usual cause: truncation cut the answers off, or the mask is empty."
        )
    return count


# --- the ledger: who is supervised

DELIMITER, FIRST, FURTHER, CLOSING = (f"assistant: {part}" for part in ("delimiter", "first piece", "further pieces", "</s>"))
KINDS = (*ROLES[:3], ROLES[4], DELIMITER, FIRST, FURTHER, CLOSING)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: a kind of token, how many there are, how many of them are graded, and what those cost in all, in nats."""

    kind: str
    tokens: int
    graded: int
    nats: float = 0.0

    @property
    def mean(self) -> float | None:
        """Nats a graded token; None where none is graded."""
        return self.nats / self.graded if self.graded else None


def kinds_of(example: FlatExample) -> list[str]:
    """For each of T tokens, one of ``KINDS``: the role of its message; an assistant's by what the token is for.

    ``example`` must be flattened with supervise="all": an assistant's tokens outside its mask are taken for its delimiter ("Assistant: "
    before the turn, the line break after it).
    """
    kinds = np.array(ROLES, dtype=object)[example.roles]
    mask = example.loss_mask
    first = mask & ~np.concatenate([[False], mask[:-1]])
    kinds[kinds == "assistant"] = DELIMITER
    kinds[mask], kinds[first] = FURTHER, FIRST
    kinds[mask & (example.input_ids == END_ID)] = CLOSING
    return kinds.tolist()


def ledger(kinds: Sequence[str], labels: Sequence[int], losses: Sequence[float] | None = None) -> tuple[Entry, ...]:
    """An entry for each kind, in the order of ``KINDS``: its tokens, those graded, and the nats that they cost.

    ``kinds`` and ``labels`` are of length T, ``losses`` of length T - 1, as ``token_losses`` gives them. A label at position 0 is not
    counted: nothing predicts the first token. Raises ValueError where lengths differ or a kind is unknown.
    """
    losses = [0.0] * max(0, len(kinds) - 1) if losses is None else losses
    totals = {kind: [0, 0, 0.0] for kind in KINDS}
    for kind, label, loss in zip(kinds, [IGNORED, *labels[1:]], [0.0, *losses], strict=True):
        if kind not in totals:
            raise ValueError(f"kind {kind!r}; expected one of {', '.join(KINDS)}.")
        total = totals[kind]
        total[0] += 1
        if label != IGNORED:
            total[1] += 1
            total[2] += loss
    return tuple(Entry(kind, *total) for kind, total in totals.items())


def add_ledgers(ledgers: Sequence[Sequence[Entry]]) -> tuple[Entry, ...]:
    """Many ledgers as one: the sums, kind by kind."""
    lines = zip(*ledgers, strict=True)
    return tuple(Entry(line[0].kind, *(sum(getattr(e, n) for e in line) for n in ("tokens", "graded", "nats"))) for line in lines)


@torch.no_grad()
def graded_ledger(
    model: "OPTForCausalLM", examples: Sequence[FlatExample], *, masked: bool = True, batch_size: int = 8
) -> tuple[Entry, ...]:
    """The ledger of all ``examples`` with the losses of ``model``; ``masked=False`` grades every token that something predicts.

    Sum the nats and divide by the graded tokens for the loss of the whole.
    """
    found = []
    for k in range(0, len(examples), batch_size):
        some = examples[k : k + batch_size]
        ids = pad_sequence([torch.tensor(e.input_ids.tolist()) for e in some], batch_first=True, padding_value=PAD_ID)  # (B, T)
        # What pads stands behind all that is graded, where a causal model does not look.
        logits = model(input_ids=ids.to(model.device)).logits  # (B, T, V)
        for row, example in zip(logits, some, strict=True):
            labels = (example.labels if masked else example.input_ids).tolist()
            losses = token_losses(row[: len(example)], torch.tensor(labels, device=row.device))
            found.append(ledger(kinds_of(example), labels, losses.tolist()))
    return add_ledgers(found)
