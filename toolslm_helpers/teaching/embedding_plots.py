"""Rows of an embedding as a map of words: the plane that keeps most of their spread, and a picture of it with a label at each point.

``principal_plane`` is the arithmetic, ``word_map`` the picture. Labels are moved aside until they lie free; groups differ in marker
as well as in colour.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolslm_helpers.teaching.plots import FONT_SIZE, GREY, SERIES, Plot

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

PANEL_HEIGHT = 6.0  # inches
DISTANCES = (7, 16, 28, 42, 58, 76, 96)  # from a point to its label, in points: the first that is free
DIRECTIONS = 16


@dataclass(frozen=True)
class Plane:
    """A plane through the mean of N vectors: ``center`` (E,), ``axes`` (2, E) of length 1, and each axis's share of the spread."""

    center: "torch.Tensor"
    axes: "torch.Tensor"
    shares: tuple[float, float]

    def place(self, vectors: "torch.Tensor") -> "torch.Tensor":
        """Where vectors (M, E) fall on the plane: (M, 2). They need not be those that the plane was made from."""
        return (vectors - self.center) @ self.axes.T


def principal_plane(vectors: "torch.Tensor") -> Plane:
    """The plane on which vectors (N, E) lie most spread out: the first two principal components, by singular value decomposition.

    A component's sign is free; here its largest entry is positive, so that one set of vectors always gives one picture. Raises
    ValueError for fewer than three vectors or fewer than two dimensions.
    """
    import torch

    if vectors.ndim != 2 or vectors.shape[0] < 3 or vectors.shape[1] < 2:
        raise ValueError(f"principal_plane: {tuple(vectors.shape)}; expected (N, E), at least three vectors of two numbers.")
    center = vectors.mean(dim=0)  # (E,)
    _, sizes, components = torch.linalg.svd(vectors - center, full_matrices=False)  # (min(N, E),), (min(N, E), E)
    axes = components[:2]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))  # (2, 1)
    spread = sizes.square()
    first, second = (spread[:2] / spread.sum().clamp(min=1e-30)).tolist()
    return Plane(center, axes * largest.sign(), (first, second))


Point = tuple[float, float]


def word_map(
    panels: Mapping[str, Sequence[Point]], labels: Sequence[str], groups: Sequence[str], title: str = "", note: str = ""
) -> Plot:
    """{panel: N points}, a label and a group for each point: a map a panel under each other, all on the same scale.

    ``note`` (such as the share of the spread that the plane keeps) ends title and alt text. Raises ValueError where lengths differ,
    and for more groups than there are markers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = {name: [(float(x), float(y)) for x, y in some] for name, some in panels.items()}
    if not points or any(len(some) != len(labels) for some in points.values()) or len(groups) != len(labels):
        raise ValueError(f"word_map: {len(labels)} labels need as many groups, and as many points in each panel.")
    kinds = list(dict.fromkeys(groups))
    if len(kinds) > len(SERIES):
        raise ValueError(f"word_map: {len(kinds)} groups, at most {len(SERIES)} can be told apart. Draw two figures.")
    figure = Figure(figsize=(10, PANEL_HEIGHT * len(points)), layout="constrained")
    FigureCanvasAgg(figure)
    limits = _limits([point for some in points.values() for point in some])
    for k, (name, some) in enumerate(points.items()):
        axes = figure.add_subplot(len(points), 1, k + 1)
        _draw_points(axes, some, groups, kinds)
        axes.set(xlim=limits[0], ylim=limits[1])
        axes.set_title(name, fontsize=FONT_SIZE, loc="left")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=FONT_SIZE, loc="outside lower center", ncols=len(kinds), frameon=False)
    heading = ". ".join(part.rstrip(".") for part in (title, note) if part)
    if heading:
        figure.suptitle(heading, fontsize=FONT_SIZE + 1, x=0.01, ha="left")
    figure.draw_without_rendering()  # settles the layout: where a label lies free depends on it
    figure.set_layout_engine("none")
    for axes, some in zip(figure.axes, points.values(), strict=True):
        _label(figure, axes, some, labels)
    return Plot(figure, _words(points, labels, groups, kinds, heading))


def _limits(points: Sequence[Point]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The same limits for every panel, with room for labels at the sides."""
    bounds = []
    for coordinate in zip(*points, strict=True):
        low, high = min(coordinate), max(coordinate)
        margin = 0.12 * (high - low) or 1.0
        bounds.append((low - margin, high + margin))
    return bounds[0], bounds[1]


