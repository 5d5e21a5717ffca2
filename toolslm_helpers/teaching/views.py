"""Rows in, pictures out: pure functions that turn data into rows, and rows into static HTML and plain text with the same facts.

A view is both at once: Jupyter shows the HTML, a terminal the text. Styles are inline and nothing is fetched, so that a view
survives papermill, nbconvert and GitHub. Colour only repeats what a word already says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from toolslm_helpers.agent.virtual_api import Status

IGNORED = -100  # PyTorch's word for "no label here"

# Backgrounds are light tints of the Okabe-Ito colours, which stay apart for the common kinds of colour blindness.
ROLE_TINTS = {"system": "#e8e8e8", "user": "#fdf3d0", "assistant": "#d6ecfa", "function": "#d9f2e9"}
HIGHLIGHT, PLAIN, HEADER, ALARM = "#fdf3d0", "#ffffff", "#f0f0f0", "#fbe0d2"
INK, LINE, SUPERVISED_LINE = "#1a1a1a", "#b5b5b5", "#0072b2"
BOX = (
    f"color:{INK};background:{PLAIN};font-family:ui-monospace,Menlo,Consolas,monospace;font-size:15px;line-height:1.45;"
    "padding:6px;overflow-x:auto"
)
WRAP = "white-space:pre-wrap;overflow-wrap:anywhere"
CELL = f"border:1px solid {LINE};padding:4px 10px;text-align:left;vertical-align:top;color:{INK};white-space:pre-wrap"
CHIP = "display:inline-block;border-radius:4px;margin:2px;padding:1px 5px;text-align:center;vertical-align:top"


@dataclass(frozen=True)
class View:
    """One picture in two forms that say the same."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


# --- a conversation


@dataclass(frozen=True)
class MessageRow:
    """One message; ``supervised`` is None where nobody trains on the conversation."""

    role: str
    content: str
    supervised: bool | None

    @property
    def mark(self) -> str:
        return {True: "supervised: graded", False: "context: not graded", None: ""}[self.supervised]


def trajectory_rows(messages: Iterable[Any], supervised: bool = True) -> list[MessageRow]:
    """A row for each message (anything with ``role``, ``content``); with ``supervised``, assistant turns are trained on."""
    return [MessageRow(m.role, m.content.strip(), (m.role == "assistant") if supervised else None) for m in messages]


def trajectory(messages: Iterable[Any], supervised: bool = True) -> View:
    """Messages under each other, each with its role's name and colour; what is trained on is said in words and shown by a bar."""
    blocks, lines = [], []
    for row in trajectory_rows(messages, supervised):
        bar = SUPERVISED_LINE if row.supervised else "transparent"
        style = f"background:{_tint(row.role)};border-left:6px solid {bar};margin:3px 0;padding:6px 10px;{WRAP}"
        mark = f" · <i>{row.mark}</i>" if row.mark else ""
        blocks.append(f'<div style="{style}"><b>{escape(row.role)}</b>{mark}\n{escape(row.content)}</div>')
        lines.append(f"[{row.role}{' · ' + row.mark if row.mark else ''}]\n{row.content}")
    return View(box("".join(blocks)), "\n\n".join(lines))


# --- tokens and labels


@dataclass(frozen=True)
class TokenRow:
    """One token with its id, and its label: the id again where the model is graded, else -100."""

    position: int
    piece: str
    id: int
    label: int
    role: str

    @property
    def graded(self) -> bool:
        return self.label != IGNORED


def token_rows(pieces: Sequence[str], input_ids: Sequence[int], labels: Sequence[int], roles: Sequence[str]) -> list[TokenRow]:
    """A row for each of T tokens. Raises ValueError where the four lengths differ."""
    columns = zip(pieces, input_ids, labels, roles, strict=True)
    return [TokenRow(t, piece, int(i), int(label), role) for t, (piece, i, label, role) in enumerate(columns)]


