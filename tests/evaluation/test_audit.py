"""The audit: each computed check against its own arithmetic, and what it would say of another table."""

import re
from dataclasses import replace

import pytest

from toolslm_helpers.evaluation import audit as audits
from toolslm_helpers.evaluation.audit import CHECKS, audit
from toolslm_helpers.evaluation.paper import TABLE_2

FINDINGS = audit()


def about(words):
    (found,) = [finding for finding in FINDINGS if words in finding.claim]
    return found


def test_every_row_has_a_claim_a_check_and_a_verdict_and_most_are_computed():
    assert len({finding.claim for finding in FINDINGS}) == len(FINDINGS) >= 20
    assert [finding.computed for finding in FINDINGS] == [True] * len(CHECKS) + [False] * (len(FINDINGS) - len(CHECKS))
    assert all(re.search(r"\d", finding.check) for finding in FINDINGS if finding.computed)
    assert {finding.verdict for finding in FINDINGS} == {"holds", "partly", "does not fit", "open"}


@pytest.mark.parametrize(
    ("words", "verdict", "said"),
    [
        ("Tables 1 and 2", "holds", "30 of 30 percentages"),
        ("The average is", "holds", "77.55%, unweighted over the six sets 77.75%"),
        ("margins", "partly", "47.37 to 74.82 percentage points"),
        ("more queries than each", "holds", "at most 1e-62"),
        ("equally well", "holds", "p = 0.52"),
        ("Search makes", "open", "z = 2.18, p = 0.029; set by set, after Holm, only G3_instruction differs; "
         "paired p may be anything from 3e-14 to 0.07"),
        ("are enough", "open", "find it with chance 0.5"),
        ("Significance", "open", "74.99 to 79.91%"),
        ("as they are known", "does not fit", "5 of 5 published rates"),
        ("four assessments", "open", "between 0.312 and 0.688"),
        ("One epoch", "holds", "5,860.69; a trainer that keeps the last, smaller batch takes 5,861"),
        ("length of 8,192", "does not fit", "4 times fewer"),
        ("Temperature", "partly", "27% of the time"),
    ],
)  # fmt: skip
def test_what_the_checks_compute(words, verdict, said):
    assert about(words).verdict == verdict
    assert said in about(words).check


def test_another_table_gets_other_verdicts(monkeypatch):
    weak = replace(TABLE_2[0], percent=TABLE_2[2].percent | {"G3_instruction": 40.3}, headline=31.0)
    monkeypatch.setattr(audits, "TABLE_2", (weak, *TABLE_2[1:]))
    verdicts = {finding.claim: finding.verdict for finding in audit()}
    assert verdicts["Tables 1 and 2 agree with each other."] == "does not fit", "40.3% of 100 is no count, 31% not the rate"
    assert verdicts["The average is 31.00%."] == "does not fit"
    assert verdicts["The small model passes more queries than each baseline."] == "open"
    monkeypatch.setattr(audits, "ELSEWHERE", {"ChatGPT-CoT": (26.5,)})
    assert next(f for f in audit() if "as they are known" in f.claim).verdict == "open"


def test_a_system_that_the_table_lacks_is_named():
    with pytest.raises(KeyError, match="no system 'GPT-5' in Table 2; there are SLM 350M"):
        audits.system("GPT-5")
