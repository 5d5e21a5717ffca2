"""``toolslm``: the workbook from a terminal. Every command imports what it needs when it runs, so that --help is quick."""

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from toolslm_helpers.evaluation.playing import Playing
    from toolslm_helpers.evaluation.votes import Ballot
    from toolslm_helpers.training.forecast import Forecast

app = typer.Typer(name="toolslm", help="How Small Models Learn Tool Use.", no_args_is_help=True, add_completion=False)
console = Console()

SizeOption = Annotated[str, typer.Option("--size", help="smoke, tiny or full.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Every random number comes from here.")]
OutputOption = Annotated[Path, typer.Option("--output", help="The folder to write.")]


@app.command()
def run(
    lessons: Annotated[list[str] | None, typer.Argument(help="Numbers, for example: 08 11. None means all.")] = None,
    size: SizeOption = "tiny",
    seed: SeedOption = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing a stopped run.")] = False,
    output: OutputOption = Path("build"),
) -> None:
    """Execute the lessons; gather results, build the site, compare with what must not move."""
    from toolslm_helpers import regression, workbook
    from toolslm_helpers.execution import NotebookFailed
    from toolslm_helpers.sizes import get_size

    get_size(size)
    notebooks = workbook.find_notebooks(workbook.notebooks_folder(), lessons or ())
    build = workbook.Build(output, size, seed)
    try:
        workbook.run_series(build, notebooks, console, fresh)
    except NotebookFailed as error:
        _complain(error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as interrupt:
        _complain("Stopped. Finished notebooks are kept; the same command continues.")
        raise typer.Exit(130) from interrupt
    results = workbook.publish(build)
    _print_pass_rates(results["pass_rate"])
    expected = regression.read_expected(regression.expected_file())
    if seed != expected.seed:
        print(f"What must not move is known for seed {expected.seed} only: nothing was compared.")
    moved = regression.regressions(expected, results) if seed == expected.seed else []
    for line in moved:
        _complain(f"REGRESSION {line}")
    print(f"Results: {build.output / 'results.json'}\nSite:    {build.output / 'site' / 'index.html'}")
    if moved:
        raise typer.Exit(1)


@app.command()
def site(output: OutputOption = Path("build")) -> None:
    """Build the pages and the index again from the executed notebooks of the last run."""
    from toolslm_helpers import workbook

    build = workbook.Build.latest(output)
    workbook.publish(build)
    print(f"Site: {build.output / 'site' / 'index.html'}")


@app.command()
def doctor(output: OutputOption = Path("build")) -> None:
    """Check this machine: Python, packages, torch and GPU, disk, memory, hub, data, checkpoints, port."""
    from toolslm_helpers.doctor import examine

    failed = False
    for finding in examine(output):
        colour = {"OK": "green", "NOTE": "yellow", "FAIL": "bold red"}[finding.status]
        console.print(f"[{colour}]{finding.status:4}[/] {finding.subject}: ", end="")
        console.print(finding.text, markup=False, highlight=False, soft_wrap=True)
        failed |= finding.status == "FAIL"
    if failed:
        raise typer.Exit(1)


@app.command()
def stages(
    names: Annotated[
        list[str] | None, typer.Argument(help="tokenizer, base, instruct. None means base and instruct, in this order.")
    ] = None,
    seed: SeedOption = 0,
    output: OutputOption = Path("build/models"),
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Fewer steps than opt-mini was made with.")] = None,
) -> None:
    """Make opt-mini's own checkpoints: pre-training, then instruction tuning. A stopped stage continues."""
    from toolslm_helpers.screen import counting
    from toolslm_helpers.training.stages import STAGES, make_tokenizer, run_stage

    for name in names or STAGES:
        if name == "tokenizer":
            print(f"Tokenizer: {make_tokenizer(output / name)}")
            continue
        before = STAGES[name].start if name in STAGES else None
        start = output / before if before and (output / before / "config.json").is_file() else None
        with counting(console, f"stage {name}", "loss") as on_step:
            run_stage(name, output / name, seed, steps=steps, start=start, on_step=on_step)
        print(f"Checkpoint: {output / name}")


@app.command()
def prepare(
    rows: Annotated[
        Path | None, typer.Argument(help="A file of training rows, as ToolBench released them. None: the one in TOOLBENCH_DIR.")
    ] = None,
    size: SizeOption = "full",
    seed: SeedOption = 0,
    output: OutputOption = Path("build/prepared"),
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="A folder with gpt2-vocab.json and gpt2-merges.txt, or a checkpoint. None: the size's."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Rows that begin alike become one example; a step of `sft` then takes fewer.")
    ] = False,
) -> None:
    """Turn training rows into training examples on disk: read, shorten, flatten, mask. A stopped run continues."""
    from toolslm_helpers.data.folder import find_files, toolbench_folder
    from toolslm_helpers.data.rows import TrajectoryStream
    from toolslm_helpers.files import DataError
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.training import prepare as training
    from toolslm_helpers.training.shards import MANIFEST

    chosen = get_size(size)
    if rows is None:
        files = [file for file in find_files(toolbench_folder())["training rows"] if "train" in file.name]
        if not files:
            raise DataError(
                f"{toolbench_folder()}: no training rows there (toolllama_*train*.json). Name the file, or download it."
            )
        rows = files[0]
    plan = training.Plan.of(chosen, merge, seed)
    with counting(console, "rows") as on_progress:
        pieces = training.tokenizer_of(tokenizer or chosen.model)
        found = training.prepare(lambda start: TrajectoryStream(rows, start), pieces, output, plan, on_progress)
    print(
        f"{found.rows:,} rows: {found.rows_in_examples:,} in {found.examples:,} examples, {found.rows_set_aside:,} set aside. "
        f"{found.tokens:,} tokens, {found.supervised:,} of them supervised; {found.tokens_cut:,} cut.\n"
        f"Prepared: {output} (every row that was set aside, with its reason: {output / MANIFEST})"
    )


