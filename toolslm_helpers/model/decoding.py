"""From logits to the next token, and from a batch of prompts to a batch of continuations.

``generate_batch`` is greedy ``model.generate`` token for token, and differs from it in three ways: every row draws from a random
stream of its own, so that a row's text does not depend on its neighbours; finished rows leave the batch; and the key/value cache
is written in place. ``continue_batch`` does the same and remembers what each row has read, so that the next turn of a conversation
begins where the last one ended.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.memory import BatchCache, Memory

if TYPE_CHECKING:
    from transformers import OPTForCausalLM


def probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Softmax of ``logits`` (..., V) divided by ``temperature`` -> float64 probabilities (..., V) that sum to 1.

    Temperature 0 is its limit: all of the probability on the largest logit (the first of them where several are equal).
    Raises ValueError where the temperature is negative.
    """
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}; expected 0 (greedy) or more, 1 leaves the model's distribution as it is")
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()  # (..., V)
    return (logits.double() / temperature).softmax(dim=-1)  # (..., V) float64: a cumulative sum must not lose small shares


def next_token(logits: torch.Tensor, temperature: float, uniform: torch.Tensor) -> torch.Tensor:
    """Samples one token a row: the first whose cumulative probability exceeds ``uniform``.

    logits (B, V), uniform (B,) in [0, 1) -> ids (B,). One uniform number decides one token, so the caller owns the randomness.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)  # (B,)
    cumulative = probabilities(logits, temperature).cumsum(dim=-1)  # (B, V)
    threshold = uniform[:, None] * cumulative[:, -1:]  # (B, 1) rounding leaves the last sum a little off 1
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0]  # (B,) right: a token of probability 0 is never chosen


def only_allowed(logits: torch.Tensor, allowed: Sequence[Sequence[int] | None]) -> torch.Tensor:
    """A copy of ``logits`` (B, V) with minus infinity, probability 0, wherever an id is not in its row's ``allowed``; None allows all.

    Raises ValueError for a row that allows nothing.
    """
    masked = torch.full_like(logits, -math.inf)
    for row, ids in enumerate(allowed):
        if ids is not None and not len(ids):
            raise ValueError(
                f"row {row}: no token is allowed. Usual cause: a text that can neither go on nor end; allow the end token."
            )
        chosen = slice(None) if ids is None else torch.as_tensor(ids, device=logits.device)
        masked[row, chosen] = logits[row, chosen]
    return masked  # (B, V)


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """A copy of ``logits`` (..., V) with minus infinity, probability 0, wherever a logit is below its row's k-th largest.

    Logits equal to the k-th largest all stay, as in transformers' TopKLogitsWarper. Raises ValueError for k below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected 1 (only the likeliest stays) or more")
    least = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < least, -math.inf)  # (..., V)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """A copy of ``logits`` (..., V) that keeps, in each row, the fewest of the likeliest tokens that together reach probability ``p``.

    All others become minus infinity. The token that crosses ``p`` stays, so there is always one; of equal logits the first id
    comes first. Equal to transformers' TopPLogitsWarper, on logits that were divided by the temperature before.
    Raises ValueError for p outside (0, 1].
    """
    if not 0 < p <= 1:
        raise ValueError(f"p is {p}; expected a share above 0, at most 1 (all tokens stay)")
    if p == 1:
        return logits.clone()  # a sum that rounding has taken to 1 must not drop the tokens after it
    order = logits.argsort(dim=-1, descending=True, stable=True)  # (..., V)
    sorted_shares = probabilities(logits, 1).gather(-1, order)  # (..., V) from the likeliest down
    before = sorted_shares.cumsum(dim=-1) - sorted_shares  # (..., V) what the likelier ones have already
    dropped = torch.empty_like(order, dtype=torch.bool).scatter(-1, order, before >= p)  # (..., V) in the order of the ids
    return logits.masked_fill(dropped, -math.inf)


@dataclass(frozen=True, eq=False)
class Continuation:
    """What was written after one prompt, and the memory of prompt and writing. None where there was no room to write."""

    ids: list[int]
    memory: Memory | None


def generate_batch(
    model: "OPTForCausalLM",
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int | Sequence[int]],
    stop_id: int | None,
    max_length: int | None = None,
    allowed: Callable[[int, list[int]], Sequence[int] | None] | None = None,
) -> list[list[int]]:
    """Continues every prompt (token ids) by at most ``max_new_tokens`` tokens -> the new ids of each, in the prompts' order.

    A row ends with ``stop_id`` (kept, so that the caller sees a turn that was finished), at ``max_new_tokens``, or where prompt
    and continuation together reach ``max_length``, which is the model's positions unless it is said to be less. Row i draws only
    from ``numpy.random.default_rng(seeds[i])``: the rows beside it change nothing but the last bits of its logits. Prompts are
    padded on the left, so that all rows write their next token in the same column.

    ``allowed(i, written)``, if given, is asked before every token of row i which ids may follow those written so far; None means all.

    Raises ValueError for an empty prompt, one longer than that, or seeds that do not match the prompts;
    WorkbookError where the model computes NaN (its training diverged).
    """
    rows = _continue(model, prompts, None, max_new_tokens, temperature, seeds, stop_id, max_length, allowed)
    return [row.ids for row in rows]


def continue_batch(
    model: "OPTForCausalLM",
    prompts: Sequence[Sequence[int]],
    memories: Sequence[Memory | None],
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int | Sequence[int]],
    stop_id: int | None,
    max_length: int | None = None,
    allowed: Callable[[int, list[int]], Sequence[int] | None] | None = None,
) -> list[Continuation]:
    """``generate_batch`` that reads only what is new: ``memories`` come from earlier calls with the same model, None where there was none.

    A memory is used as far as its ids are the prompt's, so any memory is safe to give. Greedy text is the same with and without.
    Raises ValueError also for memories that do not match the prompts.
    """
    if len(memories) != len(prompts):
        raise ValueError(
            f"{len(prompts)} prompts but {len(memories)} memories; expected one a prompt, None where there is none yet"
        )
    return _continue(model, prompts, memories, max_new_tokens, temperature, seeds, stop_id, max_length, allowed)


@torch.inference_mode()
def _continue(model, prompts, memories, max_new_tokens, temperature, seeds, stop_id, max_length, allowed) -> list[Continuation]:
    if not prompts:
        return []
    lengths = [len(prompt) for prompt in prompts]
    positions = min(model.config.max_position_embeddings, math.inf if max_length is None else max_length)
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds; expected one seed a prompt")
    if min(lengths) == 0 or max(lengths) > positions:
        raise ValueError(f"prompts of {min(lengths)} to {max(lengths)} tokens; expected 1 to {positions}")

    was_training = model.training
    model.eval()  # dropout would make greedy decoding random
    try:
        budgets = [min(max_new_tokens, positions - length) for length in lengths]
        return _generate(model, prompts, memories, budgets, temperature, seeds, stop_id, allowed)
    finally:
        model.train(was_training)


_READ_AT_ONCE = 16  # rows that are read together: those of like length, since what is padded is computed, too


def _generate(model, prompts, memories, budgets, temperature, seeds, stop_id, allowed) -> list[Continuation]:
    outputs: list[list[int]] = [[] for _ in prompts]
    kept: list[Memory | None] = [None] * len(prompts)
    steps = max(budgets)
    if steps <= 0:
        return [Continuation([], None) for _ in prompts]
    lengths = [len(prompt) for prompt in prompts]
    known = [m.known(p) if m else 0 for p, m in zip(prompts, memories or [None] * len(prompts), strict=True)]
    rows = sorted(range(len(prompts)), key=lambda row: (lengths[row] - known[row], lengths[row]))  # whose prompt each row holds
    width = max(lengths)  # the rows end in the same column, and so do their new tokens
    cache = BatchCache.reserve(model, len(rows), width + steps, width)
    mask = torch.zeros(len(rows), width + steps, dtype=torch.long)  # (B, T + steps) positions are counted along this mask
    for i, row in enumerate(rows):
        mask[i, width - lengths[row] :] = 1
        if known[row]:
            cache.fill(i, memories[row], known[row], width - lengths[row])
    uniforms = torch.tensor(np.stack([np.random.default_rng(seeds[row]).random(steps) for row in rows]))  # (B, steps)
    mask, uniforms = mask.to(model.device), uniforms.to(model.device)
    logits = _read(model, [prompts[row] for row in rows], [known[row] for row in rows], cache, mask)
    if logits.isnan().any():
        raise WorkbookError(
            "The model computes NaN. Expected finite logits. Usual cause: its training diverged (learning rate too high, no "
            "clipping, fp16 overflow). Look at its loss curve and train it again."
        )

    open_rows = {row for row in rows if budgets[row] > 0}
    gone = 0  # columns at the left that were dropped, since no row that is left uses them
    for step in range(steps):
        end = width + step - gone  # columns that are filled, before the token that is chosen now
        if allowed is not None:
            logits = only_allowed(logits, [allowed(row, outputs[row]) if row in open_rows else None for row in rows])
        ids = next_token(logits, temperature, uniforms[:, step])[:, None]  # (B, 1)
        for i, (row, token) in enumerate(zip(rows, ids[:, 0].tolist(), strict=True)):
            if row in open_rows:
                outputs[row].append(token)
                if token == stop_id or len(outputs[row]) == budgets[row]:
                    open_rows.remove(row)
                    if memories is not None:  # the last token was written and not read yet: it is no part of the memory
                        kept[row] = Memory((*prompts[row], *outputs[row][:-1]), cache.kept(i, width - lengths[row] - gone, end))
        if not open_rows:
            break
        if len(open_rows) < len(rows):
            first = width - max(lengths[row] for row in open_rows) - gone
            order, cache = cache.keep([i for i, row in enumerate(rows) if row in open_rows], first, end)
            rows, gone = [rows[i] for i in order], gone + first
            ids, mask, uniforms = ids[order], mask[order, first:], uniforms[order]
        seen = mask[:, : width + step + 1 - gone]
        positions = seen.sum(dim=1, keepdim=True) - 1  # (B, 1)
        read = model(ids, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits = read.logits[:, -1]  # (B, V)
    return [Continuation(written, memory) for written, memory in zip(outputs, kept, strict=True)]


def _read(model, prompts, known, cache: BatchCache, mask: torch.Tensor) -> torch.Tensor:
    """Reads what is new of every prompt into ``cache`` -> the logits of its next token, (B, V). ``known`` tokens are there already.

    A group of rows is read from the same column on: a row with fewer new tokens than its neighbours reads some again, so that there is
    no hole between what is remembered and what is read.
    """
    logits, width = [], max(map(len, prompts))
    for start in range(0, len(prompts), _READ_AT_ONCE):
        rows = slice(start, start + _READ_AT_ONCE)
        group = prompts[rows]
        longest, new = max(map(len, group)), max(len(p) - k for p, k in zip(group, known[rows], strict=True))
        ids = torch.full((len(group), new), model.config.pad_token_id or 0)  # (G, N) what stands under the padding is never seen
        for i, prompt in enumerate(group):
            read = prompt[-new:]
            ids[i, new - len(read) :] = torch.tensor(read)
        first = width - longest
        seen = mask[rows, first:width]
        positions = (seen.cumsum(dim=1) - 1).clamp(min=0)[:, -new:]  # (G, N)
        part = cache.part(rows, first, longest - new)
        ids = ids.to(mask.device)
        read = model(ids, attention_mask=seen, position_ids=positions, past_key_values=part, use_cache=True, logits_to_keep=1)
        logits.append(read.logits[:, -1])
    return torch.cat(logits)
