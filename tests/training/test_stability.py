"""The grid of lesson 09: a variant changes one thing, a run is what its plan says, a run that diverges is a result, clipping is counted."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace

import pytest
import torch

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.merge import step_rows
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.files import WorkbookError, read_json, repository_root
from toolslm_helpers.model.checkpoints import load_model, new_model, save_model
from toolslm_helpers.sizes import TINY
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training import stability as grid
from toolslm_helpers.training.material import WeightsNotFinite
from toolslm_helpers.training.sft import flatten_for, supervised_in, training_rows_of
from toolslm_helpers.training.stability import (
    GRID,
    UNCHANGED,
    Budget,
    Recipe,
    Run,
    Variant,
    fine_tune,
    fresh_examples,
    plan,
    pool_from,
)

BUDGET = Budget(trajectories=10, held_out=4, queries=1, seeds=3)
POOL = pool_from(gold_trajectories(build_world(), BUDGET.drawn), BUDGET, load_small_tokenizer())
VARIANTS = {variant.name: variant for variant in GRID}


def script():
    path = repository_root() / "benchmarks" / "stability.py"
    spec = importlib.util.spec_from_file_location("benchmark_stability", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


stability = script()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    model = new_model(0, hidden_size=16, num_attention_heads=4, word_embed_proj_dim=8, ffn_dim=32, num_hidden_layers=1)
    return save_model(model, tmp_path_factory.mktemp("models") / "instruct")


@pytest.fixture
def short_episodes(monkeypatch):
    """Runs are judged on a word or two: the model is random, and what it says is of no interest."""
    monkeypatch.setattr(grid, "TINY", replace(TINY, max_iterations=2, max_new_tokens=4))


def test_every_variant_changes_one_thing_and_the_unchanged_run_nothing():
    assert UNCHANGED.changes == {} and GRID[0] is UNCHANGED
    assert {name: list(variant.changes) for name, variant in VARIANTS.items() if variant is not UNCHANGED} == {
        "no warm-up": ["warmup"], "warm-up x 10": ["warmup"], "rate x 10": ["learning_rate"], "rate x 100": ["learning_rate"],
        "no clipping": ["clip"], "clip 0.3": ["clip"], "batch 1": ["batch"], "batch 8": ["batch"],
        "batch 32": ["batch"], "3 epochs": ["epochs"], "10 epochs": ["epochs"], "30 epochs": ["epochs"], "60 epochs": ["epochs"],
        "no decay": ["weight_decay"], "decay 0.1": ["weight_decay"], "step rows": ["rows"],
    }  # fmt: skip
    assert len(VARIANTS) == len(GRID) and len({variant.recipe for variant in GRID}) == len(GRID)


def test_the_unchanged_run_is_size_tiny_on_fewer_trajectories_in_smaller_steps():
    planned = plan(Recipe(), Budget(), 0, gold := GOLD_NAMES)
    different = {one.name for one in fields(TINY) if getattr(planned.size, one.name) != getattr(TINY, one.name)}
    assert different == {"train_trajectories", "batch_size", "warmup_steps", "eval_queries_per_set"}
    assert planned.steps == 480 and planned.size.warmup_steps == 26 and planned.rows == tuple(gold[:960])
    assert planned.size.warmup_steps / planned.steps == pytest.approx(TINY.warmup_steps / (TINY.train_trajectories / 4), rel=0.1)


GOLD_NAMES = list(range(Budget().needed))  # a plan only counts its trajectories, unless it cuts them into step rows


@pytest.mark.parametrize(
    ("name", "steps", "warmup", "rows"),
    [
        ("no warm-up", 480, 0, 960), ("warm-up x 10", 480, 256, 960), ("batch 1", 960, 51, 960), ("batch 8", 120, 6, 960),
        ("batch 32", 30, 2, 960), ("3 epochs", 480, 26, 320), ("10 epochs", 480, 26, 96), ("30 epochs", 480, 26, 32),
        ("60 epochs", 480, 26, 16),
    ],
)  # fmt: skip
def test_what_a_variant_makes_of_the_budget(name, steps, warmup, rows):
    planned = plan(VARIANTS[name].recipe, Budget(), 1, GOLD_NAMES)
    assert (planned.steps, planned.size.warmup_steps, len(planned.rows)) == (steps, warmup, rows)
    assert planned.rows[0] == 960, "each seed begins where the one before it ended"
    assert planned.size.epochs * rows == 960


def test_a_pool_holds_no_trajectory_that_is_too_long_for_a_row(monkeypatch):
    drawn, tokenizer = gold_trajectories(build_world(), 12), load_small_tokenizer()
    budget, lengths = (
        Budget(trajectories=2, held_out=2, seeds=2),
        [len(flatten_for(TINY, [one], tokenizer).examples[0]) for one in drawn],
    )
    monkeypatch.setattr(grid, "TINY", replace(TINY, max_length=sorted(lengths)[5]))  # six of the twelve fit
    short = [one for one, length in zip(drawn, lengths, strict=True) if length <= sorted(lengths)[5]]
    assert pool_from(drawn, budget, tokenizer) == short[: budget.needed] != drawn[: budget.needed]
    with pytest.raises(ValueError, match="3 trajectories, . of them short enough.*expected 6.*Draw more"):
        pool_from(drawn[:3], budget, tokenizer)


def test_clipping_that_is_left_out_is_a_threshold_that_nothing_reaches():
    assert plan(VARIANTS["no clipping"].recipe, Budget(), 0, GOLD_NAMES).size.max_grad_norm == math.inf


def test_step_rows_have_the_same_targets_and_about_as_many_in_a_step():
    merged, steps = (plan(VARIANTS[name].recipe, BUDGET, 0, POOL) for name in ("unchanged", "step rows"))
    assert list(steps.rows) == [row for trajectory in merged.rows for row in step_rows(trajectory)]
    tokenizer = load_small_tokenizer()
    targets = [
        sum(supervised_in(row) for row in training_rows_of(flatten_for(one.size, one.rows, tokenizer))) for one in (merged, steps)
    ]
    assert targets[0] == targets[1]
    assert steps.size.batch_size == round(2 * len(steps.rows) / 10) > 2


def test_a_plan_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="33 trajectories; expected 34"):
        plan(Recipe(), BUDGET, 0, POOL[:-1])
    with pytest.raises(ValueError, match="cannot be 3 epochs"):
        plan(Recipe(epochs=3), BUDGET, 0, POOL)


def test_no_seed_trains_on_what_another_saw_or_what_all_are_graded_on():
    seen = [plan(Recipe(), BUDGET, seed, POOL).rows for seed in range(3)]
    fresh = fresh_examples(BUDGET, POOL, load_small_tokenizer())
    ids = [trajectory.id for rows in seen for trajectory in rows] + [example.id for example in fresh]
    assert len(ids) == len(set(ids)) == BUDGET.needed


def test_a_run_logs_every_step_and_looks_at_fresh_trajectories(start, tmp_path):
    planned = plan(Recipe(batch=1), BUDGET, 0, POOL)
    model, tokenizer = load_model(start)
    fresh = fresh_examples(BUDGET, POOL, tokenizer)
    done = fine_tune(planned, 0, tmp_path, start, fresh, threads=False)
    assert done.stopped is None and len(done.losses) == len(done.norms) == done.steps == 10
    assert [step for step, _ in done.looks] == list(range(11))
    assert done.looks[0][1] == pytest.approx(grid.mean_loss(model, fresh), abs=1e-5)
    trained, _ = load_model(tmp_path)
    assert done.looks[-1][1] == pytest.approx(grid.mean_loss(trained, fresh), abs=1e-5) != done.looks[0][1]
    assert done.final_loss == done.losses[-1]
    again = fine_tune(planned, 0, tmp_path / "again", start, threads=False)
    assert (again.losses, again.norms) == (done.losses, done.norms), "looking changes nothing"


def test_mean_loss_is_the_one_that_training_lowers(start, tmp_path):
    """The first step's loss of a run with one batch is the start's mean loss on it."""
    planned = plan(Recipe(batch=10), BUDGET, 0, POOL)
    done = fine_tune(planned, 0, tmp_path, start, threads=False)
    model, tokenizer = load_model(start)
    assert done.losses == (pytest.approx(grid.mean_loss(model, flatten_for(TINY, planned.rows, tokenizer).examples), abs=1e-5),)
    model.train()
    grid.mean_loss(model, flatten_for(TINY, planned.rows[:1], tokenizer).examples)
    assert model.training


def test_clipped_share_by_hand():
    norms = (0.5, 1.0, 1.5, 3.0, math.nan)
    assert grid.clipped_share(norms, 1.0) == 3 / 5, "1.0 itself is left as it is; NaN is above everything"
    assert grid.clipped_share(norms, None) == 0 and grid.clipped_share((), 1.0) == 0
    run = Run(5, (1.0,) * 5, norms, (), None, 1.0)
    assert run.clipped(0.3) == 1.0 and run.clipped(1.0) == 0.6
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    torch.nn.utils.clip_grad_norm_([weight], 1.0)
    assert weight.grad.item() == pytest.approx(1, abs=1e-5), "what is not counted is not cut"


def test_the_final_loss_is_the_mean_of_the_last_tenth():
    assert Run(20, (9.0,) * 18 + (1.0, 3.0), (1.0,) * 20, (), None, 1.0).final_loss == 2.0
    assert Run(2, (9.0, 1.0), (1.0, 1.0), (), None, 1.0).final_loss == 1.0
    assert math.isnan(Run(2, (), (), (), "loss not finite", 1.0).final_loss)


def test_a_curve_is_thinned_to_single_steps_with_the_last_among_them():
    assert grid.thinned((5.0, 6.0, 7.0)) == [(1, 5.0), (2, 6.0), (3, 7.0)]
    assert grid.thinned((5.0, 6.0, 7.0, 8.0, 9.0), points=3) == [(1, 5.0), (3, 7.0), (5, 9.0)]
    assert len(grid.thinned(range(960))) == 120 and grid.thinned(range(960))[-1] == (960, 959)


def test_a_run_says_whether_its_loss_or_its_weights_were_lost(start, tmp_path, monkeypatch):
    def lost(*arguments, **named):
        raise WeightsNotFinite("whatever it says")

    monkeypatch.setattr(grid, "train", lost)
    assert fine_tune(plan(Recipe(), BUDGET, 0, POOL), 0, tmp_path, start).stopped == "weights not finite"


def test_a_run_that_diverges_is_recorded(start, tmp_path, short_episodes):
    # Adam's first step is as large as the rate: weights of 1e30 leave float32 where two are multiplied.
    variant = Variant("rate x 100", "learning rate", Recipe(learning_rate=1e30, warmup=0.0, clip=None, batch=2))
    record = stability.run(stability.Task(variant, 0, BUDGET, start, tmp_path))
    assert record["stopped"] == "loss not finite" and 1 <= record["steps"] < record["planned_steps"] == 5
    assert record["held_out"] is record["pass_rate"] is None
    assert len(record["curve"]["loss"]) == record["steps"]
    assert "stopped: loss not finite after" in stability.line(record)
    text = (tmp_path / "run.json").read_text()
    assert "NaN" not in text and "Infinity" not in text and json.loads(text) == record


def test_another_error_than_divergence_is_not_swallowed(start, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise WorkbookError("no space")

    monkeypatch.setattr(grid, "train", full)
    with pytest.raises(WorkbookError, match="no space"):
        fine_tune(plan(Recipe(), BUDGET, 0, POOL), 0, tmp_path, start)


def test_a_run_is_trained_graded_and_judged_once_for_a_plan(start, tmp_path, monkeypatch, short_episodes):
    threads = torch.get_num_threads()
    task = stability.Task(VARIANTS["clip 0.3"], 0, BUDGET, start, tmp_path / "run")
    record = stability.run(task)
    assert torch.get_num_threads() == threads
    assert record["stopped"] is None and record["steps"] == record["planned_steps"] == 5
    assert record["recipe"] == asdict(Recipe(clip=0.3)) and record["pass_rate"]["all"]["n"] == len(SETS)
    assert record["clipped"] == sum(norm > 0.3 for norm in record["curve"]["norm"])
    model, tokenizer = load_model(tmp_path / "run")
    assert record["held_out"] == pytest.approx(grid.mean_loss(model, fresh_examples(BUDGET, POOL, tokenizer)), rel=1e-3)
    trained = []
    monkeypatch.setattr(stability, "fine_tune", lambda *arguments, **named: trained.append(arguments) or 1 / 0)
    assert stability.run(task) == record and not trained
    for change in (
        {"seed": 1}, {"budget": replace(BUDGET, queries=2)}, {"budget": replace(BUDGET, held_out=3)}, {"variant": UNCHANGED}, {"cores": 2},
    ):  # fmt: skip
        with pytest.raises(ZeroDivisionError):
            stability.run(replace(task, **change))


@pytest.mark.slow
def test_two_processes_give_what_one_gives(start, tmp_path):
    """The script as it is started, since a spawned worker imports it; beside it, its runs in this process."""
    command = [
        stability.__file__, "--only", "unchanged", "--seeds", "0", "1", "--trajectories", "10", "--queries", "1",
        "--models", str(start.parent), "--output", str(tmp_path / "two"),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(repository_root()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "2 of 2" in done.stdout
    budget = Budget(trajectories=10, queries=1)
    here = [stability.run(stability.Task(UNCHANGED, seed, budget, start, tmp_path / str(seed))) for seed in (0, 1)]
    there = read_json(tmp_path / "two" / "stability.json")["runs"]
    for name in ("seed", "curve", "looks", "held_out", "pass_rate"):
        assert [run[name] for run in there] == [run[name] for run in here], name
    assert there[0]["curve"] != there[1]["curve"]


SHARED = {"device": "cpu", "versions": {}, "budget": {}, "cores": 2, "weights": "w", "prompts": "p"}


def kept(task):
    return SHARED | {
        "variant": task.variant.name, "seed": task.seed, "clipped": 0, "steps": 1, "stopped": None, "final_loss": 0.5, "held_out": 0.5,
        "pass_rate": {"all": {"passed": 1, "n": 2}}, "seconds": 1.0, "judging_seconds": 1.0,
    }  # fmt: skip


def test_the_grid_is_recorded_whole_and_a_trial_stays_in_its_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stability, "run", kept)
    monkeypatch.setattr(stability, "results_folder", lambda: tmp_path / "docs")
    for some in (
        ["--trajectories", "8"], ["--only", "batch 1"], ["--models", str(tmp_path)], ["--seeds", "1"], ["--queries", "1"],
    ):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["stability.py", "--jobs", "1", "--output", str(tmp_path / "trial"), *some])
        stability.main()
        assert not (tmp_path / "docs").exists() and (tmp_path / "trial" / "stability.json").is_file()
    monkeypatch.setattr(sys, "argv", ["stability.py", "--jobs", "1", "--output", str(tmp_path / "all")])
    stability.main()
    record = read_json(tmp_path / "docs" / "stability.json")
    assert [(run["variant"], run["seed"]) for run in record["runs"]] == [(name, seed) for name in VARIANTS for seed in range(3)]
    assert {name: record[name] for name in SHARED} == SHARED and "weights" not in record["runs"][0]
    assert f"{3 * len(GRID)} of {3 * len(GRID)}" in capsys.readouterr().out


def test_runs_of_two_plans_are_not_recorded_as_one():
    runs = [kept(stability.Task(UNCHANGED, seed, BUDGET, None, None)) for seed in (0, 1)]
    with pytest.raises(WorkbookError, match="differ in weights"):
        stability.whole([runs[0], runs[1] | {"weights": "others"}])