def tokens(pieces: Sequence[str], input_ids: Sequence[int], labels: Sequence[int], roles: Sequence[str]) -> View:
    """Tokens as they reach the model: text, id and label (-100 where nothing is graded) in a small box each. All of length T."""
    rows = token_rows(pieces, input_ids, labels, roles)
    chips, lines = [], [f"{'t':>4}  {'role':<9}  {'id':>6}  {'label':>6}  token"]
    for row in rows:
        border = f"2px solid {SUPERVISED_LINE}" if row.graded else f"1px dashed {LINE}"
        chips.append(
            f'<span title="t={row.position}, {escape(row.role)}" style="{CHIP};background:{_tint(row.role)};border:{border}">'
            f'<b style="white-space:pre">{escape(visible(row.piece))}</b><br>'
            f'<span style="font-size:12px">{row.id}<br>{row.label}</span></span>'
        )
        lines.append(f"{row.position:>4}  {row.role:<9}  {row.id:>6}  {row.label:>6}  {visible(row.piece)}")
    graded = sum(row.graded for row in rows)
    count = f"{graded} of {len(rows)} tokens are supervised: solid border, label = id. Others: dashed border, label {IGNORED}."
    roles_seen = dict.fromkeys(row.role for row in rows)
    key = " ".join(f'<span style="background:{_tint(role)};padding:1px 6px">{escape(role)}</span>' for role in roles_seen)
    html = f"<div>{key} · in each box: token, id, label</div>{''.join(chips)}<div>{escape(count)}</div>"
    return View(box(html), "\n".join([*lines, count]))


def visible(piece: str) -> str:
    """A token's text with its spaces and line breaks made visible."""
    return piece.replace(" ", "␣").replace("\n", "⏎") or "∅"


# --- how hard each token was


@dataclass(frozen=True)
class LossRow:
    """One token and what predicting it cost, in nats."""

    piece: str
    loss: float

    @property
    def word(self) -> str:
        """How the model felt about it: a share above 90% is "sure", one below 14% (2 nats) "surprised"."""
        return "sure" if self.loss < 0.1 else "unsure" if self.loss < 2 else "surprised"


def loss_rows(pieces: Sequence[str], losses: Sequence[float]) -> list[LossRow]:
    """A row for each predicted token. Raises ValueError where the two lengths differ."""
    return [LossRow(piece, float(loss)) for piece, loss in zip(pieces, losses, strict=True)]


def token_losses(pieces: Sequence[str], losses: Sequence[float]) -> View:
    """Tokens with the loss of each in nats, shaded by how surprised the model was; the words are counted below.

    The first token of a text has no loss: leave it out of both.
    """
    rows = loss_rows(pieces, losses)
    tints = {"sure": PLAIN, "unsure": HIGHLIGHT, "surprised": ALARM}
    chips, lines = [], [f"{'nats':>6}  {'':<9}  token"]
    for row in rows:
        chips.append(
            f'<span title="{row.word}" style="{CHIP};background:{tints[row.word]};border:1px solid {LINE}">'
            f'<b style="white-space:pre">{escape(visible(row.piece))}</b><br><span style="font-size:12px">{row.loss:.2f}</span></span>'
        )
        lines.append(f"{row.loss:>6.2f}  {row.word:<9}  {visible(row.piece)}")
    felt = [row.word for row in rows]
    count = ", ".join(f"{felt.count(word)} {word}" for word in tints)
    key = " ".join(f'<span style="background:{tint};padding:1px 6px">{word}</span>' for word, tint in tints.items())
    head = "in each box: token, nats"
    return View(box(f"<div>{key} · {head}</div>{''.join(chips)}<div>{count}</div>"), "\n".join([head, *lines, count]))


# --- an episode


@dataclass(frozen=True)
class StepRow:
    """One step of an episode: what the model wrote, what came back, and the status code with its name."""

    number: int
    thought: str
    action: str
    action_input: str
    observation: str
    code: str


def episode_rows(episode: Any) -> list[StepRow]:
    """A row for each step of an ``agent.episode.Episode``."""
    return [
        StepRow(k, s.thought, s.action, s.action_input, s.observation, f"{int(s.code)} {_code_name(s.code)}")
        for k, s in enumerate(episode.steps, start=1)
    ]


def _code_name(code: int) -> str:
    return Status(code).name.replace("_", " ").lower()


