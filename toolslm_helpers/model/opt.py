"""OPT on one page: token and position embeddings, attention, feed-forward, norms, and a head that is the embedding read backwards.

Zhang et al. 2022, "OPT: Open Pre-trained Transformer Language Models", with the quirks of OPT-350M as switches of transformers'
``OPTConfig``. Parameters bear transformers' names, so its weights load by name; a test holds the outputs equal.

Shape letters: B batch, T tokens, D width, E embedding width, H heads, K = D / H head width, F feed-forward width, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from transformers import OPTConfig

OFFSET = 2  # position p is row p + 2 of the table; fairseq kept the rows before for padding


def attention_weights(q: torch.Tensor, k: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Softmax of the scaled scores, by the formula: how much of each value a token takes.

    q, k (..., T, K), ``seen`` broadcastable to (..., T, T), true where a row may look at a column -> (..., T, T), rows sum to 1.
    The mask comes before the softmax: minus infinity becomes a weight of exactly zero, and what is left still sums to one.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, T)
    return scores.masked_fill(~seen, -math.inf).softmax(dim=-1)


class Attention(nn.Module):
    """Causal self-attention: every token asks (q) all tokens up to itself (k) and takes a weighted mean of what they hold (v)."""

    def __init__(self, config: "OPTConfig"):
        super().__init__()
        D = config.hidden_size
        if D % config.num_attention_heads:
            raise ValueError(f"width {D} is not a multiple of {config.num_attention_heads} heads; each head takes an equal slice")
        self.heads, self.dropout = config.num_attention_heads, config.attention_dropout
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(D, D, bias=config.enable_bias) for _ in range(4))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, H, T, K): each head gets its slice of the width."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def weights(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """The attention map of ``x`` (B, T, D) -> (B, H, T, T). For pictures; ``forward`` never forms it."""
        return attention_weights(self.split(self.q_proj(x)), self.split(self.k_proj(x)), seen)

    def forward(self, x: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, D), ``seen`` (B, 1, T, T) or None for the plain causal triangle -> (B, T, D)."""
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))  # (B, H, T, K)
        # attention_weights(q, k, seen) @ v, in one kernel that keeps no (T, T) matrix
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))  # (B, T, D)


class Layer(nn.Module):
    """Attention, then feed-forward, each added to what came in. OPT-350M alone among OPT's sizes normalises after each addition."""

    def __init__(self, config: "OPTConfig"):
        super().__init__()
        D, width, affine = config.hidden_size, config.ffn_dim, config.layer_norm_elementwise_affine
        self.norm_first, self.dropout = config.do_layer_norm_before, config.dropout
        self.self_attn = Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(D, elementwise_affine=affine)
        self.fc1 = nn.Linear(D, width, bias=config.enable_bias)
        self.fc2 = nn.Linear(width, D, bias=config.enable_bias)
        self.final_layer_norm = nn.LayerNorm(D, elementwise_affine=affine)

    def attend(self, x: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        return self._drop(self.self_attn(x, seen))

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each token for itself: (B, T, D) -> (B, T, F) -> (B, T, D)."""
        return self._drop(self.fc2(self.fc1(x).relu()))

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)

    def forward(self, x: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, D) -> (B, T, D)."""
        if self.norm_first:  # pre-norm: the sum itself is never normalised, a gradient runs through it unchanged
            x = x + self.attend(self.self_attn_layer_norm(x), seen)
            return x + self.feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self.attend(x, seen))  # post-norm
        return self.final_layer_norm(x + self.feed_forward(x))


class OPT(nn.Module):
    """A decoder-only language model: ids (B, T) -> logits (B, T, V)."""

    def __init__(self, config: "OPTConfig"):
        super().__init__()
        if config.activation_function != "relu":
            raise ValueError(f"activation {config.activation_function!r}; every OPT uses relu")
        if not config.tie_word_embeddings:
            raise ValueError("tie_word_embeddings is false; OPT's head is its embedding matrix")
        V, E, D = config.vocab_size, config.word_embed_proj_dim, config.hidden_size
        self.config = config
        self.embed_tokens = nn.Embedding(V, E, padding_idx=config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_position_embeddings + OFFSET, D)
        self.project_in = nn.Linear(E, D, bias=False) if E != D else nn.Identity()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        last = config.do_layer_norm_before and not config._remove_final_layer_norm
        self.final_layer_norm = (
            nn.LayerNorm(D, elementwise_affine=config.layer_norm_elementwise_affine) if last else nn.Identity()
        )
        self.project_out = nn.Linear(D, E, bias=False) if E != D else nn.Identity()

    def embed(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """What a token is, and where it stands: ids (B, T), ``mask`` (B, T) 1 for a token and 0 for padding -> (B, T, D).

        Raises ValueError for more tokens than there are positions: their rows do not exist.
        """
        mask = torch.ones_like(ids) if mask is None else mask
        positions = (mask.cumsum(dim=1) * mask - 1).long()  # (B, T) padding does not count, whichever side it is on
        if ids.shape[1] and positions.max() >= self.config.max_position_embeddings:
            raise ValueError(
                f"{int(positions.max()) + 1} tokens; the model has {self.config.max_position_embeddings} positions. Truncate."
            )
        return self.project_in(self.embed_tokens(ids)) + self.embed_positions(positions + OFFSET)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """ids (B, T), ``mask`` (B, T) or None where nothing is padded -> logits (B, T, V), in nats up to a constant a row."""
        x, seen = self.embed(ids, mask), None if mask is None else seen_by(mask)
        for layer in self.layers:
            x = layer(x, seen)
        return self.project_out(self.final_layer_norm(x)) @ self.embed_tokens.weight.T  # the tied head: (B, T, E) x (E, V)

    @classmethod
    def from_transformers(cls, config: "OPTConfig", state: Mapping[str, torch.Tensor]) -> "OPT":
        """The model with the weights of an ``OPTForCausalLM.state_dict()``. Raises RuntimeError naming keys that lack or do not fit."""
        prefix = "model.decoder."
        model = cls(config)
        model.load_state_dict({name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)})
        return model


def seen_by(mask: torch.Tensor) -> torch.Tensor:
    """``mask`` (B, T), 1 for a token and 0 for padding -> (B, 1, T, T), true where a row's token may look at a column's.

    A token looks at tokens up to itself. Padding looks at itself only: a softmax over nothing would be NaN.
    """
    T = mask.shape[1]
    causal = torch.ones(T, T, dtype=torch.bool, device=mask.device).tril()  # (T, T)
    itself = torch.eye(T, dtype=torch.bool, device=mask.device)
    return ((causal & mask.bool()[:, None, :]) | itself)[:, None]
