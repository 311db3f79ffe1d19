"""The tables of the pages, with all numbers formatted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.pages.page import PageTable
from pipeline.report.metrics import CLASSIFICATION, FEWEST_ASSAYS, LABELS, REGRESSION, SHORT, SIDES, TaskKind
from pipeline.report.numbers import NONE, count, interval, number, p_value, percent, signed
from pipeline.report.row_schema import AnyRow, TaskRow
from pipeline.report.schema import (
    ByDate,
    ComparisonOverTasks,
    Comparisons,
    Fold,
    GroupChange,
    InputTable,
    Picks,
    RegressionComparisons,
    Report,
    SharedWorth,
)
from pipeline.report.shareable_schema import (
    ShareableSummary,
    SharedComparison,
    SharedComparisons,
    SharedRegressionComparisons,
    Views,
)
from pipeline.report.worth import shown_worth

_FACTS = {
    CLASSIFICATION: ("threshold", "labels", "test actives", "test inactives"),
    REGRESSION: ("values", "test exact", "test bounds"),
}
# in the table of all tasks
_SHOWN = {CLASSIFICATION: (*CLASSIFICATION.metrics, "hit_rate_10"), REGRESSION: ("r2", "rmse")}

MAIN_COLUMNS = (LABELS["local"], LABELS["federated"])
NETWORK_COLUMNS = ("without", "with federation")
_MEANS = "Test fold, means over the tasks that both models could be scored on"
_KINDS = "Kinds of model"
_KINDS_HEADER = ["kind of model", "strongest local", "taken home"]

AnyComparisons = Comparisons | RegressionComparisons | SharedComparisons | SharedRegressionComparisons


def comparison_tables(report: Report | ShareableSummary) -> list[PageTable]:
    """Federated against the strongest local model, then the network with federation against that without it."""
    network = report.network.summary if isinstance(report, Report) else report.network
    return [
        _comparison_table(f"Federated against the strongest local model. {_MEANS}", MAIN_COLUMNS, report.summary),
        _comparison_table(f"The same network without and with federation. {_MEANS}", NETWORK_COLUMNS, network),
    ]


def _comparison_table(caption: str, models: tuple[str, str], summary: Comparisons | SharedComparisons) -> PageTable:
    """Means of both models over tasks, a row per metric, classification first; models : names of their columns."""
    rows = [
        [SHORT[metric], *comparison_row(comparisons, metric, of_all=True)]
        for kind in (CLASSIFICATION, REGRESSION)
        if (comparisons := summary.of(kind))
        for metric in kind.metrics
    ]
    return PageTable(caption, ["metric", *comparison_header(models)], rows)


def comparison_header(models: tuple[str, str]) -> list[str]:
    """Names of the columns of `comparison_row`; models : of those of both models."""
    tests = ["better", "worse", "equal", "RIPtoP", "p"]
    return ["tasks", *models, "change", "95 % interval", *tests]


def comparison_row(comparisons: AnyComparisons, metric: str, *, of_all: bool) -> list[str]:
    """Cells of one metric's row: number of scored tasks (`of_all`: of how many), means, tests; dashes if hidden."""
    comparison = comparisons.comparison(metric)
    n_tasks = count((comparison or comparisons).n_judged) + (f" of {count(comparisons.n_tasks)}" if of_all else "")
    return [n_tasks, *(_comparison_cells(comparison) if comparison else [NONE] * 9)]


def _comparison_cells(comparison: ComparisonOverTasks | SharedComparison) -> list[str]:
    is_enough = isinstance(comparison.n_assays, int) and comparison.n_assays >= FEWEST_ASSAYS
    return [
        number(comparison.local),
        number(comparison.federated),
        signed(comparison.change),
        interval(comparison.interval_95 if is_enough else None),
        *(count(n) for n in (comparison.n_better, comparison.n_worse, comparison.n_equal)),
        signed(comparison.riptop),
        p_value(comparison.p_assays_holm),
    ]


def date_table(by_date: ByDate) -> PageTable:
    """Both models on the older and the newest compounds of the test fold, a row for each part and metric."""
    undated = f"; {count(by_date.n_undated)} without a day are in neither" if by_date.n_undated else ""
    parts = {f"to {by_date.cutoff}": by_date.older, f"after {by_date.cutoff}": by_date.newest}
    rows = [
        [
            name,
            SHORT[metric],
            count(part.n_compounds),
            count(part.n_labels),
            NONE if part.active_share is None else percent(part.active_share, 1),
            *_dated_cells(part.comparison(metric)),
        ]
        for name, part in parts.items()
        for metric in CLASSIFICATION.metrics
    ]
    caption = f"Test fold by day of first measurement, means over {count(by_date.n_tasks)} tasks{undated}"
    models = [*MAIN_COLUMNS, "change", "95 % interval"]
    return PageTable(caption, ["first measured", "metric", "compounds", "labels", "active", *models], rows, 2)


def _dated_cells(comparison: ComparisonOverTasks | None) -> list[str]:
    if comparison is None:
        return [NONE] * 4
    means = (number(comparison.local), number(comparison.federated), signed(comparison.change))
    return [*means, interval(comparison.interval_95 if comparison.n_assays >= FEWEST_ASSAYS else None)]


