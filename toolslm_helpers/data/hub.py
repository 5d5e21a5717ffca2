"""ToolBench from the Hugging Face hub: the released rows and the six benchmark sets, as records of our own.

The project's own links are often dead, and ``tuandunghcmut/toolbench-v1`` holds what they led to. It stores the same things in other
shapes: a conversation as two lists, APIs as JSON text.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from toolslm_helpers.data.records import Query, RecordError, Trajectory
from toolslm_helpers.data.rows import trajectory_of
from toolslm_helpers.data.stream import RecordStream, Value
from toolslm_helpers.data.trees import Row
from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

DATA_SET = "tuandunghcmut/toolbench-v1"
BENCHMARKS = ("G1_instruction", "G1_tool", "G1_category", "G2_instruction", "G2_category", "G3_instruction")


class _HubStream(RecordStream):
    """One split of the data set. It is fetched when it is first iterated; ``SetAside.offset`` is 0, since a row has no byte of its own."""

    def __init__(self, configuration: str, split: str, start: int, streaming: bool) -> None:
        super().__init__(f"{DATA_SET} {split}", start)
        self._configuration, self._split, self._streaming = configuration, split, streaming
        self._data: Dataset | IterableDataset | None = None

    def _values(self) -> Iterator[Value]:
        if self._data is None:
            self._data = _load(self._configuration, self._split, self._streaming)
        return ((0, value, "") for value in self._data)


class HubTrajectories(_HubStream):
    """The trajectories of "train" (the rows that the paper counts) or "validation".

    ``streaming=True`` fetches rows as they are asked for, for a look at the first of them; otherwise all are fetched once and kept on disk.
    Raises WorkbookError, when iterated, where the hub cannot be reached.
    """

    def __init__(self, split: Literal["train", "validation"] = "train", start: int = 0, streaming: bool = False) -> None:
        super().__init__("default", split, start, streaming)

    def _record(self, value: Any) -> Trajectory:
        return trajectory_of(Row.model_validate({**value, "conversations": _messages(value.get("conversations"))}))


class HubQueries(_HubStream):
    """The queries of one of ``BENCHMARKS``. Raises ValueError for another name, WorkbookError where the hub cannot be reached."""

    def __init__(self, set_name: str, start: int = 0, streaming: bool = False) -> None:
        if set_name not in BENCHMARKS:
            raise ValueError(f"set {set_name!r}; expected one of {', '.join(BENCHMARKS)}.")
        super().__init__("benchmark", set_name.lower(), start, streaming)

    def _record(self, value: Any) -> Query:
        number = value.get("query_id")
        relevant = value.get("relevant APIs", value.get("relevant_apis"))
        return Query.model_validate(
            {
                **value,
                "query_id": int(number) if isinstance(number, str) and number.isascii() and number.isdigit() else number,
                "api_list": _from_json(value.get("api_list"), "api_list"),
                "relevant APIs": _from_json(relevant or "[]", "relevant_apis"),
            }
        )


def _messages(conversations: Any) -> Any:
    """[{from, value}] of {from: [...], value: [...]}; what is neither is left for the record to refuse."""
    if not isinstance(conversations, dict):
        return conversations
    said = conversations.get("from"), conversations.get("value")
    if not all(isinstance(column, list) for column in said) or len(said[0]) != len(said[1]):
        reason = "expected two lists of the same length, from and value"
        raise RecordError(f"conversations: {reason}", "conversations", reason)
    return [{"from": role, "value": content} for role, content in zip(*said, strict=True)]


def _from_json(value: Any, field: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        reason = f"broken JSON ({getattr(error, 'msg', 'it cannot be read')}), found {value[:40]!r}"
        raise RecordError(f"{field}: {reason}", field, reason) from error


def _load(configuration: str, split: str, streaming: bool) -> "Dataset | IterableDataset":
    from datasets import load_dataset

    try:
        return load_dataset(DATA_SET, configuration, split=split, streaming=streaming)
    except Exception as error:  # offline, moved, out of disk: the hub's clients raise many kinds
        raise WorkbookError(
            f"{DATA_SET}, {configuration}, {split}: could not be fetched ({type(error).__name__}: {str(error).splitlines()[0][:200]}). "
            "Usual cause: no network. Connect once (what was fetched is kept), or set TOOLBENCH_DIR to a folder with ToolBench's own files."
        ) from error
