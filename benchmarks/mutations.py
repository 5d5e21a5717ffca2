"""Lesson 07's mutation lab: opt-mini fine-tuned once for each way to break the labels, then graded rightly and judged.

    python benchmarks/mutations.py [--trajectories 2500] [--queries 40] [--only NAME ...] [--models FOLDER] [--output build/mutations]

Every run starts at ``instruct``, from the same trajectories, seed and settings, through the same trainer; only the labels differ. Writes
docs/results/mutations.json, which lesson 07 shows. A run that is done with the same weights, seed and budget is not done again, so a
stopped one goes on. With another budget, another folder of models or --only it is a trial, and its record stays in the output folder.
"""

import argparse
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, World, build_world
from toolslm_helpers.evaluation.recorded import outcome, prompts_hash, results_folder, weights_hash
from toolslm_helpers.evaluation.tooleval import evaluate
from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json, repository_root
from toolslm_helpers.model.checkpoints import checkpoint_path, load_model
from toolslm_helpers.model.loss import graded_ledger
from toolslm_helpers.results import provenance
from toolslm_helpers.sizes import Size, get_size
from toolslm_helpers.training.mutations import MUTATIONS, Mutation, batch_check
from toolslm_helpers.training.sft import PaddingCollator, flatten_for, train

TRAJECTORIES, QUERIES, HELD_OUT = 2_500, 40, 200


def lab_size(trajectories: int, queries: int) -> Size:
    """Size tiny with a smaller budget: ``trajectories`` to train on in steps of 8, ``queries`` of each set to play."""
    return replace(get_size("tiny"), batch_size=8, warmup_steps=60, train_trajectories=trajectories, eval_queries_per_set=queries)


def run(mutation: Mutation, start: Path, world: World, size: Size, seed: int, folder: Path) -> dict:
    """Trains, grades and judges one mutation, or reads what an earlier run with the same plan found."""
    queries = [query for name in SETS for query in test_queries(world, name)[: size.eval_queries_per_set]]
    asked = {
        "about": mutation.about, "size": size.name, "seed": seed, "temperature": size.temperature, "max_iterations": size.max_iterations,
        "examples": 0, "examples_shown": 0.0, "weights": weights_hash(start / "model.safetensors"),
        "prompts": prompts_hash(world, queries, size.rendering), "trajectories": size.train_trajectories,
    }  # fmt: skip
    file = folder / "run.json"
    if file.is_file() and (found := read_json(file)) and {name: found.get(name) for name in asked} == asked:
        return found
    trajectories = gold_trajectories(world, size.train_trajectories + HELD_OUT, size.rendering)
    trained = trajectories[: size.train_trajectories]
    _, tokenizer = load_model(start)
    says = batch_check(mutation(flatten_for(size, trained, tokenizer), seed), tokenizer)
    kept = train(
        size, seed, folder, trained, start=start, on_step=report(mutation.name),
        rows_of=lambda data: mutation(data, seed), collator=PaddingCollator,
    )  # fmt: skip
    model, tokenizer = load_model(folder)
    fresh = flatten_for(size, trajectories[size.train_trajectories :], tokenizer).examples
    held_out = [asdict(entry) for entry in graded_ledger(model, fresh) if entry.graded]
    began = time.perf_counter()
    judged = evaluate(model, tokenizer, world, size, seed).judged
    record = provenance() | asked | {
        "refused": says, "rows": kept.examples, "tokens": kept.tokens, "supervised_tokens": kept.supervised_tokens, "steps": kept.steps,
        "final_loss": kept.final_loss, "curve": [list(point[:2]) for point in kept.curve], "held_out": held_out,
        "seconds": kept.seconds, "evaluation_seconds": round(time.perf_counter() - began, 1),
    } | outcome(judged)  # fmt: skip
    atomic_write_json(file, record)
    return record


def report(label: str):
    """A line on stderr at most every ten seconds."""
    told = [0.0]

    def on_step(step: int, total: int, loss: float | None) -> None:
        if time.monotonic() - told[0] > 10 or step == total:
            told[0] = time.monotonic()
            print(f"{label}: step {step} of {total}, loss {loss}", file=sys.stderr, flush=True)

    return on_step


def line(name: str, record: dict) -> str:
    """What one run found, in a line."""
    rate, graded = record["pass_rate"]["all"], sum(entry["graded"] for entry in record["held_out"])
    held_out = sum(entry["nats"] for entry in record["held_out"]) / graded
    return (
        f"{name:18} {record['supervised_tokens']:9,} graded   training loss {record['final_loss']:6.3f}   held out {held_out:6.3f}   "
        f"passed {rate['passed']}/{rate['n']} [{rate['low']:.1%}, {rate['high']:.1%}]   "
        f"{record['seconds']:.0f} s + {record['evaluation_seconds']:.0f} s   {record['refused'] or 'the check lets it pass'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=TRAJECTORIES)
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each set")
    parser.add_argument("--only", nargs="+", choices=[mutation.name for mutation in MUTATIONS])
    parser.add_argument("--models", type=Path, help="a folder with instruct, in place of the shipped one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "mutations")
    asked = parser.parse_args()
    world, size = build_world(), lab_size(asked.trajectories, asked.queries)
    start, runs = asked.models / "instruct" if asked.models else checkpoint_path("instruct"), {}
    for mutation in MUTATIONS:
        if asked.only and mutation.name not in asked.only:
            continue
        folder = asked.output / "".join(c if c.isalnum() else "_" for c in mutation.name)
        runs[mutation.name] = run(mutation, start, world, size, asked.seed, folder)
        print(line(mutation.name, runs[mutation.name]), flush=True)
    trial = asked.only or asked.models or (asked.trajectories, asked.queries, asked.seed) != (TRAJECTORIES, QUERIES, 0)
    path = (asked.output if trial else results_folder()) / "mutations.json"
    print(f"Recorded in {atomic_write_json(path, {'agents': runs})}")


if __name__ == "__main__":
    try:
        main()
    except WorkbookError as error:
        sys.exit(str(error))
