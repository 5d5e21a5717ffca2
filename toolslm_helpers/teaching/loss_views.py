"""Views of lesson 07: the way of a token to its loss, the ledger of who is supervised, and what each mask grades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from toolslm_helpers.model.loss import Entry
from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.views import HIGHLIGHT, PLAIN, ROLE_TINTS, SUPERVISED_LINE, View, aligned, box, visible
from toolslm_helpers.teaching.widgets import Clickable
from toolslm_helpers.text.flatten import IGNORED

# --- token -> shift -> label -> loss


@dataclass(frozen=True)
class Prediction:
    """One row of logits: what stands at ``position``, and the token after it, which this row is about.

    ``label`` is that token's label, ``loss`` what predicting it costs in nats, whether it is graded or not.
    """

    position: int
    piece: str
    role: str
    next_piece: str
    next_role: str
    label: int
    loss: float

    @property
    def graded(self) -> bool:
        return self.label != IGNORED


def prediction_rows(
    pieces: Sequence[str], roles: Sequence[str], labels: Sequence[int], losses: Sequence[float]
) -> list[Prediction]:
    """T tokens -> T - 1 predictions. ``losses`` has T - 1 entries, as ``token_losses`` gives them. Raises ValueError where lengths differ."""
    if len(pieces) != len(roles):
        raise ValueError(f"prediction_rows: {len(pieces)} pieces and {len(roles)} roles.")
    here = zip(pieces[:-1], roles[:-1], pieces[1:], roles[1:], labels[1:], losses, strict=True)
    return [Prediction(t, *row) for t, row in enumerate(here)]


STEPS = ("the tokens", "what each of them predicts", "the label of that", "what it cost, and whether that counts")
COLUMNS = (
    ("t", "said by", "token"),
    ("predicts", "which is said by"),
    ("label",),
    ("nats", "counts"),
)  # those that each step adds


def predictions(rows: Sequence[Prediction], until: int = len(STEPS)) -> View:
    """A line for each prediction, with the columns of the first ``until`` steps; below, what they have come to.

    From the step of the labels on, graded lines are bold with a bar. Raises ValueError for a step that is not there.
    """
    if not 1 <= until <= len(STEPS):
        raise ValueError(f"predictions: step {until}; there are steps 1 to {len(STEPS)}.")
    header = [name for names in COLUMNS[:until] for name in names]
    lines, styles = [], []
    for row in rows:
        parts = (
            (str(row.position), row.role, visible(row.piece)),
            (visible(row.next_piece), row.next_role),
            (str(row.label),),
            (f"{row.loss:.2f}", "yes" if row.graded else "no"),
        )
        lines.append([cell for part in parts[:until] for cell in part])
        strong = f";font-weight:bold;border-left:4px solid {SUPERVISED_LINE}" if row.graded and until >= 3 else ""
        tints = [ROLE_TINTS.get(row.role, PLAIN)] * 3 + [ROLE_TINTS.get(row.next_role, PLAIN)] * 2
        tints += [HIGHLIGHT if row.graded else PLAIN] * 3
        styles.append([f"background:{tint}{strong if k == 5 else ''}" for k, tint in enumerate(tints[: len(lines[-1])])])
    return _table(f"step {until} of {len(STEPS)}: {STEPS[until - 1]}", header, lines, styles, _so_far(rows, until))


def _so_far(rows: Sequence[Prediction], until: int) -> str:
    """What the columns up to a step come to, in a sentence."""
    graded = [row.loss for row in rows if row.graded]
    if until == 1:
        return f"{len(rows)} tokens of the text, each read by all that come after it."
    if until == 2:
        return "Each row is about the token after it: that is the shift."
    if until == 3:
        return f"{len(graded)} of {len(rows)} predictions have a label, and it is the id of the predicted token."
    mean = f"{sum(graded) / len(graded):.3f} nats each" if graded else "so there is no mean"
    everything = sum(row.loss for row in rows) / max(1, len(rows))
    return f"{len(graded)} of {len(rows)} count: {mean}. The mean over all of these lines would be {everything:.3f}."


def step_by_step(rows: Sequence[Prediction], interactive: bool = True) -> View | Clickable:
    """``predictions`` with all its columns; with clicks, a slider that adds them step by step."""
    whole = predictions(rows)
    if not interactive:
        return whole
    import ipywidgets

    slider = ipywidgets.IntSlider(value=1, min=1, max=len(STEPS), description="step")
    shown = ipywidgets.HTML(predictions(rows, 1).html)

    def refresh(change: Mapping[str, Any]) -> None:
        shown.value = predictions(rows, change["new"]).html

    slider.observe(refresh, names="value")
    return Clickable(ipywidgets.VBox([slider, shown]), whole)


# --- who is supervised


@dataclass(frozen=True)
class LedgerRow:
    """One kind of token: how many there are, and for each mask how many it grades, and their share of all that it grades."""

    kind: str
    tokens: int
    graded: tuple[int, ...]
    shares: tuple[float, ...]


def ledger_rows(ledgers: Mapping[str, Sequence[Entry]]) -> list[LedgerRow]:
    """A row for each kind that occurs, from {mask: its ledger}. Raises ValueError where the ledgers are not of the same tokens."""
    rows, totals = [], [max(1, sum(entry.graded for entry in entries)) for entries in ledgers.values()]
    for entries in zip(*ledgers.values(), strict=True):
        if len({(entry.kind, entry.tokens) for entry in entries}) > 1:
            raise ValueError(f"ledger_rows: {entries[0].kind}: the ledgers count different tokens.")
        if entries[0].tokens:
            graded = tuple(entry.graded for entry in entries)
            shares = tuple(count / total for count, total in zip(graded, totals, strict=True))
            rows.append(LedgerRow(entries[0].kind, entries[0].tokens, graded, shares))
    return rows


BAR = 10  # characters of a bar for all of a mask's graded tokens


def who_is_supervised(ledgers: Mapping[str, Sequence[Entry]], title: str = "Who is supervised") -> View:
    """The ledgers of several masks on the same tokens, side by side: tokens graded, their share of all that are, and that as a bar.

    A bar stands below its number where the page is narrow.
    """
    rows = ledger_rows(ledgers)
    header, lines = ["kind of token", "tokens", *(f"graded: {name}" for name in ledgers)], []
    for row in rows:
        graded = zip(row.graded, row.shares, strict=True)
        bars = [f"{count:,} ({share:.1%}) {'█' * round(BAR * share)}".rstrip() if count else "none" for count, share in graded]
        lines.append([row.kind, f"{row.tokens:,}", *bars])
    sums = [f"{sum(row.graded[k] for row in rows):,}" for k in range(len(ledgers))]
    lines.append(["all", f"{sum(row.tokens for row in rows):,}", *sums])
    styles = [[f"padding:4px 6px;background:{ROLE_TINTS.get(line[0].split(':')[0], PLAIN)}"] * len(header) for line in lines]
    return _table(title, header, lines, styles)


def what_is_graded(pieces: Sequence[str], labels: Mapping[str, Sequence[str]], title: str) -> View:
    """The T tokens of a text, and under them, for each of {name: T labels as words, "" for -100}, the labels; a dot where there is none.

    Raises ValueError where a line has not a label for each token.
    """
    header, lines = ["position", *map(str, range(len(pieces)))], [["the text", *map(visible, pieces)]]
    for name, words in labels.items():
        if len(words) != len(pieces):
            raise ValueError(f"what_is_graded: {name}: {len(words)} labels for {len(pieces)} tokens.")
        lines.append([name, *(visible(word) if word else "·" for word in words)])
    plain, strong = (f"padding:4px 5px;background:{tint}" for tint in (PLAIN, HIGHLIGHT))  # narrow: there are many columns
    styles = [
        [f"{strong};font-weight:bold" if k and j and cell != "·" else plain for j, cell in enumerate(line)]
        for k, line in enumerate(lines)
    ]
    return _table(title, header, lines, styles)


def _table(
    title: str, header: Sequence[str], lines: Sequence[Sequence[str]], styles: Sequence[Sequence[str]], below: str = ""
) -> View:
    """A table with a style for each cell, and a sentence below it."""
    head = "".join(f'<th scope="col" style="{views.CELL};background:{views.HEADER}">{escape(name)}</th>' for name in header)
    body = ""
    for line, line_styles in zip(lines, styles, strict=True):
        cells = [f'<td style="{views.CELL};{style}">{escape(cell)}</td>' for cell, style in zip(line, line_styles, strict=True)]
        body += f"<tr>{''.join(cells)}</tr>"
    caption = f'<caption style="text-align:left;font-weight:bold;padding:4px 0">{escape(title)}</caption>'
    table = f'<table style="border-collapse:collapse;color:{views.INK}">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    sentence = f"<div>{escape(below)}</div>" if below else ""
    return View(box(table + sentence), "\n".join([title, *aligned([header, *lines]), *([below] if below else [])]))
