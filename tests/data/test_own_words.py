"""Queries in words of their own: the same goals, all of them said, in no wording that training or the test sets have."""

from collections import Counter

import pytest

from toolslm_helpers.data.own_words import own_words
from toolslm_helpers.data.queries import test_queries, train_queries, typed_queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.files import WorkbookError

test_queries.__test__ = False  # a function of the package, not a test
WORLD = build_world()


def test_they_are_test_queries_in_other_words():
    known = {q.query.query_id: q for name in SETS for q in test_queries(WORLD, name)}
    queries = own_words(WORLD)
    assert set(Counter(q.set_name for q in queries).values()) <= {24, 25} and len(queries) == 149
    for q in queries:
        twin = known[q.query.query_id]
        assert (q.goal, q.plan, q.query.api_list) == (
            twin.goal,
            twin.plan,
            twin.query.api_list,
        ) and q.query.query != twin.query.query
        assert all(value in q.query.query for value in q.values) and q.goal.kind == "answer"


def test_their_words_are_in_no_training_query():
    """What is left of a text without its names and values is no training query's rest either."""

    def rest(query):
        text = query.query.query.lower()
        for said in sorted((*query.values, *(s.need.attribute for s in query.plan), *(s.need.kind for s in query.plan)), key=len):
            text = text.replace(said.lower(), "_")
        return text

    training = {rest(q) for q in train_queries(WORLD, 2_000) + typed_queries(WORLD, 2_000)}
    assert len(training) > 3_000
    assert not [q.query.query for q in own_words(WORLD) if rest(q) in training]


@pytest.mark.parametrize(
    "line, says", [('10002 = "whats the daily style"', "10002.*Sholde"), ('7 = "style?"', "no test query has this id")]
)
def test_words_that_say_something_else_are_refused(tmp_path, line, says):
    (tmp_path / "own.toml").write_text(line, encoding="utf-8")
    with pytest.raises(WorkbookError, match=says):
        own_words(WORLD, tmp_path / "own.toml")