def episode(episode: Any, until: int | None = None) -> View:
    """An ``agent.episode.Episode`` step by step (the first ``until`` steps of it), then how it ended."""
    rows = episode_rows(episode)
    shown = rows[:until]
    header = ["step", "Thought", "Action", "Action Input", "observation", "code"]
    cells = [[r.number, r.thought, r.action, r.action_input, r.observation, r.code] for r in shown]
    table = grid(header, cells, f"User: {episode.query}")
    ending = f"Ended by {episode.ended}. Final answer: {episode.final_answer or 'none'}"
    if len(shown) < len(rows):
        ending = f"Step {len(shown)} of {len(rows)}."
    return View(table.html + box(escape(ending)), f"{table.text}\n{ending}")


# --- tables


@dataclass(frozen=True)
class PassRateRow:
    """One model on one set; ``low`` and ``high`` bound its interval. Rates are shares of 1."""

    model: str
    set_name: str
    passed: int
    n: int
    low: float
    high: float

    @property
    def words(self) -> str:
        return f"{100 * self.passed / self.n:.1f}% ({self.passed}/{self.n}) [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def pass_rate_rows(rates: Mapping[str, Mapping[str, Any]]) -> list[PassRateRow]:
    """A row for each model and set of {model: {set: result with passed, n, low, high}}."""
    return [PassRateRow(m, s, r.passed, r.n, r.low, r.high) for m, sets in rates.items() for s, r in sets.items()]


def pass_rates(rates: Mapping[str, Mapping[str, Any]], caption: str = "Pass rate (passed/n) [95% interval]") -> View:
    """Pass rates as one table: a line a set, a column a model."""
    rows = pass_rate_rows(rates)
    cells = {(row.set_name, row.model): row.words for row in rows}
    sets = dict.fromkeys(row.set_name for row in rows)
    return grid(["set", *rates], [[s, *(cells.get((s, model), "not judged") for model in rates)] for s in sets], caption)


@dataclass(frozen=True)
class HyperparameterRow:
    """One hyperparameter: the paper's value, the value at this size, the reason where they differ, and what it does."""

    name: str
    paper: str
    here: str
    why: str = ""
    does: str = ""

    @property
    def differs(self) -> bool:
        return self.paper != self.here


def hyperparameters(rows: Sequence[HyperparameterRow], caption: str = "Hyperparameters") -> View:
    """The paper's values beside this size's; a line that differs says so, and why. What each does has a column where it is said."""
    cells = [[r.name, r.paper, r.here, *(("differs", r.why) if r.differs else ("same", "")), r.does] for r in rows]
    header = ["hyperparameter", "paper", "here", "", "why", "what it does"]
    shown = [0, 5, 1, 2, 3, 4] if any(r.does for r in rows) else range(5)
    picked = [[line[k] for k in shown] for line in (header, *cells)]
    return grid(picked[0], picked[1:], caption, marked=[r.differs for r in rows])


def grid(header: Sequence[str], cells: Sequence[Sequence[Any]], caption: str = "", marked: Sequence[bool] = ()) -> View:
    """A plain table. ``marked`` shades lines; their words must say why. Raises ValueError for a line too short or too long."""
    lines = [[str(cell) for cell in line] for line in cells]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"grid: every line needs {len(header)} cells, one for each of {list(header)}.")
    shades = [HIGHLIGHT if k < len(marked) and marked[k] else PLAIN for k in range(len(lines))]
    head = "".join(f'<th scope="col" style="{CELL};background:{HEADER}">{escape(h)}</th>' for h in header)
    body = "".join(
        f'<tr style="background:{shade}">{"".join(_cell(cell) for cell in line)}</tr>'
        for line, shade in zip(lines, shades, strict=True)
    )  # fmt: skip
    title = f'<caption style="text-align:left;font-weight:bold;padding:4px 0">{escape(caption)}</caption>' if caption else ""
    rows = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    table = f'<table style="border-collapse:collapse;color:{INK}">{title}{rows}</table>'
    return View(box(table), "\n".join([caption] * bool(caption) + aligned([list(header), *lines])))


def _cell(content: str) -> str:
    return f'<td style="{CELL}">{escape(content)}</td>'


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text, each column as wide as its widest cell; a cell's line breaks become visible marks."""
    flat = [[cell.replace("\n", "⏎") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in flat]


def _tint(role: str) -> str:
    return ROLE_TINTS.get(role, PLAIN)


def box(inner: str) -> str:
    """HTML in the frame that every view has: its own text colour and background, and scrolling where it is too wide."""
    return f'<div style="{BOX}">{inner}</div>'
