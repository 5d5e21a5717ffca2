"""Views of lesson 03: a search tree unfolded move by move, and rows of which one is the beginning of another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.data.merge import MergedExample
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.trees import AnswerTree, TreeNode
from toolslm_helpers.teaching.views import ALARM, LINE, PLAIN, ROLE_TINTS, SUPERVISED_LINE, View, aligned, box
from toolslm_helpers.teaching.widgets import Clickable, step_through

LONGEST = 90  # characters of an input or an observation that are shown


@dataclass(frozen=True)
class MoveRow:
    """One move of a search: what was thought and called, what came back, and where it stands in the tree."""

    number: int  # in the order of the search, from 1
    depth: int  # calls before it on its path
    attempt: int  # 1: the first try of its state
    thought: str
    action: str
    action_input: str
    observation: str
    code: int | None
    kept: bool = False  # on the path that becomes training rows

    @property
    def ends(self) -> str:
        """What the search does after this move, where it does not simply go on."""
        if self.code == Status.FINAL_ANSWER:
            return "an answer: the search is over"
        return "gives up: two steps back" if self.code == Status.GAVE_UP else ""


def move_rows(tree: AnswerTree) -> list[MoveRow]:
    """A row for each call of the search, in its order. Thought, Action and Action Input, three nodes of the file, are one move.

    Kept is the path whose calls are those of the longest conversation in ``train_messages``: it answers, or, where no path does, gives up.
    """
    conversations = tree.answer_generation.train_messages
    longest = conversations[-1] if conversations else ()
    path = [(message.function_call.name, message.function_call.arguments) for message in longest if message.function_call]
    rows: list[MoveRow] = []

    def visit(node: TreeNode, depth: int, on_path: bool) -> bool:
        """Adds the moves below an Action Input, which is on the path or not; True where the path ends among them."""
        found = on_path and depth == len(path) > 0
        for attempt, child in enumerate(node.children, start=1):
            thoughts = []
            while child.node_type == "Thought" and child.children:
                thoughts.append(child.description)
                child = child.children[0]
            place = len(rows)
            call = child.children[0] if child.node_type == "Action" and child.children else None
            rows.append(_row(place + 1, depth, attempt, thoughts, child, call))
            fits = on_path and call is not None and path[depth : depth + 1] == [(child.description, call.description)]
            if call is not None and visit(call, depth + 1, fits and not found):
                rows[place] = replace(rows[place], kept=True)
                found = True
        return found

    visit(tree.tree.tree, 0, True)
    return rows


def _row(number: int, depth: int, attempt: int, thoughts: Sequence[str], node: TreeNode, call: TreeNode | None) -> MoveRow:
    """The row of a call, or of a thought or action with which the file ends."""
    action = node.description if node.node_type == "Action" else ""
    thought = "\n".join([*thoughts, *([node.description] if node.node_type == "Thought" else [])])
    seen = (call.description, call.observation or "", call.observation_code) if call else ("", "", None)
    return MoveRow(number, depth, attempt, thought, action, *seen)


def search_tree(tree: AnswerTree, until: int | None = None) -> View:
    """A search tree, a block for each move, indented by depth (the first ``until`` moves of it).

    Moves on the path that becomes training rows have a bar and the word "kept". Which it is shows only when the search is over.
    """
    rows = move_rows(tree)
    shown = rows if until is None else rows[:until]
    over = len(shown) == len(rows)
    blocks, lines = [], []
    for row in shown:
        kept = over and row.kept
        words = [f"move {row.number}", f"try {row.attempt}"] + ["kept"] * kept + [row.ends] * bool(row.ends)
        head = " · ".join(words)
        came = f"{_code(row.code)}: {_short(row.observation)}" if row.code is not None else "nothing came back"
        said = [f"Thought: {row.thought}"] * bool(row.thought) + [f"{row.action} {_short(row.action_input)}", f"-> {came}"]
        tint = ROLE_TINTS["assistant"] if kept else ALARM if row.code == Status.GAVE_UP else PLAIN
        style = (
            f"margin:3px 0 3px {1.6 * row.depth:.1f}em;padding:3px 8px;border:1px solid {LINE};background:{tint};"
            f"border-left:6px solid {SUPERVISED_LINE if kept else LINE};overflow-wrap:anywhere"
        )
        blocks.append(f'<div style="{style}"><b>{escape(head)}</b><br>{"<br>".join(map(escape, said))}</div>')
        lines += ["  " * row.depth + line for line in (head, *(f"    {line}" for line in said))]
    count = f"{len(shown)} of {len(rows)} moves. "
    if over:
        path = sum(row.kept for row in rows)
        count += f"{path} are kept: the path that becomes training rows." if path else "None is kept."
    else:
        count += "The search goes on."
    query = f"User: {tree.answer_generation.query}"
    return View(box(f"<div>{escape(query)}</div>{''.join(blocks)}<div>{count}</div>"), "\n".join([query, *lines, count]))


def step_through_search(tree: AnswerTree, interactive: bool = True) -> View | Clickable:
    """The whole tree; with clicks, a slider that reveals move after move."""
    return step_through(lambda until: search_tree(tree, until), len(move_rows(tree)), "move", interactive)


def _code(code: int) -> str:
    return f"{code} {Status(code).name.replace('_', ' ').lower()}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


# --- rows


@dataclass(frozen=True)
class Turn:
    """One message of a training row in a few letters, such as "A2": its role's first letter, and which of the distinct messages it is."""

    label: str
    message: Message
    graded: bool


