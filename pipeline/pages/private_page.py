"""A partner's own page: every task of it, for its eyes alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.pages import figures
from pipeline.pages.captions import (
    CALIBRATION,
    CHANGES,
    DATA,
    DOMAIN,
    LEARNING,
    REGRESSION_CALIBRATION,
    SCATTER,
    SIZES,
    TYPES,
    WIDTH,
    domain_sentence,
    facts_of,
    how_to_read,
    in_words,
)
from pipeline.pages.page import Drawing, Page, PageTable, Section
from pipeline.pages.tables import (
    comparison_table,
    fold_table,
    group_table,
    input_table,
    median_table,
    regression_task_table,
    rejected_table,
    task_table,
)
from pipeline.report.breakdown import SIZE_EDGES, Changes, changes, size_label
from pipeline.report.metrics import CURVES, ERRORS, LONG, METRICS, REGRESSION_CURVES, REGRESSION_METRICS, SHORT, SIDES
from pipeline.report.rows import domain_shares

Report = Mapping[str, Any]


def own_page(report: Report) -> Page:
    """The page of report.json."""
    sections = [
        Section(
            "Local against federated",
            how_to_read(has_errors="regression" in report["summary"]),
            _with_rows(comparison_table(report["summary"]), median_table(report["summary"])),
        ),
        *_sections(report, report["tasks"], METRICS, ""),
    ]
    if "regression_tasks" in report:
        sections += _sections(report, report["regression_tasks"], REGRESSION_METRICS, "regression_")
    if "data" in report:
        sections.append(_data(report["data"]))
    gate = [("validation fold", report["gate"]["sentence"])] if "gate" in report else []
    return Page(
        title=f"Did federation help {report['partner']}?",
        subtitle="Private: this page names assays. `hocket report --shareable` writes what may be shared.",
        outcome=report["verdict"]["outcome"],
        sentence=report["verdict"]["sentence"],
        facts=[*facts_of(report), *gate],
        sections=sections,
    )


def _sections(report: Report, rows: Sequence[Mapping[str, Any]], metrics: Sequence[str], prefix: str) -> list[Section]:
    """What figures and tables say of one kind of task; nothing of what nobody could judge."""
    kind = "Regression: " if prefix else ""
    scores = {metric: changes(rows, metric) for metric in metrics if metric not in ERRORS}
    judged = {metric: found for metric, found in scores.items() if found.local.size}
    summary = report["summary"]["regression"] if prefix else report["summary"]
    found = [
        *_over_tasks(judged, rows, kind, prefix),
        *_where(judged, report["seed"], kind, prefix),
        *_learning(report.get("learning", {}), kind, prefix),
        *_calibration(report.get(f"{prefix}calibration", {}), kind, prefix),
        *_domain(summary.get("domain"), rows, kind, prefix),
    ]
    return found or [Section(f"{kind or 'Classification: '}nothing to show", ["No task could be judged."])]


def _over_tasks(
    judged: Mapping[str, Changes], rows: Sequence[Mapping[str, Any]], kind: str, prefix: str
) -> Iterator[Section]:
    if judged:
        table = regression_task_table(rows) if prefix else task_table(rows)
        drawings = [
            Drawing(
                f"{prefix}changes",
                CHANGES,
                lambda: figures.draw_changes({metric: found.change for metric, found in judged.items()}, grouped=False),
            ),
            Drawing(
                f"{prefix}scatter",
                SCATTER,
                lambda: figures.draw_scatter({metric: (f.local, f.federated) for metric, f in judged.items()}),
            ),
        ]
        yield Section(f"{kind}Task by task", (), [table], drawings)


def _where(judged: Mapping[str, Changes], seed: int, kind: str, prefix: str) -> Iterator[Section]:
    """The change by number of labels and by assay type, of the first metric."""
    if not judged:
        return
    metric, found = next(iter(judged.items()))
    sizes = [
        {"name": size_label(i, i), "from": low, "to": high, **found.mean_of(tasks, seed)}
        for i, (tasks, low, high) in enumerate(
            zip(found.by_size(), SIZE_EDGES, [*SIZE_EDGES[1:], max(10000, found.n_labels.max())], strict=True)
        )
        if tasks.size
    ]
    members = found.by_type()
    types = [{"name": name, **found.mean_of(tasks, seed)} for name, tasks in members.items()]
    points = {name: found.change[tasks] for name, tasks in members.items()}
    yield Section(
        f"{kind}Where federation helps: labels and assay types",
        [f"Changes of {LONG[metric]}."],
        [group_table("By labels of the task", sizes, "labels"), group_table("By assay type", types, "assay type")],
        [
            Drawing(
                f"{prefix}sizes",
                SIZES,
                lambda: figures.draw_sizes(found.n_labels, found.change, sizes, SHORT[metric]),
            ),
            Drawing(f"{prefix}types", TYPES, lambda: figures.draw_groups(types, SHORT[metric], points=points)),
        ],
    )


def _learning(learning: Mapping[str, Any], kind: str, prefix: str) -> Iterator[Section]:
    names = REGRESSION_CURVES if prefix else CURVES
    curves = {name: learning[name] for name in names if name in learning}
    if curves:
        n_tasks = learning["n_tasks"]["regression" if prefix else "classification"]
        text = [f"Validation fold, {in_words(n_tasks, 'task')}. Neither model was trained on it."]
        yield Section(
            f"{kind}Learning, round by round",
            text,
            drawings=[Drawing(f"{prefix}learning", LEARNING, lambda: figures.draw_learning(curves))],
        )


def _calibration(sides: Mapping[str, Any], kind: str, prefix: str) -> Iterator[Section]:
    if not any(sides.values()):
        return
    lines, counts = (
        {side: [[point["predicted"], point[what]] for point in sides[side]] for side in SIDES}
        for what in ("observed", "n_entries")
    )
    yield Section(
        f"{kind}Calibration",
        drawings=[
            Drawing(
                f"{prefix}calibration",
                REGRESSION_CALIBRATION if prefix else CALIBRATION,
                lambda: figures.draw_calibration(lines, counts, of_values=bool(prefix)),
            )
        ],
    )


def _domain(
    summary: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]], kind: str, prefix: str
) -> Iterator[Section]:
    if summary:
        shares = domain_shares(rows, summary["measure"])
        words = WIDTH if prefix else DOMAIN
        yield Section(
            f"{kind}Applicability domain",
            [domain_sentence(summary)],
            drawings=[
                Drawing(
                    f"{prefix}domain",
                    words.caption,
                    lambda: figures.draw_domain(shares, summary, words.axis, grouped=False),
                )
            ],
        )


def _data(data: Mapping[str, Any]) -> Section:
    whats = [what for what in ("compounds", "labels", "values") if any(fold[what] for fold in data["folds"])]
    tables = [input_table(data["tables"]), rejected_table(data["tables"]), fold_table(data["folds"])]
    drawings = [Drawing("folds", DATA, lambda: figures.draw_folds(data["folds"], whats))] if whats else []
    warnings = [f"Warning: {warning}" for warning in data["warnings"]]
    return Section("Data", warnings, _with_rows(*tables), drawings)


def _with_rows(*tables: PageTable) -> list[PageTable]:
    return [table for table in tables if table.rows]
