"""The recorded grid of lesson 09 (``training.stability``, ``benchmarks/stability.py``): read, and compared with its unchanged run.

Seed k of every variant has the same trajectories in the same order, so that runs are compared in pairs: what a seed's examples make easy
or hard is the same on both sides and drops out.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from toolslm_helpers.data.records import Record, first_problem
from toolslm_helpers.evaluation.recorded import RecordedRate, results_folder
from toolslm_helpers.files import DataError, read_json

NAME = "stability"
UNCHANGED = "unchanged"


class Curve(Record):
    """Single steps of a run, evenly spaced: training loss (nats a supervised token), and the gradient's norm before clipping.

    None stands for a number that is none: NaN or infinite.
    """

    step: list[int]
    loss: list[float | None]
    norm: list[float | None]


class RecordedRecipe(Record):
    """``training.stability.Recipe`` as it was recorded. ``clip`` is None without clipping."""

    warmup: float
    learning_rate: float
    clip: float | None
    batch: int
    epochs: int
    weight_decay: float
    rows: Literal["merged", "step"]


class RecordedRun(Record):
    """One run of the grid. ``stopped`` says why it did not reach its end; then it was not judged."""

    variant: str
    group: str
    seed: int
    commit: str
    recipe: RecordedRecipe
    rows: int
    batch_size: int
    warmup_steps: int
    planned_steps: int
    stopped: str | None
    steps: int
    final_loss: float | None
    clipped: int  # steps whose gradient was cut
    largest_norm: float | None
    curve: Curve
    looks: list[tuple[int, float | None]]
    seconds: float
    judging_seconds: float
    held_out: float | None
    pass_rate: dict[str, RecordedRate] | None
    ended: dict[str, int] | None

    @property
    def rate(self) -> float | None:
        """The share of all queries that it passed; None where it was not judged."""
        return self.pass_rate["all"].passed / self.pass_rate["all"].n if self.pass_rate else None


class RecordedBudget(Record):
    """``training.stability.Budget`` as it was recorded."""

    trajectories: int
    held_out: int
    queries: int
    seeds: int


class Grid(Record):
    """The whole record."""

    device: str
    versions: dict[str, str]
    budget: RecordedBudget
    cores: int
    weights: str  # SHA-256 of those that every run started from
    prompts: str
    runs: list[RecordedRun]

    @property
    def variants(self) -> list[str]:
        """Their names, the unchanged run's first."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    def of(self, variant: str) -> list[RecordedRun]:
        """The runs of a variant, a seed each. Raises KeyError that lists the variants where there is none."""
        found = sorted((run for run in self.runs if run.variant == variant), key=lambda run: run.seed)
        if not found:
            raise KeyError(f"{variant!r} is no variant of this record; it has {', '.join(self.variants)}.")
        return found

    def group(self, name: str) -> list[str]:
        """The variants of a group, the unchanged run before them."""
        return [UNCHANGED, *dict.fromkeys(run.variant for run in self.runs if run.group == name)]


def read_grid(folder: Path | None = None) -> Grid | None:
    """The record of ``stability.json``; None where there is none. Raises DataError that names the field of a damaged one."""
    path = (folder or results_folder()) / f"{NAME}.json"
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        return Grid.model_validate(_tuples(content))
    except ValidationError as error:
        field, reason = first_problem(error)
        raise DataError(f"{path}: {field}: {reason}. Make it again with benchmarks/{NAME}.py.") from error


def _tuples(content: object) -> object:
    """JSON knows no tuple, and a strict record takes no list for one."""
    if isinstance(content, dict):
        return {name: [tuple(look) for look in value] if name == "looks" else _tuples(value) for name, value in content.items()}
    return [_tuples(one) for one in content] if isinstance(content, list) else content


@dataclass(frozen=True)
class Spread:
    """A number over the seeds: mean, smallest, largest; ``missing`` of ``runs`` did not have it, since they stopped."""

    mean: float
    low: float
    high: float
    runs: int
    missing: int

    def __str__(self) -> str:
        if self.missing == self.runs:
            return f"{self.runs} of {self.runs} stopped"
        gone = f", {self.missing} of {self.runs} stopped" if self.missing else ""
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g}{gone})"


Measure = Callable[[RecordedRun], float | None]


def held_out(run: RecordedRun) -> float | None:
    """Loss on trajectories that no run trained on, nats a supervised token."""
    return run.held_out


