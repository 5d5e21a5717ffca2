"""The command line: what it passes on, what it prints, and one clear line in place of a traceback."""

import errno
import os
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from toolslm_helpers import cli, regression, workbook
from toolslm_helpers.agent.episode import Episode, Step
from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.world import build_world
from toolslm_helpers.execution import NotebookFailed
from toolslm_helpers.files import DataError, WorkbookError
from toolslm_helpers.sizes import get_size
from toolslm_helpers.training.speed import Speed


def call(monkeypatch, *arguments: str) -> int:
    """Runs `toolslm` with these arguments; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["toolslm", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0


@pytest.fixture
def series(monkeypatch, tmp_path):
    """A series that runs at once: what `run` was called with, and results that a test may change."""
    seen = SimpleNamespace(error=None, results={"size": "tiny", "seed": 0, "lessons": {}, "pass_rate": {}})

    def run_series(build, notebooks, console, fresh):
        seen.build, seen.numbers, seen.fresh = build, [notebook.number for notebook in notebooks], fresh
        if seen.error:
            raise seen.error

    lessons = [workbook.Notebook(number, tmp_path / f"{number}_x.ipynb") for number in ("00", "08")]
    monkeypatch.setattr(workbook, "run_series", run_series)
    monkeypatch.setattr(workbook, "publish", lambda build: seen.results)
    monkeypatch.setattr(
        workbook, "find_notebooks", lambda folder, wanted: [n for n in lessons if not wanted or n.number in wanted]
    )
    monkeypatch.setattr(workbook, "shared_inputs", lambda: [])
    monkeypatch.setattr(regression, "read_expected", lambda path: regression.Expected.model_validate(seen.expected))
    seen.expected = {"seed": 0}
    return seen


def test_run_passes_everything_on_and_says_where_the_results_are(series, monkeypatch, tmp_path, capsys):
    code = call(monkeypatch, "run", "08", "--size", "smoke", "--seed", "3", "--fresh", "--output", tmp_path / "b")
    assert (code, series.numbers, series.fresh) == (0, ["08"], True)
    assert (series.build.size, series.build.seed, series.build.output) == ("smoke", 3, tmp_path / "b")
    out = capsys.readouterr().out
    assert f"Results: {tmp_path}/b/results.json\nSite:    {tmp_path}/b/site/index.html\n" in out
    assert "known for seed 0 only: nothing was compared" in out


def test_run_without_arguments_takes_all_lessons_at_tiny(series, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "run") == 0
    assert (series.numbers, series.fresh, series.build.size, series.build.seed) == (["00", "08"], False, "tiny", 0)
    assert series.build.output == tmp_path / "build"


def test_a_regression_is_named_and_fails(series, monkeypatch, tmp_path, capsys):
    series.expected["tiny"] = {"08": {"values": {"loss": {"low": 0.0, "high": 0.5}}}}
    series.results["lessons"] = {"08": {"seconds": 1, "values": {"loss": {"value": 0.6, "unit": "nats"}}}}
    series.results["pass_rate"] = {"sft": {"all": {"passed": 9, "n": 10, "low": 0.6, "high": 0.98}}}
    assert call(monkeypatch, "run", "--output", tmp_path) == 1
    said = capsys.readouterr()
    assert said.err == "REGRESSION lesson 08 metric loss: expected 0 to 0.5, got 0.6\n"
    assert "90.0% (9/10)" in said.out and "Site:" in said.out


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NotebookFailed("08_x failed in cell 3 of 9"), 1, "08_x failed in cell 3 of 9\n"),
        (KeyboardInterrupt(), 130, "Stopped. Finished notebooks are kept; the same command continues.\n"),
        (DataError("a.json: field x is missing."), 2, "a.json: field x is missing.\n"),
        (
            OSError(errno.ENOSPC, "No space", "/b/x"),
            2,
            "/b/x: no space left. Free some space, then run the same command again.\n",
        ),
    ],
)
def test_what_goes_wrong_is_told_without_a_traceback(series, monkeypatch, tmp_path, capsys, error, code, line):
    series.error = error
    assert call(monkeypatch, "run", "--output", tmp_path) == code
    assert capsys.readouterr().err == line


def test_an_error_that_nobody_foresaw_keeps_its_traceback(series, monkeypatch, tmp_path):
    series.error = OSError(errno.EACCES, "denied")
    monkeypatch.setattr(sys, "argv", ["toolslm", "run", "--output", str(tmp_path)])
    with pytest.raises(OSError, match="denied"):
        cli.main()


@pytest.mark.parametrize("command", ["run", "prepare", "sft", "evaluate"])
def test_an_unknown_size_is_told(monkeypatch, capsys, command):
    assert call(monkeypatch, command, "--size", "huge") == 2
    assert capsys.readouterr().err.startswith("SIZE is 'huge'; expected one of 'smoke', 'tiny', 'full'")


def test_an_unknown_lesson_and_a_missing_run_are_told(monkeypatch, tmp_path, capsys):
    assert call(monkeypatch, "run", "99", "--output", tmp_path) == 2
    assert "no lesson '99'" in capsys.readouterr().err
    assert call(monkeypatch, "site", "--output", tmp_path) == 2
    assert "no run here" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def gave_up(query):
    """An episode that gives up at once: passed where no API can help, and nowhere else."""
    step = Step("", "Finish", '{"return_type": "give_up_and_restart"}', "{}", 4)
    return Episode(query.query.query_id, query.query.query, (step,), "finish", None, "give_up_and_restart")


def test_training_and_judging_reach_their_helpers(monkeypatch, tmp_path, capsys):
    """The commands themselves: the helpers are tested where they stand."""
    from toolslm_helpers.agent import gold
    from toolslm_helpers.evaluation.playing import Played, Playing
    from toolslm_helpers.training import sft, stages

    calls, how = [], []

    def train(size, seed, output, trajectories, start, on_step, on_forecast, save_every, speed):
        on_forecast("what it will cost")
        on_step(1, 2, 0.5)
        calls.append(("sft", size.name, seed, output, trajectories, start))
        how.append((size.precision, size.gradient_checkpointing, save_every, speed))
        return SimpleNamespace(examples=3, steps=2, final_loss=0.25)

    def play(playing, on_progress):
        on_progress(1, 2)
        calls.append(("evaluate", playing))
        world = build_world()
        queries = sorted(queries_of(world, "G1_tool"), key=lambda query: query.goal.kind != "give_up")
        queries = [queries[0], *queries[-3:]]
        return Played(world, tuple((query, gave_up(query)) for query in queries))

    monkeypatch.setattr(sft, "train", train)
    monkeypatch.setattr(Playing, "play", play)
    monkeypatch.setattr(stages, "run_stage", lambda name, output, seed, **more: calls.append((name, output, seed, more["start"])))
    monkeypatch.setattr(gold, "training_trajectories", lambda size: [f"for {size.name}"])
    monkeypatch.setattr(gold, "export_world", lambda output, seed: calls.append(("world", output, seed)) or {"a": "hash"})
    monkeypatch.setattr(cli.terminal, "console", Console(width=100))

    assert call(monkeypatch, "sft", "--size", "smoke", "--seed", "2", "--output", tmp_path, "--model", "base") == 0
    assert how == [("fp32", False, 100, Speed())]
    assert call(monkeypatch, "evaluate", "--model", "x", "--size", "smoke", "--search", "dfsdt", "--output", tmp_path) == 0
    assert call(monkeypatch, "stages", "--output", tmp_path) == 0
    assert call(monkeypatch, "world", "--output", tmp_path, "--seed", "5") == 0
    assert calls == [
        ("sft", "smoke", 2, tmp_path, ["for smoke"], "base"),
        ("evaluate", Playing("x", get_size("smoke"), 0, "dfsdt")),
        ("base", tmp_path / "base", 0, None),
        ("instruct", tmp_path / "instruct", 0, None),
        ("world", tmp_path, 5),
    ]
    out = capsys.readouterr().out
    assert f"what it will cost\nCheckpoint: {tmp_path} (3 examples, 2 steps, last loss 0.250 nats)" in out
    assert "25.0% (1/4) [4.6, 69.9]" in out and "1 files with their hashes" in out


def test_the_switches_of_fine_tuning_reach_it(monkeypatch, tmp_path, capsys):
    from toolslm_helpers.agent import gold
    from toolslm_helpers.training import sft

    seen = []

    def train(size, seed, output, trajectories, start, on_step, on_forecast, save_every, speed):
        seen.append((size.precision, size.gradient_checkpointing, save_every, speed))
        on_forecast("what it will cost")
        raise AssertionError("--dry-run stops here")

    monkeypatch.setattr(sft, "train", train)
    monkeypatch.setattr(gold, "training_trajectories", lambda size: [])
    switches = (
        "--precision",
        "bf16",
        "--no-checkpointing",
        "--save-every",
        "0",
        "--no-group",
        "--unpadded",
        "--fused",
        "--dry-run",
    )
    assert call(monkeypatch, "sft", "--size", "full", "--output", tmp_path, *switches) == 0
    assert seen == [("bf16", False, None, Speed(group=False, unpadded=True, fused=True))]
    assert capsys.readouterr().out == "what it will cost\n"
    assert call(monkeypatch, "sft", "--precision", "fp8") == 2
    assert "'fp8': expected fp32, fp16 or bf16" in capsys.readouterr().err


def test_rows_are_prepared_from_a_named_file_or_from_toolbenchs_folder(monkeypatch, tmp_path, capsys):
    from toolslm_helpers.data.toolbench import write_rows
    from toolslm_helpers.training import sft
    from toolslm_helpers.training.shards import Prepared

    rows = gold_trajectories(build_world(), 6, "toolbench")
    write_rows(tmp_path / "data" / "toolllama_G123_dfs_train.json", rows)
    monkeypatch.setenv("TOOLBENCH_DIR", str(tmp_path / "data"))
    named = tmp_path / "data" / "toolllama_G123_dfs_train.json"
    for k, arguments in enumerate(([named], [], ["--merge", "--seed", "1"])):
        folder = tmp_path / f"out {k}"
        assert call(monkeypatch, "prepare", *arguments, "--tokenizer", "sft", "--output", folder) == 0
        plan = Prepared(folder).asked["plan"]
        assert (plan["max_length"], plan["truncation"], plan["merge"], plan["seed"]) == (2048, "shorten", k == 2, k // 2)
        assert len(Prepared(folder)) == 6
    assert "6 rows: 6 in 6 examples, 0 set aside." in capsys.readouterr().out
    trained, record = [], SimpleNamespace(examples=6, steps=1, final_loss=1)
    monkeypatch.setattr(sft, "train", lambda *arguments, **more: trained.append(arguments[3]) or record)
    assert call(monkeypatch, "sft", "--prepared", tmp_path / "out 0") == 0
    assert len(trained[0]) == 6 and trained[0].asked["source"] == str(named)
    named.unlink()
    assert call(monkeypatch, "prepare") == 2
    assert "no training rows there" in capsys.readouterr().err


def test_a_later_stage_starts_from_the_base_that_was_just_made(monkeypatch, tmp_path):
    from toolslm_helpers.training import stages

    starts = {}

    def run_stage(name, output, seed, steps, start, on_step):
        starts[name] = start
        output.mkdir()
        (output / "config.json").touch()

    monkeypatch.setattr(stages, "run_stage", run_stage)
    assert call(monkeypatch, "stages", "--output", tmp_path) == 0
    assert starts == {"base": None, "instruct": tmp_path / "base"}
    with pytest.raises(WorkbookError):
        monkeypatch.undo()
        stages.run_stage("sideways", tmp_path)


def test_saved_episodes_belong_to_one_model_search_and_seed(monkeypatch, tmp_path, capsys):
    from toolslm_helpers.evaluation import playing

    logs = []

    def play(agent, world, queries, size, seed, on_progress, search, log, api, calls_at_once):
        logs.append(log)
        return [gave_up(query) for query in queries]

    monkeypatch.setattr(playing, "play_shared", play)
    monkeypatch.setattr(playing, "load_model", lambda name: (SimpleNamespace(to=lambda device: None), None))
    model, file = tmp_path / "model", tmp_path / "episodes.jsonl"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    command = ("evaluate", "--model", model, "--size", "smoke", "--episodes", file, "--output", tmp_path / "out")
    assert call(monkeypatch, *command) == call(monkeypatch, *command) == 0
    assert logs[0].settings == logs[1].settings and logs[0].settings["search"] == "cot"
    for change in (("--seed", "1"), ("--search", "dfsdt")):
        assert call(monkeypatch, *command, *change) == 2
        assert f"{change[0][2:]} = " in capsys.readouterr().err
    (model / "model.safetensors").write_bytes(b"other weights")
    with monkeypatch.context() as second:
        second.setenv("RANK", "1")
        second.setenv("WORLD_SIZE", "2")
        assert call(second, *command) == 0 and logs[-1].path == tmp_path / "episodes.1.jsonl"
    assert call(monkeypatch, "evaluate", "--answers", tmp_path, "--export", tmp_path) == 2
    assert "were played before" in capsys.readouterr().err
    assert call(monkeypatch, *command) == 2 and "weights = " in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", "--search", "bfs") == 2 and "'cot', 'dfsdt'" in capsys.readouterr().err


def test_serve_reads_its_switches(monkeypatch, tmp_path, capsys):
    pytest.importorskip("fastapi", reason="needs the extra [serve]")
    pytest.importorskip("uvicorn", reason="needs the extra [serve]")
    from toolslm_helpers.agent import server

    served = []
    monkeypatch.setattr(server, "serve", lambda app, host, port: served.append((app, host, port)))
    assert call(monkeypatch, "serve", "--port", "0", "--faults", "latency=0.1,not_found=0.5", "--cache", tmp_path) == 0
    assert [(host, port) for _, host, port in served] == [
        ("127.0.0.1", 0)
    ] and "http://127.0.0.1:0/virtual" in capsys.readouterr().out
    assert call(monkeypatch, "serve", "--faults", "speed=1") == 2 and "expected name=number" in capsys.readouterr().err
