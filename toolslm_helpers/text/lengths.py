"""How long training rows are, where their target stands, and what is left of it when a row is cut to a length.

A row's target is its last assistant turn with the ``</s>`` that ends it: what ToolBench's step rows are graded on. Lengths are in tokens,
of the row as ``flatten`` makes it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from toolslm_helpers.data.prompt import _APIS
from toolslm_helpers.data.records import Record, Trajectory, _as_tuple
from toolslm_helpers.data.toolbench import read_tree, training_rows, trajectory_of
from toolslm_helpers.files import DataError, read_json, repository_root
from toolslm_helpers.text.flatten import ROLES, flatten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Cut = Literal["right", "left"]
RECORDED = "toolbench_lengths.json"  # under docs/results, written by benchmarks/lengths.py


class RowLength(Record):
    """One row in numbers. ``tokens`` = the leading ``</s>`` + those of the four roles, delimiters included."""

    name: str
    tokens: int
    apis_start: int  # position where the list of APIs begins in the system message, which it ends
    system: int
    user: int
    assistant: int
    function: int
    target_start: int  # position of the target's first token, counted from 0
    target: int  # tokens of the last assistant turn, its </s> included
    supervised: int  # tokens of all assistant turns, their </s> included
    characters: int  # of the whole text, each </s> counted as its four letters

    @property
    def apis(self) -> int:
        """Tokens of the list of APIs."""
        return 1 + self.system - self.apis_start

    def left_of(self, start: int, count: int, max_length: int, truncation: Cut) -> int:
        """How many of ``count`` tokens from position ``start`` a row cut to ``max_length`` still has.

        "right" keeps the beginning; "left" keeps the leading ``</s>`` and the end, as ``flatten`` does. Raises ValueError for another
        truncation or a length below 1.
        """
        if max_length < 1 or truncation not in ("right", "left"):
            raise ValueError(f"max_length {max_length!r}, truncation {truncation!r}; expected at least 1, 'right' or 'left'.")
        if truncation == "right":
            return min(max(max_length - start, 0), count)
        cut = max(self.tokens - max_length, 0)  # positions 1 to cut are gone
        return count - min(max(cut + 1 - start, 0), count)

    def target_left(self, max_length: int, truncation: Cut) -> int:
        """How many tokens of the target are left after such a cut."""
        return self.left_of(self.target_start, self.target, max_length, truncation)

    def apis_left(self, max_length: int, truncation: Cut) -> int:
        """How many tokens of the list of APIs are left after such a cut."""
        return self.left_of(self.apis_start, self.apis, max_length, truncation)


def row_length(trajectory: Trajectory, tokenizer: "PreTrainedTokenizerFast", name: str | None = None) -> RowLength:
    """The numbers of one row, which begins with a system message; ``name`` is the trajectory's id unless it is given.

    Raises what ``flatten`` raises.
    """
    example = flatten(trajectory, tokenizer)
    count = dict(zip(ROLES, np.bincount(example.roles, minlength=len(ROLES)).tolist(), strict=True))
    turns = np.flatnonzero(np.diff(example.loss_mask.astype(int)) == 1) + 1  # where each begins: a delimiter stands between two
    above = f"System: {_above_the_apis(trajectory.messages[0].content)}\n"
    return RowLength(
        name=trajectory.id if name is None else name,
        tokens=len(example),
        apis_start=1 + len(tokenizer(above, add_special_tokens=False, split_special_tokens=True)["input_ids"]),
        **{role: count[role] for role in ROLES[1:]},
        target_start=int(turns[-1]),
        target=int(example.loss_mask[turns[-1] :].sum()),
        supervised=example.supervised,
        characters=len(example.text),
    )


def _above_the_apis(system: str) -> str:
    """What stands above the line with the list of APIs: in ToolBench's rendering all but the last line, in the compact one the first."""
    above, mark, _ = system.partition(_APIS)
    return above if mark else system.partition("\n")[0]


def lengths_of_trees(folder: Path, tokenizer: "PreTrainedTokenizerFast") -> dict[str, list[RowLength]]:
    """{tree: its step rows, as upstream makes them} of all answer trees below ``folder``/raw_trees; an empty list for a tree without one."""
    found = {}
    for path in sorted((folder / "raw_trees").glob("*/*.json")):
        tree = f"{path.parent.name}/{path.stem.split('_')[0]}"
        rows = [trajectory_of(row) for row in training_rows(read_tree(path), compat=True)]  # as they were released
        found[tree] = [row_length(row, tokenizer, f"{tree} row {k}") for k, row in enumerate(rows, start=1)]
    return found


def rows_without_target(rows: Sequence[RowLength], max_length: int, truncation: Cut) -> int:
    """In how many rows nothing of the target is left."""
    return sum(row.target_left(max_length, truncation) == 0 for row in rows)


class RecordedLengths(Record):
    """The lengths of real rows, as benchmarks/lengths.py recorded them: numbers only, none of ToolBench's text."""

    source: str  # which files, in words
    trees: int  # answer trees read
    usable: int  # of them with training rows
    tokenizer: str  # SHA-256 of its vocabulary file
    commit: str
    versions: dict[str, str]
    rows: Annotated[tuple[RowLength, ...], BeforeValidator(_as_tuple)]


def recorded_lengths(path: str | Path | None = None) -> RecordedLengths:
    """The record of docs/results. Raises DataError that says how to make it where it is missing or damaged."""
    path = Path(path) if path is not None else repository_root() / "docs" / "results" / RECORDED
    try:
        return TypeAdapter(RecordedLengths).validate_python(read_json(path))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"{path}: {field}: {error.errors()[0]['msg']}. Make it again with benchmarks/lengths.py.") from error
