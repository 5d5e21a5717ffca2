"""Lesson 09's grid: opt-mini fine-tuned with one thing taken away or overdone at a time, three seeds each, every run graded and judged.

    python benchmarks/stability.py [--jobs 2] [--only NAME ...] [--seeds 0 1 2] [--trajectories 960] [--queries 20] [--output build/stability]

Every run starts at ``instruct``. --jobs 1: one at a time, on two cores, which is what a learner's own run takes. --jobs 2: two side by
side, a core each, so that the whole grid is done sooner. Writes docs/results/stability.json, which lesson 09 shows. A run that is done
with the same weights, seed, recipe and budget is not done again, so a stopped grid goes on. With another budget, other seeds, another
folder of models or --only it is a trial, and its record stays in the output folder. A run whose loss is no longer a number is a result,
and is recorded as one.
"""

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.records import Trajectory
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.recorded import outcome, prompts_hash, results_folder, weights_hash
from toolslm_helpers.evaluation.tooleval import evaluate
from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json, repository_root
from toolslm_helpers.model.checkpoints import checkpoint_path, load_model
from toolslm_helpers.results import provenance
from toolslm_helpers.sizes import TINY
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training.stability import (
    GRID,
    Budget,
    Plan,
    Run,
    Variant,
    clipped_steps,
    fine_tune,
    fresh_examples,
    mean_loss,
    plan,
    pool_from,
    thinned,
)


@dataclass(frozen=True)
class Task:
    """One run of the grid, as a worker is told of it."""

    variant: Variant
    seed: int
    budget: Budget
    start: Path
    folder: Path
    cores: int = 1


@lru_cache(maxsize=1)
def pool_of(budget: Budget) -> list[Trajectory]:
    """The trajectories of all runs, made once in each process."""
    return pool_from(gold_trajectories(build_world(), budget.drawn, TINY.rendering), budget, load_small_tokenizer())


def asked_of(task: Task, planned: Plan) -> dict:
    """What makes a run the same run."""
    size, world = planned.size, build_world()
    queries = [query for name in SETS for query in test_queries(world, name)[: size.eval_queries_per_set]]
    return {
        "variant": task.variant.name, "group": task.variant.group, "seed": task.seed, "recipe": asdict(task.variant.recipe),
        "budget": asdict(task.budget), "cores": task.cores, "rows": len(planned.rows), "batch_size": size.batch_size,
        "warmup_steps": size.warmup_steps, "planned_steps": planned.steps, "weights": weights_hash(task.start / "model.safetensors"),
        "prompts": prompts_hash(world, queries, size.rendering),
    }  # fmt: skip


def run(task: Task) -> dict:
    """Trains, grades and judges one run on its cores, or reads what an earlier run of the same plan found."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(task.cores)
    try:
        return _run(task)
    finally:
        torch.set_num_threads(threads)


def _run(task: Task) -> dict:
    planned = plan(task.variant.recipe, task.budget, task.seed, pool_of(task.budget))
    asked, file = asked_of(task, planned), task.folder / "run.json"
    if file.is_file() and (found := read_json(file)) and {name: found.get(name) for name in asked} == asked:
        return found
    _, tokenizer = load_model(task.start)
    fresh = fresh_examples(task.budget, pool_of(task.budget), tokenizer)
    done = fine_tune(planned, task.seed, task.folder, task.start, fresh, threads=task.cores > 1)
    began, judged = time.perf_counter(), {"held_out": None, "pass_rate": None, "ended": None}
    if done.stopped is None:
        model, tokenizer = load_model(task.folder)
        judged = {"held_out": number(mean_loss(model, fresh))}
        judged |= outcome(evaluate(model, tokenizer, build_world(), planned.size, task.seed).judged)
    record = provenance() | asked | found_by(task.variant, done) | judged
    record["judging_seconds"] = round(time.perf_counter() - began, 1)
    atomic_write_json(file, record)
    return record


def found_by(variant: Variant, done: Run) -> dict:
    """What a run's training found, rounded; of its curves, ``thinned`` steps. A number that is none (NaN, infinite) is null."""
    losses, norms = thinned(done.losses), thinned(done.norms)
    return {
        "stopped": done.stopped, "steps": len(done.losses), "final_loss": number(done.final_loss),
        "clipped": clipped_steps(done.norms, variant.recipe.clip),
        "largest_norm": number(max(done.norms, default=math.nan)), "curve": {
            "step": [step for step, _ in losses], "loss": [number(loss) for _, loss in losses], "norm": [number(norm) for _, norm in norms],
        }, "looks": [[step, number(loss)] for step, loss in done.looks], "seconds": done.seconds,
    }  # fmt: skip


