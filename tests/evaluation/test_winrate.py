import csv
import json
import os
from pathlib import Path

import pytest

from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.evaluation.winrate import WinRate, agreement, preferred, win_rate

needs_toolbench = pytest.mark.skipif("TOOLBENCH_DIR" not in os.environ, reason="TOOLBENCH_DIR, ToolBench's files, is not set")


def test_who_passes_alone_wins_unread_and_else_the_majority():
    assert preferred(True, False, ["b", "b", "b"]) == "a" and preferred(False, True, ["a"]) == "b"
    for both in (True, False):
        assert preferred(both, both, ["a", "b", "a"]) == "a" and preferred(both, both, ["b", "tie"]) == "b"
        assert preferred(both, both, ["a", "b"]) == preferred(both, both) == preferred(both, both, ["tie"]) == "tie"


def test_a_tie_is_no_win_and_is_reported_apart():
    a, b = {"1": True, "2": True, "3": False, "4": False}, {"1": False, "2": True, "3": True, "4": False}
    rate = win_rate(a, b, {"2": ["a", "a", "b"], "4": ["a", "b"]})
    assert rate == WinRate(2, 1, 1) and rate.rate == 0.5 and rate.decided == 2 / 3 and rate.interval() == wilson(2, 4)
    assert win_rate(a, a).rate == 0 and win_rate(a, a).decided is None, "equal systems: all ties"
    with pytest.raises(ValueError, match="different queries \\(4\\).*give it False"):
        win_rate(a, {key: b[key] for key in "123"})


@needs_toolbench
def test_stabletoolbenchs_recorded_preferences_give_its_labels():
    folder = Path(os.environ["TOOLBENCH_DIR"]) / "stabletoolbench" / "data_example" / "preference_results"
    name = "G1_instruction_virtual_chatgpt_cot_virtual_chatgpt_dfs"
    counts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    said = {k: ["a"] * c["virtual_chatgpt_cot"] + ["b"] * c["virtual_chatgpt_dfs"] for k, c in counts.items()}
    ours = {query_id: preferred(True, True, votes) for query_id, votes in said.items()}  # all six labels there are "solved"
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert ours == {row["query_id"]: {"1": "a", "2": "b"}[row["preference_label"]] for row in rows} and len(rows) == 2


def test_agreement_and_what_of_it_is_chance():
    judge, human = [1, 1, 1, 1, 0, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0, 1, 1, 1, 1]
    same, kappa = agreement(judge, human)
    assert same == 0.8 and kappa == pytest.approx((0.8 - (0.7 * 0.7 + 0.3 * 0.3)) / (1 - 0.58))
    assert agreement([1] * 10, human) == (0.7, pytest.approx(0)), "always the frequent label: 70% and nothing known"
    assert agreement([1, 1], [1, 1]) == (1, 1) and agreement([0, 1], [1, 0])[1] == pytest.approx(-1)
    with pytest.raises(ValueError, match="2 labels of the judge and 1 of humans"):
        agreement([1, 0], [1])
