"""Files about one tool: its APIs, and what their responses look like."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from toolslm_helpers.data.records import Api, Parameters, Record, _as_tuple


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


class ResponseSchema(Record):
    """What one API answers with: the response's shape, with the name of a type ("str", "int", "empty list") where a value would stand."""

    name: str
    shape: dict[str, Any] | list[Any] | str = Field(alias="schema")


class ResponseFile(Record):
    """A response file, ``toolenv/response_examples/<category>/<standardized tool name>.json``; many list no API at all."""

    api_list: Annotated[tuple[ResponseSchema, ...], BeforeValidator(_as_tuple)]
