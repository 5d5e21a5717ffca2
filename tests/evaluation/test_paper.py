import json
import os
from pathlib import Path

import pytest
from scipy.stats import chi2_contingency

from toolslm_helpers.data.world import SETS
from toolslm_helpers.evaluation.paper import _ROWS, N_QUERIES, TABLE_2

OTHER_NAMES = dict(zip((system.name for system in TABLE_2), ("SLM", "TLLM-D", "GPT-C", "TLLM-C", "Claude"), strict=True))
needs_toolbench = pytest.mark.skipif("TOOLBENCH_DIR" not in os.environ, reason="TOOLBENCH_DIR, ToolBench's files, is not set")


@needs_toolbench
@pytest.mark.parametrize("system", TABLE_2, ids=lambda system: system.name)
def test_counts_means_and_intervals_are_those_recomputed_elsewhere(system):
    path = Path(os.environ["TOOLBENCH_DIR"]) / "paper_numbers_recomputed.json"
    expected = json.loads(path.read_text(encoding="utf-8"))[OTHER_NAMES[system.name]]
    assert [system.counts[name] for name in _ROWS] == expected["counts"] and system.total == expected["total"]
    assert (system.weighted, system.unweighted, system.headline) == pytest.approx(
        (expected["weighted"], expected["macro"], expected["headline"])
    )
    assert system.interval() == pytest.approx(expected["ci_total"])
    assert [system.interval(name) for name in _ROWS] == [pytest.approx(interval) for interval in expected["ci"]]


@pytest.mark.parametrize("system", TABLE_2, ids=lambda system: system.name)
def test_every_printed_percentage_is_a_whole_count_and_the_headline_their_rate(system):
    assert tuple(system.percent) != SETS and set(system.percent) == set(SETS)
    for name in SETS:
        assert system.counts[name] == pytest.approx(system.percent[name] * N_QUERIES[name] / 100)
    assert round(system.weighted, 2) == system.headline != round(system.unweighted, 2)


def test_the_slms_six_cells_do_not_differ_from_one_rate():
    slm = TABLE_2[0]
    table = [[slm.counts[name], N_QUERIES[name] - slm.counts[name]] for name in SETS]
    assert chi2_contingency(table).pvalue == pytest.approx(0.52, abs=0.005)
    assert sum(N_QUERIES.values()) == 1100
