"""What becomes of the pass rate where prompts have little room: ended, cut off at the beginning, or shortened (text/shorten.py).

    python benchmarks/shorten.py [--lengths 300 400] [--more-apis 0 6] [--queries N] [--model sft] [--output build/shorten]

The same model plays the same queries of the embedded world with fewer positions than it was trained with. Three things may become of a prompt
that leaves too little room for a turn: the episode ends ("refuse"), the prompt loses its beginning ("left"), or it is shortened ("shorten").
With --more-apis, as many APIs of other queries are offered beside a query's own, so that some must be dropped. Nobody tells which API is
needed: how often a needed one goes is counted. Writes docs/results/shorten.json; with another number of queries a set, another model or other
lengths it is a trial, and its record stays in the output folder.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolslm_helpers.agent.search import Conversation, ModelAgent, play_episodes
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import function_name
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, World, build_world
from toolslm_helpers.evaluation.judges import ExactJudge
from toolslm_helpers.evaluation.recorded import outcome, prompts_hash, results_folder, weights_hash
from toolslm_helpers.evaluation.tooleval import Judged
from toolslm_helpers.files import WorkbookError, atomic_write_json, repository_root
from toolslm_helpers.model.checkpoints import checkpoint_path, load_model
from toolslm_helpers.results import provenance
from toolslm_helpers.sizes import get_size
from toolslm_helpers.text.shorten import Shortened

LENGTHS, MORE_APIS, QUERIES = [300, 400], [0, 6], 50


@dataclass(frozen=True)
class CountingAgent(ModelAgent):
    """A model whose prompts are shortened, and a note of each: the query, and what became of its prompt."""

    notes: list[tuple[WorldQuery, Shortened]] = field(default_factory=list)

    def shortened(self, conversation: Conversation) -> Shortened:
        found = super().shortened(conversation)
        self.notes.append((conversation.world_query, found))
        return found


WAYS = {"refuse": ModelAgent, "left": ModelAgent, "shorten": CountingAgent}


def offered_more(queries: Sequence[WorldQuery], count: int, seed: int) -> list[WorldQuery]:
    """The queries with ``count`` APIs of other queries among their own, in an order that the seed decides."""
    if not count:
        return list(queries)
    everything = {(api.tool_name, api.api_name): api for query in queries for api in query.query.api_list}
    more = []
    for query in queries:
        rng = random.Random(f"more APIs {seed} {query.query.query_id}")
        own = {(api.tool_name, api.api_name): api for api in query.query.api_list}
        names = {function_name(api) for api in own.values()}
        others = [api for key, api in everything.items() if key not in own and function_name(api) not in names]
        apis = [*own.values(), *rng.sample(others, min(count, len(others)))]
        rng.shuffle(apis)
        more.append(replace(query, query=query.query.model_copy(update={"api_list": tuple(apis)})))
    return more


def lost_a_needed_api(query: WorldQuery, dropped: Sequence[str]) -> bool:
    """Whether some step of the query's plan has no API left that would tell it."""
    names = {(api.tool_name, api.api_name): function_name(api) for api in query.query.api_list}
    steps = [{names[call.tool_name, call.api_name] for call in step.calls} for step in query.plan]
    return any(step and step <= set(dropped) for step in steps)


def counted(notes: Sequence[tuple[WorldQuery, Shortened]]) -> dict[str, int]:
    """What the policy took, in prompts and queries."""
    dropping = {query.query.query_id for query, found in notes if found.dropped}
    lost = {query.query.query_id for query, found in notes if lost_a_needed_api(query, found.dropped)}
    return {
        "prompts": len(notes),
        "prompts_with_observations_cut": sum(found.observation_characters_cut > 0 for _, found in notes),
        "prompts_with_descriptions_cut": sum(found.description_characters_cut > 0 for _, found in notes),
        "prompts_that_do_not_fit": sum(not found.fits for _, found in notes),
        "queries_with_apis_dropped": len(dropping),
        "queries_with_a_needed_api_dropped": len(lost),
    }


def play(way: str, model, tokenizer, world: World, queries: Sequence[WorldQuery], size, seed: int) -> dict:
    """The record of one way at one length."""
    agent = WAYS[way](model, tokenizer, replace(size, truncation=way))
    began = time.perf_counter()
    episodes = play_episodes(agent, world, queries, size.rendering, size.max_iterations, seed)
    judge = ExactJudge()
    judged = [Judged(query, episode, judge.judge(query, episode)) for query, episode in zip(queries, episodes, strict=True)]
    record = {"seconds": round(time.perf_counter() - began, 1)} | outcome(judged)
    return record | (counted(agent.notes) if way == "shorten" else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--more-apis", type=int, nargs="+", default=MORE_APIS)
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each set")
    parser.add_argument("--model", default="sft")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "shorten")
    asked = parser.parse_args()
    world, size, checkpoint = build_world(), get_size(asked.size), checkpoint_path(asked.model)
    model, tokenizer = load_model(checkpoint)
    queries = [query for name in SETS for query in test_queries(world, name)[: asked.queries]]
    runs = []
    for count in asked.more_apis:
        offered = offered_more(queries, count, asked.seed)
        for length in asked.lengths:
            for way in WAYS:
                record = play(way, model, tokenizer, world, offered, replace(size, max_length=length), asked.seed)
                runs.append({"way": way, "max_length": length, "more_apis": count} | record)
                print(line(runs[-1]), flush=True)
    whole = {
        "size": size.name, "seed": asked.seed, "temperature": size.temperature, "max_iterations": size.max_iterations,
        "weights": weights_hash(checkpoint / "model.safetensors"), "prompts": prompts_hash(world, queries, size.rendering),
    }  # fmt: skip
    recorded = (asked.queries, asked.lengths, asked.more_apis, asked.model) == (QUERIES, LENGTHS, MORE_APIS, "sft")
    path = (results_folder() if recorded else asked.output) / "shorten.json"
    print(f"Recorded in {atomic_write_json(path, provenance() | whole | {'runs': runs})}")


def line(run: dict) -> str:
    """One run in words."""
    rate, ended = run["pass_rate"]["all"], ", ".join(f"{how} {count}" for how, count in run["ended"].items())
    share = f"{rate['passed'] / rate['n']:6.1%} ({rate['passed']}/{rate['n']}) [{rate['low']:.1%}, {rate['high']:.1%}]"
    text = f"{run['max_length']} tokens, {run['more_apis']} APIs more, {run['way']:8} {share:36} ended: {ended}"
    if run["way"] == "shorten":
        lost, dropping = run["queries_with_a_needed_api_dropped"], run["queries_with_apis_dropped"]
        text += f"; APIs dropped in {dropping} queries, a needed one in {lost}"
    return text


if __name__ == "__main__":
    try:
        main()
    except WorkbookError as error:
        sys.exit(str(error))
