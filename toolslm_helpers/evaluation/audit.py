"""The audit of the paper (arXiv 2512.15943): what it claims, what we checked, and what came out. Questions, never accusations.

Every check that numbers can make is computed here from the published table or from the model's own shape. What can only be found by reading
says so: nobody outside knows how the authors ran it, and a verdict "open" means that the paper does not tell.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from toolslm_helpers.data.world import SETS
from toolslm_helpers.evaluation.paper import N_QUERIES, TABLE_2, PublishedSystem
from toolslm_helpers.evaluation.statistics import (
    compare_rates,
    holm,
    majority_chance,
    mcnemar_bounds,
    power_of,
    queries_needed,
    tie_chance,
)

Verdict = Literal["holds", "partly", "does not fit", "open"]
N = sum(N_QUERIES.values())
ROWS, STEPS, BATCH = 187_542, 5_860, 32  # the paper's training set, its optimizer steps, its effective batch
MAX_LENGTH, POSITIONS = 8_192, 2_048  # tokens at evaluation as the paper says; positions that OPT-350M has learned

# The same systems elsewhere, in percent: ToolBench's own publications (two for ChatGPT), StableToolBench's.
ELSEWHERE = {"ChatGPT-CoT": (40.2, 44.0, 46.6), "ToolLLaMA-DFS 7B": (66.7, 54.6)}


@dataclass(frozen=True)
class Finding:
    """One row of the audit: a claim, made outright or implied by how a number is used, the check, and what came of it.

    ``computed`` tells a check by numbers from one by reading.
    """

    claim: str
    check: str
    verdict: Verdict
    computed: bool


def system(name: str) -> PublishedSystem:
    """One column of Table 2. Raises KeyError that names those there are."""
    found = {one.name: one for one in TABLE_2}
    if name not in found:
        raise KeyError(f"no system {name!r} in Table 2; there are {', '.join(found)}")
    return found[name]


def _whole_counts() -> Finding:
    cells = [(one.percent[name] * N_QUERIES[name] / 100, one.counts[name]) for one in TABLE_2 for name in SETS]
    off = sum(abs(exact - count) > 1e-6 for exact, count in cells)
    averages = sum(round(one.weighted, 2) == one.headline for one in TABLE_2)
    check = (
        f"{len(cells) - off} of {len(cells)} percentages are whole counts of 200 or 100; {averages} of {len(TABLE_2)} "
        f"averages are the rate over all {N:,}."
    )
    return Finding(
        "Tables 1 and 2 agree with each other.", check, "holds" if not off and averages == len(TABLE_2) else "does not fit", True
    )


def _mean() -> Finding:
    slm = TABLE_2[0]
    check = (
        f"Over all queries {slm.weighted:.2f}%, unweighted over the six sets {slm.unweighted:.2f}%: G3 has half as many "
        "queries. It is the first."
    )
    return Finding(
        f"The average is {slm.headline:.2f}%.", check, "holds" if round(slm.weighted, 2) == slm.headline else "does not fit", True
    )


def _margins() -> Finding:
    slm = TABLE_2[0]
    points = [slm.headline - other.headline for other in TABLE_2[1:]]
    times = [slm.total / other.total for other in TABLE_2[1:]]
    check = (
        f"{min(points):.2f} to {max(points):.2f} percentage points. As a ratio it is {min(times):.1f} to {max(times):.1f} "
        "times as many queries."
    )
    return Finding("The margins are 47% to 75%.", check, "partly", True)


def _worst_case() -> Finding:
    slm = TABLE_2[0]
    worst = max(mcnemar_bounds(slm.total, other.total, N)[1].p_value for other in TABLE_2[1:])
    check = f"Pairs are not published. Whatever they are, McNemar's p against every baseline is at most {worst:.0e}."
    return Finding("The small model passes more queries than each baseline.", check, "holds" if worst < 0.001 else "open", True)


def _consistent() -> Finding:
    from scipy.stats import chi2_contingency

    slm = TABLE_2[0]
    p_value = chi2_contingency([[slm.counts[name], N_QUERIES[name] - slm.counts[name]] for name in SETS]).pvalue
    check = f"Chi-squared over its six cells: p = {p_value:.2f}. No sign that they differ from one rate."
    return Finding("It does equally well in all six sets.", check, "holds" if p_value > 0.05 else "does not fit", True)


def _second_best() -> Finding:
    dfs, chatgpt = system("ToolLLaMA-DFS 7B"), system("ChatGPT-CoT")
    whole = compare_rates(dfs.total, N, chatgpt.total, N)
    by_set = {
        name: compare_rates(dfs.counts[name], N_QUERIES[name], chatgpt.counts[name], N_QUERIES[name]).p_value_exact
        for name in SETS
    }
    left = [name for name, p_value in holm(by_set).items() if p_value < 0.05]
    most, least = mcnemar_bounds(dfs.total, chatgpt.total, N)
    check = (
        f"Unpaired z = {whole.z:.2f}, p = {whole.p_value:.3f}; set by set, after Holm, only {', '.join(left) or 'none'}"
        " differs; "
        f"paired p may be anything from {most.p_value:.0e} to {least.p_value:.2f}."
    )
    return Finding(
        "Search makes ToolLLaMA-DFS better than ChatGPT-CoT.", check, "holds" if least.p_value < 0.05 else "open", True
    )


def _power() -> Finding:
    dfs, chatgpt = system("ToolLLaMA-DFS 7B").weighted / 100, system("ChatGPT-CoT").weighted / 100
    check = (
        f"To tell {dfs:.1%} from {chatgpt:.1%} four times in five takes {queries_needed(dfs, chatgpt):,} queries for each; "
        f"{N:,} find it with chance {power_of(dfs, chatgpt, N):.2f}."
    )
    return Finding(f"{N:,} queries are enough for the baselines' order.", check, "open", True)


def _intervals() -> Finding:
    low, high = TABLE_2[0].interval()
    check = f"No interval is printed. Wilson's for the average: {low:.2f} to {high:.2f}%."
    return Finding("Significance is judged by confidence intervals.", check, "open", True)


def _elsewhere() -> Finding:
    said, apart = [], []
    for name, others in ELSEWHERE.items():
        one = system(name)
        low, high = one.interval()
        said.append(f"{name} {one.headline:.2f}% [{low:.1f}, {high:.1f}], elsewhere {', '.join(f'{other}' for other in others)}")
        apart += [not low <= other <= high for other in others]
    check = (
        f"{'; '.join(said)}. {sum(apart)} of {len(apart)} published rates lie outside the interval: the luck of the queries"
        " does not explain it."
    )
    return Finding("The baselines are measured as they are known.", check, "does not fit" if all(apart) else "open", True)


def _ties() -> Finding:
    passed, failed = majority_chance(0.5, 4, "pass"), majority_chance(0.5, 4, "fail")
    check = (
        f"An even number ties: {tie_chance(0.5, 4):.1%} of the time at four votes of chance one half. The rule for "
        "ties, not given, "
        f"then decides between {failed:.3f} and {passed:.3f}."
    )
    return Finding("At least four assessments a query, majority vote.", check, "open", True)


def _steps() -> Finding:
    check = (
        f"{ROWS:,} / {BATCH} = {ROWS / BATCH:,.2f}; a trainer that keeps the last, smaller batch takes {math.ceil(ROWS / BATCH):,}."
        f" 8 a device x 4 = {8 * 4}."
    )
    return Finding(
        f"One epoch at batch {BATCH} is {STEPS:,} steps.",
        check,
        "holds" if abs(ROWS / BATCH - STEPS) < 1 else "does not fit",
        True,
    )


def _length() -> Finding:
    check = (
        f"OPT-350M has learned {POSITIONS:,} positions, {MAX_LENGTH // POSITIONS} times fewer. What was cut, and on which "
        "side, is not told."
    )
    return Finding(
        f"Evaluation runs at a length of {MAX_LENGTH:,} tokens.",
        check,
        "does not fit" if MAX_LENGTH > POSITIONS else "holds",
        True,
    )


def _temperature() -> Finding:
    gap = 0.1  # nats between the first and the second token
    check = (
        f"Where two tokens' scores lie {gap} apart, the lower one is still drawn {1 / (1 + math.exp(gap / 0.1)):.0%} of the"
        " time. Seeds are not told."
    )
    return Finding("Temperature 0.1 makes the output deterministic.", check, "partly", True)


_READ = (
    ("Win rate and cost savings are reported.", "Both are announced among the measures; no table shows either.", "open"),
    ("Fine-tuning made the difference.", "The table has no row for OPT-350M before fine-tuning, no ablation and no loss curve.", "open"),
    (
        "The baselines lack the specific patterns of tool calling.",
        "ToolLLaMA was trained on this very data: ToolBench's own training set.",
        "does not fit",
    ),
    (
        "The method serves summarisation, question answering and structured data.",
        "The abstract names them; the tables hold tool calling only.",
        "open",
    ),
    ("No live API execution is needed.", "Where the observations came from at evaluation is not told.", "open"),
    (
        "The six sets are as ToolBench defines them.",
        "ToolBench: G1_tool is unseen tools of seen categories, G2_category several tools of one unseen category. The paper "
        "describes the first as completely unseen tools, the second as scenarios across categories.",
        "partly",
    ),
    ("At most ten iterations a query.", "ToolBench limits its search by tree depth (12 nodes) and 200 queries, not by ten turns.", "open"),
    ("The training recipe can be repeated.", "Loss mask, chat template and training length are not stated.", "open"),
    (
        "The references lead to the works cited.",
        "Four carry another work's identifier: StableToolBench is 2403.07714, API-BLEND 2402.15491, TP-LLaMA "
        "2406.07115, ToolLLM 2307.16789. "
        "LoRA is credited to LIMA.",
        "does not fit",
    ),
    (
        "It says what it cannot do.",
        "Its limitations name generalisation beyond ToolBench, context, bigger tool sets, training data, compute, APIs"
        " that change.",
        "holds",
    ),
)  # fmt: skip

CHECKS: tuple[Callable[[], Finding], ...] = (
    _whole_counts, _mean, _margins, _worst_case, _consistent, _second_best, _power, _intervals, _elsewhere, _ties, _steps, _length,
    _temperature,
)  # fmt: skip


def audit() -> tuple[Finding, ...]:
    """The whole audit: first what was computed, then what was read."""
    return (*(check() for check in CHECKS), *(Finding(claim, check, verdict, False) for claim, check, verdict in _READ))
