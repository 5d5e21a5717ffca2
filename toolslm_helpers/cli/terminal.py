"""What the commands share: the application they are registered with, the console, the options that mean the same everywhere."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(name="toolslm", help="How Small Models Learn Tool Use.", no_args_is_help=True, add_completion=False)
console = Console()

SizeOption = Annotated[str, typer.Option("--size", help="smoke, tiny or full.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Every random number comes from here.")]
OutputOption = Annotated[Path, typer.Option("--output", help="The folder to write.")]


def print_pass_rates(pass_rate: dict) -> None:
    """The table of pass rates, system by system; nothing where none was measured."""
    from toolslm_helpers.results import pass_rate_table

    if pass_rate:
        console.print(pass_rate_table(pass_rate))


def complain(message: object) -> None:
    """What went wrong, on stderr, so that a command's output can be piped."""
    print(message, file=sys.stderr)
