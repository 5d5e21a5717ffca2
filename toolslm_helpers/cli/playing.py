"""Queries played and judged, and the tools that they are played with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolslm_helpers.cli import terminal
from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from toolslm_helpers.evaluation.playing import Playing
    from toolslm_helpers.evaluation.votes import Ballot


@terminal.app.command()
def evaluate(
    model: Annotated[
        str, typer.Option("--model", help="A checkpoint's folder, or base, instruct or sft; with --endpoint, a name there.")
    ] = "sft",
    size: terminal.SizeOption = "tiny",
    seed: terminal.SeedOption = 0,
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
    output: terminal.OutputOption = Path("build/evaluation"),
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
    terminal.print_pass_rates({system: {name: vars(rate) for name, rate in found.rates.items()}})
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

    with counting(terminal.console, f"queries for {playing.model}") as on_progress:
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
    with counting(terminal.console, "votes") as on_progress:
        return session.judge_answers(session.answers_of(played.pairs), judge, **settings, on_progress=on_progress)


def _judge_converted(folder: Path | None, judge: str, settings: dict[str, Any]) -> "tuple[Ballot, ...]":
    from toolslm_helpers.evaluation import session
    from toolslm_helpers.evaluation.answers import read_answers
    from toolslm_helpers.screen import counting

    if folder is None:
        raise WorkbookError("--data toolbench judges answers that were played elsewhere. Pass their folder: --answers FOLDER.")
    with counting(terminal.console, "votes") as on_progress:
        return session.judge_answers(read_answers(folder), judge, **settings, on_progress=on_progress)


def _toolbench_folder() -> Path:
    import os

    if "TOOLBENCH_DIR" not in os.environ:
        raise WorkbookError("--full counts ToolBench's test queries: set TOOLBENCH_DIR to the folder that holds test_query_ids/.")
    return Path(os.environ["TOOLBENCH_DIR"])


@terminal.app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    seed: terminal.SeedOption = 0,
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


@terminal.app.command()
def world(seed: terminal.SeedOption = 0, output: terminal.OutputOption = Path("build/world")) -> None:
    """Write the embedded world in ToolBench's own formats: tools, queries, answer trees, training rows."""
    from toolslm_helpers.agent.gold import export_world

    written = export_world(output, seed)
    print(f"{len(written)} files with their hashes in {output / 'MANIFEST.json'}")
