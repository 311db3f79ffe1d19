"""The page that a partner may share. It is made from the shareable summary alone, so it cannot say more than that."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.pages import figures
from pipeline.pages.captions import (
    CALIBRATION,
    CHANGES,
    DATA,
    DOMAIN,
    GROUPS,
    HISTOGRAM,
    LEARNING,
    REGRESSION_CALIBRATION,
    WIDTH,
    domain_sentence,
    facts_of,
    how_to_read,
)
from pipeline.pages.page import Drawing, Page, Section
from pipeline.pages.tables import comparison_table, group_table, rejected_share_table
from pipeline.report.metrics import SHORT, SIDES

_NOTHING = "Too few tasks could be judged to show anything without showing single tasks."
_HIDDEN = "Counts below five and whatever would give them away are hidden."

View = Mapping[str, Any]


def shared_page(summary: Mapping[str, Any]) -> Page:
    """The page of a shareable summary (`pipeline.report.shareable`)."""
    sections = [
        Section(
            "Local against federated",
            (*how_to_read(has_errors="regression" in summary["summary"]), _HIDDEN),
            [comparison_table(summary["summary"])],
        ),
        *_sections(summary["classification"], "average_precision", "", "Classification: "),
    ]
    if summary.get("regression"):
        sections += _sections(summary["regression"], "r2", "regression_", "Regression: ")
    if summary["data"]:
        sections.append(_data(summary["data"]))
    return Page(
        title=f"Did federation help {summary['partner']}?",
        subtitle="For the consortium: no task, no id, no structure and no count below five.",
        outcome=summary["verdict"]["outcome"],
        sentence=summary["verdict"]["sentence"],
        facts=facts_of(summary),
        sections=sections,
    )


def _sections(views: View, metric: str, prefix: str, kind: str) -> list[Section]:
    found = [*_over_tasks(views, prefix, kind), *_where(views, metric, prefix, kind), *_models(views, prefix, kind)]
    return found or [Section(f"{kind}nothing to show", [_NOTHING])]


def _over_tasks(views: View, prefix: str, kind: str) -> Iterator[Section]:
    changes = {metric: np.array(means) for metric, means in views["changes"].items() if means}
    cells = {metric: found for metric, found in views["histograms"].items() if found["cells"]}
    drawings = []
    if changes:
        words = f"{CHANGES} Each point is the mean of five tasks or more."
        drawings.append(Drawing(f"{prefix}changes", words, lambda: figures.draw_changes(changes, grouped=True)))
    if cells:
        drawings.append(Drawing(f"{prefix}histogram", HISTOGRAM, lambda: figures.draw_histograms(cells)))
    if drawings:
        yield Section(f"{kind}Over the tasks", drawings=drawings)


def _where(views: View, metric: str, prefix: str, kind: str) -> Iterator[Section]:
    parts = (("sizes", "By labels of the task", "labels"), ("types", "By assay type", "assay type"))
    shown = [part for part in parts if views[part[0]]]
    if shown:
        yield Section(
            f"{kind}Where federation helps: labels and assay types",
            tables=[group_table(caption, views[name], what) for name, caption, what in shown],
            drawings=[_groups(views[name], metric, f"{prefix}{name}", caption) for name, caption, _ in shown],
        )


def _groups(groups: Any, metric: str, name: str, caption: str) -> Drawing:  # noqa: ANN401 -- rows of JSON
    return Drawing(name, f"{caption}. {GROUPS}", lambda: figures.draw_groups(groups, SHORT[metric]))


def _models(views: View, prefix: str, kind: str) -> Iterator[Section]:
    """Learning, calibration, applicability domain."""
    if curves := views["learning"]:
        drawing = Drawing(f"{prefix}learning", LEARNING, lambda: figures.draw_learning(curves))
        yield Section(f"{kind}Learning, round by round", drawings=[drawing])
    if any(views["calibration"].values()):
        words = REGRESSION_CALIBRATION if prefix else CALIBRATION
        yield Section(
            f"{kind}Calibration",
            drawings=[
                Drawing(
                    f"{prefix}calibration",
                    words,
                    lambda: figures.draw_calibration(views["calibration"], None, of_values=bool(prefix)),
                )
            ],
        )
    if domain := views["domain"]:
        shares = {side: np.array(domain["groups"][side]) for side in SIDES}
        words_of = WIDTH if prefix else DOMAIN
        yield Section(
            f"{kind}Applicability domain",
            [domain_sentence(domain)],
            drawings=[
                Drawing(
                    f"{prefix}domain",
                    words_of.caption,
                    lambda: figures.draw_domain(shares, domain, words_of.axis, grouped=True),
                )
            ],
        )


def _data(data: View) -> Section:
    whats = [what for what in ("compounds", "labels") if any(fold[what] for fold in data["folds"])]
    tables = [rejected_share_table(data["rejected"])]
    drawings = [Drawing("folds", DATA, lambda: figures.draw_folds(data["folds"], whats))] if whats else []
    return Section("Data", (), [table for table in tables if table.rows], drawings)
