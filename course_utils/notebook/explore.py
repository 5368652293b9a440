"""Pictures with a slider that degrade to a static sheet (stored outputs, pages, slides)."""

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils.plots import picture, show_figure
from course_utils.progress import static_mode


def explore(
    draw: Callable[[Any, Axes], None],
    name: str,
    values: Sequence[Any],
    static: Sequence[Any],
    alt: str,
    size: tuple[float, float] = (3.2, 3.0),
) -> None:
    """Show ``draw(value, ax)`` side by side for the ``static`` values; live, add a slider over ``values``.

    Parameters
    ----------
    draw : callable
        Draws one value into the axes that it is given.
    name : str
        What the value is, e.g. ``"sigma"``; it stands beside the slider and over each picture.
    values : sequence
        Positions of the slider, in order.
    static : sequence
        The values on the sheet that pages, slides and stored outputs show.
    alt : str
        What a reader sees on the sheet, in a sentence.
    size : (float, float)
        Width and height of one picture in inches.
    """
    fig, axes = plt.subplots(1, len(static), figsize=(size[0] * len(static), size[1]), squeeze=False)
    for value, ax in zip(static, axes.flat, strict=True):
        draw(value, ax)
        ax.set_title(f"{name} = {value}")
    show_figure(fig, alt)
    if not static_mode():
        from IPython.display import display

        display(slider(draw, name, values, alt, size))


def slider(draw: Callable[[Any, Axes], None], name: str, values: Sequence[Any], alt: str, size: tuple[float, float]):
    """The live half of `explore`: a widget that redraws one large picture when its slider moves."""
    import ipywidgets as widgets

    control = widgets.SelectionSlider(
        options=list(values), value=values[len(values) // 2], description=name, continuous_update=False
    )
    screen = widgets.HTML()  # an Image widget has no alt text, and fails in the browser if it is given a tooltip

    def redraw(_=None) -> None:
        fig, ax = plt.subplots(figsize=(1.8 * size[0], 1.8 * size[1]))
        draw(control.value, ax)
        ax.set_title(f"{name} = {control.value}")
        shown = picture(fig, f"{alt} ({name} = {control.value})")
        data = base64.b64encode(shown.data).decode()
        screen.value = f'<img alt="{html.escape(shown.alt)}" src="data:{shown.mime};base64,{data}">'

    control.observe(redraw, names="value")
    redraw()
    return widgets.VBox([control, screen])