def row_turns(rows: Sequence[Trajectory], graded: Sequence[Sequence[int]]) -> list[list[Turn]]:
    """Each row's messages as ``Turn``s; two messages have one label exactly where they are the same. ``graded``: a row's trained turns."""
    letters = {"system": "S", "user": "U", "assistant": "A", "function": "F"}
    seen: dict[Message, str] = {}
    counts: dict[str, int] = {}
    found = []
    for row, trained in zip(rows, graded, strict=True):
        turns = []
        for place, message in enumerate(row.messages):
            if message not in seen:
                counts[message.role] = counts.get(message.role, 0) + 1
                seen[message] = f"{letters[message.role]}{counts[message.role]}"
            turns.append(Turn(seen[message], message, place in trained))
        found.append(turns)
    return found


def rows_side_by_side(rows: Sequence[Trajectory] | Sequence[MergedExample], caption: str = "") -> View:
    """Training rows under each other, a box for each message: the same letters are the same message, a solid border is graded.

    Step rows are graded on their last assistant turn, merged examples on the turns that they bring.
    """
    plain = [row.trajectory if isinstance(row, MergedExample) else row for row in rows]
    graded = [row.supervised_turns if isinstance(row, MergedExample) else _last_turn(row) for row in rows]
    blocks, lines = [], []
    for number, turns in enumerate(row_turns(plain, graded), start=1):
        chips = "".join(
            f'<span title="{escape(_short(turn.message.content.strip()))}" style="display:inline-block;min-width:2.2em;margin:2px;'
            f"padding:1px 4px;text-align:center;background:{ROLE_TINTS[turn.message.role]};"
            f'border:{f"2px solid {SUPERVISED_LINE}" if turn.graded else f"1px dashed {LINE}"}">{turn.label}</span>'
            for turn in turns
        )
        blocks.append(f"<div>{number} {chips}</div>")
        lines.append([str(number), " ".join(f"[{turn.label}]" if turn.graded else f" {turn.label} " for turn in turns).rstrip()])
    messages, trained = sum(len(row.messages) for row in plain), sum(map(len, graded))
    key = "S system, U user, A assistant, F function; the same letters, the same message"
    count = f"{len(plain)} rows, {messages} messages to read, {trained} turns graded (solid border, in the text square brackets)"
    title = [f"<b>{escape(caption)}</b>"] if caption else []
    html = "".join(f"<div>{part}</div>" for part in (*title, key)) + "".join(blocks) + f"<div>{count}</div>"
    return View(box(html), "\n".join([caption] * bool(caption) + [key, *aligned(lines), count]))


def _last_turn(row: Trajectory) -> tuple[int, ...]:
    return tuple(place for place, message in enumerate(row.messages) if message.role == "assistant")[-1:]
