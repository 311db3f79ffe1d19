"""The figures of a report. Each takes only the numbers that it shows.

A figure is drawn from a partner's own tasks or, on the shareable page, from groups of five tasks or more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from pipeline.pages.captions import with_noun
from pipeline.pages.edges import count_beyond, draw_beyond, inside
from pipeline.pages.figure_style import BLUE, CYCLE, GREY, LINES, MANY, SIDE_COLOUR, SIDE_LINE, SIDE_MARK, new_figure
from pipeline.report.metrics import LABELS, LONG, REGRESSION, SHORT, SIDES, Side, TaskKind
from pipeline.report.schema import Curve, DomainSummary, GroupChange, Points
from pipeline.report.shareable_schema import Histogram, SharedDomain

Floats = NDArray[np.float64]

_METRIC_COLOURS = (CYCLE[2], CYCLE[3])
_FEW_ROUNDS = 30  # with more rounds, points have no marks
_REACH = 5  # interquartile ranges beyond the quartiles at which an axis of changes ends
_DECADES = tuple(10**power for power in range(8))
_SIZE_TICKS = tuple(digit * decade for decade in _DECADES for digit in (1, 2, 5))
_MOST_TICKS = 9
_DIFFERENCE = "federated minus strongest local"
_NETWORK: dict[Side, str] = {"local": "network without federation", "federated": "network with federation"}
_ROW = 0.42  # inches of height for a row of names


def draw_changes(changes: Mapping[str, Floats], *, grouped: bool) -> Figure:
    """Cumulative distribution of the tasks' changes, a line per metric; grouped : each value is a group's mean."""
    figure, (axes,) = new_figure()
    for (metric, of_metric), colour, line in zip(changes.items(), _METRIC_COLOURS, LINES, strict=False):
        values = np.sort(of_metric)
        if grouped:
            share = (np.arange(values.size) + 0.5) / values.size
            axes.plot(values, share, color=colour, linestyle=line, marker="o", markersize=5, label=SHORT[metric])
        else:
            axes.ecdf(values, color=colour, linestyle=line, label=SHORT[metric])
    _zero_line(axes)
    every = np.concatenate(list(changes.values()))
    limits = change_limits(every)
    axes.set_xlim(*limits)
    count_beyond(axes, every, limits, along="x", noun="mean" if grouped else "change")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"change per task, {_DIFFERENCE}" + (" (means of groups of tasks)" if grouped else ""))
    axes.set_ylabel("share of tasks at or below")
    axes.legend(loc="lower right")
    return figure


def draw_scatter(scores: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    """Federated against strongest local score, a panel per metric, a point per task.

    Tasks with a score below -1 are triangles on the border.
    """
    figure, panels = new_figure(len(scores), height=4.0)
    for axes, (metric, (local, federated)) in zip(panels, scores.items(), strict=True):
        low = score_floor(np.concatenate([local, federated]))
        within = (local >= low) & (federated >= low)
        axes.scatter(
            local[within],
            federated[within],
            s=float(np.clip(6000 / max(local.size, 1), 5, 26)),
            color=BLUE,
            alpha=_faint(local.size),
            linewidths=0,
            rasterized=local.size > MANY,
            clip_on=False,
        )
        _square(axes, metric, low)
        if not within.all():
            outside = np.maximum(np.array([local, federated])[:, ~within], low)
            axes.plot(*outside, "v", color=BLUE, markersize=6, markeredgewidth=0, clip_on=False)
            count_beyond(axes, np.where(within, low, low - 1), (low, 1.0), along="y")
    return figure


def draw_histograms(histograms: Mapping[str, Histogram]) -> Figure:
    """Number of tasks by local and federated score, a panel per metric; cells without a count stay white."""
    figure, panels = new_figure(len(histograms), height=4.0)
    largest = max((cell[2] for histogram in histograms.values() for cell in histogram.cells), default=1)
    for axes, (metric, histogram) in zip(panels, histograms.items(), strict=True):
        edges = np.linspace(0, 1, histogram.n_bins + 1)
        table = np.full((histogram.n_bins, histogram.n_bins), np.nan)
        for column, row, count in histogram.cells:
            table[row, column] = count
        mesh = axes.pcolormesh(edges, edges, table, cmap="cividis_r", vmin=0, vmax=largest, edgecolors="white", lw=0.4)
        _square(axes, metric, 0.0)
    figure.colorbar(mesh, ax=panels, label="tasks", shrink=0.8, ticks=MaxNLocator(5, integer=True))
    return figure


@dataclass(frozen=True, slots=True)
class SizeBin:
    """The mean change of the tasks that have from `low` up to `high` labels."""

    low: int
    high: int
    change: GroupChange


def draw_sizes(n_labels: NDArray[np.int64], change: Floats, bins: Sequence[SizeBin], metric: str) -> Figure:
    """Change by number of labels, a point per task, and the means of bins with their intervals."""
    figure, (axes,) = new_figure()
    bounds = [bound for part in bins for bound in part.change.interval_95 or ()]
    low, high = change_limits(change, least=np.array(bounds))
    within = inside(change, (low, high))
    draw_beyond(axes, n_labels.astype(np.float64), change, (low, high), along="y")
    count_beyond(axes, change, (low, high), along="y")
    axes.scatter(
        n_labels[within],
        change[within],
        s=14,
        color=GREY,
        alpha=_faint(change.size),
        linewidths=0,
        rasterized=change.size > MANY,
    )
    for i, part in enumerate(bins):
        span = [max(part.low, 1), part.high]
        if part.change.interval_95:
            axes.fill_between(span, *np.array([part.change.interval_95] * 2).T, color=BLUE, alpha=0.22, linewidth=0)
        axes.plot(span, [part.change.change] * 2, color=BLUE, label="mean and 95 % interval" if i == 0 else None)
    axes.axhline(0, color="black", linewidth=0.9)
    axes.set_xscale("log")
    low_n, high_n = 0.8 * n_labels.min(), 1.25 * n_labels.max()
    ticks = [tick for tick in _SIZE_TICKS if low_n <= tick <= high_n]
    axes.set_xticks(ticks if len(ticks) <= _MOST_TICKS else [tick for tick in _DECADES if low_n <= tick <= high_n])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(max(low_n, 1), high_n)
    axes.set_ylim(low, high)
    axes.set_xlabel("labels of the task, all folds (logarithmic)")
    axes.set_ylabel(f"change of {SHORT[metric]}")
    axes.legend(loc="best")
    return figure


def draw_groups(
    groups: Sequence[GroupChange],
    metric: str,
    *,
    points: Mapping[str, Floats] | None = None,
) -> Figure:
    """Mean change of named groups with their intervals, a row each; faint points for tasks if they may be shown."""
    figure, (axes,) = new_figure(height=1.1 + _ROW * max(len(groups), 2))
    shown = [group.change for group in groups] + [x for group in groups for x in group.interval_95 or ()]
    every = np.concatenate([*(points or {}).values(), np.array(shown)])
    limits = change_limits(every, least=np.array(shown))
    for place, group in enumerate(groups):
        _draw_tasks(axes, (points or {}).get(group.name, np.zeros(0)), place, limits)
        if group.interval_95:
            axes.plot(group.interval_95, [place] * 2, color=BLUE, solid_capstyle="butt", linewidth=2.4)
        axes.plot(group.change, place, "o", color=BLUE, markersize=7, markeredgecolor="white")
    _zero_line(axes)
    axes.set_xlim(*limits)
    count_beyond(axes, every, limits, along="x")
    names = [f"{group.name}  ({with_noun(group.n_tasks, 'task')})" for group in groups]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"change of {SHORT[metric]}, {_DIFFERENCE}: mean and 95 % interval")
    return figure


def _draw_tasks(axes: Axes, change: Floats, place: int, limits: tuple[float, float]) -> None:
    """Faint points for the tasks of a group's row, those beyond the limits as triangles."""
    spread = place + (np.arange(change.size) * 0.618034) % 1 * 0.5 - 0.25  # golden ratio: even without random numbers
    within = inside(change, limits)
    kind: dict[str, Any] = {"color": GREY, "alpha": _faint(change.size), "rasterized": change.size > MANY}
    axes.scatter(change[within], spread[within], s=9, linewidths=0, **kind)
    draw_beyond(axes, change, spread, limits, along="x")