def _draw_points(axes: "Axes", points: Sequence[Point], groups: Sequence[str], kinds: Sequence[str]) -> None:
    for kind, (colour, marker) in zip(kinds, SERIES, strict=False):
        own = [point for point, group in zip(points, groups, strict=True) if group == kind]
        axes.plot(*zip(*own, strict=True), label=kind, color=colour, marker=marker, markersize=8, linestyle="none", zorder=3)
    axes.tick_params(labelsize=FONT_SIZE)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _label(figure: "Figure", axes: "Axes", points: Sequence[Point], labels: Sequence[str]) -> None:
    """Puts each label beside its point, at the nearest place where it covers no point, no other label and no edge."""
    from matplotlib.transforms import Bbox

    renderer, frame = figure.canvas.get_renderer(), axes.get_window_extent()
    pixels = figure.dpi / 72  # of a point, the unit of type
    centers = axes.transData.transform(points)
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in centers]
    style = {"fontsize": FONT_SIZE, "ha": "center", "va": "center", "parse_math": False}  # a piece with two $ is no formula
    for center, point, label in zip(centers, points, labels, strict=True):
        measured = axes.text(*point, label, **style)
        size = measured.get_window_extent(renderer)
        measured.remove()
        distance, offset, box = _free_place(tuple(center), (size.width + 2, size.height + 2), pixels, taken, frame)
        taken.append(box)
        line = (
            {"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 3} if distance > DISTANCES[0] else None
        )
        axes.annotate(label, point, xytext=offset, textcoords="offset points", arrowprops=line, zorder=4, **style)


def _free_place(
    center: Point, size: Point, pixels: float, taken: "Sequence[Bbox]", frame: "Bbox"
) -> tuple[float, tuple[float, float], "Bbox"]:
    """(distance from the point, offset of the label's middle in points, its box in pixels); the least covered place where none is free."""
    from matplotlib.transforms import Bbox

    width, height = size
    best = None
    for distance in DISTANCES:
        for k in range(DIRECTIONS):
            angle = 2 * math.pi * k / DIRECTIONS
            dx = math.cos(angle) * (distance * pixels + width / 2)
            dy = math.sin(angle) * (distance * pixels + height / 2)
            box = Bbox.from_bounds(center[0] + dx - width / 2, center[1] + dy - height / 2, width, height)
            covered = sum(_common(box, other) for other in taken) + width * height - _common(box, frame)
            if best is None or covered < best[0] - 1e-9:
                best = (covered, distance, (dx / pixels, dy / pixels), box)
        if best[0] < 1e-6:
            break
    return best[1:]


def _common(one: "Bbox", other: "Bbox") -> float:
    """The area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def _words(
    points: Mapping[str, Sequence[Point]], labels: Sequence[str], groups: Sequence[str], kinds: Sequence[str], heading: str
) -> str:
    """Every label with its place, by panel and group."""
    parts = []
    for name, some in points.items():
        for kind in kinds:
            placed = [
                f"{label} ({x:.2f}, {y:.2f})" for label, group, (x, y) in zip(labels, groups, some, strict=True) if group == kind
            ]
            parts.append(f"{name}, {kind}: {', '.join(placed)}")
    return f"{heading + '. ' if heading else ''}A map of {len(labels)} words, as (right, up). {'; '.join(parts)}."
