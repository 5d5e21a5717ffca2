"""A folder of ToolBench's files, such as the one that TOOLBENCH_DIR names: which kinds lie in it, and what of each can be read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolslm_helpers.data.converted import ConvertedStream
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.stream import Account, QueryStream, RecordStream, SetAside
from toolslm_helpers.data.toolbench import (
    read_chain,
    read_each,
    read_open_queries,
    read_query_ids,
    read_responses,
    read_tool,
    read_tree,
)
from toolslm_helpers.files import DataError


@dataclass(frozen=True)
class Kind:
    """A kind of file: the patterns of its names below a folder, and how it is read: as a stream of records, or whole as one."""

    name: str
    patterns: tuple[str, ...]
    read: type[RecordStream] | Callable[[Path], Any]


# Upstream's layout (data/answer, data/instruction, ...) and StableToolBench's. A file belongs to the first kind that names it.
KINDS = (
    Kind("training rows", ("toolllama_*train*.json", "toolllama_*eval*.json"), TrajectoryStream),
    Kind("answer trees", ("*_DFS_*.json",), read_tree),
    Kind("answer chains", ("*_CoT@*.json",), read_chain),
    Kind("open-domain queries", ("instruction/*open_domain*.json",), read_open_queries),
    Kind("queries", ("instruction/*.json", "test_instruction/*.json"), QueryStream),
    Kind("query ids", ("test_query_ids/*.json",), read_query_ids),
    Kind("tools", ("tools/*/*.json",), read_tool),
    Kind("response examples", ("response_examples/*/*.json", "toolenv_response_examples/*/*.json"), read_responses),
    Kind("converted answers", ("model_predictions_converted/*/*.json", "results_*/*.json"), ConvertedStream),
)


@dataclass(frozen=True)
class Survey:
    """What was found of one kind: its files, and the account of their records (a file that holds one record counts as one)."""

    kind: str
    files: tuple[Path, ...]
    account: Account


def toolbench_folder() -> Path:
    """The folder that TOOLBENCH_DIR names. Raises DataError where it is unset or no folder."""
    named = os.environ.get("TOOLBENCH_DIR", "")
    if not named or not Path(named).is_dir():
        raise DataError(
            f"TOOLBENCH_DIR is {named!r}; expected a folder with ToolBench's files. Usual cause: it is not set, or not exported. Download the "
            "data (its project's page says where), and set TOOLBENCH_DIR to the folder."
        )
    return Path(named)


def find_files(folder: str | Path) -> dict[str, tuple[Path, ...]]:
    """{kind: its files below ``folder``, sorted}, for every kind in ``KINDS``. Files of no kind are not listed."""
    found: dict[str, tuple[Path, ...]] = {}
    taken: set[Path] = set()
    for kind in KINDS:
        paths = {path for pattern in kind.patterns for path in Path(folder).rglob(pattern) if path.is_file()} - taken
        taken |= paths
        found[kind.name] = tuple(sorted(paths))
    return found


def survey(folder: str | Path) -> tuple[Survey, ...]:
    """Reads every file below ``folder`` and says, kind by kind, how many records came in, went out, and were set aside."""
    files = find_files(folder)
    return tuple(Survey(kind.name, files[kind.name], _account(kind, files[kind.name])) for kind in KINDS)


def _account(kind: Kind, files: tuple[Path, ...]) -> Account:
    if not isinstance(kind.read, type):
        return read_each(files, kind.read)[1]
    read = yielded = 0
    set_aside: list[SetAside] = []
    for file in files:
        stream = kind.read(file)
        try:
            for _ in stream:
                pass
            account = stream.account
        except DataError as error:  # no list at all: the file as a whole is set aside
            account = Account(1, 0, (SetAside(str(file), 0, 0, "", str(error)),))
        read, yielded = read + account.read, yielded + account.yielded
        set_aside += account.set_aside
    return Account(read, yielded, tuple(set_aside))
