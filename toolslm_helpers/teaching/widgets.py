"""Views that someone can click through: core ipywidgets, and only where INTERACTIVE is true. Without it, the views stand still.

A widget never holds a fact that the static view does not show: papermill and nbconvert keep the views and drop the widgets.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolslm_helpers.teaching import views
from toolslm_helpers.teaching.views import View

if TYPE_CHECKING:
    from ipywidgets import VBox


def step_through(views_in_order: Sequence[View], label: str = "step", interactive: bool = True) -> "View | VBox":
    """A slider over views (step 1, step 2, ...), or the last of them, which holds all that came before, where nobody can click.

    Raises ValueError for no views.
    """
    if not views_in_order:
        raise ValueError("step_through: there is no view to show. Usual cause: an episode without steps.")
    if not interactive:
        return views_in_order[-1]
    import ipywidgets

    slider = ipywidgets.IntSlider(value=1, min=1, max=len(views_in_order), description=label)
    return _linked(slider, lambda number: views_in_order[number - 1])


def step_through_episode(episode: Any, interactive: bool = True) -> "View | VBox":
    """One episode, step after step; the whole of it where nobody can click."""
    stages = [views.episode(episode, until=k) for k in range(1, len(episode.steps) + 1)]
    return step_through(stages or [views.episode(episode)], interactive=interactive)


def choose(
    options: Mapping[str, Any], render: Callable[[Any], View], label: str = "choose", interactive: bool = True
) -> "View | VBox":
    """A menu of names; ``render`` makes the view of what is chosen (it may run a model: it is called once a choice).

    Without clicks the first option is shown. Raises ValueError for no options.
    """
    if not options:
        raise ValueError("choose: there is no option to choose from.")
    first = next(iter(options))
    if not interactive:
        return render(options[first])
    import ipywidgets

    layout = {"width": "max-content", "max_width": "100%"}
    menu = ipywidgets.Dropdown(options=list(options), value=first, description=label, layout=layout)
    return _linked(menu, lambda name: render(options[name]))


def _linked(control: Any, view_of: Callable[[Any], View]) -> "VBox":
    """A control above the view that it selects."""
    import ipywidgets

    shown = ipywidgets.HTML(view_of(control.value).html)

    def refresh(change: Mapping[str, Any]) -> None:
        shown.value = view_of(change["new"]).html

    control.observe(refresh, names="value")
    return ipywidgets.VBox([control, shown])
