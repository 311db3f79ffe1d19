"""The consortium's page: what its partners share, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.pages import consortium_figures as figures
from pipeline.pages.captions import facts_of, how_to_read
from pipeline.pages.page import Drawing, Page, PageTable, Section
from pipeline.pages.tables import NONE, comparison_row, count, interval, number, signed
from pipeline.report.metrics import LONG, METRICS, REGRESSION_METRICS, SHORT

_POOLED = (
    "All partners: mean over the tasks that are told of, each partner weighing as many as it judged by the metric; the "
    "interval takes the partners' intervals as normal and independent. Partners with fewer than five judged tasks tell "
    "no mean. Errors (RMSE) are in the units of each assay: of all partners only their RIPtoP, a share, has a mean."
)
_HIDDEN = "Partners hide counts below five and whatever would give them away."


def consortium_page(merged: Mapping[str, Any]) -> Page:
    """The page of consortium.json (`pipeline.report.consortium`)."""
    partners = merged["partners"]
    words = how_to_read(has_errors="rmse" in merged["pooled"])
    sections = [Section("Partner by partner", (*words, _POOLED, _HIDDEN), list(_tables(merged)))]
    sections += _kind(partners, METRICS, "classification", "")
    sections += _kind(partners, REGRESSION_METRICS, "regression", "regression_")
    return Page(
        title=f"Did federation help the partners of {merged['federation']}?",
        subtitle=f"Made from the shareable summaries of {len(partners)} partners.",
        outcome=merged["verdict"]["outcome"],
        sentence=merged["verdict"]["sentence"],
        facts=facts_of(merged),
        sections=sections,
    )


def _tables(merged: Mapping[str, Any]) -> Iterator[PageTable]:
    header = ["partner", "tasks", "local", "federated", "change", "95 % interval"]
    header += ["better", "worse", "equal", "RIPtoP", "p, tasks", "p, assays"]
    for metric, pooled in merged["pooled"].items():
        rows = [_row(summary, metric) for summary in merged["partners"]]
        if pooled:
            cells = [NONE] * 3
            if pooled["change"] is not None:
                cells = [number(pooled["local"]), number(pooled["federated"]), signed(pooled["change"])]
            told = [count(pooled["n_tasks"]), *cells, interval(pooled["interval_95"])]
            rows.append(["all partners", *told, *[NONE] * 3, signed(pooled["riptop"]), NONE, NONE])
        yield PageTable(f"{LONG[metric][0].upper()}{LONG[metric][1:]}", header, rows)


def _row(summary: Mapping[str, Any], metric: str) -> list[str]:
    part = _part(summary, metric)
    return [summary["partner"], *(comparison_row(part, metric, of_all=False) if part else [NONE] * 11)]


def _part(summary: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    numbers: Mapping[str, Any] = summary["summary"]
    return numbers if metric in METRICS else numbers.get("regression")


def _kind(partners: Sequence[Mapping[str, Any]], metrics: Sequence[str], name: str, prefix: str) -> list[Section]:
    """The figures of one kind of task, of the partners who tell enough."""
    views = {summary["partner"]: summary[name] for summary in partners if summary.get(name)}
    title = name.capitalize()
    return [
        *_forest(partners, metrics, title, prefix),
        *_changes(views, metrics[0], title, prefix),
        *_learning(views, metrics[0], title, prefix),
        *_domain(views, title, prefix),
    ]


def _forest(
    partners: Sequence[Mapping[str, Any]], metrics: Sequence[str], title: str, prefix: str
) -> Iterator[Section]:
    shown = [metric for metric in metrics[:2] if any((_part(s, metric) or {}).get(metric) for s in partners)]
    if shown:
        names = [summary["partner"] for summary in partners]
        changes = {metric: [(_part(s, metric) or {}).get(metric) for s in partners] for metric in shown}
        caption = "Mean change on each partner's test fold with its 95 % interval. Right of the line federation helped."
        drawing = Drawing(f"{prefix}partners", caption, lambda: figures.draw_partners(names, changes))
        yield Section(f"{title}: whom federation helped", drawings=[drawing])


def _changes(views: Mapping[str, Any], metric: str, title: str, prefix: str) -> Iterator[Section]:
    means = {name: np.array(view["changes"][metric]) for name, view in views.items() if view["changes"].get(metric)}
    if means:
        caption = (
            "Cumulative distribution of the tasks' changes, a line per partner; each point is the mean of five tasks "
            "or more. Right of the line federation helped."
        )
        drawing = Drawing(f"{prefix}changes", caption, lambda: figures.draw_all_changes(means, SHORT[metric]))
        yield Section(f"{title}: over the tasks", drawings=[drawing])


def _learning(views: Mapping[str, Any], metric: str, title: str, prefix: str) -> Iterator[Section]:
    curves = {name: view["learning"][metric] for name, view in views.items() if metric in view["learning"]}
    if curves:
        caption = "Each partner's validation fold after each round: federated (line) and its local-only model (faint)."
        drawing = Drawing(f"{prefix}learning", caption, lambda: figures.draw_all_learning(curves, SHORT[metric]))
        yield Section(f"{title}: learning, round by round", drawings=[drawing])


def _domain(views: Mapping[str, Any], title: str, prefix: str) -> Iterator[Section]:
    found = {name: view["domain"] for name, view in views.items() if view["domain"]}
    if found:
        what = (
            "mean width of the 95 % prediction interval, units of the assay" if prefix else "mean conformal efficiency"
        )
        caption = "How sure each partner's models are on its test fold, calibrated on its validation fold. " + (
            "Narrower intervals are surer." if prefix else "Share of compounds with exactly one possible class."
        )
        drawing = Drawing(f"{prefix}domain", caption, lambda: figures.draw_domains(found, what))
        yield Section(f"{title}: applicability domain", drawings=[drawing])
