"""`hocket report --merge`: one page for the consortium from what its partners share. Needs neither torch nor rdkit."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.errors import MixedFederations
from pipeline.home.json_files import write_json
from pipeline.pages.consortium_page import consortium_page
from pipeline.pages.page_files import page_digest, write_page
from pipeline.report.metrics import ERRORS, METRICS, REGRESSION_METRICS
from pipeline.report.shareable_schema import read_shared
from pipeline.report.terminal_table import print_report

PAGE, MERGED = "consortium.html", "consortium.json"
_SAME = ("federation", "plan", "trunk", "n_rounds", "local_steps")


def merge_summaries(files: Sequence[Path], output: Path) -> dict[str, Any]:
    """Write consortium.html, its figures and consortium.json into `output`; return the latter.

    Raises MixedFederations where plan or model differ or a partner comes twice, and what `read_shared` raises; nothing
    is written then.
    """
    summaries = [read_shared(path) for path in files]
    _check_same(files, summaries)
    merged = merge(summaries)
    write_page(output, consortium_page(merged), PAGE, page_digest(merged))
    write_json(output / MERGED, merged)
    return merged


def _check_same(files: Sequence[Path], summaries: Sequence[Mapping[str, Any]]) -> None:
    for path, summary in zip(files, summaries, strict=True):
        for key in _SAME:
            if summary[key] != summaries[0][key]:
                raise MixedFederations(
                    f"{path}: {key} is {summary[key]!r}, expected {summaries[0][key]!r} as in {files[0]}"
                )
    names = [summary["partner"] for summary in summaries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MixedFederations(f"two summaries are of {twice[0]}, expected one for each partner")


def merge(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The consortium's numbers, partners by name: equal summaries in any order give equal results."""
    partners = sorted(summaries, key=lambda summary: str(summary["partner"]))
    first = partners[0]
    pooled = {metric: _pooled([summary["summary"] for summary in partners], metric) for metric in METRICS}
    regression = [summary["summary"]["regression"] for summary in partners if summary["summary"].get("regression")]
    if regression:
        pooled |= {metric: _pooled(regression, metric) for metric in REGRESSION_METRICS}
    merged = {"kind": "hocket consortium", **{key: first[key] for key in ("format", *_SAME)}, "pooled": pooled}
    merged["verdict"] = _verdict(partners, pooled["average_precision"])
    return merged | {"partners": partners}


def _pooled(parts: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any] | None:
    """Mean over the tasks judged by the metric of all partners who may tell; intervals are normal and independent.

    Errors are in the units of each assay, which differ between partners: only RIPtoP, a share, has a mean.
    """
    told = [part[metric] for part in parts if part[metric]]
    if not told:
        return None
    n_judged = [table["n_judged"] for table in told]
    n_tasks = sum(n_judged)
    found: dict[str, Any] = {"n_partners": len(told), "n_tasks": n_tasks}
    for name in ("local", "federated", "change", "riptop"):
        has_mean = name == "riptop" or metric not in ERRORS
        mean = sum(n * table[name] for n, table in zip(n_judged, told, strict=True)) / n_tasks
        found[name] = mean if has_mean else None
    found["interval_95"] = None
    if metric not in ERRORS and all(table["interval_95"] for table in told):
        halves = [(table["interval_95"][1] - table["interval_95"][0]) / 2 for table in told]
        reach = math.hypot(*(n / n_tasks * half for n, half in zip(n_judged, halves, strict=True)))
        found["interval_95"] = [found["change"] - reach, found["change"] + reach]
    return found


def _verdict(partners: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any] | None) -> dict[str, str]:
    """Whom federation helped and whom it harmed, by the partners' own verdicts."""
    who = {
        outcome: [str(summary["partner"]) for summary in partners if summary["verdict"]["outcome"] == outcome]
        for outcome in ("better", "worse", "undecided", "unjudged")
    }
    words = {
        "better": "helped {}",
        "worse": "harmed {}",
        "undecided": "made no difference that can be told from chance to {}",
        "unjudged": "could not be judged by {}",
    }
    parts = [words[outcome].format(_listed(names)) for outcome, names in who.items() if names]
    sentence = f"Federation {'; it '.join(parts)}."
    if pooled and pooled["interval_95"]:
        low, high = pooled["interval_95"]
        sentence += (
            f" Over all {pooled['n_tasks']:,} tasks that are told of, mean average precision on the test folds changed "
            f"by {pooled['change']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})."
        )
    outcome = "worse" if who["worse"] else "better" if who["better"] else "undecided"
    return {
        "outcome": outcome if who["worse"] or who["better"] or who["undecided"] else "unjudged",
        "sentence": sentence,
    }


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def print_merged(merged: Mapping[str, Any], output: Path) -> None:
    """The partners' tables, the sentence, and where the page is, on stdout."""
    print_report(merged["partners"])
    console = Console(soft_wrap=True, highlight=False)
    console.print(merged["verdict"]["sentence"], markup=False)
    console.print(f"page: {output / PAGE}", markup=False)
