"""ToolBench's own files: query files, tool files, answer trees and training rows, read strictly and written in the same format.

Every reader raises DataError with one line that names the file, the position in it, the field, what was found and what was
expected. Names, functions, prompt and trees have a module each; what other modules need of them can be had from here.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from toolslm_helpers.data.names import FINISH, function_name, function_of, own_description, standardize
from toolslm_helpers.data.prompt import read_system_prompt, user_query
from toolslm_helpers.data.records import Api, Parameters, Query, Record, Trajectory, _as_tuple, first_problem
from toolslm_helpers.data.trees import AnswerTree, Row, TreeNode, chain_tree, training_rows
from toolslm_helpers.files import DataError, atomic_write_json, read_json

__all__ = [
    "FINISH", "AnswerTree", "Row", "ToolFile", "TreeNode", "chain_tree", "function_name", "function_of", "own_description",
    "read_queries", "read_rows", "read_tool", "read_tree", "row_of", "standardize", "training_rows", "trajectory_of",
    "write_queries", "write_rows", "write_tool", "write_tree",
]  # fmt: skip


class ToolFileApi(Record):
    """One entry of a tool file's ``api_list``; query files call the same things api_name and api_description."""

    name: str
    description: str = ""
    method: str = "GET"
    required_parameters: Parameters = ()
    optional_parameters: Parameters = ()


class ToolFile(Record):
    """A tool file, ``toolenv/tools/<category>/<standardized tool name>.json``: one tool and its APIs."""

    tool_name: str
    tool_description: str = ""
    api_list: Annotated[tuple[ToolFileApi, ...], BeforeValidator(_as_tuple)]

    def apis(self, category_name: str) -> tuple[Api, ...]:
        """The APIs as query files list them. The category is the name of the folder that holds the file."""
        return tuple(
            Api(
                category_name=category_name,
                tool_name=self.tool_name,
                api_name=api.name,
                api_description=api.description,
                required_parameters=api.required_parameters,
                optional_parameters=api.optional_parameters,
                method=api.method,
            )
            for api in self.api_list
        )


def read_queries(path: str | Path) -> list[Query]:
    """Reads a query file, such as G1_query.json: a list of {query_id, query, api_list, relevant APIs}."""
    return _read(path, TypeAdapter(list[Query]), "a list of queries, each with query_id, query and api_list")


def read_tool(path: str | Path) -> ToolFile:
    """Reads a tool file: {tool_name, tool_description, api_list}."""
    return _read(path, TypeAdapter(ToolFile), "one tool with tool_name and api_list")


def read_tree(path: str | Path) -> AnswerTree:
    """Reads an answer tree of DFSDT; the single-chain files (CoT@1), which hold ``trys`` and no tree, are refused."""
    return _read(path, TypeAdapter(AnswerTree), "an answer tree (*_DFS_woFilter_w2.json) with win, tree and answer_generation")


def read_rows(path: str | Path) -> list[Trajectory]:
    """Reads training rows: a list of {id, conversations: [{from, value}]}; one trajectory each, messages as they stand."""
    rows = _read(path, TypeAdapter(list[Row]), "a list of training rows, each with id and conversations of {from, value}")
    return [trajectory_of(row, f"{path}: [{index}]") for index, row in enumerate(rows)]


def trajectory_of(row: Row, where: str = "row") -> Trajectory:
    """The trajectory of a training row: functions, tools and query are read from its system and first user text.

    Raises DataError, which begins with ``where``, for a row that does not begin with a system text that lists APIs, then a user
    text.
    """
    roles = [message.role for message in row.conversations]
    if roles[:2] != ["system", "user"]:
        raise DataError(
            f"{where}.conversations: begins with {', '.join(roles[:2])}; expected system, user. Check how it was made."
        )
    try:
        functions, tools = read_system_prompt(row.conversations[0].content)
    except ValueError as error:
        raise DataError(
            f"{where}.conversations[0].value: {error}. Expected a system text of ToolBench's training rows. "
            "Usual cause: rows in compact rendering, or cut text."
        ) from error
    query = user_query(row.conversations[1].content)
    return Trajectory(id=row.id, query=query, functions=functions, tools=tools, messages=row.conversations)


def row_of(trajectory: Trajectory) -> Row:
    """The training row of a trajectory; the inverse of ``trajectory_of`` for one in ToolBench's rendering."""
    return Row(id=trajectory.id, conversations=trajectory.messages)


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
        raise DataError(
            f"{path}: {field or 'the whole file'}: {problem}. Expected {expected}. "
            "Usual cause: another kind of file, or an edit by hand."
        ) from error
