"""An API becomes a function: the names, types and descriptions that a model reads, by ToolBench's rules.

Source of the rules: ToolBench, toolbench/inference/Downstream_tasks/rapidapi.py and toolbench/utils.py; tests hold us equal to
what they print for 2,490 real APIs and 4,478 real names.
"""

import re

from toolslm_helpers.data.records import Api, Function, Parameter

# Upstream's class of kept characters: Chinese, ASCII letters and digits, underscore, and (a slip of upstream's that names depend
# on) "^".
_DROPPED = re.compile(r"[^\u4e00-\u9fa5a-zA-Z0-9_^]")
_RESERVED = frozenset({"from", "class", "return", "false", "true", "id", "and"})  # become is_from, is_class, ...
_TYPES = {"NUMBER": "integer", "STRING": "string", "BOOLEAN": "boolean"}  # every other type becomes "string"
_NAME_LENGTH = 64  # the longest function name that OpenAI's API took; the end is kept, since the tool's name stands there
_DESCRIPTION_LENGTH = 256
_DESCRIPTION_MARK = 'The description of this function is: "'

FINISH = Function(
    name="Finish",
    description=(
        "If you believe that you have obtained a result that can answer the task, please call this function to provide the final "
        "answer. Alternatively, if you recognize that you are unable to proceed with the task in the current state, call this "
        "function to restart. Remember: you must ALWAYS call this function at the end of your attempt, and the only part that "
        "will be shown to the user is the final answer, so it should contain sufficient information."
    ),
    parameters={
        "type": "object",
        "properties": {
            "return_type": {"type": "string", "enum": ["give_answer", "give_up_and_restart"]},
            "final_answer": {
                "type": "string",
                "description": "The final answer you want to give the user. "
                'You should have this field if "return_type"=="give_answer"',
            },
        },
        "required": ["return_type"],
    },
)


def standardize(name: str) -> str:
    """A tool's, API's or parameter's name as ToolBench writes it in code: "23andMe Get Report" -> "get_23andme_get_report"."""
    name = re.sub(r"_+", "_", _DROPPED.sub("_", name)).lower().strip("_")
    return f"get_{name}" if name[:1].isdigit() else name


def identifier(name: str) -> str:
    """``standardize``, then "is_" before a reserved word: the name of an API or parameter in a call. "ID" -> "is_id"."""
    name = standardize(name)
    return f"is_{name}" if name in _RESERVED else name


def function_name(api: Api) -> str:
    """The name the model calls: "<api>_for_<tool>", cut to its last 64 characters."""
    return f"{identifier(api.api_name)}_for_{standardize(api.tool_name)}"[-_NAME_LENGTH:]


def function_of(api: Api, *, compat: bool = False) -> Function:
    """The function that a model sees for ``api``.

    ``compat=True`` repeats a slip of upstream's: an API without required parameters loses its optional ones too, as 246 of 2,490
    real APIs do. By default they are kept.
    """
    name = function_name(api)
    description = f'This is the subfunction for tool "{standardize(api.tool_name)}", you can use this tool.'
    if own := api.api_description.strip():
        description += f'{_DESCRIPTION_MARK}{own.replace(api.api_name, name)[:_DESCRIPTION_LENGTH]}"'
    required = api.required_parameters
    optional = api.optional_parameters if required or not compat else ()
    return Function(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {identifier(parameter.name): _schema(parameter) for parameter in (*required, *optional)},
            "required": [identifier(parameter.name) for parameter in required],
            "optional": [identifier(parameter.name) for parameter in optional],
        },
    )


def own_description(function: Function) -> str:
    """The API's own words in ``function.description``, without the sentence that ``function_of`` puts before them."""
    _, mark, own = function.description.partition(_DESCRIPTION_MARK)
    return own.removesuffix('"') if mark else ""


def _schema(parameter: Parameter) -> dict[str, object]:
    schema: dict[str, object] = {
        "type": _TYPES.get(parameter.type, "string"),
        "description": parameter.description[:_DESCRIPTION_LENGTH],
    }
    if str(parameter.default):
        schema["example_value"] = parameter.default
    return schema