def draw_learning(curves: Mapping[str, Curve]) -> Figure:
    """Scores of the network on the validation fold by round, a panel per score, a line without and with federation."""
    figure, panels = new_figure(len(curves), height=3.2, width=3.1 * max(len(curves), 2) + 1.0)
    for axes, (name, sides) in zip(panels, curves.items(), strict=True):
        for side in SIDES:
            if points := sides.of(side):
                mark = SIDE_MARK[side] if len(points) <= _FEW_ROUNDS else None
                rounds, values = np.array(points, dtype=np.float64).T
                axes.plot(
                    rounds,
                    values,
                    color=SIDE_COLOUR[side],
                    linestyle=SIDE_LINE[side],
                    marker=mark,
                    markersize=4,
                    label=_NETWORK[side],
                )
        axes.set_title(_short(name))
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    panels[0].set_ylabel("validation fold, mean over tasks")
    figure.legend(*_first_handles(panels), loc="outside lower center", ncols=2)
    return figure


def draw_calibration(points: Points, counts: Points | None, kind: TaskKind) -> Figure:
    """Observed against predicted, a line per model; with counts, a second panel with the number of labels.

    points, counts : of both models, (n, 2): predicted and observed; predicted and number of labels
    """
    figure, panels = new_figure(2 if counts else 1, height=3.8, width=7.2 if counts else 4.6)
    axes = panels[0]
    of_values = kind == REGRESSION
    curves = {side: np.array(points.of(side), dtype=np.float64).reshape(-1, 2) for side in SIDES}
    low, high = (-1.0, 1.0) if of_values else (0.0, 1.0)
    if of_values and any(curve.size for curve in curves.values()):
        low, high = (float(bound(np.concatenate(list(curves.values())))) for bound in (np.min, np.max))
    pad = 0.04 * (high - low)
    axes.plot([low, high], [low, high], color="black", linewidth=0.9, linestyle="dotted", label="perfect")
    for side, curve in curves.items():
        axes.plot(
            *curve.T,
            color=SIDE_COLOUR[side],
            linestyle=SIDE_LINE[side],
            marker=SIDE_MARK[side],
            markersize=5,
            label=LABELS[side],
        )
    axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal")
    unit = "in deviations from the task's mean" if of_values else ""
    axes.set_xlabel(f"predicted value,\n{unit}" if of_values else "predicted probability of active")
    axes.set_ylabel(f"measured value,\n{unit}" if of_values else "share found active")
    axes.legend(loc="upper left")
    if counts:
        _draw_counts(panels[1], counts, "values" if of_values else "labels")
    return figure