@app.command()
def sft(
    size: SizeOption = "tiny",
    seed: SeedOption = 0,
    output: OutputOption = Path("build/sft"),
    model: Annotated[str | None, typer.Option("--model", help="Where to start: a folder, or base or instruct.")] = None,
    prepared: Annotated[
        Path | None, typer.Option("--prepared", help="A folder of `toolslm prepare`. None: the size's own data.")
    ] = None,
    save_every: Annotated[int, typer.Option("--save-every", min=0, help="Steps between two checkpoints; 0: none.")] = 100,
    precision: Annotated[str | None, typer.Option("--precision", help="fp32, fp16 or bf16. None: the size's.")] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Compute activations again to save memory.")
    ] = None,
    group: Annotated[bool, typer.Option("--group/--no-group", help="Batches of rows of similar length.")] = True,
    unpadded: Annotated[bool, typer.Option("--unpadded", help="A batch's rows one behind the other, without padding.")] = False,
    fused: Annotated[bool | None, typer.Option("--fused/--no-fused", help="AdamW in one kernel. None: on a GPU.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it will cost, and stop.")] = False,
) -> None:
    """Fine-tune for tool calling, once through the trajectories, as lesson 08 does. A stopped run continues.

    On several GPUs: torchrun --nproc-per-node N -m toolslm_helpers.cli sft ...
    """
    from dataclasses import replace

    from toolslm_helpers.agent.gold import training_trajectories
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.training.processes import process
    from toolslm_helpers.training.sft import train
    from toolslm_helpers.training.shards import Prepared
    from toolslm_helpers.training.speed import Speed

    chosen = get_size(size)
    if precision is not None:
        if precision not in ("fp32", "fp16", "bf16"):
            raise WorkbookError(f"--precision {precision!r}: expected fp32, fp16 or bf16.")
        chosen = replace(chosen, precision=precision)
    if checkpointing is not None:
        chosen = replace(chosen, gradient_checkpointing=checkpointing)
    data = training_trajectories(chosen) if prepared is None else Prepared(prepared)

    def say(forecast: "Forecast") -> None:
        print(forecast, flush=True)
        if dry_run:
            raise typer.Exit

    with counting(console if process()[0] == 0 else Console(quiet=True), "steps", "loss") as on_step:
        record = train(
            chosen, seed, output, data, start=model, on_step=on_step, on_forecast=say, save_every=save_every or None,
            speed=Speed(group, unpadded, fused),
        )  # fmt: skip
    if process()[0] == 0:
        print(f"Checkpoint: {output} ({record.examples} examples, {record.steps} steps, last loss {record.final_loss:.3f} nats)")


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Option("--model", help="A checkpoint's folder, or base, instruct or sft; with --endpoint, a name there.")
    ] = "sft",
    size: SizeOption = "tiny",
    seed: SeedOption = 0,
    data: Annotated[
        str, typer.Option("--data", help="world, or toolbench: the test queries of TOOLBENCH_DIR (see --server), or --answers.")
    ] = "world",
    answers: Annotated[
        Path | None, typer.Option("--answers", help="A folder of converted answers, <set>.json, to judge.")
    ] = None,
    judge: Annotated[
        str, typer.Option("--judge", help="exact (the world's facts), rules (answers and does not apologise) or openai.")
    ] = "exact",
    votes: Annotated[int, typer.Option("--votes", min=1, help="Votes a query, for a judge that may change its mind.")] = 4,
    policy: Annotated[
        str, typer.Option("--policy", help="strict, upstream, 'upstream csv' or 'half points': ties, coins, what is missing.")
    ] = "strict",
    judge_model: Annotated[str | None, typer.Option("--judge-model", help="The judge's name at OPENAI_BASE_URL.")] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=1, help="Requests to the judge that run together.")] = 16,
    price_in: Annotated[
        float, typer.Option("--price-in", min=0, help="Dollars for a million tokens that the judge reads.")
    ] = 0.0,
    price_out: Annotated[float, typer.Option("--price-out", min=0, help="Dollars for a million tokens that it writes.")] = 0.0,
    ceiling: Annotated[float, typer.Option("--ceiling", min=0, help="The most that judging may cost, in dollars.")] = float(
        "inf"
    ),
    full: Annotated[
        bool, typer.Option("--full", help="Count every test query of TOOLBENCH_DIR: one without an answer is not passed.")
    ] = False,
    search: Annotated[str, typer.Option("--search", help="cot: one chain. dfsdt: a tree that backs off.")] = "cot",
    server: Annotated[
        str | None, typer.Option("--server", help="Where the tools are: a server such as `toolslm serve`. None: in this process.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", help="An OpenAI-compatible endpoint whose --model plays. None: a checkpoint plays."),
    ] = None,
    episodes: Annotated[Path | None, typer.Option("--episodes", help="Save episodes here as they end; go on from there.")] = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write ToolBench's answer files and ToolEval's here.")
    ] = None,
    output: OutputOption = Path("build/evaluation"),
) -> None:
    """Play the six test sets and judge, or judge the answers of any system: table, radar, JSON. What was stopped continues."""
    from toolslm_helpers.evaluation import session
    from toolslm_helpers.evaluation.llm_judge import Prices
    from toolslm_helpers.evaluation.playing import Playing
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.teaching.evaluation_plots import radar

    counted = session.chosen_policy(policy)
    for name, value, known in (("--data", data, ("world", "toolbench")), ("--judge", judge, ("exact", "rules", "openai"))):
        if value not in known:
            raise WorkbookError(f"{name} {value!r}: expected {' or '.join(known)}.")
    if ceiling < float("inf") and not price_in + price_out:
        raise WorkbookError(
            "--ceiling needs the judge's prices to count with: --price-in and --price-out, in dollars a million tokens."
        )
    prices = Prices(price_in, price_out, ceiling)
    settings = {"votes": votes, "output": output, "model": judge_model, "at_once": at_once, "prices": prices}
    playing = {
        "--search": search != "cot",
        "--episodes": episodes,
        "--export": export_to,
        "--server": server,
        "--endpoint": endpoint,
    }
    if answers is not None:
        if played := [name for name, value in playing.items() if value]:
            raise WorkbookError(f"{', '.join(played)}: for queries that are played; --answers were played before.")
        ballots = _judge_converted(answers, judge, settings)
    else:
        plan = Playing(model, get_size(size), seed, search, data, endpoint, server, episodes)
        session.check_judge(judge, judge_model, data)  # now, not after hours of playing
        ballots = _play_and_judge(plan, judge, export_to, settings)
    if ballots is None:  # under accelerate launch the first process judges and writes; this one has played its share
        return
    found = session.report(ballots, judge, counted, seed, session.expected_queries(_toolbench_folder()) if full else None)
    system = model if answers is None else answers.name
    path = session.write_report(found, output, system=system, data=data, votes=votes, seed=seed)
    _print_pass_rates({system: {name: vars(rate) for name, rate in found.rates.items()}})
    lost = found.rates["all"].dropped
    print(
        f"Judge {judge}, policy {policy}: {counted.about}."
        + (f" {lost} queries without a prediction were dropped." if lost else "")
    )
    if found.outside:
        print(f"{found.outside} answers to queries that are not in the list of test queries were not counted.")
    print(f"Every vote: {path}")
    sets = {name: rate for name, rate in found.rates.items() if name != "all"}
    if len(sets) >= 3:
        from toolslm_helpers.files import atomic_write_bytes

        print(f"Radar: {atomic_write_bytes(output / 'radar.png', radar({system: sets}).png())}")


