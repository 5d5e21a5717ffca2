"""OPT-350M's exact shape, with random weights: rows for it, batches with the FLOPs that each takes, its loss, and the machine's own speed.

What the scripts that train the full shape share (full_size.py, cpu_share.py). It needs torch and transformers and nothing else, since a
lent machine may have no more. Model FLOPs are counted as ``model.counting.training_flops`` counts them, less those of the head at positions
without a label, which nobody computes.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # from a clone, installed or not

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from transformers import OPTConfig, OPTForCausalLM  # noqa: E402

from toolslm_helpers.model.counting import OPT_350M, decoder_of, training_flops  # noqa: E402
from toolslm_helpers.sizes import FULL  # noqa: E402

IGNORED = -100
SUPERVISED = 0.05  # of the tokens of a made-up row: all assistant turns of ToolBench's rows are 5.5%
# Dense half-precision products with float32 sums, FLOP/s, as the makers' data sheets have them.
DATA_SHEET = {"H100 80GB HBM3": 989e12, "H200": 989e12, "A100": 312e12, "T4": 65e12}
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
Row = tuple[list[int], list[int]]  # (ids, labels)


@dataclass(frozen=True)
class Batch:
    """``rows`` sequences, padded to one length. ``places`` are the flat positions of (B, T - 1) whose next token is supervised."""

    ids: torch.Tensor  # (B, T)
    position_ids: torch.Tensor  # (B, T)
    places: torch.Tensor  # (S,)
    targets: torch.Tensor  # (S,)
    tokens: int  # without padding
    flops: int  # of the model, without the head where nothing is supervised


def configuration(layers: int) -> OPTConfig:
    """facebook/opt-350m's configuration, with ``layers`` layers."""
    return OPTConfig(
        vocab_size=OPT_350M.vocabulary, hidden_size=OPT_350M.width, word_embed_proj_dim=OPT_350M.embedding, num_hidden_layers=layers,
        ffn_dim=OPT_350M.feed_forward, num_attention_heads=16, max_position_embeddings=OPT_350M.context, do_layer_norm_before=False,
        dropout=0.1, attention_dropout=0.0, layerdrop=0.0, init_std=0.02,
    )  # fmt: skip


def rows_of(tokens: int, count: int) -> tuple[str, list[Row]]:
    """(where they come from, (ids, labels) of each row)."""
    if os.environ.get("TOOLBENCH_DIR"):
        with contextlib.suppress(ImportError):
            return _real_rows(tokens)
    ids = torch.randint(4, OPT_350M.vocabulary, (count, tokens), generator=torch.Generator().manual_seed(0)).tolist()
    graded = max(1, round(SUPERVISED * tokens))
    rows = [(row, [IGNORED] * (tokens - graded) + row[-graded:]) for row in ids]
    return f"random token ids, {tokens:,} a row, the last {graded} supervised", rows


def _real_rows(tokens: int) -> tuple[str, list[Row]]:
    """ToolBench's step rows, as size full flattens them."""
    from toolslm_helpers.agent.gold import training_trajectories
    from toolslm_helpers.text.tokenizer import load_opt_tokenizer
    from toolslm_helpers.training.sft import flatten_for

    folder = Path(os.environ["TOOLBENCH_DIR"]) / "opt_tokenizer"
    tokenizer = load_opt_tokenizer(folder / "gpt2-vocab.json", folder / "gpt2-merges.txt")
    data = flatten_for(replace(FULL, max_length=tokens), training_trajectories(FULL), tokenizer)
    rows = [(example.input_ids.tolist(), example.labels.tolist()) for example in data.examples]
    return f"{len(rows)} step rows of ToolBench in at most {tokens:,} tokens, each trained on its last turn", rows


def batches_of(rows: list[Row], batch: int, config: OPTConfig, device: str) -> Iterator[Batch]:
    """Batches without end, round and round the rows."""
    decoder, place = decoder_of(config), 0
    of_head = 6 * config.vocab_size * config.word_embed_proj_dim
    kept: dict[int, Batch] = {}
    while True:
        if place not in kept:
            some = [rows[(place + k) % len(rows)] for k in range(batch)]
            longest = max(len(ids) for ids, _ in some)
            ids = torch.tensor([ids + [1] * (longest - len(ids)) for ids, _ in some])
            labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in some])[:, 1:]
            places = (labels != IGNORED).flatten().nonzero()[:, 0]
            tokens = sum(len(ids) for ids, _ in some)
            flops = sum(training_flops(decoder, len(ids)) for ids, _ in some) - of_head * (tokens - len(places))
            positions = torch.arange(longest).repeat(batch, 1)
            content = (ids, positions, places, labels.flatten()[places])
            kept[place] = Batch(*(tensor.to(device) for tensor in content), tokens, flops)
        yield kept[place]
        place = (place + batch) % len(rows)


def loss_of(model: OPTForCausalLM, batch: Batch) -> torch.Tensor:
    """Summed cross-entropy of a batch, nats; logits only where a token is supervised."""
    hidden = model.model.decoder(
        input_ids=batch.ids, position_ids=batch.position_ids, use_cache=False
    ).last_hidden_state  # (B, T, E)
    logits = model.lm_head(hidden[:, :-1].flatten(0, 1)[batch.places])  # (S, V)
    return F.cross_entropy(logits.float(), batch.targets, reduction="sum")


def product_speed(precision: str, device: str) -> float:
    """FLOP/s of the machine's own square matrix product on random numbers: the best of several rounds."""
    n = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=TYPES[precision]) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        wait(device)
        begin = time.perf_counter()
        for _ in range(10 if device == "cuda" else 1):
            a @ b
        wait(device)
        best = min(best, (time.perf_counter() - begin) / (10 if device == "cuda" else 1))
    return 2 * n**3 / best


def data_sheet() -> float | None:
    """FLOP/s of the data sheet in half precision; None for a device that is not in ``DATA_SHEET``."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return next((peak for part, peak in DATA_SHEET.items() if part in name), None)


def new_model(config: OPTConfig, device: str) -> OPTForCausalLM:
    torch.manual_seed(0)
    with torch.device(device):  # random numbers are made where they are needed
        model = OPTForCausalLM._from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(device).train()


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def attention_choice(attention: str) -> contextlib.AbstractContextManager:
    """torch's own choice of kernel, or cuDNN's first and torch's others where it does not apply."""
    if attention == "torch":
        return contextlib.nullcontext()
    others = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel([SDPBackend.CUDNN_ATTENTION, *others], set_priority=True)
