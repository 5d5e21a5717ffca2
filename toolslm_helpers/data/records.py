"""The records every other module passes around, in ToolBench's own words.

``Api`` and ``Query`` are entries of ToolBench's query files, ``Function`` is an API as the model sees it, ``Trajectory`` is one
conversation with the functions it may call. All are frozen and strict: a wrong type is refused where it enters.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from toolslm_helpers.files import DataError

Role = Literal["system", "user", "assistant", "function"]


class Record(BaseModel):
    """Base of all records: immutable, strict types. Fields that ToolBench adds and nobody reads are dropped."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)


def _as_tuple(value: Any) -> Any:
    """JSON has only lists; our records hold tuples, so that a frozen record is frozen all the way down."""
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value


class RecordError(DataError):
    """A record that is not what it should be. The message says where it stands and what to do, ``field`` and ``reason`` only what is wrong."""

    def __init__(self, message: str, field: str, reason: str) -> None:
        super().__init__(message)
        self.field, self.reason = field, reason


def first_problem(error: ValidationError) -> tuple[str, str]:
    """(field, what is wrong with it) of the first thing that a record was refused for, such as ("[2].id", "Field required")."""
    first = error.errors(include_url=False)[0]
    field = field_name(first["loc"])
    found = "" if first["type"] == "missing" else f", found {_short(first['input'])}"
    more = f" ({error.error_count() - 1} more like it)" if error.error_count() > 1 else ""
    return field, f"{first['msg']}{found}{more}"


def field_name(path: Iterable[str | int]) -> str:
    """The path to a field as a reader writes it: ("conversations", 2, "from") -> "conversations[2].from". A key with a line break in it
    is written as Python would, so that a message stays one line."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part if part.isprintable() else repr(part)}" for part in path)
    name = "".join(parts).lstrip(".")
    return name if len(name) <= 120 else f"{name[:60]}...{name[-50:]}"  # deep in a tree


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Parameter(Record):
    """One parameter of an API, as tool JSON and query files write it. ``type`` is upstream's: STRING, NUMBER, BOOLEAN, ..."""

    name: str
    type: str = "STRING"
    description: str = ""
    default: Any = ""


Parameters = Annotated[tuple[Parameter, ...], BeforeValidator(_as_tuple)]


class Api(Record):
    """One API of one tool: an entry of a query file's ``api_list``."""

    category_name: str
    tool_name: str
    api_name: str
    api_description: str = ""
    required_parameters: Parameters = ()
    optional_parameters: Parameters = ()
    method: str = "GET"


class Query(Record):
    """One entry of a query file: what the user asks and the APIs that the model may call. ``relevant_apis`` are (tool, api) pairs."""

    query_id: int
    query: str
    api_list: Annotated[tuple[Api, ...], BeforeValidator(_as_tuple)]
    relevant_apis: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_as_tuple)] = Field(default=(), alias="relevant APIs")


class Function(Record):
    """An API as the model sees it: a name, a description and a JSON schema of its parameters (properties, required, optional)."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class Message(Record):
    """One turn of a conversation. ``role`` is what ToolBench calls ``from``, ``content`` what it calls ``value``."""

    role: Role = Field(alias="from")
    content: str = Field(alias="value")


class Trajectory(Record):
    """One conversation: system, user, then assistant and function turns.

    ``functions`` are those its system message lists, without the Finish that every prompt has; ``tools`` are the (name, description)
    pairs that ToolBench's system message numbers. Both and ``query`` are the truth; the system and user text are rendered from them.
    """

    id: str
    query: str
    functions: Annotated[tuple[Function, ...], BeforeValidator(_as_tuple)]
    messages: Annotated[tuple[Message, ...], BeforeValidator(_as_tuple)]
    tools: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_as_tuple)] = ()
