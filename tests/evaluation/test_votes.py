"""Votes to verdicts: ToolEval's table by hand, every policy on the same votes, and what each does with ties and with nothing."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolslm_helpers.evaluation.statistics import majority_chance, wilson
from toolslm_helpers.evaluation.votes import POLICIES, Ballot, Vote, disagreement, rounds, score, tally, with_missing

YES, NO, COIN = Vote("solved"), Vote("unsolved", "solvable"), Vote("unsure", "unsure")
VOTES = st.sampled_from([YES, NO, COIN, Vote("unsolved", "unsolvable"), Vote("unsure", "solvable")])


def ballot(*votes, name="G1_tool", query_id="1"):
    return Ballot(name, query_id, votes)


@pytest.mark.parametrize(
    ("label", "task", "passes"),
    [
        ("solved", None, True), ("unsolved", "solvable", False), ("unsolved", "unsolvable", True), ("unsure", "unsolvable", True),
        ("unsure", "solvable", None), ("unsure", "unsure", None), ("unsolved", "unsure", None),
    ],
)  # fmt: skip
def test_toolevals_table(label, task, passes):
    assert Vote(label, task).passes is passes


def test_the_policies_on_the_same_votes():
    scores = {name: score(ballot(YES, YES, NO, NO), policy) for name, policy in POLICIES.items()}
    assert scores["upstream"] == 1 and scores["strict"] == 0 and scores["half points"] == 0.5 and scores["upstream csv"] in (0, 1)
    for policy in POLICIES.values():
        assert score(ballot(YES, YES, YES, YES), policy) == 1 and score(ballot(NO, NO, NO), policy) == 0
    assert score(ballot(YES, YES, NO), POLICIES["strict"]) == 1 and score(ballot(YES, YES, NO), POLICIES["half points"]) == 2 / 3
    assert score(ballot(COIN, YES), POLICIES["strict"]) == 0, "undecided is not passed"
    assert score(ballot(COIN, YES), POLICIES["half points"]) == 0.75
    assert score(ballot(Vote("unsolved", "unsolvable")), POLICIES["half points"]) == 0, "points know no unsolvable tasks"


def test_coins_are_fair_fixed_and_differ_by_query():
    thrown = [score(ballot(COIN, query_id=str(i)), POLICIES["upstream"], seed=1) for i in range(1000)]
    assert thrown == [score(ballot(COIN, query_id=str(i)), POLICIES["upstream"], seed=1) for i in range(1000)]
    assert 0.45 < sum(thrown) / 1000 < 0.55 and thrown != [
        score(ballot(COIN, query_id=str(i)), POLICIES["upstream"]) for i in range(1000)
    ]
    ties = [score(ballot(YES, NO, query_id=str(i)), POLICIES["upstream csv"]) for i in range(1000)]
    assert 0.45 < sum(ties) / 1000 < 0.55


def test_four_coins_give_what_the_binomial_says():
    ballots = [ballot(COIN, COIN, COIN, COIN, query_id=str(i)) for i in range(4000)]
    assert tally(ballots, POLICIES["upstream"])["all"].rate == pytest.approx(majority_chance(0.5, 4, "pass"), abs=0.025)
    assert tally(ballots, POLICIES["upstream csv"])["all"].rate == pytest.approx(0.5, abs=0.025)
    assert tally(ballots, POLICIES["strict"])["all"].rate == 0


def test_a_query_without_a_prediction_stays_in_the_denominator_unless_upstream_is_chosen():
    ballots = with_missing([ballot(YES), ballot(NO, query_id="2")], {"G1_tool": ["1", "2", "3", "4"], "G3_instruction": ["9"]})
    assert [(b.query_id, len(b.votes)) for b in ballots] == [("1", 1), ("2", 1), ("3", 0), ("4", 0), ("9", 0)]
    strict = tally(ballots, POLICIES["strict"])
    assert (strict["G1_tool"].passed, strict["G1_tool"].n, strict["G3_instruction"].rate) == (1, 4, 0) and strict["all"].n == 5
    upstream = tally(ballots[:4], POLICIES["upstream"])["G1_tool"]
    assert (upstream.passed, upstream.n, upstream.dropped) == (1, 2, 2) and (upstream.low, upstream.high) == wilson(1, 2)
    with pytest.raises(ValueError, match="G3_instruction: no query is left"):
        tally(ballots, POLICIES["upstream"])
    with pytest.raises(ValueError, match="no set"):
        tally([], POLICIES["strict"])


def test_points_get_a_bootstrap_and_counts_a_wilson_interval():
    ballots = [ballot(*votes, query_id=str(i)) for i, votes in enumerate([(YES, NO)] * 20 + [(YES, YES)] * 30 + [(NO, NO)] * 50)]
    points = tally(ballots, POLICIES["half points"])["G1_tool"]
    assert points.passed == 40 and points.low < 0.4 < points.high and points.high - points.low < 0.2
    counts = tally(ballots, POLICIES["strict"])["all"]
    assert (counts.passed, counts.low, counts.high) == (30, *wilson(30, 100)) and isinstance(counts.passed, int)


@given(st.lists(st.lists(VOTES, max_size=6), min_size=1, max_size=8))
def test_scores_stay_in_range_and_strict_is_never_above_upstream(all_votes):
    for i, votes in enumerate(all_votes):
        one = ballot(*votes, query_id=str(i))
        scores = {name: score(one, policy) for name, policy in POLICIES.items()}
        assert all(value is None or 0 <= value <= 1 for value in scores.values())
        assert (scores["upstream"] is None) == (not votes)
        assert scores["strict"] <= (scores["upstream"] or 0)


def test_rounds_and_disagreement():
    ballots = [ballot(YES, NO, COIN), ballot(YES, YES, query_id="2"), ballot(query_id="3")]
    assert rounds(ballots) == [2 / 3, 1 / 3] and statistics.mean(rounds(ballots)) == 0.5
    assert disagreement(ballots) == 0.5 and disagreement([ballot(YES)]) == 0 and rounds([]) == []
