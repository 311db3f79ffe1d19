"""Points beyond the end of an axis, drawn as triangles at its edge and counted, so that none vanishes."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.pages.captions import with_noun
from pipeline.pages.figure_style import GREY

Floats = NDArray[np.floating]

_MARKS = {"x": ("<", ">"), "y": ("v", "^")}
_ARROWS = {"x": ("◀", "▶"), "y": ("▼", "▲")}
_SIZE = 6  # points


def inside(values: Floats, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Whether each value lies between the limits, (n,)."""
    return (values >= limits[0]) & (values <= limits[1])


def draw_beyond(
    axes: Axes,
    x: Floats,
    y: Floats,
    limits: tuple[float, float],
    *,
    along: Literal["x", "y"],
    colour: str = GREY,
) -> None:
    """Draw the points that lie beyond the limits of one axis as triangles at its edge; x, y : (n,)."""
    values = x if along == "x" else y
    for edge, mark, chosen in zip(limits, _MARKS[along], (values < limits[0], values > limits[1]), strict=True):
        if chosen.any():  # an empty line that may leave the axes spoils matplotlib's layout
            at_edge = np.full(int(chosen.sum()), edge)
            place = (at_edge, y[chosen]) if along == "x" else (x[chosen], at_edge)
            axes.plot(*place, mark, color=colour, markersize=_SIZE, markeredgewidth=0, clip_on=False, zorder=4)


def count_beyond(
    axes: Axes,
    values: Floats | Sequence[float],
    limits: tuple[float, float],
    *,
    along: Literal["x", "y"],
    noun: str = "task",
) -> None:
    """Write next to the end of an axis how many values lie beyond it; nothing if none does."""
    values = np.asarray(values)
    numbers = int((values < limits[0]).sum()), int((values > limits[1]).sum())
    places: tuple[dict[str, Any], dict[str, Any]] = (
        ({"x": 0.0, "y": 1.01, "ha": "left", "va": "bottom"}, {"x": 1.0, "y": 1.01, "ha": "right", "va": "bottom"})
        if along == "x"
        else ({"x": 0.01, "y": 0.02, "ha": "left", "va": "bottom"}, {"x": 0.01, "y": 0.98, "ha": "left", "va": "top"})
    )
    for n, place, arrow in zip(numbers, places, _ARROWS[along], strict=True):
        if n:
            text = f"{arrow} {with_noun(n, noun)} beyond"
            axes.text(s=text, transform=axes.transAxes, color=GREY, fontsize=9, **place)
