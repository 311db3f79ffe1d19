"""The consortium's page, which compares its partners from their shareable summaries."""

from collections.abc import Container, Iterator, Mapping

import numpy as np

from pipeline.pages import consortium_figures as figures
from pipeline.pages.audit_section import epsilon_section, shared_audit_section
from pipeline.pages.captions import (
    ALL_PARTNERS,
    HIDDEN_COUNTS,
    PICKS,
    WORTH,
    captions_of,
    facts_of,
    footer_of,
    how_to_read,
)
from pipeline.pages.hidden_columns import without_hidden_columns
from pipeline.pages.page import Drawing, Page, PageTable, Section
from pipeline.pages.tables import (
    MAIN_COLUMNS,
    NETWORK_COLUMNS,
    AnyComparisons,
    comparison_header,
    comparison_row,
    kinds_share_table,
    picks_table,
    worth_table,
)
from pipeline.report.consortium import Consortium, Pooled, comparison_of, pooled_network_sentence
from pipeline.report.metrics import CLASSIFICATION, LONG, REGRESSION, TaskKind
from pipeline.report.numbers import NONE, count, interval, number, signed
from pipeline.report.picks import picks_sentence, pooled_picks
from pipeline.report.shareable_schema import SharedComparisons, Views

_N_FOREST = 2  # metrics with a figure of each partner's change

ViewsByPartner = Mapping[str, Views]


def consortium_page(merged: Consortium) -> Page:
    """Make the page of consortium.json (`pipeline.report.consortium`)."""
    explanation = how_to_read(has_errors="rmse" in merged.pooled)
    main = {summary.partner: summary.summary for summary in merged.partners}
    network = {summary.partner: summary.network for summary in merged.partners}
    of_main = list(_tables(main, merged.pooled, MAIN_COLUMNS))
    of_network = list(_tables(network, merged.network, NETWORK_COLUMNS))
    tables, notes = without_hidden_columns([*of_main, *of_network])
    sections = [
        Section(
            "Federated against the strongest local model, partner by partner",
            (*explanation, ALL_PARTNERS, HIDDEN_COUNTS, *notes),
            tables[: len(of_main)],
        ),
        *_picks(merged),
        Section("The same network without and with federation, partner by partner", tables=tables[len(of_main) :]),
    ]
    for kind in (CLASSIFICATION, REGRESSION):
        sections += _sections(merged, kind)
    sections += shared_audit_section({each.partner: each.audit for each in merged.partners if each.audit})
    sections += epsilon_section(
        {each.partner: each.privacy for each in merged.partners},
        {each.partner: each.audit for each in merged.partners},
    )
    return Page(
        title=f"Did federation help the partners of {merged.federation}?",
        subtitle=f"Made from the shareable summaries of {len(merged.partners)} partners.",
        outcome=merged.verdict.outcome,
        sentence=merged.verdict.sentence,
        facts=facts_of(merged),
        sections=sections,
        more=[sentence for sentence in (_hits(merged), pooled_network_sentence(merged)) if sentence],
        footer=footer_of(merged),
    )


def _tables(
    summaries: Mapping[str, SharedComparisons], pooled: Mapping[str, Pooled | None], models: tuple[str, str]
) -> Iterator[PageTable]:
    """A table per metric of one comparison; summaries : by partner; models : names of the columns of both models."""
    header = ["partner", *comparison_header(models)]
    for kind in (CLASSIFICATION, REGRESSION):
        for metric in kind.metrics:
            if metric not in pooled:
                continue
            rows = [_row(partner, summary.of(kind), metric) for partner, summary in summaries.items()]
            if of_all := pooled[metric]:
                rows.append(_pooled_row(of_all))
            yield PageTable(f"{LONG[metric][0].upper()}{LONG[metric][1:]}", header, rows)


def _row(partner: str, comparisons: AnyComparisons | None, metric: str) -> list[str]:
    return [partner, *(comparison_row(comparisons, metric, of_all=False) if comparisons else [NONE] * 10)]


def _pooled_row(pooled: Pooled) -> list[str]:
    means = [
        NONE if pooled.local is None else number(pooled.local),
        NONE if pooled.federated is None else number(pooled.federated),
        NONE if pooled.change is None else signed(pooled.change),
    ]
    counts = [count(pooled.n_tasks), *means, interval(pooled.interval_95)]
    return ["all partners", *counts, *[NONE] * 3, signed(pooled.riptop), NONE]


