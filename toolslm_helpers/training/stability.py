"""The grid of lesson 09: fine-tuning with one thing taken away or overdone at a time, everything else as it was.

A ``Recipe`` is what may be changed, a ``Variant`` changes one field of it, and a ``Budget`` says how much is trained and judged, so that
three seeds of every variant fit into an hour. The grid is data; ``fine_tune`` runs one cell of it.
"""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolslm_helpers.data.merge import step_rows
from toolslm_helpers.model.loss import graded_ledger
from toolslm_helpers.sizes import TINY, Size
from toolslm_helpers.training.material import NotFinite, flatten_for
from toolslm_helpers.training.runlog import NAME, read_log
from toolslm_helpers.training.sft import train
from toolslm_helpers.training.speed import Speed
from toolslm_helpers.training.watching import undisturbed

if TYPE_CHECKING:
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast

    from toolslm_helpers.data.records import Trajectory
    from toolslm_helpers.text.flatten import FlatExample

LOOKS = 10  # times that a run's loss on fresh trajectories is measured while it learns
LOOKED_AT = 24  # fresh trajectories each time; at the end it is all of them
POINTS = 120  # of a curve that is kept


@dataclass(frozen=True)
class Recipe:
    """What the grid changes. The defaults are the unchanged run: size ``tiny``, but for its batch.

    The budget's few trajectories need small steps: in steps of 8 they pass under a tenth of the queries, and no pass rate could turn.
    """

    warmup: float = 60 / 1_125  # share of the steps, about that of size ``tiny``, so that a shorter run has the same shape
    learning_rate: float = TINY.learning_rate
    clip: float | None = TINY.max_grad_norm  # None: gradients are left as they are
    batch: int = 2  # trajectories a step
    epochs: int = 1  # of as many steps in all: three epochs see a third of the trajectories three times
    weight_decay: float = TINY.weight_decay
    rows: Literal["merged", "step"] = "merged"  # a row for each trajectory, or one for each of its assistant turns


@dataclass(frozen=True)
class Variant:
    """One line of the grid: the group it is shown in, and the recipe."""

    name: str
    group: str
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def changes(self) -> dict[str, Any]:
        """{field of the recipe: its value} where it differs from the unchanged run's."""
        usual = Recipe()
        found = {one.name: getattr(self.recipe, one.name) for one in fields(Recipe)}
        return {name: value for name, value in found.items() if value != getattr(usual, name)}


_USUAL = Recipe()
UNCHANGED = Variant("unchanged", "unchanged", _USUAL)
"""Shared by all groups: its seeds are trained once."""

GRID: tuple[Variant, ...] = (
    UNCHANGED,
    Variant("no warm-up", "warm-up", replace(_USUAL, warmup=0.0)),
    Variant("warm-up x 10", "warm-up", replace(_USUAL, warmup=10 * _USUAL.warmup)),
    Variant("rate x 10", "learning rate", replace(_USUAL, learning_rate=10 * _USUAL.learning_rate)),
    Variant("rate x 100", "learning rate", replace(_USUAL, learning_rate=100 * _USUAL.learning_rate)),
    Variant("no clipping", "clipping", replace(_USUAL, clip=None)),
    Variant("clip 0.3", "clipping", replace(_USUAL, clip=0.3)),
    Variant("batch 1", "batch", replace(_USUAL, batch=1)),
    Variant("batch 8", "batch", replace(_USUAL, batch=8)),
    Variant("batch 32", "batch", replace(_USUAL, batch=32)),
    Variant("3 epochs", "epochs", replace(_USUAL, epochs=3)),
    Variant("10 epochs", "epochs", replace(_USUAL, epochs=10)),
    Variant("30 epochs", "epochs", replace(_USUAL, epochs=30)),  # few enough examples to be learned by heart
    Variant("60 epochs", "epochs", replace(_USUAL, epochs=60)),
    Variant("no decay", "weight decay", replace(_USUAL, weight_decay=0.0)),
    Variant("decay 0.1", "weight decay", replace(_USUAL, weight_decay=0.1)),
    Variant("step rows", "rows", replace(_USUAL, rows="step")),
)


