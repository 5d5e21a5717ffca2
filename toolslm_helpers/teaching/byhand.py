"""A whole language model on paper: from words to the next word, its grade, the gradient, and one step of learning.

Six words, three tokens, one layer with two heads, and weights that are small integers. It is OPT with its quirks (project_in and
project_out, positions with an offset of 2, post-norm, ReLU, tied head), and with three changes that keep the numbers on paper small:

- attention and softmax use base 2, and attention leaves out the division by the root of the head width: 2 to the x is 2.67 to the
  x / root 2, and 2.67 is close to e;
- layer norm divides by the mean distance from the mean, where OPT divides by the standard deviation;
- one bias, where OPT has one in almost every projection.

``opt_weights`` are the same weights for the real architecture: base e, the root, the standard deviation.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from toolslm_helpers.teaching.quantities import Paper

if TYPE_CHECKING:
    import torch
    from transformers import OPTConfig

WORDS = ("</s>", "weather", "Lisbon", "call", "sunny", "done")  # V = 6
TOKENS = (1, 2, 3)  # weather Lisbon call: T = 3
TARGETS = (2, 3, 5)  # what came next: Lisbon (the user's own word), then call and done (the assistant's)
GRADED = (0, 1, 1)
OFFSET = 2
WIDTHS = {"T": 3, "V": 6, "E": 2, "D": 4, "H": 2, "K": 2, "F": 4}
RATE = 1  # of the one step

EMBEDDING = ((2, 1), (0, 1), (-2, -1), (-2, 0), (-1, -1), (0, -1))  # (V, E)
POSITIONS = (
    (7, 7, 7, 7),
    (8, 8, 8, 8),
    (-1, 0, -1, 0),
    (0, 0, -1, 1),
    (0, -1, 0, 0),
)  # (P + 2, D); the first two are for padding
PROJECT_IN = ((0, 1), (-1, 1), (-1, 0), (0, -1))  # (D, E)
QUERY = ((1, -1, 1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (0, -1, 0, 0))  # (D, D): rows 1 and 2 for head 1, 3 and 4 for head 2
KEY = ((-1, 0, 0, 0), (0, 0, -1, 0), (-1, 0, 1, -1), (1, 1, 1, 0))
VALUE = ((1, 1, -1, -1), (0, -1, 0, 0), (0, 1, 0, -1), (-1, 0, 1, 0))
OUT = ((0, -1, -1, -1), (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0))  # (D, D): columns 1 and 2 for head 1, 3 and 4 for head 2
FC1 = ((0, 1, 0, -1), (1, 1, 0, 0), (1, 0, 0, 0), (-1, 1, 0, 0))  # (F, D)
FC1_BIAS = (0, 1, -1, 0)
FC2 = ((-1, -1, 0, 0), (0, 1, -1, -1), (0, 0, 0, 0), (-1, 0, -1, 1))  # (D, F)
PROJECT_OUT = ((-1, 0, 0, -1), (0, 1, -1, 1))  # (E, D)


def _axis(letter: str) -> tuple[str, ...]:
    return tuple(f"{letter}{k + 1}" for k in range(WIDTHS[letter]))


SAID = tuple(WORDS[token] for token in TOKENS)
D, E, F, K = _axis("D"), _axis("E"), _axis("F"), _axis("K")


@lru_cache(maxsize=1)
def by_hand() -> Paper:
    """Every quantity of the paper model, in the order in which it is computed. One object for all: do not change it."""
    p = Paper()
    p.given("base", "(1, 1)", "the number that is raised to a score", [[2]])
    _embed(p)
    _attend(p)
    _feed_forward(p)
    _predict(p, "")
    _grade(p, "")
    _learn(p)
    return p


def _embed(p: Paper) -> None:
    """Lesson 05: what a word is, and where it stands."""
    p.given("tokens", "(T, 1)", "the words' numbers", [[t] for t in TOKENS], SAID, ("id",))
    p.given(
        "rows",
        "(T, 1)",
        "place + 2: the row of the table of positions",
        [[k + OFFSET] for k in range(len(TOKENS))],
        SAID,
        ("row",),
    )
    p.given("embedding", "(V, E)", "a row for each word", EMBEDDING, WORDS, E)
    p.given("positions", "(P + 2, D)", "a row for each place; the first two stand for padding", POSITIONS,
            ("0 (padding)", "1 (padding)", "2 (first)", "3 (second)", "4 (third)"), D)  # fmt: skip
    p.given("project_in", "(D, E)", "from the width of a word to the width of the model", PROJECT_IN, D, E)
    p.then("embedded", "lookup", ["tokens", "embedding"], "(T, E)", "the row of each word", SAID, E)
    p.then("projected", "linear", ["embedded", "project_in"], "(T, D)", "each row times each row of project_in", SAID, D)
    p.then("placed", "lookup", ["rows", "positions"], "(T, D)", "the row of each place", SAID, D)
    p.then("x", "add", ["projected", "placed"], "(T, D)", "word + place", SAID, D)


def _attend(p: Paper) -> None:
    """Lesson 01: every token asks all tokens up to itself, once for each head."""
    for head, part in ((1, slice(0, 2)), (2, slice(2, 4))):
        for name, weight in (("query", QUERY), ("key", KEY), ("value", VALUE)):
            p.given(f"weight of {name} {head}", "(K, D)", f"what head {head} makes its {name} of", weight[part], K, D)
            p.then(
                f"{name} {head}",
                "linear",
                ["x", f"weight of {name} {head}"],
                "(T, K)",
                f"x times the weight of {name} {head}",
                SAID,
                K,
            )
        p.then(f"scores {head}", "linear", [f"query {head}", f"key {head}"], "(T, T)", "each query times each key", SAID, SAID)
        p.then(f"raised {head}", "causal power", [f"scores {head}", "base"], "(T, T)",
               "base to the power of the score; 0 for what comes later", SAID, SAID)  # fmt: skip
        p.then(f"total {head}", "total", [f"raised {head}"], "(T, 1)", "sum of the row", SAID, ("total",))
        p.then(
            f"attention {head}", "share", [f"raised {head}", f"total {head}"], "(T, T)", "share of the row's total", SAID, SAID
        )
        p.then(f"mixed {head}", "mix", [f"attention {head}", f"value {head}"], "(T, K)", "values, weighted by attention", SAID, K)
        p.given(f"weight of out {head}", "(D, K)", f"what head {head} gives back", [row[part] for row in OUT], D, K)
        p.then(
            f"out {head}",
            "linear",
            [f"mixed {head}", f"weight of out {head}"],
            "(T, D)",
            f"mixed {head} times its weight",
            SAID,
            D,
        )
    p.then("added 1", "add", ["x", "out 1", "out 2"], "(T, D)", "x + what both heads give back", SAID, D)
    _normalise(p, "added 1", "normed 1")


def _feed_forward(p: Paper) -> None:
    """Lesson 01: each token for itself, through a wider row and back."""
    p.given("fc1", "(F, D)", "weights of the first half", FC1, F, D)
    p.given("fc1 bias", "(1, F)", "added to each column", [FC1_BIAS], ("bias",), F)
    p.then("hidden", "linear", ["normed 1", "fc1", "fc1 bias"], "(T, F)", "normed 1 times fc1, plus the bias", SAID, F)
    p.then("rectified", "relu", ["hidden"], "(T, F)", "what is below 0 becomes 0", SAID, F)
    p.given("fc2", "(D, F)", "weights of the second half", FC2, D, F)
    p.then("forward", "linear", ["rectified", "fc2"], "(T, D)", "rectified times fc2", SAID, D)
    p.then("added 2", "add", ["normed 1", "forward"], "(T, D)", "normed 1 + forward", SAID, D)
    _normalise(p, "added 2", "normed 2")


def _normalise(p: Paper, name: str, result: str) -> None:
    p.then(f"mean of {name}", "mean", [name], "(T, 1)", "mean of the row", SAID, ("mean",))
    p.then(f"spread of {name}", "mean distance", [name], "(T, 1)", "mean distance from the mean", SAID, ("spread",))
    p.then(result, "normalise", [name, f"mean of {name}", f"spread of {name}"], "(T, D)", "(number - mean) / spread", SAID, D)


def _predict(p: Paper, again: str) -> None:
    """Lessons 05 and 06: back to the width of a word, compared with every word, and turned into shares."""
    if not again:
        p.given("project_out", "(E, D)", "from the width of the model back to the width of a word", PROJECT_OUT, E, D)
    p.then(f"output{again}", "linear", ["normed 2", f"project_out{again}"], "(T, E)", "normed 2 times project_out", SAID, E)
    p.then(
        f"logits{again}",
        "linear",
        [f"output{again}", "embedding"],
        "(T, V)",
        "times the embedding of every word: the tied head",
        SAID,
        WORDS,
    )
    p.then(f"raised{again}", "power", [f"logits{again}", "base"], "(T, V)", "base to the power of the logit", SAID, WORDS)
    p.then(f"total{again}", "total", [f"raised{again}"], "(T, 1)", "sum of the row", SAID, ("total",))
    p.then(
        f"p{again}", "share", [f"raised{again}", f"total{again}"], "(T, V)", "share of the row's total: the softmax", SAID, WORDS
    )
    p.then(f"next{again}", "largest", [f"p{again}"], "(T, 1)", "the word with the largest share", SAID, ("id",))


def _grade(p: Paper, again: str) -> None:
    """Lesson 07: what each prediction costs, and the mean over those that are graded."""
    if not again:
        p.given("targets", "(T, 1)", "the words that came next", [[t] for t in TARGETS], SAID, ("id",))
        p.given("graded", "(T, 1)", "1 where the assistant wrote the next word", [[g] for g in GRADED], SAID, ("graded",))
    p.then(
        f"losses{again}",
        "loss",
        [f"p{again}", "targets", "base"],
        "(T, 1)",
        "minus the logarithm of the target's share, in bits",
        SAID,
        ("bits",),
    )
    p.then(f"loss{again}", "graded mean", [f"losses{again}", "graded"], "(1, 1)", "mean over the graded tokens")


def _learn(p: Paper) -> None:
    """Lesson 07: the gradient, back to project_out, and one step of SGD; then the same prediction again."""
    p.given("rate", "(1, 1)", "the learning rate", [[RATE]])
    p.then("gradient of logits", "logit gradient", ["p", "targets", "graded"], "(T, V)",
           "(share - 1 at the target) / graded tokens; 0 where not graded", SAID, WORDS)  # fmt: skip
    p.then(
        "gradient of output",
        "mix",
        ["gradient of logits", "embedding"],
        "(T, E)",
        "gradient of logits times the embedding",
        SAID,
        E,
    )
    p.then("gradient of project_out", "outer sum", ["gradient of output", "normed 2"], "(E, D)",
           "for each token, its gradient of output times its normed 2; summed over tokens", E, D)  # fmt: skip
    p.then(
        "project_out after",
        "step",
        ["project_out", "gradient of project_out", "rate"],
        "(E, D)",
        "weight - rate * gradient",
        E,
        D,
    )
    _predict(p, " after")
    _grade(p, " after")


def opt_config() -> "OPTConfig":
    """The paper model's sizes as a configuration of the real architecture."""
    from transformers import OPTConfig

    return OPTConfig(
        vocab_size=WIDTHS["V"], word_embed_proj_dim=WIDTHS["E"], hidden_size=WIDTHS["D"], num_hidden_layers=1,
        num_attention_heads=WIDTHS["H"], ffn_dim=WIDTHS["F"], max_position_embeddings=len(POSITIONS) - OFFSET,
        do_layer_norm_before=False, dropout=0.0, pad_token_id=None, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip


def opt_weights() -> dict[str, "torch.Tensor"]:
    """The paper's weights under transformers' names, for ``OPT.from_transformers``; biases and norms that paper leaves out do nothing."""
    import torch

    layer = "layers.0."
    named = {
        "embed_tokens.weight": EMBEDDING, "embed_positions.weight": POSITIONS, "project_in.weight": PROJECT_IN,
        "project_out.weight": PROJECT_OUT, layer + "fc1.weight": FC1, layer + "fc1.bias": FC1_BIAS, layer + "fc2.weight": FC2,
        layer + "fc2.bias": [0] * WIDTHS["D"],
    }  # fmt: skip
    for name, weight in (("q", QUERY), ("k", KEY), ("v", VALUE), ("out", OUT)):
        named |= {f"{layer}self_attn.{name}_proj.weight": weight, f"{layer}self_attn.{name}_proj.bias": [0] * WIDTHS["D"]}
    for norm in ("self_attn_layer_norm", "final_layer_norm"):
        named |= {f"{layer}{norm}.weight": [1] * WIDTHS["D"], f"{layer}{norm}.bias": [0] * WIDTHS["D"]}
    return {f"model.decoder.{name}": torch.tensor(value, dtype=torch.float32) for name, value in named.items()}