def _play_and_judge(
    playing: "Playing", judge: str, export_to: Path | None, settings: dict[str, Any]
) -> "tuple[Ballot, ...] | None":
    from toolslm_helpers.evaluation import session
    from toolslm_helpers.evaluation.sharing import process
    from toolslm_helpers.screen import counting

    with counting(console, f"queries for {playing.model}") as on_progress:
        played = playing.play(on_progress)
    if process()[0] > 0:
        return None
    if played.undescribed:
        print(f"{played.undescribed} tools have no file below tools/: they were offered without a description.")
    if export_to:
        played.export(export_to)
        print(f"Answers: {export_to}")
    if judge == "exact":
        return session.exact_ballots(played.pairs)
    with counting(console, "votes") as on_progress:
        return session.judge_answers(session.answers_of(played.pairs), judge, **settings, on_progress=on_progress)


def _judge_converted(folder: Path | None, judge: str, settings: dict[str, Any]) -> "tuple[Ballot, ...]":
    from toolslm_helpers.evaluation import session
    from toolslm_helpers.evaluation.answers import read_answers
    from toolslm_helpers.screen import counting

    if folder is None:
        raise WorkbookError("--data toolbench judges answers that were played elsewhere. Pass their folder: --answers FOLDER.")
    with counting(console, "votes") as on_progress:
        return session.judge_answers(read_answers(folder), judge, **settings, on_progress=on_progress)


