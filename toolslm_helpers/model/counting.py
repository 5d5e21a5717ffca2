"""How many parameters a decoder-only model has, part by part, and how many of them work on one token. Arithmetic on sizes, no weights.

Shape letters: D width, E embedding width, F feed-forward width, V vocabulary, L layers. The number of heads decides nothing here: they
share the width among them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import OPTConfig


@dataclass(frozen=True)
class Decoder:
    """The sizes that decide how many parameters a decoder-only model has. The defaults are OPT's ways.

    Raises ValueError for a size below 1, more experts used than there are, or more dense layers than layers.
    """

    name: str
    layers: int  # L
    width: int  # D
    feed_forward: int  # F, of a layer without experts
    vocabulary: int  # V
    context: int  # tokens
    embedding: int | None = None  # E where it differs from D: then there are project_in and project_out
    tied: bool = True  # the head is the embedding, read the other way
    position_offset: int | None = 2  # rows of the table of positions before the first one; None: no table (rotary positions)
    bias: bool = True  # in attention and feed-forward
    matrices: int = 2  # in a feed-forward: 2 (up, down), or 3 where it is gated (SwiGLU)
    norm_vectors: int = 2  # in a norm: scale and shift; RMS norm has a scale only
    last_norm: bool = False
    experts: int = 1  # feed-forwards in a layer among which a router chooses; 1: no router
    experts_used: int = 1  # of them, for one token
    shared_experts: int = 0  # used for every token
    expert_width: int | None = None  # F of an expert, where it differs
    dense_layers: int = 0  # the first layers, which have no experts

    def __post_init__(self) -> None:
        for name in ("layers", "width", "feed_forward", "vocabulary", "context", "experts", "experts_used"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if self.experts_used > self.experts:
            raise ValueError(f"{self.experts_used} of {self.experts} experts used; a token cannot visit more than there are.")
        if not 0 <= self.dense_layers <= self.layers:
            raise ValueError(f"{self.dense_layers} dense layers of {self.layers}; expected none to all.")


@dataclass(frozen=True)
class Part:
    """One part of a model; ``active`` of its parameters are multiplied with the numbers of one token (of a table that is looked up: none)."""

    name: str
    formula: str  # in shape letters
    total: int
    active: int


def count(model: Decoder) -> tuple[Part, ...]:
    """The model's parts that have parameters, in the order in which a token meets them."""
    D, L, E, bias = model.width, model.layers, model.embedding or model.width, int(model.bias)
    table, of_table = model.vocabulary * E, "V * E" if E != D else "V * D"
    places = 0 if model.position_offset is None else (model.context + model.position_offset) * D
    norms = 2 * L + model.last_norm
    parts = (
        Part("embedding", of_table, table, table if model.tied else 0),
        Part("positions", f"(context + {model.position_offset}) * D", places, 0),
        _working("project_in, project_out", "2 * E * D", 2 * E * D if E != D else 0),
        _working("attention", f"L * (4 * D * D{' + 4 * D' * bias})", L * (4 * D * D + 4 * D * bias)),
        *_feed_forwards(model),
        _working("norms", f"{norms} * {model.norm_vectors} * D", norms * model.norm_vectors * D),
        _working("head", of_table, 0 if model.tied else table),
    )
    return tuple(part for part in parts if part.total)


def _working(name: str, formula: str, total: int) -> Part:
    """A part that works on every token as a whole."""
    return Part(name, formula, total, total)


def _feed_forwards(model: Decoder) -> tuple[Part, ...]:
    """The layers with one feed-forward, and those in which a router chooses among experts."""
    mixed = model.layers - model.dense_layers if model.experts > 1 or model.shared_experts else 0
    dense, held, used = model.layers - mixed, model.experts + model.shared_experts, model.experts_used + model.shared_experts
    of_dense, of_mixed = f"{dense} layers" if mixed else "L", "L" if dense == 0 else f"{mixed} layers"
    one, expert = _one_feed_forward(model, "F"), _one_feed_forward(model, "F_expert" if model.expert_width else "F")
    router = mixed * model.experts * model.width if model.experts > 1 else 0
    return (
        _working("feed-forward", f"{of_dense} * ({one[0]})", dense * one[1]),
        Part("experts", f"{of_mixed} * {held} * ({expert[0]})", mixed * held * expert[1], mixed * used * expert[1]),
        _working("router", f"{of_mixed} * {model.experts} * D", router),
    )


def _one_feed_forward(model: Decoder, letter: str) -> tuple[str, int]:
    """Formula and size: matrices between D and a width, and the biases: one row for each way up, one for the way down."""
    width, up = (model.feed_forward if letter == "F" else model.expert_width), model.matrices - 1
    biases = f" + {f'{up} * ' if up > 1 else ''}{letter} + D" if model.bias else ""
    numbers = model.matrices * model.width * width + (up * width + model.width if model.bias else 0)
    return f"{model.matrices} * D * {letter}{biases}", numbers


def total_parameters(model: Decoder) -> int:
    """All parameters; a tied head is the embedding and counts once."""
    return sum(part.total for part in count(model))


def active_parameters(model: Decoder) -> int:
    """Parameters that one token is multiplied with: without tables that are looked up and experts that the token does not visit."""
    return sum(part.active for part in count(model))


def training_flops(model: Decoder, tokens: int) -> int:
    """Floating-point operations of one training pass, forward and backward, over one text of ``tokens`` tokens.

    6 for each parameter and token (a multiplication and an addition, forward once and backward twice), and 12 * L * D for each pair of
    tokens, which attention compares and mixes; pairs that a causal mask leaves out are counted, since most kernels compute them.
    Source of the formula: PaLM (arXiv 2204.02311), appendix B.
    """
    return 6 * active_parameters(model) * tokens + 12 * model.layers * model.width * tokens * tokens


def key_value_bytes(model: Decoder, tokens: int, bytes_per_number: int = 2) -> int:
    """Bytes of the keys and values of ``tokens`` tokens in all layers, which generation keeps; every head has keys of its own."""
    return 2 * model.layers * model.width * tokens * bytes_per_number


def decoder_of(config: "OPTConfig", name: str = "OPT") -> Decoder:
    """The sizes of a transformers configuration of OPT."""
    return Decoder(
        name,
        config.num_hidden_layers,
        config.hidden_size,
        config.ffn_dim,
        config.vocab_size,
        config.max_position_embeddings,
        embedding=config.word_embed_proj_dim,
        tied=config.tie_word_embeddings,
        bias=config.enable_bias,
        norm_vectors=2 if config.layer_norm_elementwise_affine else 0,
        last_norm=config.do_layer_norm_before and not config._remove_final_layer_norm,
    )


OPT_350M = Decoder("OPT-350M", layers=24, width=1024, feed_forward=4096, vocabulary=50_272, context=2048, embedding=512)

# DeepSeek-3B-MoE-A570M, the decoder of DeepSeek-OCR. Written down from memory of its published configuration and checked by arithmetic only:
# it gives the published 3 B and 570 M.
DEEPSEEK_OCR = Decoder(
    "DeepSeek-OCR's decoder", layers=12, width=1280, feed_forward=6848, vocabulary=129_280, context=8192, tied=False,
    position_offset=None, bias=False, matrices=3, norm_vectors=1, last_norm=True, experts=64, experts_used=6, shared_experts=2,
    expert_width=896, dense_layers=1,
)  # fmt: skip
