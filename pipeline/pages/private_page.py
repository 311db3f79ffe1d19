"""A partner's private page, with each of its tasks."""

from collections.abc import Iterator, Mapping

from pipeline.pages import figures
from pipeline.pages.audit_section import audit_section
from pipeline.pages.captions import (
    CHANGES,
    DATA,
    DATES,
    LEARNING,
    PICKS,
    SCATTER,
    SIZES,
    TYPES,
    WORTH,
    captions_of,
    domain_sentence,
    facts_of,
    footer_of,
    how_to_read,
    with_noun,
)
from pipeline.pages.figures import SizeBin
from pipeline.pages.page import Drawing, Page, PageTable, Section
from pipeline.pages.tables import (
    comparison_tables,
    date_table,
    fold_table,
    group_table,
    input_table,
    kinds_table,
    median_table,
    model_table,
    picks_table,
    rejected_table,
    task_table,
)
from pipeline.report.conclusion import (
    columns_sentence,
    dates_sentence,
    gate_sentences,
    network_sentence,
    privacy_sentence,
)
from pipeline.report.metrics import CLASSIFICATION, LONG, REGRESSION, TaskKind
from pipeline.report.picks import picks_sentence
from pipeline.report.rows import SIZE_EDGES, Changes, changes, domain_by_task, size_label
from pipeline.report.schema import (
    ByDate,
    Learning,
    Points,
    PreparationCounts,
    ReliabilityCurves,
    ReliabilityPoint,
    Report,
)
from pipeline.report.worth import worth_sentence

_LARGEST_SIZE = 10_000  # labels at which the last bin ends, unless a task has more


def private_page(report: Report) -> Page:
    """Make the private page of a report."""
    sections = [
        Section(
            "The result",
            (*how_to_read(has_errors=report.summary.regression is not None), PICKS, WORTH),
            _with_rows(*comparison_tables(report), median_table(report), picks_table({"": report.picks}, "")),
        ),
        *_by_date(report.by_date),
        *_sections(report, CLASSIFICATION),
    ]
    if report.regression_tasks is not None:
        sections += _sections(report, REGRESSION)
    sections += audit_section(report.audit)
    sections.append(_data(report.data, columns_sentence(report.columns), privacy_sentence(report.privacy)))
    return Page(
        title=f"Did federation help {report.partner}?",
        subtitle="Private: this page names assays. `hocket report --shareable` writes what may be shared.",
        outcome=report.verdict.outcome,
        sentence=report.verdict.sentence,
        facts=facts_of(report),
        sections=sections,
        more=[
            sentence
            for sentence in (
                picks_sentence(report.picks),
                worth_sentence(report.worth),
                network_sentence(report.verdict.metric, report.network.summary),
                gate_sentences(report),
            )
            if sentence
        ],
        footer=footer_of(report),
    )


def _by_date(by_date: ByDate | None) -> Iterator[Section]:
    if by_date is not None:
        yield Section("The newest compounds", [DATES, dates_sentence(by_date)], [date_table(by_date)])


def _sections(report: Report, kind: TaskKind) -> list[Section]:
    """The sections of one kind of task, about the tasks that could be scored."""
    heading = "" if kind == CLASSIFICATION else f"{captions_of(kind).title}: "
    every = {metric: changes(report.rows(kind), metric) for metric in kind.scores}
    scored = {metric: of_metric for metric, of_metric in every.items() if of_metric.local.size}
    sections = [
        *_over_tasks(report, scored, kind, heading),
        *_where(scored, report.seed, kind, heading),
        *_learning(report.learning, kind, heading),
        *_calibration(report.reliability(kind), kind, heading),
        *_domain(report, kind, heading),
    ]
    return sections or [
        Section(f"{captions_of(kind).title}: nothing to show", ["No task has enough test labels for a score."])
    ]


def _over_tasks(report: Report, scored: Mapping[str, Changes], kind: TaskKind, heading: str) -> Iterator[Section]:
    if scored:
        drawings = [
            Drawing(
                f"{kind.file_prefix}changes",
                CHANGES,
                lambda: figures.draw_changes(
                    {metric: of_metric.change for metric, of_metric in scored.items()}, grouped=False
                ),
            ),
            Drawing(
                f"{kind.file_prefix}scatter",
                SCATTER,
                lambda: figures.draw_scatter({metric: (f.local, f.federated) for metric, f in scored.items()}),
            ),
        ]
        rows = report.rows(kind)
        tables = [kinds_table(rows, kind), task_table(report, kind), model_table(report, kind)]
        yield Section(f"{heading}Task by task", (), tables, drawings)