def picks_table(picks: Mapping[str, Sequence[Picks]], first: str) -> PageTable:
    """Hit rates of both models and at random, a row for each name and share of picked compounds.

    first : header of the column of names; "" without such a column
    """
    rows = [
        [
            *([name] if first else []),
            f"best-ranked {each.percent} %",
            count(each.n_tasks),
            *(percent(rate, 1) for rate in (each.at_random, each.local, each.federated)),
            signed(each.change),
            interval(each.interval_95),
            *(_enrichment(rate, each.at_random) for rate in (each.local, each.federated)),
        ]
        for name, of_name in picks.items()
        for each in of_name
    ]
    models = ["enrichment: local", "federated"]
    header = ["picked", "tasks", "at random", *MAIN_COLUMNS, "change", "95 % interval", *models]
    caption = "Hits among picked compounds: hit rates on the test fold, means over tasks"
    return PageTable(caption, [*([first] if first else []), *header], rows, 2 if first else 1)


def _enrichment(rate: float, at_random: float) -> str:
    """Hit rate over that at random; a dash if a shared rate at random is rounded to 0."""
    return f"{rate / at_random:.2f}" if at_random > 0 else NONE


def worth_table(worth: Mapping[str, SharedWorth]) -> PageTable:
    """What federation is worth in measurements, by partner."""
    rows = [
        [name, shown_worth(each.share), f"{shown_worth(each.low)} to {shown_worth(each.high)}"]
        for name, each in worth.items()
    ]
    caption = "Worth in measurements: as if the partner had so many more of its own"
    return PageTable(caption, ["partner", "more measurements", "95 % interval"], rows)


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
        if (comparisons := report.summary.of(kind))
        for metric in kind.metrics
        if (comparison := comparisons.comparison(metric))
    ]
    caption = "Federated against the strongest local model: medians over the same tasks"
    return PageTable(caption, ["metric", *MAIN_COLUMNS, "change", "RIPtoP"], rows)


def kinds_table(rows: Sequence[AnyRow], kind: TaskKind) -> PageTable:
    """Number of scored tasks by the kind of their strongest local and of their take-home model."""
    scored = _scored(rows, kind)
    strongest, kept = Counter[str](row.strongest for row in scored), Counter[str](row.kept for row in scored)
    names = _by_size(strongest, kept)
    cells = [[_shown_kind(name), *(count(n[name]) if n[name] else NONE for n in (strongest, kept))] for name in names]
    return PageTable(f"{_KINDS}: number of {kind.name} tasks", _KINDS_HEADER, cells)


def kinds_share_table(views: Views, kind: TaskKind) -> PageTable:
    """Share of scored tasks by the kind of their strongest local and of their take-home model."""
    names = _by_size(views.strongest, views.kept)
    shares = [[of_kind.get(name, 0.0) for of_kind in (views.strongest, views.kept)] for name in names]
    cells = [
        [_shown_kind(name), *(percent(share, 1) if share else NONE for share in both)]
        for name, both in zip(names, shares, strict=True)
    ]
    return PageTable(f"{_KINDS}: share of the {kind.name} tasks", _KINDS_HEADER, cells)


def _shown_kind(kind: str) -> str:
    """A kind of model as people write it."""
    return kind.replace("gaussian", "Gaussian")


def _by_size(strongest: Mapping[Any, float], kept: Mapping[Any, float]) -> list[Any]:
    """Kinds of model, the most frequent first."""
    names = {**strongest, **kept}
    return sorted(names, key=lambda name: (-strongest.get(name, 0) - kept.get(name, 0), name))


def group_table(caption: str, groups: Sequence[GroupChange], header: str) -> PageTable:
    """Mean changes of named groups; header : of the column of names."""
    rows = [[each.name, count(each.n_tasks), signed(each.change), interval(each.interval_95)] for each in groups]
    return PageTable(caption, [header, "tasks", "change", "95 % interval"], rows)


def task_table(report: Report, kind: TaskKind) -> PageTable:
    """All tasks of one kind that both models were scored on, the most improved first."""
    main, metrics = kind.metrics[0], _SHOWN[kind]
    scored = sorted(_scored(report.rows(kind), kind), key=lambda row: (_change(row, main), row.task_id))
    header = ["assay", "type", *_FACTS[kind]]
    for metric in metrics:
        header += [f"{SHORT[metric]} {column}" for column in ("local", "federated", "change")]
    cells = [[*_facts(row), *(cell for metric in metrics for cell in _both(row, metric))] for row in reversed(scored)]
    caption = f"All scored {kind.name} tasks ({len(cells):,}), the most improved first"
    return PageTable(caption, header, cells, 2, folded=True, file=f"{report.partner}-{kind.name}-tasks.csv")


def model_table(report: Report, kind: TaskKind) -> PageTable:
    """Strongest local and take-home model of all tasks of one kind that are not auxiliary, with the reason."""
    main, has_threshold = kind.metrics[0], kind == CLASSIFICATION
    header = ["assay", "strongest local", "taken home", "why", *(["threshold"] if has_threshold else [])]
    cells = [
        [
            *(row.input_assay_id, _shown_kind(row.strongest), _shown_kind(row.kept), row.reason),
            *([f"{row.threshold:g}"] if isinstance(row, TaskRow) else []),
            _both(row, main)[-1],
        ]
        for row in report.rows(kind)
        if not row.is_auxiliary
    ]
    caption = f"Models of the {kind.name} tasks ({len(cells):,}), and why each is taken home"
    name = f"{report.partner}-{kind.name}-models.csv"
    return PageTable(caption, [*header, f"{SHORT[main]} change"], cells, 4, folded=True, file=name)


def _scored(rows: Sequence[AnyRow], kind: TaskKind) -> list[AnyRow]:
    """The tasks that both models were scored on by the main metric."""
    return [row for row in rows if all(row.score(side, kind.metrics[0]) is not None for side in SIDES)]


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
