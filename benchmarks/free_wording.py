"""Queries in people's own words: the test queries of free_wording.toml, played and judged like any other.

    python benchmarks/free_wording.py [checkpoint]

Prints every query that failed with the judge's reason, then the pass rate with its 95% Wilson interval.
"""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from toolslm_helpers.agent.search import run_episodes
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, World, build_world
from toolslm_helpers.evaluation.judges import ExactJudge
from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.checkpoints import load_model
from toolslm_helpers.sizes import get_size


def said_freely(world: World) -> list[WorldQuery]:
    """The queries of the file, with its words in place of their own.

    Raises WorkbookError for an id that no test query has, and for words that leave out a name or a value of their query: the world has
    changed since they were written.
    """
    texts = tomllib.loads(Path(__file__).with_name("free_wording.toml").read_text(encoding="utf-8"))
    known = {query.query.query_id: query for name in SETS for query in test_queries(world, name)}
    for query_id, text in texts.items():
        if int(query_id) not in known or not all(value in text for value in known[int(query_id)].values):
            asked = known[int(query_id)].query.query if int(query_id) in known else "no test query has this id"
            raise WorkbookError(
                f"free_wording.toml: {query_id} = {text!r} does not say what its query does ({asked}). Write it anew."
            )
    chosen = [(known[int(query_id)], text) for query_id, text in texts.items()]
    return [replace(query, query=query.query.model_copy(update={"query": text})) for query, text in chosen]


def main() -> None:
    world, size = build_world(), get_size("tiny")
    queries = said_freely(world)
    model, tokenizer = load_model(sys.argv[1] if len(sys.argv) > 1 else "sft")
    episodes = run_episodes(model, tokenizer, world, queries, size, seed=0)
    verdicts = [ExactJudge().judge(query, episode) for query, episode in zip(queries, episodes, strict=True)]
    for query, verdict in zip(queries, verdicts, strict=True):
        if not verdict.passed:
            print(f"{query.query.query}\n    {verdict.reason}")
    passed = sum(verdict.passed for verdict in verdicts)
    low, high = wilson(passed, len(verdicts))
    print(f"{passed} of {len(verdicts)} pass: {passed / len(verdicts):.1%} [{low:.1%}, {high:.1%}]")


if __name__ == "__main__":
    main()
