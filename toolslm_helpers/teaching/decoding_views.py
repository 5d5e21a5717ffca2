"""Views of lesson 06: shares laid end to end, shares at several temperatures, and how sure a model was of every token that it wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from itertools import groupby

from toolslm_helpers.teaching.number_views import written
from toolslm_helpers.teaching.plots import BLUE, FONT_SIZE, GREY, ORANGE, Plot
from toolslm_helpers.teaching.views import ALARM, CHIP, HIGHLIGHT, LINE, PLAIN, View, aligned, box, grid, visible

SURE = 0.9  # a share from which on we call a model sure

# --- one uniform number decides


@dataclass(frozen=True)
class Segment:
    """One candidate's part of the line from 0 to 1: ``start`` belongs to it, ``end`` to the next."""

    label: str
    start: Fraction | float
    end: Fraction | float

    def holds(self, uniform: Fraction | float | None) -> bool:
        return uniform is not None and self.start <= uniform < self.end


def segments(labels: Sequence[str], shares: Sequence[Fraction | float]) -> list[Segment]:
    """The shares laid end to end, in the given order. Raises ValueError where the two lengths differ."""
    end, found = Fraction(0), []
    for label, share in zip(labels, shares, strict=True):
        found.append(Segment(label, end, end + share))
        end = end + share
    return found


def ruler(labels: Sequence[str], shares: Sequence[Fraction | float], uniform: Fraction | float | None = None) -> View:
    """Shares as lengths on a line from 0 to 1; where ``uniform`` (in [0, 1)) falls, that candidate is chosen, and it is said so."""
    rows = segments(labels, shares)
    bar = "".join(
        f'<span style="display:inline-block;box-sizing:border-box;overflow:hidden;white-space:nowrap;text-align:center;'
        f"width:{100 * float(row.end - row.start):.2f}%;border:1px solid {LINE};"
        f'background:{HIGHLIGHT if row.holds(uniform) else PLAIN}">{escape(row.label)}</span>'
        for row in rows
        if row.end > row.start
    )
    cells = [
        [row.label, written(row.start), written(row.end), f"{written(uniform)} falls here: chosen" if row.holds(uniform) else ""]
        for row in rows
    ]
    table = grid(["candidate", "from", "up to", ""], cells, marked=[row.holds(uniform) for row in rows])
    return View(box(f'<div style="display:flex">{bar}</div>') + table.html, table.text)


# --- temperature


def temperatures(labels: Sequence[str], shares: Mapping[float, Sequence[float]]) -> Plot:
    """{temperature: shares of the candidates}: a panel for each temperature, a bar with its number for each candidate.

    The largest of a panel is drawn in another colour and hatched. Raises ValueError where a row has not a share for each label.
    """
    if any(len(row) != len(labels) for row in shares.values()):
        raise ValueError(f"temperatures: every row needs {len(labels)} shares, one for each of {list(labels)}.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.2 + 0.42 * len(labels)), layout="constrained")
    panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    words = []
    for axes, (temperature, row) in zip(panels, shares.items(), strict=True):
        most = max(range(len(row)), key=row.__getitem__)
        bars = axes.barh(range(len(row)), row, color=[ORANGE if k == most else BLUE for k in range(len(row))])
        bars[most].set_hatch("//")
        for k, share in enumerate(row):
            axes.annotate(
                f"{share:.2f}", (share, k), xytext=(4, 0), textcoords="offset points", va="center", fontsize=FONT_SIZE - 2
            )
        axes.set_title(f"temperature {temperature:g}", fontsize=FONT_SIZE, loc="left")
        axes.set(xlim=(0, 1.3), xticks=(0, 0.5, 1))
        axes.tick_params(labelsize=FONT_SIZE - 2, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.axvline(0, color=GREY, linewidth=1)
        words.append(f"temperature {temperature:g}: {', '.join(f'{n} {s:.2f}' for n, s in zip(labels, row, strict=True))}")
    panels[0].set_yticks(range(len(labels)), labels, fontsize=FONT_SIZE)
    panels[0].invert_yaxis()
    return Plot(figure, f"The same logits as shares at {len(shares)} temperatures. {'; '.join(words)}.")


# --- along a call


@dataclass(frozen=True)
class Choice:
    """One token that was written: which part of the turn it belongs to, the share it had, and the likeliest other token."""

    part: str
    piece: str
    share: float
    rival: str
    rival_share: float

    @property
    def word(self) -> str:
        """How sure the model was: "sure" from a share of 90% on, "not its first choice" where another token had more, else "unsure"."""
        return "not its first choice" if self.rival_share > self.share else "sure" if self.share >= SURE else "unsure"


def along_a_call(choices: Sequence[Choice]) -> View:
    """A turn, token by token and a line for each of its parts: how large the share of each token was, and what else was likely.

    The rival is named wherever the model was not sure; how many tokens were sure is counted below.
    """
    tints = {"sure": PLAIN, "unsure": HIGHLIGHT, "not its first choice": ALARM}
    key = " ".join(f'<span style="background:{tint};padding:1px 6px">{word}</span>' for word, tint in tints.items())
    head, blocks, lines = "in each box: token, its share", [], []
    for part, group in groupby(choices, key=lambda choice: choice.part):
        chips = []
        for choice in group:
            rival = f"or {visible(choice.rival)} {_percent(choice.rival_share)}" if choice.word != "sure" else ""
            chips.append(
                f'<span title="{choice.word}" style="{CHIP};background:{tints[choice.word]};border:1px solid {LINE}">'
                f'<b style="white-space:pre">{escape(visible(choice.piece))}</b><br>'
                f'<span style="font-size:12px">{_percent(choice.share)}{f"<br>{escape(rival)}" if rival else ""}</span></span>'
            )
            lines.append([part, _percent(choice.share), visible(choice.piece), choice.word, rival])
        blocks.append(f"<div><i>{escape(part)}</i> {''.join(chips)}</div>")
    felt = [choice.word for choice in choices]
    count = ", ".join(f"{felt.count(word)} {word}" for word in tints)
    html = f"<div>{key} · {head}</div>{''.join(blocks)}<div>{len(felt)} tokens: {count}</div>"
    return View(box(html), "\n".join([head, *aligned(lines), f"{len(felt)} tokens: {count}"]))


def _percent(share: float) -> str:
    """A share as a percentage that never rounds to a certainty which it is not."""
    if 0.9995 <= share < 1:
        return ">99.9%"
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"
