"""The tables of the pages, with all numbers formatted."""

from collections.abc import Mapping, Sequence

from pipeline.pages.page import PageTable
from pipeline.report.metrics import CLASSIFICATION, FEWEST_ASSAYS, REGRESSION, SHORT, SIDES, TaskKind
from pipeline.report.numbers import NONE, count, interval, number, p_value, percent, signed
from pipeline.report.schema import (
    AnyRow,
    ComparisonOverTasks,
    Comparisons,
    Fold,
    GroupChange,
    InputTable,
    RegressionComparisons,
    Report,
    TaskRow,
)
from pipeline.report.shareable_schema import (
    ShareableSummary,
    SharedComparison,
    SharedComparisons,
    SharedRegressionComparisons,
)

_FACTS = {
    CLASSIFICATION: ("threshold", "labels", "test actives", "test inactives"),
    REGRESSION: ("values", "test exact", "test bounds"),
}
_SHOWN = {CLASSIFICATION: CLASSIFICATION.metrics, REGRESSION: ("r2", "rmse")}  # in the table of all tasks

AnyComparisons = Comparisons | RegressionComparisons | SharedComparisons | SharedRegressionComparisons


def comparison_table(report: Report | ShareableSummary) -> PageTable:
    """Means of local and federated over tasks, a row per metric, classification first."""
    header = ["metric", "tasks", "local", "federated", "change", "95 % interval", "better", "worse", "equal"]
    header += ["RIPtoP", "p, tasks", "p, assays"]
    rows = [
        [SHORT[metric], *comparison_row(comparisons, metric, of_all=True)]
        for kind in (CLASSIFICATION, REGRESSION)
        if (comparisons := report.comparisons(kind))
        for metric in kind.metrics
    ]
    return PageTable("Test fold, means over the tasks that both models could be scored on", header, rows)


def comparison_row(comparisons: AnyComparisons, metric: str, *, of_all: bool) -> list[str]:
    """Cells of one metric's row: number of scored tasks (`of_all`: of how many), means, tests; dashes if hidden."""
    comparison = comparisons.comparison(metric)
    n_tasks = count((comparison or comparisons).n_judged) + (f" of {count(comparisons.n_tasks)}" if of_all else "")
    return [n_tasks, *(_comparison_cells(comparison) if comparison else [NONE] * 10)]


def _comparison_cells(comparison: ComparisonOverTasks | SharedComparison) -> list[str]:
    is_enough = isinstance(comparison.n_assays, int) and comparison.n_assays >= FEWEST_ASSAYS
    return [
        number(comparison.local),
        number(comparison.federated),
        signed(comparison.change),
        interval(comparison.interval_95 if is_enough else None),
        *(count(n) for n in (comparison.n_better, comparison.n_worse, comparison.n_equal)),
        signed(comparison.riptop),
        p_value(comparison.p_tasks_holm),
        p_value(comparison.p_assays_holm),
    ]


def median_table(report: Report) -> PageTable:
    """Medians over tasks, a row per metric."""
    rows = [
        [
            SHORT[metric],
            number(comparison.local_median),
            number(comparison.federated_median),
            signed(comparison.median_change),
            signed(comparison.median_riptop),
        ]
        for kind in (CLASSIFICATION, REGRESSION)
        if (comparisons := report.comparisons(kind))
        for metric in kind.metrics
        if (comparison := comparisons.comparison(metric))
    ]
    return PageTable("Medians over the same tasks", ["metric", "local", "federated", "change", "RIPtoP"], rows)


def group_table(caption: str, groups: Sequence[GroupChange], header: str) -> PageTable:
    """Mean changes of named groups; header : of the column of names."""
    rows = [[each.name, count(each.n_tasks), signed(each.change), interval(each.interval_95)] for each in groups]
    return PageTable(caption, [header, "tasks", "change", "95 % interval"], rows)


def task_table(report: Report, kind: TaskKind) -> PageTable:
    """All tasks of one kind that both models were scored on, the most improved first."""
    main, metrics = kind.metrics[0], _SHOWN[kind]
    scored = [row for row in report.rows(kind) if all(row.score(side, main) is not None for side in SIDES)]
    scored.sort(key=lambda row: (_change(row, main), row.task_id))
    header = ["assay", "type", *_FACTS[kind]]
    for metric in metrics:
        header += [f"{SHORT[metric]} local", "federated", "change"]
    cells = [[*_facts(row), *(cell for metric in metrics for cell in _both(row, metric))] for row in reversed(scored)]
    caption = f"All scored {kind.name} tasks ({len(cells):,}), the most improved first"
    return PageTable(caption, header, cells, 2, folded=True)


def _facts(row: AnyRow) -> list[str]:
    assay = [row.input_assay_id, row.assay_type]
    if isinstance(row, TaskRow):
        return [*assay, f"{row.threshold:g}", *map(count, (row.n_labels, row.n_active, row.n_inactive))]
    return [*assay, *map(count, (row.n_labels, row.n_exact, row.n_censored))]


def _both(row: AnyRow, metric: str) -> list[str]:
    local, federated = (row.score(side, metric) for side in SIDES)
    if local is None or federated is None:
        return [NONE] * 3
    return [number(local), number(federated), signed(federated - local)]


def _change(row: AnyRow, metric: str) -> float:
    local, federated = (row.score(side, metric) for side in SIDES)
    return (federated or 0.0) - (local or 0.0)


def rejected_table(tables: Mapping[str, InputTable]) -> PageTable:
    """Numbers of rows left out, by table and reason."""
    rows = [
        [name, reason.replace("_", " "), count(n), percent(n / table.rows, 2)]
        for name, table in tables.items()
        for reason, n in table.rejected.items()
    ]
    return PageTable("Rows left out", ["table", "reason", "rows", "share of the table"], rows, 2)


def rejected_share_table(tables: Mapping[str, Mapping[str, float]]) -> PageTable:
    """Shares of rows left out, by table and reason."""
    rows = [
        [name, reason.replace("_", " "), percent(share, 1)]
        for name, reasons in tables.items()
        for reason, share in reasons.items()
    ]
    return PageTable("Rows left out", ["table", "reason", "share of the table"], rows, 2)


def input_table(tables: Mapping[str, InputTable]) -> PageTable:
    """Numbers of rows of the input tables: all, accepted, left out."""
    rows = [
        [name, count(table.rows), count(table.accepted), count(table.rows - table.accepted)]
        for name, table in tables.items()
    ]
    return PageTable("Input tables", ["table", "rows", "accepted", "left out"], rows)


def fold_table(folds: Sequence[Fold]) -> PageTable:
    """Compounds, scaffolds, labels and values in each fold."""
    rows = [
        [f"fold {fold.fold}", *map(count, (fold.compounds, fold.scaffolds, fold.labels, fold.values))] for fold in folds
    ]
    return PageTable("Folds", ["", "compounds", "scaffolds", "labels", "regression values"], rows)
