"""What a model has read, kept between the turns of a conversation: keys and values, so that a longer prompt costs only its new tokens.

A ``Memory`` belongs to one conversation. ``BatchCache`` lays the memories of a batch side by side for one call of the model, in space that
is reserved once, where transformers' DynamicCache copies itself for every token (half of a small model's time).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache, DynamicLayer


@dataclass(frozen=True, eq=False)
class Memory:
    """The first tokens of a conversation as a model has read them: their ids, and ``states`` (L, 2, H, T, K), keys and values."""

    ids: tuple[int, ...]
    states: torch.Tensor

    def known(self, prompt: Sequence[int]) -> int:
        """How many tokens at the start of ``prompt`` need not be read again: those that are the same here, but never the last one.

        The last token is always read, since the next one follows from its output. A prompt that differs early, because the
        turn that was written is tokenized in another way when it is read, is read again from there on.
        """
        most = min(len(self.ids), len(prompt) - 1)
        if self.ids[:most] == tuple(prompt[:most]):
            return most
        return next(i for i in range(most) if self.ids[i] != prompt[i])


class _Layer(DynamicLayer):
    """One layer's part of a ``BatchCache``; every call of the model writes the columns after those that it has."""

    def __init__(self, batch: "BatchCache", number: int, length: int):
        super().__init__()
        self._batch, self._number, self.length = batch, number, length

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        rows, heads, _, width = key_states.shape
        states = self._batch.reserved(rows, heads, width, key_states)[self._number]  # (2, B, H, C, K)
        start, self.length = self.length, self.length + key_states.shape[2]
        states[0, :, :, start : self.length] = key_states
        states[1, :, :, start : self.length] = value_states
        self.keys, self.values = states[:, :, :, : self.length]
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length


class BatchCache(Cache):
    """Keys and values of a batch, (L, 2, B, H, C, K): C columns are reserved, the first ``start`` of them are filled from memories."""

    def __init__(self, layers: int, columns: int, start: int):
        super().__init__(layers=[_Layer(self, number, start) for number in range(layers)])
        self._columns = columns
        self._states: torch.Tensor | None = None  # reserved when the first keys tell their shape

    def reserved(self, rows: int, heads: int, width: int, like: torch.Tensor) -> torch.Tensor:
        """The whole memory, made at the first call, with ``like``'s precision and device. Zeros: padding must not hold NaN."""
        if self._states is None:
            self._states = like.new_zeros(len(self.layers), 2, rows, heads, self._columns, width)
        return self._states

    def fill(self, rows: int, row: int, memory: Memory, count: int, column: int) -> None:
        """Puts the first ``count`` tokens of ``memory`` into ``row``, one of ``rows``, from ``column`` on."""
        _, _, heads, _, width = memory.states.shape
        reserved = self.reserved(rows, heads, width, memory.states)
        reserved[:, :, row, :, column : column + count] = memory.states[:, :, :, :count]

    def kept(self, row: int, first: int, end: int) -> torch.Tensor:
        """A copy of what one row holds in columns ``first`` to ``end``: the ``states`` of a ``Memory``."""
        return self._states[:, :, row, :, first:end].clone()

    def keep_rows(self, indices: torch.Tensor) -> None:
        """Drops all rows but these."""
        self._states = self._states[:, :, indices]
