"""ToolBench's own test queries, to be played: ToolBench's 1,100 or StableToolBench's 765 solvable ones, with the tools behind a server.

The queries lie in ``test_instruction/<set>.json`` below a folder, what is said of their tools in ``tools/<category>/<tool>.json``. Their
calls are answered by a server that speaks StableToolBench's POST /virtual: `toolslm serve` with recorded answers, or StableToolBench's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolslm_helpers.agent.remote import RemoteWorld
from toolslm_helpers.agent.virtual_api import Session, VirtualApi
from toolslm_helpers.data.goals import Goal, WorldQuery
from toolslm_helpers.data.names import standardize
from toolslm_helpers.data.records import Query
from toolslm_helpers.data.stream import QueryStream
from toolslm_helpers.data.toolbench import read_tool
from toolslm_helpers.data.world import SETS
from toolslm_helpers.files import DataError


@dataclass(frozen=True)
class ReleasedTool:
    """What ToolBench's files say of a tool; "" where its file is not there."""

    description: str = ""


@dataclass(frozen=True)
class Released:
    """Test queries in the order of the sets, and the tools that they offer. ``undescribed`` counts tools without a file."""

    queries: tuple[WorldQuery, ...]
    tools_by_name: Mapping[str, ReleasedTool]
    undescribed: int


class ReleasedApi(VirtualApi):
    """ToolBench's tools behind the server at ``url``. A tool's category is the one that the query names: names occur in several."""

    def __init__(self, url: str, timeout: float = 15.0):
        self.url, self.timeout = url, timeout

    def session(self, query: Query) -> Session:
        categories = {api.tool_name: api.category_name for api in query.api_list}
        return Session(RemoteWorld(self.url, categories, self.timeout), query, checks=False)


def read_released(folder: str | Path, limit: int | None = None) -> Released:
    """The test queries below ``folder``, the first ``limit`` of each set, None for all.

    Raises DataError where there are none, where two lists are there, and for a query that cannot be read: a rate over the rest would be
    another rate.
    """
    paths = sorted(path for path in Path(folder).rglob("test_instruction/*.json") if path.stem in SETS)
    files = {path.stem: path for path in paths}
    if not files:
        raise DataError(
            f"{folder}: no test_instruction/<set>.json. Expected ToolBench's test queries, or StableToolBench's solvable_queries/. "
            "Usual cause: a folder above or beside theirs."
        )
    if len(files) < len(paths):
        places = ", ".join(dict.fromkeys(str(path.parent) for path in paths))
        raise DataError(f"{folder}: several lists of test queries ({places}). Name the folder of the one that is meant.")
    queries = [
        WorldQuery(query, Goal("answer"), (), name, "", ())
        for name in SETS
        if name in files
        for query in _read(files[name], limit)
    ]
    tools, undescribed = _tools(Path(folder), [one.query for one in queries])
    return Released(tuple(queries), tools, undescribed)


def _read(path: Path, limit: int | None) -> list[Query]:
    stream = QueryStream(path)
    queries = list(stream)
    if stream.account.set_aside:
        raise DataError(f"{stream.account.set_aside[0]}. Mend the file or fetch it again.")
    return queries[:limit]


def _tools(folder: Path, queries: list[Query]) -> tuple[dict[str, ReleasedTool], int]:
    """({tool name: what its file says}, tools without a file). Only the files of offered tools are opened: there are 16,000."""
    files = {(path.parent.name, path.stem): path for path in folder.rglob("tools/*/*.json")}
    found: dict[str, ReleasedTool] = {}
    for api in (api for query in queries for api in query.api_list if api.tool_name not in found):
        path = files.get((api.category_name, standardize(api.tool_name)))
        found[api.tool_name] = ReleasedTool(read_tool(path).tool_description if path else "")
    offered = {api.tool_name: (api.category_name, standardize(api.tool_name)) for query in queries for api in query.api_list}
    return found, sum(key not in files for key in offered.values())
