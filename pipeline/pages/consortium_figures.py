"""The figures of the consortium's page, which compare the partners."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.pages.figure_style import BLUE, CYCLE, GREY, LINES, SIDE_COLOUR, SIDE_MARK, new_figure
from pipeline.report.metrics import LABELS, SHORT, SIDES
from pipeline.report.schema import Curve
from pipeline.report.shareable_schema import SharedComparison, SharedDomain

_ROW = 0.36  # inches of height for a partner
_FEW_ROUNDS = 30  # with more rounds, points have no marks
_LEGEND_ROWS = 12  # partners in a column of the legend

Floats = NDArray[np.float64]


def draw_partners(names: Sequence[str], changes: Mapping[str, Sequence[SharedComparison | None]]) -> Figure:
    """Mean change and interval, a row per partner, a panel per metric; a dash for a partner that shares none."""
    figure, panels = new_figure(len(changes), height=1.2 + _ROW * max(len(names), 2))
    for axes, (metric, of_partners) in zip(panels, changes.items(), strict=True):
        for place, each in enumerate(of_partners):
            if each is None:
                axes.text(0.5, place, "–", color=GREY, ha="center", va="center", transform=axes.get_yaxis_transform())  # noqa: RUF001
                continue
            if each.interval_95:
                axes.plot(each.interval_95, [place] * 2, color=BLUE, linewidth=2.4, solid_capstyle="butt")
            axes.plot(each.change, place, "o", color=BLUE, markersize=7, markeredgecolor="white")
        axes.axvline(0, color="black", linewidth=0.9)
        axes.set_yticks(range(len(names)), names if axes is panels[0] else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(f"change of {SHORT[metric]}")
    return figure


def draw_all_changes(means: Mapping[str, Floats], metric: str) -> Figure:
    """Cumulative distribution of changes, from means of groups of tasks; a line per partner."""
    figure, (axes,) = new_figure()
    for (name, values), style in zip(means.items(), _styles(len(means)), strict=True):
        share = (np.arange(values.size) + 0.5) / values.size
        axes.plot(values, share, marker="o", markersize=4, label=name, **style)
    axes.axvline(0, color="black", linewidth=0.9)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"change of {SHORT[metric]} per task, federated minus strongest local (means of groups of tasks)")
    axes.set_ylabel("share of tasks at or below")
    figure.legend(loc="outside right upper", ncols=_columns(len(means)))
    return figure


def draw_all_learning(curves: Mapping[str, Curve], metric: str) -> Figure:
    """Validation scores by round, a line per partner, and a faint line for its network without federation."""
    figure, (axes,) = new_figure()
    for (name, sides), style in zip(curves.items(), _styles(len(curves)), strict=True):
        for side in SIDES:
            if points := sides.of(side):
                rounds, values = np.array(points, dtype=np.float64).T
                is_federated = side == "federated"
                mark = "o" if is_federated and len(points) <= _FEW_ROUNDS else None
                kind: dict[str, Any] = style | ({} if is_federated else {"alpha": 0.35, "linewidth": 1.4})
                axes.plot(rounds, values, marker=mark, markersize=4, label=name if is_federated else None, **kind)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel("round")
    axes.set_ylabel(f"{SHORT[metric]}, validation fold")
    figure.legend(loc="outside right upper", ncols=_columns(len(curves)))
    return figure


def draw_domains(domains: Mapping[str, SharedDomain], axis: str) -> Figure:
    """Mean efficiency or width of both models, joined by a line, a row per partner."""
    figure, (axes,) = new_figure(height=1.5 + _ROW * max(len(domains), 2))
    for place, domain in enumerate(domains.values()):
        axes.plot([domain.local, domain.federated], [place] * 2, color=GREY, linewidth=1.2, zorder=1)
    for side in SIDES:
        values = [domain.local if side == "local" else domain.federated for domain in domains.values()]
        axes.plot(
            values, range(len(domains)), SIDE_MARK[side], color=SIDE_COLOUR[side], markersize=7, label=LABELS[side]
        )
    axes.set_yticks(range(len(domains)), list(domains))
    axes.set_ylim(len(domains) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(axis)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _styles(n: int) -> list[dict[str, Any]]:
    """Colour and dash of each of n lines; the first 28 all differ."""
    return [{"color": CYCLE[i % len(CYCLE)], "linestyle": LINES[i // len(CYCLE) % len(LINES)]} for i in range(n)]


def _columns(n: int) -> int:
    return 1 + (n - 1) // _LEGEND_ROWS
