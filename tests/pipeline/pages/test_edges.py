"""Points beyond an axis: each is drawn once, inside or at the edge, and those at the edge are counted."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes

from pipeline.pages.edges import count_beyond, draw_beyond, inside
from pipeline.pages.figure_style import new_figure
from pipeline.pages.figures import SizeBin, draw_groups, draw_scatter, draw_sizes
from pipeline.report.schema import GroupChange

LIMITS = (-1.0, 1.5)


def triangles(axes: Axes) -> dict[str, np.ndarray]:
    """Coordinates of the triangles of each direction, (n, 2)."""
    return {
        str(line.get_marker()): np.asarray(line.get_xydata()) for line in axes.lines if str(line.get_marker()) in "<>^v"
    }


def texts(axes: Axes) -> list[str]:
    """What is written inside the axes."""
    return [text.get_text() for text in axes.texts]


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.sampled_from(["x", "y"]))
def test_no_point_vanishes(values: list[float], along: Literal["x", "y"]):
    """Those inside, and the triangles of both edges, are all of them; the triangles lie on the edge."""
    points, others = np.array(values), np.arange(len(values), dtype=np.float64)
    _, (axes,) = new_figure()
    x, y = (points, others) if along == "x" else (others, points)
    draw_beyond(axes, x, y, LIMITS, along=along)
    count_beyond(axes, points, LIMITS, along=along)
    at_edges = [triangles(axes).get(mark, np.zeros((0, 2))) for mark in ("<>" if along == "x" else "v^")]
    assert inside(points, LIMITS).sum() + sum(map(len, at_edges)) == len(values)
    for at_edge, edge in zip(at_edges, LIMITS, strict=True):
        assert (at_edge[:, "xy".index(along)] == edge).all()
    numbers = [len(at_edge) for at_edge in at_edges if len(at_edge)]
    assert [f" {n} task" in text for n, text in zip(numbers, texts(axes), strict=True)] == [True] * len(numbers)


@pytest.mark.parametrize("outlier", [0.9, -0.9])
def test_the_best_of_all_is_not_missing(outlier: float):
    """A task far from all others is a triangle at the edge of both figures of changes."""
    change = np.append(np.linspace(-0.02, 0.02, 40), outlier)
    group = GroupChange(name="OTHER", n_tasks=41, change=0.01, interval_95=(-0.01, 0.03))
    drawn = (
        draw_groups([group], "average_precision", points={"OTHER": change}),
        draw_sizes(np.full(41, 100), change, [SizeBin(50, 200, group)], "average_precision"),
    )
    for figure in drawn:
        (axes,) = figure.axes
        assert sum(len(points) for points in triangles(axes).values()) == 1
        assert [text for text in texts(axes) if "1 task beyond" in text]


def test_scores_below_the_floor_are_counted():
    """R2 far below -1."""
    scores = {"r2": (np.array([0.5, -7.0, 0.2]), np.array([0.6, 0.1, -3.0]))}
    (axes,) = draw_scatter(scores).axes
    np.testing.assert_array_equal(triangles(axes)["v"], [[-1.0, 0.1], [0.2, -1.0]])
    assert [text for text in texts(axes) if "2 tasks beyond" in text]
