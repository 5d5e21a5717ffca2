"""The controls beside the fine-tuned model: every test query, played and judged as lesson 11 does, once for each control.

    python benchmarks/controls.py [--only NAME ...] [--models FOLDER] [--queries N] [--output build/controls]

Writes docs/results/controls.json, which lesson 11 shows. A control that is done with the same weights, seed and queries is not played
again, so a stopped run goes on. With --queries (a set) it is a trial, and its record stays in the output folder.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from toolslm_helpers.agent.constrained import ConstrainedAgent
from toolslm_helpers.agent.gold import training_trajectories
from toolslm_helpers.agent.prompting import choose_examples, mean_shown, with_examples
from toolslm_helpers.agent.search import Agent, ModelAgent
from toolslm_helpers.data.queries import test_queries, train_queries, typed_queries
from toolslm_helpers.data.world import SETS, World, build_world
from toolslm_helpers.evaluation.recorded import outcome, prompts_hash, results_folder, weights_hash
from toolslm_helpers.evaluation.tooleval import evaluate_agent
from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json, repository_root
from toolslm_helpers.model.checkpoints import checkpoint_path, load_model, new_model, save_model
from toolslm_helpers.results import provenance
from toolslm_helpers.sizes import Size, get_size
from toolslm_helpers.training.sft import train

EXAMPLES = 3
RANDOM = "random"  # the checkpoint that is made here


@dataclass(frozen=True)
class Control:
    """One row of lesson 11's table: which checkpoint plays, how, and what the row is there to show."""

    name: str
    checkpoint: str
    kind: str  # plain, examples or constrained
    about: str


CONTROLS = (
    Control("base, zero-shot", "base", "plain", "pre-trained on text, no example"),
    Control("instruct, zero-shot", "instruct", "plain", "instruction-tuned, no example"),
    Control("base, 3 examples", "base", "examples", "pre-trained on text, three solved queries in the prompt"),
    Control("instruct, 3 examples", "instruct", "examples", "instruction-tuned, three solved queries in the prompt"),
    Control("base, well-formed", "base", "constrained", "pre-trained on text, decoding held to well-formed calls"),
    Control("random, fine-tuned", RANDOM, "plain", "random weights instead of pre-training, then the same fine-tuning"),
    Control("sft", "sft", "plain", "the fine-tuned model"),
    Control("sft, well-formed", "sft", "constrained", "the fine-tuned model, decoding held to well-formed calls"),
)


def agent_of(control: Control, checkpoint: Path, world: World, size: Size, seed: int) -> Agent:
    """The agent that plays a control."""
    model, tokenizer = load_model(checkpoint)
    if control.kind == "constrained":
        return ConstrainedAgent(model, tokenizer, size)
    agent = ModelAgent(model, tokenizer, size)
    if control.kind == "examples":
        return with_examples(agent, choose_examples(world, EXAMPLES, seed, size.rendering))
    return agent


def fine_tuned_from_random(output: Path, world: World, size: Size, seed: int, on_step: Callable) -> Path:
    """The checkpoint of the same fine-tuning, started from random weights; made once for a seed and its training prompts."""
    trained_on = train_queries(world, 1000) + typed_queries(world, 1000)
    folder = output / f"random_{seed}_{prompts_hash(world, trained_on, size.rendering)[:8]}"
    if not (folder / "sft" / "training.json").is_file():
        save_model(new_model(seed), folder / "start")
        train(size, seed, folder / "sft", training_trajectories(size), start=folder / "start", on_step=on_step)
    return folder / "sft"


def play(control: Control, checkpoint: Path, world: World, size: Size, seed: int, file: Path) -> dict:
    """The record of one control, or the one that an earlier run left in ``file``."""
    queries = [query for name in SETS for query in test_queries(world, name)[: size.eval_queries_per_set]]
    asked = {
        "about": control.about, "size": size.name, "seed": seed, "temperature": size.temperature, "max_iterations": size.max_iterations,
        "examples": EXAMPLES if control.kind == "examples" else 0, "weights": weights_hash(checkpoint / "model.safetensors"),
        "prompts": prompts_hash(world, queries, size.rendering),
    }  # fmt: skip
    if file.is_file() and (found := read_json(file)) and {name: found.get(name) for name in asked} == asked:
        return found
    began = time.perf_counter()
    agent = agent_of(control, checkpoint, world, size, seed)
    judged = evaluate_agent(agent, world, size, seed, on_progress=report(control.name)).judged
    seconds, shown = round(time.perf_counter() - began, 1), mean_shown(agent, world, queries, size.rendering)
    record = provenance() | asked | {"seconds": seconds, "examples_shown": shown} | outcome(judged)
    atomic_write_json(file, record)
    return record


def report(label: str) -> Callable:
    """A line on stderr at most every ten seconds."""
    told = [0.0]

    def on_progress(done: int, total: int, loss: float | None = None) -> None:
        if time.monotonic() - told[0] > 10 or done == total:
            told[0] = time.monotonic()
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)

    return on_progress


def table(agents: dict[str, dict]) -> str:
    """A line for each control: all queries together, how its episodes ended, how long it took."""
    lines = []
    for name, record in agents.items():
        rate, ended = record["pass_rate"]["all"], ", ".join(f"{how} {count}" for how, count in record["ended"].items())
        share = f"{rate['passed'] / rate['n']:6.1%} ({rate['passed']}/{rate['n']}) [{rate['low']:.1%}, {rate['high']:.1%}]"
        lines.append(f"{name:22} {share:38} {record['seconds']:7.0f} s   {ended}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[control.name for control in CONTROLS])
    parser.add_argument("--models", type=Path, help="a folder with base, instruct and sft, in place of the shipped ones")
    parser.add_argument("--queries", type=int, help="a set, for a trial; all without it")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "controls")
    asked = parser.parse_args()
    world, size, agents = build_world(), get_size(asked.size), {}
    if asked.queries:
        size = replace(size, eval_queries_per_set=asked.queries)
    for control in CONTROLS:
        if asked.only and control.name not in asked.only:
            continue
        if control.checkpoint == RANDOM:
            told = report("fine-tuning from random weights")
            checkpoint = fine_tuned_from_random(asked.output, world, size, asked.seed, told)
        else:
            checkpoint = asked.models / control.checkpoint if asked.models else checkpoint_path(control.checkpoint)
        file = asked.output / f"{control.name.replace(', ', '_').replace(' ', '_')}.json"
        agents[control.name] = play(control, checkpoint, world, size, asked.seed, file)
        print(table({control.name: agents[control.name]}), flush=True)
    trial = asked.queries or asked.only or asked.models or asked.size != "tiny"
    path = (asked.output if trial else results_folder()) / "controls.json"
    print(f"Recorded in {atomic_write_json(path, {'agents': agents})}")


if __name__ == "__main__":
    try:
        main()
    except WorkbookError as error:
        sys.exit(str(error))
