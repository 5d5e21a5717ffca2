"""The result with several seeds: `toolslm sft` and `toolslm evaluate` for each, then test queries asked in a stranger's words; the mean
in every set with its interval.

    python benchmarks/seeds.py [--seeds 0 1 2] [--output build/seeds]

A seed that is done is not done again, so a stopped run goes on. Writes docs/results/seeds.json and, between its markers, the table in
docs/numbers.md. The interval is Wilson's for the mean number that passed: the runs share their queries, so three runs of 1,100 queries
are not 3,300 queries.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from toolslm_helpers.agent.gold import training_trajectories
from toolslm_helpers.data.own_words import own_words
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.evaluation.tooleval import evaluate
from toolslm_helpers.files import atomic_write_json, atomic_write_text, read_json, repository_root
from toolslm_helpers.model.checkpoints import load_model
from toolslm_helpers.results import provenance, replace_block
from toolslm_helpers.sizes import Size, get_size
from toolslm_helpers.training.sft import train

BEGIN, END = "<!-- seeds: written by benchmarks/seeds.py -->", "<!-- /seeds -->"
OWN_WORDS = "in a stranger's words"


def one_seed(size: Size, seed: int, folder: Path) -> dict:
    """Trains and judges one seed, or reads what an earlier run found."""
    if (folder / "result.json").is_file():
        return read_json(folder / "result.json")

    def on_step(step: int, total: int, loss: float | None) -> None:
        if step % 100 == 0 or step == total:
            print(f"seed {seed}: step {step} of {total}, loss {loss}", file=sys.stderr, flush=True)

    record = train(size, seed, folder, training_trajectories(size), on_step=on_step)
    model, tokenizer = load_model(folder)
    began = time.perf_counter()
    judged = evaluate(model, tokenizer, build_world(), size, seed).as_json()
    judged[OWN_WORDS] = evaluate(model, tokenizer, build_world(), size, seed, queries=own_words(build_world())).as_json()["all"]
    result = {
        "seed": seed,
        "steps": record.steps,
        "tokens": record.tokens,
        "seconds": record.seconds,
        "final_loss": record.final_loss,
        "evaluation_seconds": round(time.perf_counter() - began, 1),
        "pass_rate": judged,
    }
    atomic_write_json(folder / "result.json", result)
    return result


def mean_of(runs: list[dict], name: str) -> dict[str, float]:
    """The mean rate of a set over the runs, and the bounds of its interval."""
    n = runs[0]["pass_rate"][name]["n"]
    passed = statistics.mean(run["pass_rate"][name]["passed"] for run in runs)
    low, high = wilson(round(passed), n)
    return {"rate": passed / n, "n": n, "low": low, "high": high}


def table(record: dict) -> str:
    """The record in Markdown: a row a set, a column a seed, and the mean."""
    runs = record["runs"]
    heads, seconds = [f"seed {run['seed']}" for run in runs], [f"{run['seconds']:.0f}" for run in runs]
    lines = [f"| set | {' | '.join(heads)} | mean [95% interval] |", "|---" * (len(runs) + 2) + "|"]
    for name, mean in record["mean"].items():
        rates = [f"{run['pass_rate'][name]['passed'] / run['pass_rate'][name]['n']:.1%}" for run in runs]
        lines.append(f"| {name} | {' | '.join(rates)} | {mean['rate']:.1%} [{mean['low']:.1%}, {mean['high']:.1%}] |")
    lines.append(f"| fine-tuning, seconds | {' | '.join(seconds)} | |")
    made = (
        f"Commit `{record['commit']}`, {record['device']}, torch {record['versions']['torch']}, trl {record['versions']['trl']}."
    )
    return "\n".join([BEGIN, "", *lines, "", made, "", END])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "seeds")
    asked = parser.parse_args()
    runs = [one_seed(get_size("tiny"), seed, asked.output / str(seed)) for seed in asked.seeds]
    root = repository_root()
    record = provenance() | {
        "mean": {name: mean_of(runs, name) for name in (*SETS, "all", OWN_WORDS)},
        "runs": runs,
    }
    atomic_write_json(root / "docs" / "results" / "seeds.json", record)
    page = root / "docs" / "numbers.md"
    text = page.read_text(encoding="utf-8")
    atomic_write_text(page, replace_block(text, table(record)))
    print(table(record))


if __name__ == "__main__":
    main()
