"""The shareable summary of a report: no task, no id, no structure, no single score, no count below five.

Only what is named here is shared. Scores become means over five tasks or more, sorted changes become means of tenths,
and numbers of compounds and labels become shares. Floats are rounded, so that subtracting means reveals nothing.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partners.scores.paired_scores import PairedScores
from partners.settings import ModelKind
from pipeline.report.audit.shared import shared_audit
from pipeline.report.conclusion import draw_conclusion
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
from pipeline.report.picks import shared_picks
from pipeline.report.row_schema import AnyRow
from pipeline.report.rows import (
    Changes,
    changes,
    domain_by_task,
    is_scored,
    network_scores,
    paired_scores,
    size_label,
)
from pipeline.report.schema import (
    ComparisonOverTasks,
    Comparisons,
    Curve,
    DomainSummary,
    InputTable,
    Learning,
    Points,
    PreparationCounts,
    PrivacyBound,
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
    SharedKind,
    SharedPicks,
    SharedPreparation,
    SharedRegressionComparisons,
    Views,
)
from pipeline.report.worth import shared_worth

OTHER_TYPES, OTHER_REASONS = "other types", "other reasons"
OTHER_KINDS: Literal["other models"] = "other models"
# a share of tasks with a head would reveal how many of the catalogue's shared rows a partner holds
_WITHOUT_HEAD: Mapping[ModelKind, ModelKind] = {
    "gaussian process on the trunk and head": "gaussian process on the trunk",
    "forest on the trunk and head": "forest on the trunk",
    "mean on the trunk and head": "mean on the trunk",
}
_N_BINS, _N_COARSE_BINS, _MANY_TASKS = 10, 5, 500  # of a histogram, coarse for fewer tasks
_FEWEST_LABELS = 20  # of a point on a calibration curve
_SHARE_DIGITS = 3


def shareable(report: Report) -> ShareableSummary:
    """Make the summary for the consortium; equal reports give equal summaries."""
    summary = _all_comparisons(report)
    exact = ShareableSummary(
        partner=report.partner,
        federation=report.federation,
        plan=report.plan,
        trunk=report.trunk,
        n_rounds=report.n_rounds,
        local_steps=report.local_steps,
        last_round=report.last_round,
        classification=_views(report, summary, CLASSIFICATION),
        regression=_views(report, summary, REGRESSION) if summary.regression else None,
        summary=summary,
        network=_of_network(report, summary),
        verdict=_conclusion(report, summary),
        picks=_picks(report, summary),
        worth=shared_worth(report.worth) if summary.average_precision else None,
        data=_preparation(report.data),
        audit=shared_audit(report.audit) if report.audit else None,
    )
    summary_of_all = ShareableSummary.model_validate_json(json.dumps(rounded(exact.to_json())))
    if report.privacy is None:
        return summary_of_all
    bound = PrivacyBound(epsilon=report.privacy.epsilon, delta=report.privacy.delta)  # not rounded, delta is small
    return summary_of_all.model_copy(update={"privacy": bound})


def _conclusion(report: Report, summary: SharedComparisons) -> SharedConclusion:
    """The partner's own conclusion, without its p where the summary does not share that."""
    metric = report.verdict.metric
    of_kind = summary.of(REGRESSION if metric in REGRESSION.metrics else CLASSIFICATION)
    told = of_kind.comparison(metric) if of_kind else None
    if told and told.p_assays_holm is not None:
        return SharedConclusion(**dict(report.verdict))
    return SharedConclusion(**dict(draw_conclusion(report.summary, report.partner, tells_p=False)))


def _picks(report: Report, summary: SharedComparisons) -> list[SharedPicks]:
    """Hits among picked compounds, if means over these tasks are shared."""
    told = summary.average_precision
    picks = shared_picks(report.picks, report.tasks, told.n_judged) if told else []
    return [SharedPicks(**dict(each)) for each in picks]


def _all_comparisons(report: Report) -> SharedComparisons:
    regression = report.summary.regression
    return SharedComparisons(
        **_comparisons(report.summary, CLASSIFICATION),
        regression=SharedRegressionComparisons(**_comparisons(regression, REGRESSION)) if regression else None,
    )


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