def _toolbench_folder() -> Path:
    import os

    if "TOOLBENCH_DIR" not in os.environ:
        raise WorkbookError("--full counts ToolBench's test queries: set TOOLBENCH_DIR to the folder that holds test_query_ids/.")
    return Path(os.environ["TOOLBENCH_DIR"])


@app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    seed: SeedOption = 0,
    cache: Annotated[Path | None, typer.Option("--cache", help="Recorded answers, in StableToolBench's folders.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep simulated answers in the cache.")] = False,
    simulator: Annotated[str | None, typer.Option("--simulator", help="An OpenAI-compatible endpoint that plays APIs.")] = None,
    model: Annotated[str, typer.Option("--model", help="The simulator's model.")] = "gpt-4o-mini",
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds that a simulated answer may take.")] = 10.0,
    faults: Annotated[
        str, typer.Option("--faults", help="For example latency=0.2,not_found=0.1,too_many=0.1,malformed=0.1.")
    ] = "",
) -> None:
    """Serve the tool world over HTTP: StableToolBench's POST /virtual."""
    import os

    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise WorkbookError(f"toolslm serve needs {error.name}: pip install 'toolslm-helpers[serve]'.") from error
    from toolslm_helpers.agent import server, sources
    from toolslm_helpers.data.world import build_world

    answerer = server.Answerer(
        sources.WorldSource(build_world(seed)),
        sources.RecordedCache(cache) if cache else None,
        sources.openai_simulator(simulator, model, os.environ.get("OPENAI_API_KEY")) if simulator else None,
        save,
        time_limit,
    )
    application = server.create_app(answerer, server.Faults.read(faults))
    print(f"Tool world: http://{host}:{port}/virtual (Ctrl-C stops it)", flush=True)
    server.serve(application, host, port)


@app.command()
def world(seed: SeedOption = 0, output: OutputOption = Path("build/world")) -> None:
    """Write the embedded world in ToolBench's own formats: tools, queries, answer trees, training rows."""
    from toolslm_helpers.agent.gold import export_world

    written = export_world(output, seed)
    print(f"{len(written)} files with their hashes in {output / 'MANIFEST.json'}")


@app.command()
def worksheet(
    lessons: Annotated[list[str] | None, typer.Option("--lesson", help="01, 05, 06 or 07; repeat it. None means all.")] = None,
    output: OutputOption = Path("build/worksheets"),
) -> None:
    """Write the by-hand worksheets: .xlsx with live formulas, blank to fill in, and the blank as .pdf to print."""
    from toolslm_helpers.teaching.worksheet import write_worksheets

    for path in write_worksheets(output, lessons or ()):
        print(path)


def _print_pass_rates(pass_rate: dict) -> None:
    from toolslm_helpers.results import pass_rate_table

    if pass_rate:
        console.print(pass_rate_table(pass_rate))


def _complain(message: object) -> None:
    print(message, file=sys.stderr)


def main() -> None:
    """The console script. An error meant for the reader is one line on stderr and exit code 2, never a traceback."""
    try:
        app()
    except WorkbookError as error:
        _complain(error)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _complain(f"{error.filename or 'The disk'}: no space left. Free some space, then run the same command again.")
        sys.exit(2)


if __name__ == "__main__":
    main()
