"""Our OPT beside transformers': forward and backward on the same weights and ids, in this one process, by turns.

    python benchmarks/opt.py [rounds]

Prints for each shape the median seconds of both and their ratio (below 1: ours is faster); the two losses must agree.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.model.checkpoints import OPT_MINI
from toolslm_helpers.model.opt import OPT

OPT_350M = {
    "vocab_size": 50_272, "hidden_size": 1024, "word_embed_proj_dim": 512, "num_hidden_layers": 24, "ffn_dim": 4096,
    "num_attention_heads": 16, "max_position_embeddings": 2048, "do_layer_norm_before": False, "dropout": 0.0,
}  # fmt: skip
# name -> (configuration, rows, tokens)
SHAPES = {
    "opt-mini, 8 x 384": (OPT_MINI, 8, 384),
    "opt-mini, 1 x 64": (OPT_MINI, 1, 64),
    "pre-norm, width 256, 4 x 256": (OPT_MINI | {"hidden_size": 256, "ffn_dim": 1024, "do_layer_norm_before": True}, 4, 256),
    "two layers of OPT-350M, 1 x 256": (OPT_350M | {"num_hidden_layers": 2}, 1, 256),
}


def step(logits: torch.Tensor, ids: torch.Tensor) -> float:
    """Cross-entropy and its gradient; what a training step does between batch and optimiser."""
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    return loss.item()


def compare(changes: dict, rows: int, tokens: int, rounds: int) -> tuple[float, float]:
    """(median seconds of ours, of transformers')."""
    torch.manual_seed(0)
    config = OPTConfig(**changes)
    theirs = OPTForCausalLM(config).train()
    ours = OPT.from_transformers(config, theirs.state_dict()).train()
    ids = torch.randint(4, config.vocab_size, (rows, tokens))
    ways = {"ours": lambda: step(ours(ids), ids), "theirs": lambda: step(theirs(input_ids=ids, use_cache=False).logits, ids)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(rounds + 2):
        losses = {}
        for name, way in ways.items():
            began = time.perf_counter()
            losses[name] = way()
            if k >= 2:  # the first rounds pay for allocation
                seconds[name].append(time.perf_counter() - began)
            (ours if name == "ours" else theirs).zero_grad(set_to_none=True)
        assert abs(losses["ours"] - losses["theirs"]) < 1e-4, losses
    return statistics.median(seconds["ours"]), statistics.median(seconds["theirs"])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds, forward and backward")
    for name, shape in SHAPES.items():
        ours, theirs = compare(*shape, rounds)
        print(f"{name:<34} ours {ours:.4f} s   transformers {theirs:.4f} s   ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