def _of_network(report: Report, summary: SharedComparisons) -> SharedComparisons:
    """The comparison of the network, with the counts of the main one, by the metrics that `_may_be_shown`."""
    of_main, regression = summary.regression, report.network.summary.regression
    return SharedComparisons(
        **_network_comparisons(report.tasks, report.network.summary, summary, CLASSIFICATION),
        regression=SharedRegressionComparisons(
            **_network_comparisons(report.regression_tasks or (), regression, of_main, REGRESSION)
        )
        if of_main and regression
        else None,
    )


def _network_comparisons(
    rows: Sequence[AnyRow],
    network: Comparisons | RegressionComparisons,
    of_main: SharedComparisons | SharedRegressionComparisons,
    kind: TaskKind,
) -> dict[str, Any]:
    shown: dict[str, Any] = {"n_tasks": of_main.n_tasks, "n_judged": of_main.n_judged}
    for metric in kind.metrics:
        told, compared = of_main.comparison(metric), network.comparison(metric)
        may = told and compared and _may_be_shown(paired_scores(rows, metric), network_scores(rows, metric))
        shown[metric] = _comparison(compared, told.n_judged) if told and compared and may else None
    return shown


def _may_be_shown(main: PairedScores, network: PairedScores) -> bool:
    """Whether the network's means can be shown without revealing, by subtraction, the scores of few tasks.

    Both comparisons need the same scored tasks. And where the network is the chosen model of almost all tasks, a mean
    over all tasks differs from the network's own by the scores of the others, so these must be five or more, or none.
    """
    scored, is_same = main.is_scored, np.array_equal(main.is_scored, network.is_scored)
    pairs = ((main.local, network.local), (main.federated, network.federated))
    n_other = [int((chosen[scored] != of_network[scored]).sum()) for chosen, of_network in pairs]
    return is_same and not any(0 < n < FEWEST for n in n_other)


def _shown_count(n: int) -> Count:
    return n if n >= FEWEST else HIDDEN


# ------------------------------------------------------------------------------------------------------- for figures


def _views(report: Report, summary: SharedComparisons, kind: TaskKind) -> Views:
    """The data for the figures of one kind of task, and its kinds of model."""
    rows, shown = report.rows(kind), summary.of(kind)
    scored = _scored_rows(rows, shown.comparison(kind.metrics[0]) if shown else None, kind.metrics[0])
    scores = {metric: changes(rows, metric) for metric in kind.scores}
    of_main = scores[kind.metrics[0]]
    comparisons = report.summary.of(kind)
    return Views(
        strongest=_shares([row.strongest for row in scored]),
        kept=_shares([row.kept for row in scored]),
        changes={metric: group_means(of_metric.change) for metric, of_metric in scores.items()},
        histograms={metric: _histogram(of_metric) for metric, of_metric in scores.items()},
        sizes=_sizes(of_main, report.seed),
        types=_types(of_main, report.seed),
        learning=_curves(report.learning, kind),
        calibration=_calibration(report.reliability(kind)),
        domain=_domain(comparisons.domain if comparisons else None, rows, kind),
    )


def _scored_rows(rows: Sequence[AnyRow], told: SharedComparison | None, metric: str) -> list[AnyRow]:
    """Rows of the scored tasks, if their exact number is shown; shares could reveal a hidden one."""
    scored = [row for row, is_kept in zip(rows, is_scored(rows, metric), strict=True) if is_kept]
    return scored if told and told.n_judged == len(scored) else []


def _shares(kinds: Sequence[ModelKind]) -> dict[SharedKind, float]:
    """Share of the tasks by kind of model, with or without a head; kinds with fewer than five tasks are joined."""
    counts: dict[SharedKind, int] = {**Counter(_WITHOUT_HEAD.get(kind, kind) for kind in kinds)}
    groups = group_small(counts, OTHER_KINDS)
    return {name: _share(sum(counts[kind] for kind in together), len(kinds)) for name, together in groups.items()}


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