@dataclass(frozen=True)
class Budget:
    """How much a run trains and is judged on."""

    trajectories: int = 960  # passes over one, epochs counted: 480 steps of 2
    held_out: int = 100  # fresh trajectories that it is graded on
    queries: int = 20  # of each of the six sets, that it plays
    seeds: int = 3

    @property
    def needed(self) -> int:
        """How many trajectories the whole grid needs: each seed's own, then the fresh ones, which no seed trains on."""
        return self.seeds * self.trajectories + self.held_out

    @property
    def drawn(self) -> int:
        """How many to draw, so that ``needed`` are left without those that are too long for a row, about one in a thousand."""
        return self.needed + math.ceil(self.needed / 100)


def pool_from(trajectories: "Sequence[Trajectory]", budget: Budget, tokenizer: "PreTrainedTokenizerFast") -> "list[Trajectory]":
    """The first ``budget.needed`` that are short enough for a row of size ``tiny``, so that no seed has fewer steps than another.

    Raises ValueError where there are fewer.
    """
    short = (one for one in trajectories if not flatten_for(TINY, [one], tokenizer).refused)
    pool = list(itertools.islice(short, budget.needed))
    if len(pool) < budget.needed:
        raise ValueError(
            f"{len(trajectories)} trajectories, {len(pool)} of them short enough for {TINY.max_length} tokens; expected "
            f"{budget.needed}. Draw more: budget.drawn is {budget.drawn}."
        )
    return pool


@dataclass(frozen=True)
class Plan:
    """One run, ready to be trained: its size and its rows, each of which is passed ``size.epochs`` times."""

    size: Size
    rows: "tuple[Trajectory, ...]"
    steps: int


def plan(recipe: Recipe, budget: Budget, seed: int, pool: "Sequence[Trajectory]") -> Plan:
    """The run of a recipe: size ``tiny`` with the recipe's values on the seed's own trajectories of ``pool``, the same for every recipe.

    A step of step rows takes as many as trajectories have turns, so that it has about as many targets. Raises ValueError where the
    pool is too small or the epochs do not divide the budget.
    """
    if len(pool) < budget.needed:
        raise ValueError(
            f"{len(pool)} trajectories; expected {budget.needed}, so that no seed trains on another's or on fresh ones."
        )
    each, left_over = divmod(budget.trajectories, recipe.epochs)
    if left_over or not each:
        raise ValueError(f"{budget.trajectories} passes over a trajectory cannot be {recipe.epochs} epochs. Choose a multiple.")
    first = seed % budget.seeds * budget.trajectories
    rows = tuple(pool[first : first + each])
    batch, supervise = recipe.batch, TINY.supervise
    if recipe.rows == "step":
        rows, supervise = tuple(row for trajectory in rows for row in step_rows(trajectory)), "last"
        batch = max(1, round(batch * len(rows) / each))
    steps = recipe.epochs * math.ceil(len(rows) / batch)
    size = replace(
        TINY, batch_size=batch, learning_rate=recipe.learning_rate, warmup_steps=round(recipe.warmup * steps), supervise=supervise,
        max_grad_norm=math.inf if recipe.clip is None else recipe.clip,  # infinite: the norm is still measured
        weight_decay=recipe.weight_decay, epochs=recipe.epochs, train_trajectories=each, eval_queries_per_set=budget.queries,
    )  # fmt: skip
    return Plan(size, rows, steps)


