"""The shareable summary of a report: no task, no id, no structure, no single score, no count below five.

Only what is named here is shared. Scores become means over five tasks or more, sorted changes become means of tenths,
and numbers of compounds and labels become shares. Floats are rounded, so that subtracting means reveals nothing.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.report.disclosure import (
    FEWEST,
    HIDDEN,
    WITHHELD,
    cells,
    group_means,
    group_small,
    hide_small,
    join_small_bins,
    rounded,
    spaced_counts,
)
from pipeline.report.metrics import CLASSIFICATION, REGRESSION, TaskKind
from pipeline.report.parts import Sides
from pipeline.report.rows import Changes, changes, domain_by_task, size_label
from pipeline.report.schema import (
    AnyRow,
    ComparisonOverTasks,
    Comparisons,
    Curve,
    DomainSummary,
    InputTable,
    Learning,
    Points,
    PreparationCounts,
    RegressionComparisons,
    ReliabilityCurves,
    ReliabilityPoint,
    Report,
)
from pipeline.report.shareable_schema import (
    Count,
    Histogram,
    ShareableSummary,
    SharedComparison,
    SharedComparisons,
    SharedConclusion,
    SharedDomain,
    SharedFold,
    SharedGroup,
    SharedPreparation,
    SharedRegressionComparisons,
    Views,
)

OTHER_TYPES, OTHER_REASONS = "other types", "other reasons"
_N_BINS, _N_COARSE_BINS, _MANY_TASKS = 10, 5, 500  # of a histogram, coarse for fewer tasks
_FEWEST_LABELS = 20  # of a point on a calibration curve
_SHARE_DIGITS = 3


def shareable(report: Report) -> ShareableSummary:
    """Make the summary for the consortium; equal reports give equal summaries."""
    regression = report.summary.regression
    exact = ShareableSummary(
        partner=report.partner,
        federation=report.federation,
        plan=report.plan,
        trunk=report.trunk,
        n_rounds=report.n_rounds,
        local_steps=report.local_steps,
        classification=_views(report, CLASSIFICATION),
        regression=_views(report, REGRESSION) if regression else None,
        summary=SharedComparisons(
            **_comparisons(report.summary, CLASSIFICATION),
            regression=SharedRegressionComparisons(**_comparisons(regression, REGRESSION)) if regression else None,
        ),
        verdict=SharedConclusion(**dict(report.verdict)),  # the partner's own, unchanged
        data=_preparation(report.data),
    )
    return ShareableSummary.model_validate_json(json.dumps(rounded(exact.to_json())))


def _comparisons(comparisons: Comparisons | RegressionComparisons, kind: TaskKind) -> dict[str, Any]:
    """Counts and means over the tasks scored by each metric; none over fewer than five, close to single scores.

    Metrics whose numbers of scored tasks differ by fewer than five show the fewest of these.
    """
    n_tasks, n_scored = comparisons.n_tasks, comparisons.n_judged
    counts: dict[str, Any] = {"n_tasks": _shown_count(n_tasks), "n_judged": _shown_count(n_scored)}
    if n_scored < FEWEST:
        return counts | dict.fromkeys(kind.metrics)
    compared = {metric: comparisons.comparison(metric) for metric in kind.metrics}
    shown_scored = spaced_counts({metric: each.n_judged for metric, each in compared.items() if each})
    if any(0 < n_tasks - n < FEWEST for n in (n_scored, *shown_scored.values())):
        counts["n_tasks"] = WITHHELD
    return counts | {
        metric: _comparison(each, shown_scored[metric]) if each else None for metric, each in compared.items()
    }


def _comparison(comparison: ComparisonOverTasks, n_scored: int) -> SharedComparison:
    """The shared part of a comparison, without intervals over few assays, p-values of small counts, and medians.

    Such an interval may end at one assay's scores, such a p-value reveals the counts, and a median is one task's score.
    """
    shown = hide_small({name: getattr(comparison, name) for name in ("n_better", "n_worse", "n_equal")})
    enough = comparison.n_assays >= FEWEST
    no_small = enough and min(comparison.n_better, comparison.n_worse) >= FEWEST
    return SharedComparison(
        local=comparison.local,
        federated=comparison.federated,
        change=comparison.change,
        riptop=comparison.riptop,
        p_tasks=comparison.p_tasks if no_small else None,
        p_tasks_holm=comparison.p_tasks_holm if no_small else None,
        p_assays=comparison.p_assays if no_small else None,
        p_assays_holm=comparison.p_assays_holm if no_small else None,
        interval_95=comparison.interval_95 if enough else None,
        n_judged=n_scored,
        n_assays=_shown_count(comparison.n_assays),
        n_better=shown["n_better"],
        n_worse=shown["n_worse"],
        n_equal=shown["n_equal"],
    )


def _shown_count(n: int) -> Count:
    return n if n >= FEWEST else HIDDEN


# ------------------------------------------------------------------------------------------------------- for figures


def _views(report: Report, kind: TaskKind) -> Views:
    """The data for the figures of one kind of task."""
    rows = report.rows(kind)
    scores = {metric: changes(rows, metric) for metric in kind.scores}
    of_main = scores[kind.metrics[0]]
    comparisons = report.comparisons(kind)
    return Views(
        changes={metric: group_means(of_metric.change) for metric, of_metric in scores.items()},
        histograms={metric: _histogram(of_metric) for metric, of_metric in scores.items()},
        sizes=_sizes(of_main, report.seed),
        types=_types(of_main, report.seed),
        learning=_curves(report.learning, kind),
        calibration=_calibration(report.reliability(kind)),
        domain=_domain(comparisons.domain if comparisons else None, rows, kind),
    )


def _histogram(of_metric: Changes) -> Histogram:
    """Number of tasks by local and federated score in even bins of 0 to 1; scores below 0 (R²) count in the lowest."""
    local, federated = (np.clip(scores, 0, 1) for scores in (of_metric.local, of_metric.federated))
    n_bins = _N_BINS if local.size >= _MANY_TASKS else _N_COARSE_BINS
    return Histogram(n_bins=n_bins, cells=cells(local, federated, np.linspace(0, 1, n_bins + 1)))


def _sizes(of_main: Changes, seed: int) -> list[SharedGroup]:
    members = of_main.by_size()
    return [
        _group(of_main, size_label(first, last), members[first : last + 1], seed)
        for first, last in join_small_bins(members)
    ]


def _types(of_main: Changes, seed: int) -> list[SharedGroup]:
    members = of_main.by_type()
    groups = group_small({name: len(tasks) for name, tasks in members.items()}, OTHER_TYPES)
    return [_group(of_main, name, [members[each] for each in names], seed) for name, names in groups.items()]


def _group(of_main: Changes, name: str, members: Sequence[NDArray[np.int64]], seed: int) -> SharedGroup:
    return SharedGroup(**dict(of_main.of_group(name, np.concatenate(members), seed)))


def _curves(learning: Learning, kind: TaskKind) -> dict[str, Curve]:
    return learning.curves(kind) if learning.n_tasks.of(kind) >= FEWEST else {}


def _calibration(reliability: ReliabilityCurves | None) -> Points:
    """(predicted, observed) of the points with many labels of several tasks, rounded so that none can be counted."""
    if reliability is None:
        return Points(local=[], federated=[])
    return Points(local=_coarse(reliability.local), federated=_coarse(reliability.federated))


def _coarse(points: Sequence[ReliabilityPoint]) -> list[tuple[float, float]]:
    return [
        (round(point.predicted, 2), round(point.observed, 2))
        for point in points
        if point.n_entries >= _FEWEST_LABELS and point.n_tasks >= FEWEST
    ]


def _domain(summary: DomainSummary | None, rows: Sequence[AnyRow], kind: TaskKind) -> SharedDomain | None:
    if not summary or summary.n_tasks < FEWEST:
        return None
    by_task = domain_by_task(rows, kind)
    return SharedDomain(
        measure=summary.measure,
        n_tasks=summary.n_tasks,
        local=summary.local,
        federated=summary.federated,
        change=summary.change,
        interval_95=summary.interval_95 if summary.n_assays >= FEWEST else None,
        n_assays=_shown_count(summary.n_assays),
        coverage=summary.coverage,
        groups=Sides[list[float]](local=group_means(by_task["local"]), federated=group_means(by_task["federated"])),
    )


# --------------------------------------------------------------------------------------------------------- preparation


def _preparation(data: PreparationCounts) -> SharedPreparation:
    """Share of each table's rows that were rejected, by reason, and share of compounds and labels in each fold."""
    n_compounds, n_labels = sum(fold.compounds for fold in data.folds), sum(fold.labels for fold in data.folds)
    return SharedPreparation(
        rejected={name: _rejected(table) for name, table in data.tables.items()},
        folds=[
            SharedFold(
                fold=fold.fold, compounds=_share(fold.compounds, n_compounds), labels=_share(fold.labels, n_labels)
            )
            for fold in data.folds
        ],
    )


def _rejected(table: InputTable) -> dict[str, float]:
    """Shares of the table's rows by reason of rejection; reasons with fewer than five rows are joined."""
    groups = group_small(table.rejected, OTHER_REASONS)
    return {
        name: _share(sum(table.rejected[reason] for reason in together), table.rows)
        for name, together in groups.items()
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, _SHARE_DIGITS) if whole else 0.0
