"""Lengths of many rows as histograms under each other, with the limits that they are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolslm_helpers.teaching.plots import BLUE, FONT_SIZE, GREY, ORANGE, Plot, _figure

BIN = 128  # tokens: it divides 768, 1,024 and 2,048, so that no bar stands on both sides of a limit


@dataclass(frozen=True)
class Lengths:
    """The lengths of one set of rows, in tokens, and the limit that they have to keep: how many tokens fit."""

    tokens: Sequence[int]
    limit: int

    @property
    def longer(self) -> int:
        """How many rows are longer than the limit."""
        return sum(length > self.limit for length in self.tokens)

    @property
    def words(self) -> str:
        ordered = sorted(self.tokens)
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        return (
            f"{len(ordered):,} rows of {ordered[0]:,} to {ordered[-1]:,} tokens, median {middle:,.0f}; "
            f"{self.longer:,} longer than {self.limit:,}"
        )


def histograms(sets: Mapping[str, Lengths]) -> Plot:
    """{name: lengths}: a panel each, all on one scale; the part beyond a set's limit is drawn in another colour and hatched.

    Raises ValueError for no set, or one without rows.
    """
    if not sets or any(not one.tokens for one in sets.values()):
        raise ValueError("histograms: every set needs at least one row.")
    figure, panels = _figure(0.8 + 2.1 * len(sets), rows=len(sets))
    longest = max(max(*one.tokens, one.limit) for one in sets.values())
    edges = [k * BIN + 0.5 for k in range(longest // BIN + 2)]  # a row of exactly the limit fits: it stands left of the line
    for axes, (name, one) in zip(panels, sets.items(), strict=True):
        inside, beyond = ([n for n in one.tokens if (n > one.limit) is longer] for longer in (False, True))
        _, _, (_, cut) = axes.hist(
            [inside, beyond], bins=edges, stacked=True, color=[BLUE, ORANGE], edgecolor="white", linewidth=0.5
        )
        for bar in cut:
            bar.set_hatch("///")
        axes.axvline(one.limit + 0.5, color=GREY, linestyle="--", linewidth=2)
        axes.annotate(f"{one.limit:,}", (one.limit, 1), xycoords=axes.get_xaxis_transform(), xytext=(5, -4), textcoords="offset points",
                      va="top", fontsize=FONT_SIZE, color=GREY)  # fmt: skip
        axes.set_title(f"{name}: {one.longer:,} of {len(one.tokens):,} longer than {one.limit:,}", fontsize=FONT_SIZE, loc="left")
        axes.set_ylabel("rows", fontsize=FONT_SIZE)
        axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the limit's number above the bars
        axes.set_xlim(0, edges[-1])
        axes.xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel("tokens", fontsize=FONT_SIZE)
    words = "; ".join(f"{name}: {one.words}" for name, one in sets.items())
    return Plot(figure, f"Histograms of row lengths on one scale, with the limit of each set. {words}.")
