"""How much of this machine's own matrix-product speed training OPT-350M's shape reaches on a CPU, in float32.

    [TOOLBENCH_DIR=...] python benchmarks/cpu_share.py [--layers 24] [--tokens 2048] [--rounds 3] [--output docs/results/cpu_share.json]

By turns in one process: a square matrix product, a row forward and backward, a matrix product; so a machine that is busy is busy for both,
and each round gives a share. Medians are reported. Then one step of the optimiser, with clipping: it costs the same however many rows a
step has, so its part is told at the paper's 32 rows and at one. Rows, model and loss are full_size.py's (``opt_350m``).

What is counted: model FLOPs, 6 for each parameter and token and attention for every pair of tokens, less the head where nothing is
supervised (``opt_350m``). torch's kernel for a CPU leaves out most pairs that a causal mask hides, which the convention counts; so the
share that counts every pair once where it is seen, and half of them are, is told too. Dropout draws its random numbers in that time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from opt_350m import (  # noqa: E402
    FULL,
    OPT_350M,
    ROOT,
    Batch,
    batches_of,
    configuration,
    loss_of,
    new_model,
    product_speed,
    rows_of,
)

from toolslm_helpers.files import atomic_write_json  # noqa: E402
from toolslm_helpers.results import provenance  # noqa: E402

PASSES = FULL.effective_batch_size  # of one row each in a step of the paper's


@dataclass(frozen=True)
class Round:
    """One row forward and backward between two matrix products. FLOP/s of the products, before and after."""

    flops: int  # of the model, every pair of tokens counted
    hidden_flops: int  # of them, for pairs that a causal mask hides
    seconds: float
    products: tuple[float, float]

    def share(self, seen_only: bool = False) -> float:
        """Of the products' speed, which is the mean of both; ``seen_only`` leaves out the pairs that are hidden."""
        flops = self.flops - self.hidden_flops * seen_only
        return flops / self.seconds / statistics.mean(self.products)


@dataclass(frozen=True)
class Shares:
    """Medians of some rounds. Seconds are of one row, and of one optimiser step."""

    share: float  # forward and backward: what forecast.REACHED takes
    share_of_seen_pairs: float
    share_with_optimiser: float  # of a step of the paper's 32 rows, one at a time
    share_with_optimiser_each_row: float  # of a step of one row: the most that the optimiser can cost
    seconds_a_row: float
    seconds_of_optimiser: float
    product_flops: float


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def one_round(model: torch.nn.Module, batch: Batch) -> Round:
    """A product, a row, a product. The gradient stays, and the next row's is added to it, as in a step of several rows."""
    before = product_speed("fp32", "cpu")
    seconds = timed(lambda: (loss_of(model, batch) / len(batch.targets)).backward())
    after = product_speed("fp32", "cpu")
    tokens, config = batch.ids.shape[1], model.config
    hidden = 12 * config.num_hidden_layers * config.hidden_size * (tokens * (tokens - 1) // 2)
    return Round(batch.flops, hidden, seconds, (before, after))


def shares_of(rounds: Sequence[Round], optimiser: float) -> Shares:
    """The medians, with an optimiser step of so many seconds."""

    def with_optimiser(rows: int) -> float:
        return statistics.median(one.share() * rows * one.seconds / (rows * one.seconds + optimiser) for one in rounds)

    return Shares(
        share=round(statistics.median(one.share() for one in rounds), 4),
        share_of_seen_pairs=round(statistics.median(one.share(seen_only=True) for one in rounds), 4),
        share_with_optimiser=round(with_optimiser(PASSES), 4),
        share_with_optimiser_each_row=round(with_optimiser(1), 4),
        seconds_a_row=round(statistics.median(one.seconds for one in rounds), 3),
        seconds_of_optimiser=round(optimiser, 3),
        product_flops=round(statistics.median(speed for one in rounds for speed in one.products)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="The share of the machine's matrix-product speed that training reaches on a CPU."
    )
    parser.add_argument("--layers", type=int, default=OPT_350M.layers, help="fewer than the shape has, to try it")
    parser.add_argument("--tokens", type=int, default=FULL.max_length)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "cpu_share.json")
    asked = parser.parse_args(arguments)
    source, rows = rows_of(asked.tokens, asked.rounds + 1)
    config = configuration(asked.layers)
    model, batches = new_model(config, "cpu"), batches_of(rows, 1, config, "cpu")
    one_round(model, next(batches))  # allocation and choice of kernels: not timed
    rounds = []
    for _ in range(asked.rounds):
        rounds.append(one_round(model, next(batches)))
        print(f"{rounds[-1].seconds:8.2f} s a row, {100 * rounds[-1].share():.1f}% of the products beside it", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=FULL.learning_rate, weight_decay=FULL.weight_decay)
    optimizer.step()  # makes the two averages

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), FULL.max_grad_norm)
        optimizer.step()

    found = shares_of(rounds, timed(step))
    print(
        f"{asked.layers} layers, {source}\n"
        f"forward and backward: {100 * found.share:.1f}% of {found.product_flops / 1e9:,.0f} GFLOP/s "
        f"({100 * found.share_of_seen_pairs:.1f}% without the pairs that a causal mask hides)\n"
        f"with an optimiser step of {found.seconds_of_optimiser:.1f} s: {100 * found.share_with_optimiser:.1f}% at {PASSES} rows a step, "
        f"{100 * found.share_with_optimiser_each_row:.1f}% at one"
    )
    content = {"layers": asked.layers, "tokens_a_row": asked.tokens, "rows": source, "rounds": [asdict(one) for one in rounds]}
    print("recorded in", atomic_write_json(asked.output, provenance() | content | asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
