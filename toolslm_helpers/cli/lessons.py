"""The lessons as a whole: execute them, build their pages, check the machine, write the worksheets."""

from pathlib import Path
from typing import Annotated

import typer

from toolslm_helpers.cli import terminal


@terminal.app.command()
def run(
    lessons: Annotated[list[str] | None, typer.Argument(help="Numbers, for example: 08 11. None means all.")] = None,
    size: terminal.SizeOption = "tiny",
    seed: terminal.SeedOption = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing a stopped run.")] = False,
    output: terminal.OutputOption = Path("build"),
) -> None:
    """Execute the lessons; gather results, build the site, compare with what must not move."""
    from toolslm_helpers import regression, workbook
    from toolslm_helpers.execution import NotebookFailed
    from toolslm_helpers.sizes import get_size

    get_size(size)
    notebooks = workbook.find_notebooks(workbook.notebooks_folder(), lessons or ())
    build = workbook.Build(output, size, seed)
    try:
        workbook.run_series(build, notebooks, terminal.console, fresh)
    except NotebookFailed as error:
        terminal.complain(error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as interrupt:
        terminal.complain("Stopped. Finished notebooks are kept; the same command continues.")
        raise typer.Exit(130) from interrupt
    results = workbook.publish(build)
    terminal.print_pass_rates(results["pass_rate"])
    expected = regression.read_expected(regression.expected_file())
    if seed != expected.seed:
        print(f"What must not move is known for seed {expected.seed} only: nothing was compared.")
    moved = regression.regressions(expected, results) if seed == expected.seed else []
    for line in moved:
        terminal.complain(f"REGRESSION {line}")
    print(f"Results: {build.output / 'results.json'}\nSite:    {build.output / 'site' / 'index.html'}")
    if moved:
        raise typer.Exit(1)


@terminal.app.command()
def site(output: terminal.OutputOption = Path("build")) -> None:
    """Build the pages and the index again from the executed notebooks of the last run."""
    from toolslm_helpers import workbook

    build = workbook.Build.latest(output)
    workbook.publish(build)
    print(f"Site: {build.output / 'site' / 'index.html'}")


@terminal.app.command()
def doctor(output: terminal.OutputOption = Path("build")) -> None:
    """Check this machine: Python, packages, torch and GPU, disk, memory, hub, data, checkpoints, port."""
    from toolslm_helpers.doctor import examine

    failed = False
    for finding in examine(output):
        colour = {"OK": "green", "NOTE": "yellow", "FAIL": "bold red"}[finding.status]
        terminal.console.print(f"[{colour}]{finding.status:4}[/] {finding.subject}: ", end="")
        terminal.console.print(finding.text, markup=False, highlight=False, soft_wrap=True)
        failed |= finding.status == "FAIL"
    if failed:
        raise typer.Exit(1)


@terminal.app.command()
def worksheet(
    lessons: Annotated[list[str] | None, typer.Option("--lesson", help="01, 05, 06 or 07; repeat it. None means all.")] = None,
    output: terminal.OutputOption = Path("build/worksheets"),
) -> None:
    """Write the by-hand worksheets: .xlsx with live formulas, blank to fill in, and the blank as .pdf to print."""
    from toolslm_helpers.teaching.worksheet import write_worksheets

    for path in write_worksheets(output, lessons or ()):
        print(path)
