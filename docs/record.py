"""Records a finished run for the README: ``python docs/record.py`` after ``make run`` on a clean commit.

Copies build/results.json to docs/results/<size>.json with the commit it was made from, draws the figure, and writes the table between the
markers in README.md. tests/test_readme.py holds README, table and record together, so no number there is typed by hand.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from toolslm_helpers.evaluation.recorded import read_recorded
from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.files import (
    WorkbookError,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    read_json,
    repository_root,
)
from toolslm_helpers.results import as_fields, duration, markdown_table, replace_block
from toolslm_helpers.teaching.views import pass_rate_rows

CONTROLS = ("always_ask", "always_give_up", "dump_everything")
BEGIN, END = "<!-- results: written by docs/record.py -->", "<!-- /results -->"


def readme_block(record: dict) -> str:
    """What README says of a recorded run: the table, then where it comes from."""
    times = ", ".join(f"lesson {number} {duration(lesson['seconds'])}" for number, lesson in record["lessons"].items())
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    values = record["lessons"]["11"]["values"]
    controls = ", ".join(f"{name.replace('_', ' ')} {values[f'{name}_pass_rate']['value']:.1%}" for name in CONTROLS)
    return "\n".join([
        BEGIN, "", markdown_table(record["pass_rate"]), "", own_words_line(values), "",
        f"Controls without a model, all queries: {controls}.", "", *recorded_lines(), "",
        f"Size `{record['size']}`, seed {record['seed']}, commit `{record['commit']}`, {record['device']}; {versions}. Times: {times}.", "", END,
    ])  # fmt: skip


def own_words_line(values: dict) -> str:
    """What became of the queries that lesson 11 plays twice: in a stranger's words, and in the test sets'."""
    asked = values["own_words"]["value"]
    rates = [values[name]["value"] for name in ("own_words_pass_rate", "same_queries_pass_rate")]
    low, high = wilson(round(rates[0] * asked), asked)
    return (
        f"{asked} of these queries said again one by one, [by a stranger](docs/numbers.md#three-seeds): sft passes {rates[0]:.1%} "
        f"[{100 * low:.1f}, {100 * high:.1f}], and {rates[1]:.1%} of the same {asked} in the test sets' words."
    )


def recorded_lines() -> list[str]:
    """The table of the recorded controls, which lesson 11 has too: who plays, what it is, how much it passes."""
    lines = ["| control, recorded | what it is | all queries |", "|---|---|---|"]
    for file in ("controls", "baselines"):
        for name, agent in read_recorded(file).items():
            (row,) = pass_rate_rows({name: {"all": agent.pass_rates["all"]}})
            lines.append(f"| {name} | {agent.about} | {row.words} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=repository_root() / "build" / "results.json")
    try:
        record_run(read_json(parser.parse_args().results))
    except WorkbookError as error:
        sys.exit(str(error))


def record_run(results: dict) -> None:
    """Writes record, figure and README's block. Raises WorkbookError where the commit would not say what was run."""
    from toolslm_helpers.teaching.plots import pass_rates

    root = repository_root()
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True).stdout
    if changed:
        raise WorkbookError(
            "The work tree has uncommitted changes: a record names the commit that made it. Commit, run again, then record."
        )
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
    record = {"commit": commit} | results
    folder = root / "docs" / "results"
    atomic_write_json(folder / f"{record['size']}.json", record)
    shown = {model: record["pass_rate"][model] for model in ("base", "instruct", "sft") if model in record["pass_rate"]}
    figure = pass_rates(as_fields(shown), "Before and after one epoch of fine-tuning").png()
    atomic_write_bytes(folder / "pass_rate.png", figure)
    readme = root / "README.md"
    atomic_write_text(readme, replace_block(readme.read_text(encoding="utf-8"), readme_block(record)))
    print(f"Recorded {folder / (record['size'] + '.json')} at {commit}.")


if __name__ == "__main__":
    main()
