"""An episode as a play: scene by scene what the model reads, what it writes, and what the program makes of it; and a search as a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from toolslm_helpers.agent.dfsdt import path_to
from toolslm_helpers.agent.episode import Episode, Node, Step
from toolslm_helpers.agent.virtual_api import Status
from toolslm_helpers.teaching.views import ALARM, HIGHLIGHT, LINE, PLAIN, ROLE_TINTS, WRAP, View, box, grid

# What each status code means, in words for a reader; upstream's own list has 7 and 8 the wrong way round.
CODE_WORDS = {
    Status.OK: "the API answered (its answer may still be an error)",
    Status.UNKNOWN_FUNCTION: "no such function, or no readable action",
    Status.BAD_FINISH: "Finish with arguments that do not fit",
    Status.FINAL_ANSWER: "Finish with an answer",
    Status.GAVE_UP: "Finish, given up",
    Status.TIMEOUT: "no answer in time",
    Status.NOT_FOUND: "the API is not there (404)",
    Status.UNAUTHORIZED: "not authorized",
    Status.NOT_SUBSCRIBED: "not subscribed",
    Status.TOO_MANY_REQUESTS: "too many requests (429)",
    Status.RATE_LIMIT_PER_MINUTE: "rate limit per minute",
    Status.ERROR_MESSAGE: "the API says error",
    Status.BAD_REQUEST: "refused, or no JSON",
}


def code_words(code: int) -> str:
    """ "6: the API is not there (404)"."""
    return f"{int(code)}: {CODE_WORDS[Status(code)]}"


def codes(rows: Sequence[tuple[str, int, str]], caption: str = "Status codes, met") -> View:
    """(what was done, code, observation) a row; whether the call did what was asked is said in words."""
    cells = [[done, code_words(code), "yes" if _is_success(code, said) else "no", said] for done, code, said in rows]
    return grid(
        ["what was done", "code", "did what was asked?", "what the model reads"], cells, caption, [c[2] == "yes" for c in cells]
    )


def _is_success(code: int, observation: str) -> bool:
    return code in (Status.OK, Status.FINAL_ANSWER, Status.GAVE_UP) and '"error": ""' in observation


# --- a play in scenes


@dataclass(frozen=True)
class Scene:
    """One turn: ``reads`` are (role, text) pairs that are new to the model; the rest is the step that follows from what it writes."""

    number: int
    reads: tuple[tuple[str, str], ...]
    thought: str
    action: str
    action_input: str
    code: str
    observation: str
    then: str  # what the program does next


def scenes(episode: Episode, opening: Sequence[Any]) -> list[Scene]:
    """A scene for each step. ``opening`` are the messages before the first turn; after that, what is new is the last observation."""
    reads = tuple((message.role, message.content.strip()) for message in opening)
    made = []
    for number, step in enumerate(episode.steps, start=1):
        if step.code == Status.FINAL_ANSWER:
            then = "The episode ends: the user reads the final answer."
        elif step.code == Status.GAVE_UP:
            then = "The episode ends without an answer."
        elif number == len(episode.steps):
            then = f"The episode ends here ({episode.ended})."
        else:
            then = "The observation is appended, and it is the model's turn again."
        made.append(
            Scene(number, reads, step.thought, step.action, step.action_input, code_words(step.code), step.observation, then)
        )
        reads = (("function", step.observation),)
    return made


def scene(episode: Episode, opening: Sequence[Any], number: int) -> View:
    """Scene ``number`` (from 1): read, written, done, in this order. Raises ValueError for a number that the episode does not have."""
    all_scenes = scenes(episode, opening)
    if not 1 <= number <= len(all_scenes):
        raise ValueError(f"scene {number}; this episode has {len(all_scenes)}.")
    one = all_scenes[number - 1]
    parts = [(f"the model reads ({role})", text, ROLE_TINTS[role]) for role, text in one.reads]
    written = f"Thought: {one.thought}\nAction: {one.action}\nAction Input: {one.action_input}"
    if not one.action:  # what could not be read as an action is kept as a thought
        written = f"{one.thought}\n(no action can be read in this turn)"
    parts.append(("the model writes (assistant)", written, ROLE_TINTS["assistant"]))
    parts.append(("the program calls, and gets code", one.code, HIGHLIGHT if one.code[:2] in ("0:", "3:") else ALARM))
    parts.append(("what comes back (function)", one.observation, ROLE_TINTS["function"]))
    parts.append(("then", one.then, PLAIN))
    head = f"Scene {number} of {len(all_scenes)}"
    blocks = "".join(
        f'<div style="background:{tint};border:1px solid {LINE};margin:3px 0;padding:4px 10px;{WRAP}"><b>{escape(title)}</b>\n'
        f"{escape(text)}</div>"
        for title, text, tint in parts
    )
    lines = [head, *(f"[{title}]\n{text}" for title, text, _ in parts)]
    return View(box(f"<div><b>{head}</b></div>{blocks}"), "\n".join(lines))


def play(episode: Episode, opening: Sequence[Any]) -> View:
    """All scenes under each other: what is shown where nobody can click."""
    shown = [scene(episode, opening, number) for number in range(1, len(episode.steps) + 1)]
    return View("".join(view.html for view in shown), "\n\n".join(view.text for view in shown))


# --- a search as a tree


@dataclass(frozen=True)
class TreeRow:
    """One step of a search: when it was tried, how deep it stands, what it did, and what became of it."""

    number: int
    depth: int
    action: str
    action_input: str
    code: int
    fate: str


def tree_rows(episode: Episode) -> list[TreeRow]:
    """The steps of a search in the order in which they were tried. A chain is a tree whose every step has one successor."""
    tree = episode.tree or _as_tree(episode.steps)
    path = _path(tree, episode.steps)
    rows: list[TreeRow] = []

    def walk(nodes: Sequence[Node], depth: int) -> None:
        for node in nodes:
            step = node.step
            on_path = id(node) in path
            if step.code == Status.FINAL_ANSWER:
                fate = "answer"
            elif step.code == Status.GAVE_UP:
                fate = "gave up" + (", and that counts" if on_path else ": back two states")
            else:
                fate = "on the path that counts" if on_path else "abandoned"
            rows.append(TreeRow(len(rows) + 1, depth, step.action or "(unreadable)", step.action_input, step.code, fate))
            walk(node.children, depth + 1)

    walk(tree, 0)
    return rows


def _as_tree(steps: Sequence[Step]) -> tuple[Node, ...]:
    nodes: tuple[Node, ...] = ()
    for step in reversed(steps):
        nodes = (Node(step, nodes),)
    return nodes


def _path(tree: Sequence[Node], steps: Sequence[Step]) -> set[int]:
    return {id(node) for node in path_to(tree, steps)}


def search_tree(episode: Episode) -> View:
    """A search as an indented table, a line a turn, in the order of the turns."""
    rows = tree_rows(episode)
    cells = [[r.number, f"{'· ' * r.depth}{r.action}", r.action_input, r.code, r.fate] for r in rows]
    header = ["turn", "Action (a dot for each step before it)", "Action Input", "code", "what became of it"]
    on_path = [r.fate in ("answer", "on the path that counts", "gave up, and that counts") for r in rows]
    return grid(header, cells, f"User: {episode.query}", on_path)