def _draw_counts(axes: Axes, counts: Points, entries: str) -> None:
    for side in SIDES:
        predicted, n = np.array(counts.of(side), dtype=np.float64).reshape(-1, 2).T
        axes.plot(
            predicted, n, color=SIDE_COLOUR[side], linestyle=SIDE_LINE[side], marker=SIDE_MARK[side], markersize=5
        )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("predicted, mean of the point")
    axes.set_ylabel(f"{entries} in the point")


def draw_domain(
    by_task: Mapping[Side, Floats], means: DomainSummary | SharedDomain, axis: str, *, grouped: bool
) -> Figure:
    """Cumulative distribution over tasks of efficiency or interval width, a line per model with its mean."""
    figure, (axes,) = new_figure()
    for side in SIDES:
        values = np.sort(by_task[side])
        kind: dict[str, Any] = {"color": SIDE_COLOUR[side], "linestyle": SIDE_LINE[side]}
        label = f"{LABELS[side]}, mean {means.local if side == 'local' else means.federated:.3f}"
        if grouped:
            share = (np.arange(values.size) + 0.5) / values.size
            axes.plot(values, share, marker=SIDE_MARK[side], markersize=5, label=label, **kind)
        else:
            axes.ecdf(values, label=label, **kind)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(axis + (" (means of groups of tasks)" if grouped else ""))
    axes.set_ylabel("share of tasks at or below")
    axes.legend(loc="lower right")
    return figure


def draw_folds(folds: Sequence[int], amounts: Mapping[str, Sequence[float]]) -> Figure:
    """Share of compounds, labels and values in each fold, as bars; the line is an even share.

    folds : their numbers; amounts : by name, of each fold
    """
    figure, (axes,) = new_figure(height=3.0)
    width = 0.8 / len(amounts)
    for i, ((name, of_folds), colour) in enumerate(zip(amounts.items(), (BLUE, CYCLE[5], CYCLE[2]), strict=False)):
        total = sum(of_folds) or 1
        places = np.arange(len(folds)) + (i - (len(amounts) - 1) / 2) * width
        axes.bar(places, [100 * amount / total for amount in of_folds], width=0.92 * width, color=colour, label=name)
    axes.axhline(100 / len(folds), color="black", linewidth=0.9, linestyle="dotted")
    axes.set_xticks(range(len(folds)), [f"fold {fold}" for fold in folds])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("share, %")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def change_limits(change: Floats, least: Floats | None = None) -> tuple[float, float]:
    """Limits of an axis of changes: zero, all values except outliers, all of `least`, and a margin."""
    if not change.size:
        return -0.1, 0.1
    low, high = np.percentile(change, [25, 75])
    reach = _REACH * (high - low)
    inside = change[(change >= low - reach) & (change <= high + reach)]
    needed = np.concatenate([inside, [0.0] if least is None else [0.0, *least]])
    pad = max(0.05 * float(np.ptp(needed)), 0.005)
    return float(needed.min()) - pad, float(needed.max()) + pad


def score_floor(scores: Floats) -> float:
    """Lower limit of an axis of scores: 0, or -1 if a score is below 0."""
    return -1.0 if scores.size and scores.min() < 0 else 0.0


def _square(axes: Axes, metric: str, low: float) -> None:
    axes.plot([low, 1], [low, 1], color="black", linewidth=0.9, linestyle="dotted")
    axes.set(xlim=(low, 1), ylim=(low, 1), aspect="equal", title=SHORT[metric])
    axes.set(xlabel=LABELS["local"], ylabel=LABELS["federated"])
    for x, y, text in ((0.04, 0.96, "federated better"), (0.96, 0.04, "local better")):
        kind: dict[str, Any] = {"ha": "left" if x < y else "right", "va": "top" if x < y else "bottom"}
        axes.text(x, y, text, transform=axes.transAxes, color=GREY, fontsize=9, style="italic", **kind)


def _zero_line(axes: Axes) -> None:
    axes.axvline(0, color="black", linewidth=0.9)


def _first_handles(panels: Sequence[Axes]) -> tuple[list[Any], list[Any]]:
    """Handles and labels of all panels, each label once."""
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    return list(handles.values()), list(handles)


def _short(name: str) -> str:
    return SHORT.get(name, LONG[name])


def _faint(n_points: int) -> float:
    """Opacity of a point, less for many points."""
    return float(np.clip(20 / max(n_points, 1) ** 0.6, 0.12, 0.6))