def _where(scored: Mapping[str, Changes], seed: int, kind: TaskKind, heading: str) -> Iterator[Section]:
    """Change of the first metric by number of labels and by assay type."""
    if not scored:
        return
    metric, main = next(iter(scored.items()))
    bins = _size_bins(main, seed)
    members = main.by_type()
    types = [main.of_group(name, tasks, seed) for name, tasks in members.items()]
    points = {name: main.change[tasks] for name, tasks in members.items()}
    yield Section(
        f"{heading}Where federation helps: labels and assay types",
        [f"Changes of {LONG[metric]}."],
        [
            group_table("By labels of the task", [each.change for each in bins], "labels"),
            group_table("By assay type", types, "assay type"),
        ],
        [
            Drawing(
                f"{kind.file_prefix}sizes",
                SIZES,
                lambda: figures.draw_sizes(main.n_labels, main.change, bins, metric),
            ),
            Drawing(f"{kind.file_prefix}types", TYPES, lambda: figures.draw_groups(types, metric, points=points)),
        ],
    )


def _size_bins(main: Changes, seed: int) -> list[SizeBin]:
    ends = [*SIZE_EDGES[1:], max(_LARGEST_SIZE, int(main.n_labels.max()))]
    return [
        SizeBin(low, high, main.of_group(size_label(i, i), tasks, seed))
        for i, (tasks, low, high) in enumerate(zip(main.by_size(), SIZE_EDGES, ends, strict=True))
        if tasks.size
    ]


def _learning(learning: Learning, kind: TaskKind, heading: str) -> Iterator[Section]:
    if curves := learning.curves(kind):
        text = [f"Validation fold, {with_noun(learning.n_tasks.of(kind), 'task')}. Neither model was trained on it."]
        yield Section(
            f"{heading}Learning, round by round",
            text,
            drawings=[Drawing(f"{kind.file_prefix}learning", LEARNING, lambda: figures.draw_learning(curves))],
        )


def _calibration(reliability: ReliabilityCurves | None, kind: TaskKind, heading: str) -> Iterator[Section]:
    if reliability is None or not (reliability.local or reliability.federated):
        return
    observed = Points(local=_observed(reliability.local), federated=_observed(reliability.federated))
    counts = Points(local=_counts(reliability.local), federated=_counts(reliability.federated))
    yield Section(
        f"{heading}Calibration",
        drawings=[
            Drawing(
                f"{kind.file_prefix}calibration",
                captions_of(kind).calibration,
                lambda: figures.draw_calibration(observed, counts, kind),
            )
        ],
    )


def _observed(points: list[ReliabilityPoint]) -> list[tuple[float, float]]:
    return [(point.predicted, point.observed) for point in points]


def _counts(points: list[ReliabilityPoint]) -> list[tuple[float, float]]:
    return [(point.predicted, point.n_entries) for point in points]


def _domain(report: Report, kind: TaskKind, heading: str) -> Iterator[Section]:
    comparisons = report.summary.of(kind)
    if comparisons and (summary := comparisons.domain):
        by_task, captions = domain_by_task(report.rows(kind), kind), captions_of(kind)
        yield Section(
            f"{heading}Applicability domain",
            [domain_sentence(summary)],
            drawings=[
                Drawing(
                    f"{kind.file_prefix}domain",
                    captions.domain,
                    lambda: figures.draw_domain(by_task, summary, captions.domain_axis, grouped=False),
                )
            ],
        )


def _data(data: PreparationCounts, *about_updates: str) -> Section:
    amounts = {name: [getattr(fold, name) for fold in data.folds] for name in ("compounds", "labels", "values")}
    present = {name: of_folds for name, of_folds in amounts.items() if any(of_folds)}
    folds = [fold.fold for fold in data.folds]
    tables = [input_table(data.tables), rejected_table(data.tables), fold_table(data.folds)]
    drawings = [Drawing("folds", DATA, lambda: figures.draw_folds(folds, present))] if present else []
    sentences = [sentence for sentence in about_updates if sentence]
    sentences += [f"Warning: {warning}" for warning in data.warnings]
    return Section("Data", sentences, _with_rows(*tables), drawings)


def _with_rows(*tables: PageTable) -> list[PageTable]:
    return [table for table in tables if table.rows]
