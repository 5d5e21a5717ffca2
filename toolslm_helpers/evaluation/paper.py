"""The published table of pass rates (arXiv 2512.15943, Table 2), as counts; every total, mean and interval is computed from them.

The paper prints percentages. With 200 queries a set, and 100 in G3, each of them is a whole count: 78.5% of 200 is 157.
"""

from dataclasses import dataclass

from toolslm_helpers.data.world import SETS
from toolslm_helpers.evaluation.statistics import wilson

N_QUERIES = {name: 100 if name == "G3_instruction" else 200 for name in SETS}


@dataclass(frozen=True)
class PublishedSystem:
    """One column of Table 2: a system's name, its pass rate in percent as printed in each set, and its printed average."""

    name: str
    percent: dict[str, float]
    headline: float  # percent, the paper's "average" in Table 1

    @property
    def counts(self) -> dict[str, int]:
        """Queries passed in each set, of ``N_QUERIES``."""
        return {name: round(self.percent[name] * N_QUERIES[name] / 100) for name in SETS}

    @property
    def total(self) -> int:
        """Queries passed of all 1,100."""
        return sum(self.counts.values())

    @property
    def weighted(self) -> float:
        """Pass rate over all queries, in percent: a query counts the same in every set."""
        return 100 * self.total / sum(N_QUERIES.values())

    @property
    def unweighted(self) -> float:
        """Mean of the six pass rates, in percent: a set counts the same, so a G3 query counts twice."""
        return sum(self.percent.values()) / len(SETS)

    def interval(self, set_name: str = "all", confidence: float = 0.95) -> tuple[float, float]:
        """Wilson interval of one set's pass rate, or of all queries together, in percent."""
        passed, n = (self.total, sum(N_QUERIES.values())) if set_name == "all" else (self.counts[set_name], N_QUERIES[set_name])
        low, high = wilson(passed, n, confidence)
        return 100 * low, 100 * high


# The order of the table's rows, which is not that of SETS.
_ROWS = ("G1_instruction", "G1_category", "G1_tool", "G2_category", "G2_instruction", "G3_instruction")
TABLE_2 = tuple(
    PublishedSystem(name, dict(zip(_ROWS, percent, strict=True)), headline)
    for name, headline, percent in (
        ("SLM 350M", 77.55, (78.5, 74.0, 79.0, 80.5, 74.5, 80.0)),
        ("ToolLLaMA-DFS 7B", 30.18, (32.5, 32.5, 28.0, 32.5, 29.5, 22.0)),
        ("ChatGPT-CoT", 26.00, (33.0, 29.5, 29.5, 24.5, 24.0, 5.0)),
        ("ToolLLaMA-CoT 7B", 16.27, (16.0, 21.5, 14.5, 16.5, 18.0, 6.0)),
        ("Claude-CoT", 2.73, (3.5, 3.0, 2.5, 1.5, 2.5, 4.0)),
    )
)
