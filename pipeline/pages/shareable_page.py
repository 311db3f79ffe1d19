"""The page that a partner may share, made from the shareable summary alone, so that it cannot show more."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.pages import figures
from pipeline.pages.audit_section import shared_audit_section
from pipeline.pages.captions import (
    CHANGES,
    DATA,
    GROUPS,
    HISTOGRAM,
    LEARNING,
    PICKS,
    WORTH,
    captions_of,
    domain_sentence,
    facts_of,
    footer_of,
    how_to_read,
)
from pipeline.pages.hidden_columns import without_hidden_columns
from pipeline.pages.page import Drawing, Page, Section
from pipeline.pages.tables import comparison_tables, group_table, kinds_share_table, picks_table, rejected_share_table
from pipeline.report.conclusion import network_sentence, privacy_sentence
from pipeline.report.metrics import CLASSIFICATION, REGRESSION, SIDES, TaskKind
from pipeline.report.picks import picks_sentence
from pipeline.report.shareable_schema import ShareableSummary, SharedGroup, SharedPreparation, Views
from pipeline.report.worth import worth_sentence

_NOTHING = "Too few tasks have a score: any number would be close to the score of a single task."
_HIDDEN = "Counts below five, and numbers from which they could be found, are hidden."


def shareable_page(summary: ShareableSummary) -> Page:
    """Make the page of a shareable summary (`pipeline.report.shareable`)."""
    tables, notes = without_hidden_columns(comparison_tables(summary))
    picks = [picks_table({"": summary.picks}, "")] if summary.picks else []
    explanation = how_to_read(has_errors=summary.summary.regression is not None)
    sections = [Section("The result", (*explanation, PICKS, WORTH, _HIDDEN, *notes), [*tables, *picks])]
    for kind in (CLASSIFICATION, REGRESSION):
        if views := summary.views(kind):
            sections += _sections(views, kind)
    sections += shared_audit_section({"": summary.audit} if summary.audit else {})
    sections.append(_data(summary.data, privacy_sentence(summary.privacy)))
    return Page(
        title=f"Did federation help {summary.partner}?",
        subtitle="For the consortium: no task, no id, no structure and no count below five.",
        outcome=summary.verdict.outcome,
        sentence=summary.verdict.sentence,
        facts=facts_of(summary),
        sections=sections,
        more=[
            sentence
            for sentence in (
                picks_sentence(summary.picks),
                worth_sentence(summary.worth),
                network_sentence(summary.verdict.metric, summary.network),
            )
            if sentence
        ],
        footer=footer_of(summary),
    )


def _sections(views: Views, kind: TaskKind) -> list[Section]:
    title = captions_of(kind).title
    sections = [
        *_over_tasks(views, kind, title),
        *_where(views, kind, title),
        *_learning(views, kind, title),
        *_calibration(views, kind, title),
        *_domain(views, kind, title),
    ]
    return sections or [Section(f"{title}: nothing to show", [_NOTHING])]


def _over_tasks(views: Views, kind: TaskKind, title: str) -> Iterator[Section]:
    changes = {metric: np.array(means) for metric, means in views.changes.items() if means}
    histograms = {metric: histogram for metric, histogram in views.histograms.items() if histogram.cells}
    drawings = []
    if changes:
        caption = f"{CHANGES} Each point is the mean of five tasks or more."
        drawings.append(
            Drawing(f"{kind.file_prefix}changes", caption, lambda: figures.draw_changes(changes, grouped=True))
        )
    if histograms:
        drawings.append(Drawing(f"{kind.file_prefix}histogram", HISTOGRAM, lambda: figures.draw_histograms(histograms)))
    kinds = kinds_share_table(views, kind)
    if drawings or kinds.rows:
        yield Section(f"{title}: Changes of the tasks", tables=[kinds] if kinds.rows else [], drawings=drawings)


def _where(views: Views, kind: TaskKind, title: str) -> Iterator[Section]:
    parts = (
        ("sizes", "By labels of the task", "labels", views.sizes),
        ("types", "By assay type", "assay type", views.types),
    )
    shown = [part for part in parts if part[-1]]
    if shown:
        yield Section(
            f"{title}: Where federation helps: labels and assay types",
            tables=[group_table(caption, groups, header) for _, caption, header, groups in shown],
            drawings=[_groups(kind, name, caption, groups) for name, caption, _, groups in shown],
        )


def _groups(kind: TaskKind, name: str, caption: str, groups: Sequence[SharedGroup]) -> Drawing:
    return Drawing(
        f"{kind.file_prefix}{name}", f"{caption}. {GROUPS}", lambda: figures.draw_groups(groups, kind.metrics[0])
    )


def _learning(views: Views, kind: TaskKind, title: str) -> Iterator[Section]:
    if curves := views.learning:
        drawing = Drawing(f"{kind.file_prefix}learning", LEARNING, lambda: figures.draw_learning(curves))
        yield Section(f"{title}: Learning, round by round", drawings=[drawing])


def _calibration(views: Views, kind: TaskKind, title: str) -> Iterator[Section]:
    points = views.calibration
    if points.local or points.federated:
        drawing = Drawing(
            f"{kind.file_prefix}calibration",
            captions_of(kind).calibration,
            lambda: figures.draw_calibration(points, None, kind),
        )
        yield Section(f"{title}: Calibration", drawings=[drawing])


def _domain(views: Views, kind: TaskKind, title: str) -> Iterator[Section]:
    if domain := views.domain:
        groups, captions = {side: np.array(domain.groups.of(side)) for side in SIDES}, captions_of(kind)
        drawing = Drawing(
            f"{kind.file_prefix}domain",
            captions.domain,
            lambda: figures.draw_domain(groups, domain, captions.domain_axis, grouped=True),
        )
        yield Section(f"{title}: Applicability domain", [domain_sentence(domain)], drawings=[drawing])


def _data(data: SharedPreparation, privacy: str) -> Section:
    amounts = {
        "compounds": [fold.compounds for fold in data.folds],
        "labels": [fold.labels for fold in data.folds],
    }
    present = {name: of_folds for name, of_folds in amounts.items() if any(of_folds)}
    folds = [fold.fold for fold in data.folds]
    tables = [rejected_share_table(data.rejected)]
    drawings = [Drawing("folds", DATA, lambda: figures.draw_folds(folds, present))] if present else []
    return Section("Data", [privacy] if privacy else (), [table for table in tables if table.rows], drawings)
