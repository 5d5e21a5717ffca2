"""ToolBench's own files, read strictly and written in the same format: the front door of the modules that each know one kind.

A reader of one record (a tree, a tool) raises DataError with one line that names the file, the field, what was found and what was
expected. What holds many records is a stream (``RowStream``, ``TrajectoryStream``, ``QueryStream``, ``ConvertedStream``), which
sets damaged records aside and keeps an account; ``read_rows`` and ``read_queries`` are for files that must be whole.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import StrictInt, TypeAdapter, ValidationError

from toolslm_helpers.data.chains import AnswerChain
from toolslm_helpers.data.converted import ConvertedAnswer, ConvertedStream
from toolslm_helpers.data.names import FINISH, function_name, function_of, own_description, standardize
from toolslm_helpers.data.records import Api, Query, Record, RecordError, Trajectory, first_problem
from toolslm_helpers.data.rows import TrajectoryStream, row_of, trajectory_of
from toolslm_helpers.data.stream import Account, QueryStream, RowStream, SetAside
from toolslm_helpers.data.tool_files import ResponseFile, ToolFile, ToolFileApi
from toolslm_helpers.data.trees import AnswerTree, Row, TreeNode, chain_tree, training_rows
from toolslm_helpers.files import DataError, atomic_write_json, read_json

__all__ = [
    "FINISH", "Account", "AnswerChain", "AnswerTree", "ConvertedAnswer", "ConvertedStream", "OpenQuery", "QueryStream", "ResponseFile",
    "Row", "RowStream", "SetAside", "ToolFile", "TrajectoryStream", "TreeNode", "chain_tree", "function_name", "function_of",
    "own_description", "read_chain", "read_each", "read_open_queries", "read_queries", "read_query_ids", "read_responses",
    "read_rows", "read_tool", "read_tree", "row_of", "standardize", "training_rows", "trajectory_of", "write_queries", "write_rows",
    "write_tool", "write_tree",
]  # fmt: skip

T = TypeVar("T")


class OpenQuery(Record):
    """A query of the open domain: no APIs are named, a retriever is to find them."""

    query_id: int
    query: str


def read_queries(path: str | Path) -> list[Query]:
    """Reads a query file, such as G1_query.json: a list of {query_id, query, api_list, relevant APIs}."""
    return _read(path, TypeAdapter(list[Query]), "a list of queries, each with query_id, query and api_list")


def read_tool(path: str | Path) -> ToolFile:
    """Reads a tool file: {tool_name, tool_description, api_list}."""
    return _read(path, TypeAdapter(ToolFile), "one tool with tool_name and api_list")


def read_tree(path: str | Path) -> AnswerTree:
    """Reads an answer tree of DFSDT; a single chain (CoT@1), which holds ``trys`` and no tree, is for ``read_chain``."""
    return _read(path, TypeAdapter(AnswerTree), "an answer tree (*_DFS_woFilter_w2.json) with win, tree and answer_generation")


def read_rows(path: str | Path) -> list[Trajectory]:
    """Reads training rows: a list of {id, conversations: [{from, value}]}; one trajectory each, messages as they stand."""
    rows = _read(path, TypeAdapter(list[Row]), "a list of training rows, each with id and conversations of {from, value}")
    return [trajectory_of(row, f"{path}: [{index}]") for index, row in enumerate(rows)]


def read_chain(path: str | Path) -> AnswerChain:
    """Reads an answer of a single chain (CoT@1): ``trys`` in place of a tree."""
    return _read(
        path, TypeAdapter(AnswerChain), "an answer of a single chain (*_CoT@1.json) with win, trys and answer_generation"
    )


def read_responses(path: str | Path) -> ResponseFile:
    """Reads a file of toolenv/response_examples: the shape of what each API of a tool answers with."""
    return _read(path, TypeAdapter(ResponseFile), "a response file: {api_list: [{name, schema}]}")


def read_open_queries(path: str | Path) -> list[OpenQuery]:
    """Reads queries without APIs, such as inference_query_demo_open_domain.json."""
    return _read(path, TypeAdapter(list[OpenQuery]), "a list of queries, each with query_id and query")


def read_query_ids(path: str | Path) -> tuple[int, ...]:
    """Reads a file of test_query_ids: {query id: position}; the ids, in the order of the file."""
    ids = _read(path, TypeAdapter(dict[str, StrictInt]), "one object from query id to position")
    if wrong := [key for key in ids if not (key.isascii() and key.isdigit())]:
        raise RecordError(f"{path}: {wrong[0][:40]!r} is no query id. Expected digits.", wrong[0], "no query id")
    return tuple(map(int, ids))


def read_each(paths: Iterable[str | Path], read: Callable[[Path], T]) -> tuple[tuple[T, ...], Account]:
    """Reads many files of one record each, such as a folder of answer trees; a damaged file is set aside, its position the file's."""
    records, set_aside, position = [], [], -1
    for position, path in enumerate(map(Path, paths)):
        try:
            records.append(read(path))
        except DataError as error:
            field, reason = (error.field, error.reason) if isinstance(error, RecordError) else ("", str(error))
            set_aside.append(SetAside(str(path), position, 0, field, reason))
    return tuple(records), Account(position + 1, len(records), tuple(set_aside))


def write_queries(path: str | Path, queries: Iterable[Query]) -> Path:
    """Writes a query file that ``read_queries`` reads back equal."""
    return atomic_write_json(path, [_dump(query) for query in queries])


def write_tool(path: str | Path, tool_name: str, tool_description: str, apis: Sequence[Api]) -> Path:
    """Writes a tool file from a tool's APIs as query files list them; ``read_tool(path).apis(category)`` gives them back."""
    entries = tuple(
        ToolFileApi(
            name=api.api_name,
            description=api.api_description,
            method=api.method,
            required_parameters=api.required_parameters,
            optional_parameters=api.optional_parameters,
        )
        for api in apis
    )
    return atomic_write_json(path, _dump(ToolFile(tool_name=tool_name, tool_description=tool_description, api_list=entries)))


def write_tree(path: str | Path, tree: AnswerTree) -> Path:
    """Writes an answer tree that ``read_tree`` reads back equal."""
    # Only what was set: a Thought of ToolBench's has no field observation, instead of a null one.
    return atomic_write_json(path, tree.model_dump(mode="json", exclude_unset=True))


def write_rows(path: str | Path, trajectories: Iterable[Trajectory]) -> Path:
    """Writes training rows that ``read_rows`` reads back equal.

    Raises DataError, and writes nothing, for a trajectory that a row cannot hold: one in compact rendering, or messages that do
    not belong to its functions.
    """
    rows = []
    for trajectory in trajectories:
        row = row_of(trajectory)
        if trajectory_of(row, f"row {row.id!r}") != trajectory:
            raise DataError(
                f"row {row.id!r}: its functions, tools or query are not those of its messages. Expected messages rendered from "
                "them, and no FINISH among the functions. Make the first two messages with text.protocol.prompt_messages."
            )
        rows.append(row)
    return atomic_write_json(path, [_dump(row) for row in rows])


def _dump(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True)


def _read(path: str | Path, kind: TypeAdapter, expected: str) -> Any:
    try:
        return kind.validate_python(read_json(path))
    except ValidationError as error:
        field, problem = first_problem(error)
        message = f"{path}: {field or 'the whole file'}: {problem}. Expected {expected}. Usual cause: another kind of file, or an edit by hand."
        raise RecordError(message, field, problem) from error