def _picks(merged: Consortium) -> Iterator[Section]:
    picks = {summary.partner: summary.picks for summary in merged.partners if summary.picks}
    worth = {summary.partner: summary.worth for summary in merged.partners if summary.worth}
    if not (picks or worth):
        return
    of_all = pooled_picks([of_partner[0] for of_partner in picks.values()])
    rows = picks | ({"all partners": [of_all]} if of_all else {})
    tables = [*([picks_table(rows, "partner")] if picks else []), *([worth_table(worth)] if worth else [])]
    text = [PICKS, WORTH, *_missing(merged, picks, "Hits not shown, for too few tasks, assays, hits or misses")]
    yield Section("Hits and measurements, partner by partner", text, tables)


def _hits(merged: Consortium) -> str:
    of_all = pooled_picks([summary.picks[0] for summary in merged.partners if summary.picks])
    return picks_sentence([of_all] if of_all else [])


def _missing(
    merged: Consortium, shown: Container[str], reason: str = "Not shown, for too few tasks or assays"
) -> list[str]:
    """A sentence that names the partners that are not shown; none if all are."""
    names = [summary.partner for summary in merged.partners if summary.partner not in shown]
    return [f"{reason}: {', '.join(names)}."] if names else []


def _sections(merged: Consortium, kind: TaskKind) -> list[Section]:
    """The figures and kinds of model of one kind of task, with the partners that share enough."""
    views = {summary.partner: of_kind for summary in merged.partners if (of_kind := summary.views(kind))}
    return [
        *_forest(merged, kind),
        *_changes(merged, views, kind),
        *_kinds(views, kind),
        *_learning(views, kind),
        *_domain(merged, views, kind),
    ]


def _forest(merged: Consortium, kind: TaskKind) -> Iterator[Section]:
    comparisons = {
        metric: [comparison_of(summary.summary, kind, metric) for summary in merged.partners]
        for metric in kind.metrics[:_N_FOREST]
    }
    shown = {metric: of_partners for metric, of_partners in comparisons.items() if any(of_partners)}
    if shown:
        names = [summary.partner for summary in merged.partners]
        caption = (
            "Mean change against the strongest local models on each partner's test fold, with 95 % interval. On the "
            "right of the line federation helped."
        )
        drawing = Drawing(f"{kind.file_prefix}partners", caption, lambda: figures.draw_partners(names, shown))
        yield Section(f"{captions_of(kind).title}: which partners federation helped", drawings=[drawing])


def _changes(merged: Consortium, views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    metric = kind.metrics[0]
    means = {name: np.array(view.changes[metric]) for name, view in views.items() if view.changes.get(metric)}
    if means:
        caption = (
            "Cumulative distribution of the tasks' changes against the strongest local models, a line per partner; "
            "each point is the mean of five tasks or more. On the right of the line federation helped."
        )
        drawing = Drawing(f"{kind.file_prefix}changes", caption, lambda: figures.draw_all_changes(means, metric))
        title = f"{captions_of(kind).title}: changes of the tasks"
        yield Section(title, _missing(merged, means), drawings=[drawing])


def _kinds(views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    tables = {name: kinds_share_table(view, kind) for name, view in views.items()}
    rows = [[name, *row] for name, table in tables.items() for row in table.rows]
    if rows:
        header = ["partner", *kinds_share_table(next(iter(views.values())), kind).header]
        table = PageTable("Share of each partner's tasks by kind of model", header, rows, 2)
        yield Section(f"{captions_of(kind).title}: kinds of model", tables=[table])


def _learning(views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    metric = kind.metrics[0]
    curves = {name: view.learning[metric] for name, view in views.items() if metric in view.learning}
    if curves:
        caption = (
            "Scores of the network on each partner's validation fold after each round: with federation (line) and "
            "without (faint)."
        )
        drawing = Drawing(f"{kind.file_prefix}learning", caption, lambda: figures.draw_all_learning(curves, metric))
        yield Section(f"{captions_of(kind).title}: learning, round by round", drawings=[drawing])


def _domain(merged: Consortium, views: ViewsByPartner, kind: TaskKind) -> Iterator[Section]:
    domains = {name: view.domain for name, view in views.items() if view.domain}
    if domains:
        words = captions_of(kind)
        drawing = Drawing(
            f"{kind.file_prefix}domain",
            words.consortium_domain,
            lambda: figures.draw_domains(domains, words.consortium_domain_axis),
        )
        yield Section(f"{words.title}: applicability domain", _missing(merged, domains), drawings=[drawing])
