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
    """One layer's part of a ``BatchCache``, (2, B, H, C, K); every call of the model writes the columns after those that it has."""

    def __init__(self, states: torch.Tensor, length: int):
        super().__init__()
        self._states, self.length = states, length
        self.dtype, self.device, self.is_initialized = states.dtype, states.device, True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        start, self.length = self.length, self.length + key_states.shape[2]
        self._states[0, :, :, start : self.length] = key_states
        self._states[1, :, :, start : self.length] = value_states
        self.keys, self.values = self._states[:, :, :, : self.length]
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length


class BatchCache(Cache):
    """Keys and values of a batch, (L, 2, B, H, C, K): C columns are reserved, the first ``start`` of them count as filled.

    ``states`` is the whole memory, or a part of another cache's, whose rows and columns are then written there.
    """

    def __init__(self, states: torch.Tensor, start: int):
        super().__init__(layers=[_Layer(of_layer, start) for of_layer in states])
        self.states = states

    @classmethod
    def reserve(cls, model: torch.nn.Module, rows: int, columns: int, start: int) -> "BatchCache":
        """Space for ``model``, in its precision and on its device. Zeros: padding must not hold NaN."""
        config, heads = model.config, model.config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        heads = getattr(config, "num_key_value_heads", None) or heads  # a Llama's heads share their keys and values in groups
        shape = (config.num_hidden_layers, 2, rows, heads, columns, width)
        return cls(torch.zeros(shape, dtype=model.dtype, device=model.device), start)

    def part(self, rows: slice, first: int, start: int) -> "BatchCache":
        """``rows`` of this cache from column ``first`` on, as a cache of its own; its columns before ``start`` are filled."""
        return BatchCache(self.states[:, :, rows, :, first:], start)

    def fill(self, row: int, memory: Memory, count: int, column: int) -> None:
        """Puts the first ``count`` tokens of ``memory`` into ``row`` from ``column`` on."""
        self.states[:, :, row, :, column : column + count] = memory.states[:, :, :, :count]

    def kept(self, row: int, first: int, end: int) -> torch.Tensor:
        """A copy of what one row holds in columns ``first`` to ``end``: the ``states`` of a ``Memory``."""
        return self.states[:, :, row, :, first:end].clone()

    def keep(self, rows: Sequence[int], first: int, end: int) -> tuple[list[int], "BatchCache"]:
        """(which row is where now, the cache of ``rows`` only, from column ``first`` on; those before ``end`` are filled).

        In place: rows from behind move to the places that are free, all others stay where they are.
        """
        order, stay = list(range(len(rows))), set(rows)
        movers = [row for row in rows if row >= len(rows)]
        for place, row in zip([place for place in order if place not in stay], movers, strict=True):
            order[place] = row
            self.states[:, :, place, :, first:end] = self.states[:, :, row, :, first:end]
        return order, self.part(slice(len(rows)), first, end - first)
