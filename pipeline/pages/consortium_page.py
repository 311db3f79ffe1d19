"""The consortium's page, which compares its partners from their shareable summaries."""

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.pages import consortium_figures as figures
from pipeline.pages.captions import captions_of, facts_of, how_to_read
from pipeline.pages.page import Drawing, Page, PageTable, Section
from pipeline.pages.tables import comparison_row
from pipeline.report.consortium import Consortium, Pooled, comparison_of
from pipeline.report.metrics import CLASSIFICATION, LONG, REGRESSION, TaskKind
from pipeline.report.numbers import NONE, count, interval, number, signed
from pipeline.report.shareable_schema import ShareableSummary, Views

_POOLED = (
    "All partners: mean over the tasks in the partners' summaries; a partner weighs by its number of tasks with a "
    "score. The interval takes the partners' intervals as normal and independent. Partners with fewer than five such "
    "tasks share no mean. Errors (RMSE) are in the units of each assay: over all partners only RIPtoP has a mean."
)
_HIDDEN = "Counts below five, and numbers from which they could be found, are hidden."
_N_FOREST = 2  # metrics with a figure of each partner's change

ViewsByPartner = Mapping[str, Views]


def consortium_page(merged: Consortium) -> Page:
    """Make the page of consortium.json (`pipeline.report.consortium`)."""
    explanation = how_to_read(has_errors="rmse" in merged.pooled)
    sections = [Section("Partner by partner", (*explanation, _POOLED, _HIDDEN), list(_tables(merged)))]
    for kind in (CLASSIFICATION, REGRESSION):
        sections += _sections(merged, kind)
    return Page(
        title=f"Did federation help the partners of {merged.federation}?",
        subtitle=f"Made from the shareable summaries of {len(merged.partners)} partners.",
        outcome=merged.verdict.outcome,
        sentence=merged.verdict.sentence,
        facts=facts_of(merged),
        sections=sections,
    )


def _tables(merged: Consortium) -> Iterator[PageTable]:
    header = ["partner", "tasks", "local", "federated", "change", "95 % interval"]
    header += ["better", "worse", "equal", "RIPtoP", "p, tasks", "p, assays"]
    for kind in (CLASSIFICATION, REGRESSION):
        for metric in kind.metrics:
            if metric not in merged.pooled:
                continue
            rows = [_row(summary, kind, metric) for summary in merged.partners]
            if pooled := merged.pooled[metric]:
                rows.append(_pooled_row(pooled))
            yield PageTable(f"{LONG[metric][0].upper()}{LONG[metric][1:]}", header, rows)


def _row(summary: ShareableSummary, kind: TaskKind, metric: str) -> list[str]:
    comparisons = summary.comparisons(kind)
    return [summary.partner, *(comparison_row(comparisons, metric, of_all=False) if comparisons else [NONE] * 11)]


def _pooled_row(pooled: Pooled) -> list[str]:
    means = [
        NONE if pooled.local is None else number(pooled.local),
        NONE if pooled.federated is None else number(pooled.federated),
        NONE if pooled.change is None else signed(pooled.change),
    ]
    counts = [count(pooled.n_tasks), *means, interval(pooled.interval_95)]
    return ["all partners", *counts, *[NONE] * 3, signed(pooled.riptop), NONE, NONE]


def _sections(merged: Consortium, kind: TaskKind) -> list[Section]:
    """The figures of one kind of task, with the partners that share enough."""
    views = {summary.partner: of_kind for summary in merged.partners if (of_kind := summary.views(kind))}
    return [*_forest(merged, kind), *_changes(views, kind), *_learning(views, kind), *_domain(views, kind)]


def _forest(merged: Consortium, kind: TaskKind) -> Iterator[Section]:
    comparisons = {
        metric: [comparison_of(summary, kind, metric) for summary in merged.partners]
        for metric in kind.metrics[:_N_FOREST]
    }
    shown = {metric: of_partners for metric, of_partners in comparisons.items() if any(of_partners)}
    if shown:
        names = [summary.partner for summary in merged.partners]
        caption = (
            "Mean change on each partner's test fold with 95 % interval. On the right of the line federation helped."
        )
        drawing = Drawing(f"{kind.file_prefix}partners", caption, lambda: figures.draw_partners(names, shown))
        yield Section(f"{captions_of(kind).title}: which partners federation helped", drawings=[drawing])


def _changes(views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    metric = kind.metrics[0]
    means = {name: np.array(view.changes[metric]) for name, view in views.items() if view.changes.get(metric)}
    if means:
        caption = (
            "Cumulative distribution of the tasks' changes, a line per partner; each point is the mean of five tasks "
            "or more. On the right of the line federation helped."
        )
        drawing = Drawing(f"{kind.file_prefix}changes", caption, lambda: figures.draw_all_changes(means, metric))
        yield Section(f"{captions_of(kind).title}: changes of the tasks", drawings=[drawing])


def _learning(views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    metric = kind.metrics[0]
    curves = {name: view.learning[metric] for name, view in views.items() if metric in view.learning}
    if curves:
        caption = "Scores on each partner's validation fold after each round: federated (line) and local model (faint)."
        drawing = Drawing(f"{kind.file_prefix}learning", caption, lambda: figures.draw_all_learning(curves, metric))
        yield Section(f"{captions_of(kind).title}: learning, round by round", drawings=[drawing])


def _domain(views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    domains = {name: view.domain for name, view in views.items() if view.domain}
    if domains:
        words = captions_of(kind)
        drawing = Drawing(
            f"{kind.file_prefix}domain",
            words.consortium_domain,
            lambda: figures.draw_domains(domains, words.consortium_domain_axis),
        )
        yield Section(f"{words.title}: applicability domain", drawings=[drawing])
