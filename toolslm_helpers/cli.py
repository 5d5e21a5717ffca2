"""``toolslm``: the workbook from a terminal. Every command imports what it needs when it runs, so that --help is quick."""

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from toolslm_helpers.files import WorkbookError

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
    merge: Annotated[bool, typer.Option("--merge", help="Train rows that begin alike in one example.")] = False,
) -> None:
    """Turn training rows into training examples on disk: read, shorten, flatten, mask. A stopped run continues."""
    from toolslm_helpers.data.folder import find_files, toolbench_folder
    from toolslm_helpers.data.rows import TrajectoryStream
    from toolslm_helpers.files import DataError
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.training import prepare as training

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
        f"Prepared: {output} (every row that was set aside, with its reason: {output / training.MANIFEST})"
    )


@app.command()
def sft(
    size: SizeOption = "tiny",
    seed: SeedOption = 0,
    output: OutputOption = Path("build/sft"),
    model: Annotated[str | None, typer.Option("--model", help="Where to start: a folder, or base or instruct.")] = None,
) -> None:
    """Fine-tune for tool calling, once through the trajectories, as lesson 08 does."""
    from toolslm_helpers.agent.gold import training_trajectories
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.training.sft import train

    chosen = get_size(size)
    with counting(console, "steps", "loss") as on_step:
        record = train(chosen, seed, output, training_trajectories(chosen), start=model, on_step=on_step)
    print(f"Checkpoint: {output} ({record.examples} examples, {record.steps} steps, last loss {record.final_loss:.3f} nats)")


@app.command()
def evaluate(
    model: Annotated[str, typer.Option("--model", help="A checkpoint's folder, or base, instruct or sft.")] = "sft",
    size: SizeOption = "tiny",
    seed: SeedOption = 0,
) -> None:
    """Judge a checkpoint on the six test sets, as lesson 11 does, and print its pass rates."""
    from toolslm_helpers.data.world import build_world
    from toolslm_helpers.evaluation import tooleval
    from toolslm_helpers.model.checkpoints import load_model
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size

    chosen = get_size(size)
    network, tokenizer = load_model(model)
    with counting(console, f"queries for {model}") as on_progress:
        evaluation = tooleval.evaluate(network, tokenizer, build_world(), chosen, seed, on_progress=on_progress)
    _print_pass_rates({model: evaluation.as_json()})


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
