"""What a judge is shown of one query: the request, the tools on offer, the final answer, and the path that led to it.

Made from ToolEval's converted answers, whoever produced them, or from an episode that was played here.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.data.converted import ConvertedAnswer, ConvertedStream
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import FINISH, function_of
from toolslm_helpers.data.records import Function
from toolslm_helpers.data.world import SETS
from toolslm_helpers.files import DataError

_RETURN_TYPE = re.compile(r'"return_type"\s*:\s*"(\w+)"')
_TEXT = re.compile(r'"final_answer"\s*:\s*"(.*?)"?\s*\}?\s*$', re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """One query and what became of it. ``finished``: the last node of the first chain is Finish, else ToolEval fails it unread.

    ``return_type`` is Finish's argument, None where it could not be read. ``path`` holds a line for each step, for the question that
    is asked where the answer alone leaves the judge unsure.
    """

    set_name: str
    query_id: str
    query: str
    tools: tuple[Function, ...]
    finished: bool
    return_type: str | None
    text: str
    path: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by: the set and the query's id."""
        return self.set_name, self.query_id

    @property
    def answered(self) -> bool:
        """Whether there is anything to judge: a Finish with an answer that is not empty."""
        return self.finished and self.return_type == "give_answer" and bool(self.text.strip())


def read_finish(arguments: str) -> tuple[str | None, str]:
    """(return_type, final answer) out of the argument text of Finish, as ToolEval stores it; (None, "") where there is none.

    Models write JSON with slips (a line break inside a string, an escaped apostrophe), and upstream keeps what they wrote. 11 of 419 of its
    own answers do not parse; their two fields can still be read, and they count as answers there.
    """
    try:
        parsed = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        found, text = _RETURN_TYPE.search(arguments), _TEXT.search(arguments)
        return (found[1] if found else None), (text[1] if text else "")
    if not isinstance(parsed, dict):
        return None, ""
    kind, text = parsed.get("return_type"), parsed.get("final_answer")
    text = text if isinstance(text, str) else "" if text is None else json.dumps(text, ensure_ascii=False)
    return (kind if isinstance(kind, str) else None), text


def from_converted(set_name: str, converted: ConvertedAnswer) -> Answer:
    """An entry of a file of converted answers. Where the search branched, the first chain counts."""
    nodes = [node for step in converted.answer.answer_details[:1] for node in step.chain()]
    last = nodes[-1] if nodes else None
    called = "" if last is None or last.role != "tool" else last.message if isinstance(last.message, str) else last.message.name
    finished = called == FINISH.name or called.startswith(
        f"{{'name': '{FINISH.name}'"
    )  # the published files hold the call as text
    kind, text = read_finish(converted.answer.final_answer)
    path = tuple(f"{node.role}: {_words(node.message)}" for node in nodes if node.role in ("assistant", "tool"))
    return Answer(set_name, converted.query_id, converted.query, converted.available_tools, finished, kind, text, path)


def _words(message: object) -> str:
    return message if isinstance(message, str) else f"{message.name} {message.arguments} -> {message.response}"


def from_episode(world_query: WorldQuery, episode: Episode) -> Answer:
    """An episode of the tool world."""
    query = world_query.query
    path = []
    for step in episode.steps:
        path += [f"assistant: {step.thought}"] if step.thought else []
        path += [f"tool: {step.action} {step.action_input} -> {step.observation}"]
    tools = (*(function_of(api) for api in query.api_list), FINISH)
    finished, text = episode.ended == "finish", episode.final_answer or ""
    return Answer(world_query.set_name, str(query.query_id), query.query, tools, finished, episode.return_type, text, tuple(path))


def read_answers(folder: str | Path, sets: Iterable[str] = SETS) -> tuple[Answer, ...]:
    """The converted answers ``<set>.json`` of one system, in the order of the sets and of the files.

    A set without a file is left out; raises DataError where there is no file at all, or where a record in one is damaged: a judgement on
    a part of the answers would be no pass rate.
    """
    folder, answers = Path(folder), []
    for name in sets:
        if (folder / f"{name}.json").is_file():
            stream = ConvertedStream(folder / f"{name}.json")
            answers += [from_converted(name, converted) for converted in stream]
            if stream.account.set_aside:
                raise DataError(f"{stream.account.set_aside[0]}. Mend the file or convert the answers again.")
    if not answers:
        raise DataError(
            f"{folder}: no converted answers. Expected files such as {SETS[0]}.json, as ToolEval's conversion writes them."
        )
    return tuple(answers)