def number(value: float) -> float | None:
    """Four significant digits; None for what JSON has no word for."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def results_of(tasks: Sequence[Task], jobs: int) -> Iterator[dict]:
    """The records of all tasks, in the order in which they are done; ``jobs`` processes share them out."""
    if jobs == 1:
        yield from map(run, tasks)
        return
    # Spawned, not forked: a process that has used torch's threads must not be copied.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as workers:
        pending = [workers.submit(run, task) for task in tasks]
        try:
            for done in as_completed(pending):
                yield done.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def line(record: dict) -> str:
    """What one run found, in a line."""
    took = f"{record['seconds']:.0f} s + {record['judging_seconds']:.0f} s"
    head = f"{record['variant']:14} seed {record['seed']}  {record['clipped']:4}/{record['steps']} clipped"
    if record["stopped"]:
        return f"{head}  stopped: {record['stopped']} after {record['steps']} of {record['planned_steps']} steps   {took}"
    rate, loss, held_out = record["pass_rate"]["all"], record["final_loss"], record["held_out"]
    return f"{head}  training {loss or math.nan:7.4f}  held out {held_out or math.nan:7.4f}  passed {rate['passed']}/{rate['n']}   {took}"


def whole(records: Sequence[dict]) -> dict:
    """The record of the grid: what all runs share once, then the runs in the order of the grid."""
    shared = ("device", "versions", "budget", "cores", "weights", "prompts")
    order = [variant.name for variant in GRID]
    runs = sorted(records, key=lambda record: (order.index(record["variant"]), record["seed"]))
    for name in shared:
        if any(one[name] != runs[0][name] for one in runs):
            raise WorkbookError(
                f"the runs differ in {name}: usual cause: an older run in the output folder. Choose another --output, or delete it."
            )
    kept = [{name: value for name, value in one.items() if name not in shared} for one in runs]
    return {name: runs[0][name] for name in shared} | {"runs": kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Budget()
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, a core each; 1: one run on two cores")
    parser.add_argument("--only", nargs="+", choices=[variant.name for variant in GRID])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(usual.seeds)))
    parser.add_argument("--trajectories", type=int, default=usual.trajectories)
    parser.add_argument("--queries", type=int, default=usual.queries, help="of each set")
    parser.add_argument("--models", type=Path, help="a folder with instruct, in place of the shipped one")
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "stability")
    asked = parser.parse_args()
    budget = Budget(trajectories=asked.trajectories, queries=asked.queries)
    start = asked.models / "instruct" if asked.models else checkpoint_path("instruct")
    tasks = [
        Task(variant, seed, budget, start, asked.output / f"{variant.name.replace(' ', '_')}_{seed}", 2 if asked.jobs == 1 else 1)
        for seed in asked.seeds
        for variant in GRID
        if not asked.only or variant.name in asked.only
    ]
    began, records = time.perf_counter(), []
    for record in results_of(tasks, asked.jobs):
        records.append(record)
        print(f"{len(records)} of {len(tasks)}  {line(record)}", flush=True)
    trial = asked.only or asked.models or (budget, asked.seeds) != (usual, list(range(usual.seeds)))
    path = (asked.output if trial else results_folder()) / "stability.json"
    print(f"{(time.perf_counter() - began) / 60:.1f} min; recorded in {atomic_write_json(path, whole(records))}")


if __name__ == "__main__":
    try:
        main()
    except WorkbookError as error:
        sys.exit(str(error))