def final_loss(run: RecordedRun) -> float | None:
    """Mean training loss over the last tenth of the steps, nats a supervised token."""
    return run.final_loss


def rate(run: RecordedRun) -> float | None:
    """Share of the queries that the run's model passed."""
    return run.rate


def spread(runs: Sequence[RecordedRun], measure: Measure) -> Spread:
    """Mean and range of a measure over the seeds."""
    found = [value for run in runs if (value := measure(run)) is not None]
    if not found:
        return Spread(math.nan, math.nan, math.nan, len(runs), len(runs))
    return Spread(statistics.mean(found), min(found), max(found), len(runs), len(runs) - len(found))


@dataclass(frozen=True)
class Difference:
    """A variant against the unchanged run, seed by seed: the mean of the differences and its 95% interval (Student's t).

    For a loss they are ratios, variant over unchanged, since losses differ by orders of magnitude; ``even`` is what no difference is.
    """

    mean: float
    low: float
    high: float
    pairs: int
    even: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves no difference out."""
        return not self.low <= self.even <= self.high

    @property
    def direction(self) -> str:
        """ "higher", "lower", or "not told apart" where the spread of the seeds does not carry either."""
        return ("higher" if self.mean > self.even else "lower") if self.told_apart else "not told apart"


def difference(grid: Grid, variant: str, measure: Measure, *, ratio: bool, grain: float = 0.0) -> Difference | None:
    """A variant against the unchanged run in pairs of seeds; None where fewer than two pairs have the measure.

    ``ratio`` compares logarithms and gives the ratio back, as a loss needs it; else the plain difference. Three pairs leave the t
    distribution two degrees of freedom, so that its interval is the mean +- 2.5 standard deviations: it is wide, and honest. ``grain``
    is what the measure moves by at least, one query of n for a rate: equal counts by luck are no proof that there is no spread.
    """
    from scipy.stats import t

    usual = {run.seed: measure(run) for run in grid.of(UNCHANGED)}
    pairs = [(measure(run), usual.get(run.seed)) for run in grid.of(variant)]
    both = [(here, there) for here, there in pairs if here is not None and there is not None]
    if len(both) < 2:
        return None
    gaps = [math.log(here / there) if ratio else here - there for here, there in both]
    deviation = max(statistics.stdev(gaps), grain)
    mean, half = statistics.mean(gaps), t.ppf(0.975, len(gaps) - 1) * deviation / math.sqrt(len(gaps))
    low, middle, high = (math.exp(x) if ratio else x for x in (mean - half, mean, mean + half))
    return Difference(float(middle), float(low), float(high), len(gaps), 1.0 if ratio else 0.0)


def verdict(grid: Grid, variant: str) -> str:
    """What the record carries about a variant, in a sentence: its held-out loss and its pass rate beside the unchanged run's."""
    runs = grid.of(variant)
    stopped = [run for run in runs if run.stopped]
    if stopped:
        steps = ", ".join(str(run.steps) for run in stopped)
        head = f"{variant}: {len(stopped)} of {len(runs)} runs stopped ({stopped[0].stopped}, after {steps} of {runs[0].planned_steps} steps)"
        if len(stopped) == len(runs):
            return f"{head}."
    else:
        head = variant
    loss, passed = loss_difference(grid, variant), rate_difference(grid, variant)
    if loss is None or passed is None:
        return f"{head}: too few runs to compare."
    points = f"{100 * passed.mean:+.0f} [{max(-100, 100 * passed.low):+.0f}, {min(100, 100 * passed.high):+.0f}]"  # no rate leaves 0 to 100
    return (
        f"{head}: held-out loss {loss.mean:.2f} times the unchanged run's [{loss.low:.2f}, {loss.high:.2f}], {loss.direction}; "
        f"pass rate {points} points, {passed.direction}."
    )


def loss_difference(grid: Grid, variant: str) -> Difference | None:
    """The held-out loss of a variant, as a multiple of the unchanged run's."""
    return difference(grid, variant, held_out, ratio=True)


def rate_difference(grid: Grid, variant: str) -> Difference | None:
    """The pass rate of a variant minus the unchanged run's."""
    judged = [run.pass_rate["all"].n for run in grid.of(variant) if run.pass_rate]
    return difference(grid, variant, rate, ratio=False, grain=1 / min(judged)) if judged else None
