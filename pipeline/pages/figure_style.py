"""How figures look and become files: one style, the same bytes for the same data."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito 2008: distinct for people with any kind of colour vision; no yellow, which is faint on white
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY = "#767676"
SIDE_COLOUR = {"local": VERMILLION, "federated": BLUE}
SIDE_LINE = {"local": (0, (5, 2)), "federated": "solid"}  # so that a print without colour can be read too
SIDE_MARK = {"local": "s", "federated": "o"}
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, "#000000")
LINES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MANY = 2000  # points beyond which an SVG holds them as an image

_DPI = 150
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is there
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",  # looks the same where the font is missing
    "text.parse_math": False,  # a partner's name may hold a dollar sign
    "figure.constrained_layout.w_pad": 0.1,  # inches: the last tick of one panel next to the first of the next
    "figure.dpi": _DPI,
    "savefig.dpi": _DPI,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save in here: this style, not that of the machine's matplotlibrc."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(n_panels: int = 1, *, height: float = 3.6, width: float = 7.2) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, n_panels, squeeze=False)
    return figure, list(axes[0])


def rendered(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure as `png` and `svg`; no date, no version, and ids that depend on the content alone."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": "hocket"})
    figure.set_layout_engine("none")  # stays where it is: finding places costs more than drawing
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "hocket"})
    return {"png": png.getvalue(), "svg": svg.getvalue()}
