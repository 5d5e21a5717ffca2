"""Test queries said again in words of their own, one by one, where all other queries are generated."""

import tomllib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, World
from toolslm_helpers.files import WorkbookError, data_samples


@lru_cache(maxsize=2)
def own_words(world: World, path: Path | None = None) -> tuple[WorldQuery, ...]:
    """The queries of ``data_samples/own_words.toml`` (or ``path``), {query id: what somebody might type}: goal, plan and APIs are those of the
    test query with that id, which is asked in other words.

    Raises WorkbookError for an id that no test query has, and for words that leave out a name or a value of their query: they were
    written for the world of seed 0.
    """
    path = path or data_samples() / "own_words.toml"
    texts = tomllib.loads(path.read_text(encoding="utf-8"))
    known = {str(query.query.query_id): query for name in SETS for query in test_queries(world, name)}
    for query_id, text in texts.items():
        asked = known[query_id].query.query if query_id in known else "no test query has this id"
        if query_id not in known or not all(value in text for value in known[query_id].values):
            raise WorkbookError(f"{path.name}: {query_id} = {text!r} does not say what its query does ({asked}). Write it anew.")
    return tuple(
        replace(known[query_id], query=known[query_id].query.model_copy(update={"query": text}), template="own words")
        for query_id, text in texts.items()
    )