@dataclass(frozen=True)
class Run:
    """What one run did. ``losses`` (nats a supervised token) and ``norms`` (of the gradient, before clipping) are each step's.

    ``looks`` are (step, loss on ``LOOKED_AT`` fresh trajectories). ``stopped`` says why a run did not reach its end; else None.
    """

    steps: int
    losses: tuple[float, ...]
    norms: tuple[float, ...]
    looks: tuple[tuple[int, float], ...]
    stopped: str | None
    seconds: float
    trajectories: int = 0  # passed over in the whole run, epochs counted

    @property
    def final_loss(self) -> float:
        """The mean training loss over the last tenth of the steps that were done: one step's is its batch's luck. NaN where none was."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else math.nan

    def clipped(self, clip: float | None) -> float:
        """The share of its steps whose gradient was longer than ``clip`` and so was cut; 0 without clipping."""
        return clipped_share(self.norms, clip)


def clipped_steps(norms: Sequence[float], clip: float | None) -> int:
    """How many steps have a gradient norm above ``clip``. A norm that is not finite is: it cannot be cut to anything useful.

    A norm equal to the threshold is not counted (``torch.nn.utils.clip_grad_norm_`` takes a millionth off it, so as never to divide by 0).
    """
    return 0 if clip is None else sum(not norm <= clip for norm in norms)


def clipped_share(norms: Sequence[float], clip: float | None) -> float:
    """The share of ``clipped_steps``; 0 where there was no step."""
    return clipped_steps(norms, clip) / len(norms) if norms else 0.0


def fine_tune(
    planned: Plan,
    seed: int,
    folder: str | Path,
    start: str | Path | None = None,
    fresh: "Sequence[FlatExample]" = (),
    *,
    threads: bool = True,
) -> Run:
    """Trains one run into ``folder``, every step logged. A loss that is no number ends the run and is part of what it found.

    ``fresh`` are looked at ``LOOKS`` times on the way. ``threads=False`` keeps to one core, where others work beside it.
    """
    folder, looks, looked_at = Path(folder), [], fresh[:LOOKED_AT]

    def look(step: int, steps: int, model: "OPTForCausalLM") -> None:
        if looked_at and step in {round(steps * k / LOOKS) for k in range(LOOKS + 1)}:
            looks.append((step, mean_loss(model, looked_at)))

    began = time.perf_counter()
    stopped = None
    try:
        train(
            planned.size, seed, folder, planned.rows, start=start, speed=Speed(halves=threads), log_every=1, watch=look,
        )  # fmt: skip
    except NotFinite as error:
        stopped = f"{error.what} not finite"
    lines = [line for line in read_log(folder / NAME) if "loss" in line]
    return Run(
        steps=planned.steps, losses=tuple(line["loss"] for line in lines), norms=tuple(line["grad_norm"] for line in lines),
        looks=tuple(looks), stopped=stopped, seconds=round(time.perf_counter() - began, 1),
        trajectories=planned.size.epochs * (planned.size.train_trajectories or 0),
    )  # fmt: skip


def mean_loss(model: "OPTForCausalLM", examples: "Sequence[FlatExample]") -> float:
    """Mean loss over the supervised tokens of ``examples``, nats; the model is left in the mode it was in."""
    with undisturbed(model):
        graded = [entry for entry in graded_ledger(model, examples) if entry.graded]
    return sum(entry.nats for entry in graded) / sum(entry.graded for entry in graded)


def fresh_examples(
    budget: Budget, pool: "Sequence[Trajectory]", tokenizer: "PreTrainedTokenizerFast"
) -> "tuple[FlatExample, ...]":
    """The trajectories of ``pool`` that no seed trains on, flattened as size ``tiny`` does: what every run is graded on."""
    return flatten_for(TINY, pool[budget.needed - budget.held_out : budget.needed], tokenizer).examples


def thinned(values: Sequence[float], points: int = POINTS) -> list[tuple[int, float]]:
    """[(step, value)] of at most ``points`` steps, evenly spaced, the last one among them; each value is that step's own, no mean."""
    every = max(1, math.ceil(len(values) / points))
    return [(step, values[step - 1]) for step in range(len(values), 0, -every)][::-1]
