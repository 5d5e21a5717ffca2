"""Views that someone can click through: core ipywidgets, and only where INTERACTIVE is true.

The static view is always there. A widget goes out together with it, in one output: a running JupyterLab shows the widget; papermill,
nbconvert and GitHub, which have nobody to click, show the view.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolslm_helpers.model.counting import Decoder
from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.episode_views import play, scene
from toolslm_helpers.teaching.number_views import arithmetic, column_labels, matrix, matrix_rows
from toolslm_helpers.teaching.parameter_views import one_thing_changed, part_table, sizes
from toolslm_helpers.teaching.quantities import Paper
from toolslm_helpers.teaching.views import View

if TYPE_CHECKING:
    from ipywidgets import VBox


@dataclass(frozen=True)
class Clickable:
    """A widget, and the view that stands in for it where nobody can click."""

    widget: "VBox"
    view: View

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """What Jupyter stores: the widget's reference (preferred by a live front end), HTML and text."""
        return {**(self.widget._repr_mimebundle_(**options) or {}), "text/html": self.view.html, "text/plain": self.view.text}


def choose_cell(paper: Paper, name: str, cell: tuple[int, int] = (0, 0), interactive: bool = True) -> View | Clickable:
    """A quantity with the arithmetic of one cell (row, column; from 0); with clicks, of whichever cell somebody chooses."""
    quantity = paper[name]
    labels = [row.label for row in matrix_rows(quantity)]
    columns = column_labels(quantity)
    cells = [(i, j) for i in range(len(labels)) for j in range(len(columns))]
    cells.sort(key=lambda other: other != cell)  # the asked one first, the others in their order
    options = {f"row {labels[i]}, column {columns[j]}": (i, j) for i, j in cells}
    return choose(options, lambda chosen: matrix(quantity, chosen, arithmetic(paper, name, *chosen)), "cell", interactive)


def step_through_episode(episode: Any, interactive: bool = True) -> View | Clickable:
    """One ``agent.episode.Episode``: as a whole, or, with clicks, with a slider that reveals step after step."""
    return step_through(lambda number: views.episode(episode, until=number), len(episode.steps), "step", interactive)


def step_through(view_of: Callable[[int | None], View], count: int, label: str, interactive: bool = True) -> View | Clickable:
    """The whole of something that is told in ``count`` steps, ``view_of(None)``; with clicks, a slider that shows its first steps."""
    whole = view_of(None)
    if not interactive or not count:
        return whole
    import ipywidgets

    return Clickable(_linked(ipywidgets.IntSlider(value=1, min=1, max=count, description=label), view_of), whole)


def theatre(episode: Any, opening: Any, interactive: bool = True) -> View | Clickable:
    """An episode as a play: all scenes under each other, or, with clicks, one at a time behind a slider."""
    whole = play(episode, opening)
    if not interactive or not episode.steps:
        return whole
    import ipywidgets

    slider = ipywidgets.IntSlider(value=1, min=1, max=len(episode.steps), description="scene")
    return Clickable(_linked(slider, lambda number: scene(episode, opening, number)), whole)


def choose(
    options: Mapping[str, Any], render: Callable[[Any], View], label: str = "choose", interactive: bool = True
) -> View | Clickable:
    """The first of ``options``, or, with clicks, a menu of their names.

    ``render`` makes the view of an option. It may run a model: it is called once for each choice, never while someone only looks.
    Raises ValueError for no options.
    """
    if not options:
        raise ValueError("choose: there is no option to choose from.")
    names = list(options)
    first = render(options[names[0]])
    if not interactive:
        return first
    import ipywidgets

    seen = {names[0]: first}

    def view_of(name: str) -> View:
        if name not in seen:
            seen[name] = render(options[name])
        return seen[name]

    layout = {"width": "max-content", "max_width": "100%"}
    menu = ipywidgets.Dropdown(options=names, value=names[0], description=label, layout=layout)
    return Clickable(_linked(menu, view_of), first)


def _linked(control: Any, view_of: Callable[[Any], View]) -> "VBox":
    """A control above the view that it selects."""
    import ipywidgets

    shown = ipywidgets.HTML(view_of(control.value).html)

    def refresh(change: Mapping[str, Any]) -> None:
        shown.value = view_of(change["new"]).html

    control.observe(refresh, names="value")
    return ipywidgets.VBox([control, shown])


# What the calculator offers: opt-mini's, OPT-350M's and DeepSeek-OCR's sizes, and rounder ones around them.
LAYERS, EXPERTS = 96, (1, 2, 4, 8, 16, 32, 64, 128)  # at most so many layers
VOCABULARIES = (1_000, 32_000, 50_272, 100_000, 129_280, 256_000)
CONTEXTS = (768, 2_048, 4_096, 8_192, 32_768, 131_072)


def parameter_calculator(start: Decoder, interactive: bool = True) -> View | Clickable:
    """What grows with depth, experts, vocabulary and context: ``start`` with one of them larger at a time, as many experts used as in it.

    With clicks, also a slider for each of the four and the resulting model part by part. The sizes of ``start`` are always among the choices.
    """
    larger = [
        {"layers": 2 * start.layers}, {"experts": 64}, {"vocabulary": 129_280}, {"context": 8_192},
        {"layers": 2 * start.layers, "experts": 64, "vocabulary": 129_280, "context": 8_192},
    ]  # fmt: skip
    static = sizes(one_thing_changed(start, larger), start, f"{start.name}, with one thing changed at a time, then all of them")
    if not interactive:
        return static
    import ipywidgets

    wide = {"style": {"description_width": "6em"}, "layout": {"width": "min(100%, 32em)"}, "continuous_update": False}
    options = {"experts": EXPERTS, "vocabulary": VOCABULARIES, "context": CONTEXTS}
    controls = {"layers": ipywidgets.IntSlider(start.layers, 1, max(LAYERS, start.layers), description="layers", **wide)}
    for name, values in options.items():
        choices = [(f"{value:,}", value) for value in sorted({*values, getattr(start, name)})]
        controls[name] = ipywidgets.SelectionSlider(options=choices, value=getattr(start, name), description=name, **wide)
    shown = ipywidgets.HTML()

    def refresh(_: Any = None) -> None:
        chosen = {name: control.value for name, control in controls.items()}
        used = min(start.experts_used, chosen["experts"])
        model = replace(start, name="your model", experts_used=used, **chosen)
        both = sizes({start.name: start, model.name: model}, start)
        shown.value = both.html + part_table(model, start).html

    for control in controls.values():
        control.observe(refresh, names="value")
    refresh()
    return Clickable(ipywidgets.VBox([*controls.values(), shown]), static)
