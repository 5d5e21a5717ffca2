"""A training row and the trajectory in it: the same conversation, before and after its functions, tools and query are read."""

from toolslm_helpers.data.prompt import read_system_prompt, user_query
from toolslm_helpers.data.records import RecordError, Trajectory
from toolslm_helpers.data.stream import RowStream
from toolslm_helpers.data.trees import Row


def trajectory_of(row: Row, where: str = "row") -> Trajectory:
    """The trajectory of a training row: functions, tools and query are read from its system and first user text.

    Raises RecordError, which begins with ``where``, for a row that does not begin with a system text that lists APIs, then a user
    text. Rows that list the same function share the object.
    """
    roles = [message.role for message in row.conversations]
    if roles[:2] != ["system", "user"]:
        reason = f"begins with {', '.join(roles[:2])}; expected system, user"
        raise RecordError(f"{where}.conversations: {reason}. Check how it was made.", "conversations", reason)
    try:
        functions, tools = read_system_prompt(row.conversations[0].content)
    except ValueError as error:
        field, advice = "conversations[0].value", "Usual cause: rows in compact rendering, or cut text."
        message = f"{where}.{field}: {error}. Expected a system text of ToolBench's training rows. {advice}"
        raise RecordError(message, field, str(error)) from error
    query = user_query(row.conversations[1].content)
    return Trajectory(id=row.id, query=query, functions=functions, tools=tools, messages=row.conversations)


def row_of(trajectory: Trajectory) -> Row:
    """The training row of a trajectory; the inverse of ``trajectory_of`` for one in ToolBench's rendering."""
    return Row(id=trajectory.id, conversations=trajectory.messages)


class TrajectoryStream(RowStream):
    """The rows of a file as trajectories. A row whose system text cannot be read is set aside, too."""

    def _record(self, value: object) -> Trajectory:
        return trajectory_of(super()._record(value))


def upstream_text(row: Row) -> str:
    """The text that ToolBench trains a row on: a line for each message, and one ``</s>``, where the last message ends.

    Ours (``text.flatten``) ends every assistant turn so. Here the text of a row is no beginning of the next row's, and nothing can be
    merged. Source: toolbench/train/train.py.
    """
    lines = [f"{message.role.capitalize()}: {message.content}" for message in row.conversations]
    return "\n".join(lines) + "</s>"
