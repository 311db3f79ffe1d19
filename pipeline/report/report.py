"""Build, write and read report.json, the comparison that shows whether federation helped a partner.

It is private, for it names assays; summary.json has what may be shared (`pipeline.report.shareable`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from partners.scores.comparison import Comparison
from partners.scores.paired_scores import PairedScores, compare_metrics
from pipeline.errors import DamagedReport, NotYet
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.report.audit.schema import Audit
from pipeline.report.conclusion import draw_conclusion
from pipeline.report.metrics import CLASSIFICATION, FORMAT, REGRESSION, Side, TaskKind
from pipeline.report.parts import problems
from pipeline.report.picks import picks_of
from pipeline.report.row_schema import AnyRow, RegressionRow, TaskRow
from pipeline.report.rows import domain_summary, network_scores, paired_scores
from pipeline.report.schema import (
    ByDate,
    ColumnFacts,
    ComparisonOverTasks,
    Comparisons,
    DomainSummary,
    Facts,
    Learning,
    Means,
    PreparationCounts,
    PrivacyFacts,
    RegressionComparisons,
    RegressionMeans,
    ReliabilityCurves,
    Report,
    TwoModels,
)
from pipeline.report.shareable import shareable
from pipeline.report.worth import worth_of

SUMMARY = "summary.json"
Pair = Callable[[Sequence[AnyRow], str], PairedScores]
_OF_ANY_FORMAT = {"tasks", "summary", "partner", "plan"}  # keys that reports of earlier versions have too


@dataclass(frozen=True, slots=True)
class _Compared:
    """Both models compared over the tasks of one kind."""

    n_tasks: int
    n_scored: int  # by both models; if metrics differ, the fewest: disclosure depends on it
    metrics: Mapping[str, Comparison | None]  # None if no task could be scored
    domain: DomainSummary | None

    def means(self, side: Side) -> dict[str, Any]:
        """Means of one model, with the keys of `Means`."""
        means = {metric: getattr(compared, side) if compared else None for metric, compared in self.metrics.items()}
        return {"n_tasks": self.n_tasks, "n_judged": self.n_scored, **means}

    def comparisons(self) -> dict[str, Any]:
        """Comparisons by metric, with the keys of `Comparisons`."""
        comparisons = {metric: over_tasks(compared) if compared else None for metric, compared in self.metrics.items()}
        return {"n_tasks": self.n_tasks, "n_judged": self.n_scored, "domain": self.domain, **comparisons}


def over_tasks(compared: Comparison) -> ComparisonOverTasks:
    """A comparison as part of a report."""
    return ComparisonOverTasks(**{**compared.to_json(), "interval_95": compared.interval})


def build_report(  # noqa: PLR0913 -- the parts of a report, by name
    facts: Facts,
    rows: Sequence[TaskRow],
    regression_rows: Sequence[RegressionRow] = (),
    *,
    learning: Learning,
    calibration: ReliabilityCurves,
    data: PreparationCounts,
    regression_calibration: ReliabilityCurves | None = None,
    columns: ColumnFacts | None = None,
    by_date: ByDate | None = None,
    privacy: PrivacyFacts | None = None,
) -> Report:
    """Build a partner's report: both comparisons over its tasks, curves, calibration and data."""
    main = _compare(rows, regression_rows, facts.seed, paired_scores, has_domain=True)
    return Report(
        **dict(facts),
        **dict(main),
        network=_compare(rows, regression_rows, facts.seed, network_scores, has_domain=False),
        tasks=list(rows),
        regression_tasks=list(regression_rows) or None,
        verdict=draw_conclusion(main.summary, facts.partner),
        picks=picks_of(rows, facts.seed),
        worth=worth_of(rows, facts.seed),
        learning=learning,
        calibration=calibration,
        data=data,
        regression_calibration=regression_calibration,
        columns=columns,
        by_date=by_date,
        privacy=privacy,
    )


def _compare(
    rows: Sequence[TaskRow], regression_rows: Sequence[RegressionRow], seed: int, pair: Pair, *, has_domain: bool
) -> TwoModels:
    """Two models compared over all tasks; pair : takes both models' scores in a metric from rows."""
    of_kinds: dict[TaskKind, Sequence[AnyRow]] = {CLASSIFICATION: rows, REGRESSION: regression_rows}
    scores = {kind: {metric: pair(of_kind, metric) for metric in kind.metrics} for kind, of_kind in of_kinds.items()}
    compared = compare_metrics(list(scores.values()), seed)
    tasks, regression = (
        _Compared(
            n_tasks=len(of_kind),
            n_scored=min(int(of_metric.is_scored.sum()) for of_metric in scores[kind].values()),
            metrics={metric: compared[metric] for metric in kind.metrics},
            domain=domain_summary(of_kind, kind, np.random.default_rng(seed)) if has_domain else None,
        )
        for kind, of_kind in of_kinds.items()
    )

    def means(side: Side) -> Means:
        of_regression = RegressionMeans(**regression.means(side)) if regression_rows else None
        return Means(**tasks.means(side), regression=of_regression)

    of_regression = RegressionComparisons(**regression.comparisons()) if regression_rows else None
    return TwoModels(
        local=means("local"),
        federated=means("federated"),
        summary=Comparisons(**tasks.comparisons(), regression=of_regression),
    )


def report_file(home: Home) -> Path:
    """Path of report.json."""
    return home.report / "report.json"


def write_report(home: Home, report: Report) -> None:
    """Write summary.json, then report.json, whose presence means that the models are scored."""
    write_summary(home, report)
    write_json(report_file(home), report.model_copy(update={"audit": None}).to_json())


def write_summary(home: Home, report: Report) -> None:
    """Write the shareable summary into the report's folder."""
    write_json(home.report / SUMMARY, shareable(report).to_json())


def read_report(home: Home) -> Report:
    """Read the report, with the audit of the same trunk if there is one.

    Raises NotYet if there is none yet, DamagedReport for a file that a run of this version does not write.
    """
    path = report_file(home)
    its_format = _object_in(path).get("format")
    if its_format != FORMAT:
        raise _damaged(path, f"format: found {str(its_format)[:20]}, expected {FORMAT}")
    try:
        report = Report.model_validate_json(path.read_bytes())
        audit = Audit.read(home)
        return report.model_copy(update={"audit": audit}) if audit and audit.trunk == report.trunk else report
    except ValidationError as error:
        raise _damaged(path, f"is damaged: {problems(error)}") from None


def is_of_this_format(home: Home) -> bool:
    """Whether the report exists and has this version's format; raises DamagedReport if it is not a report."""
    path = report_file(home)
    return path.exists() and _object_in(path).get("format") == FORMAT


def is_of_plan(home: Home, plan: str) -> bool:
    """Whether the report exists and is that of the plan with this digest; raises DamagedReport if it is no report."""
    path = report_file(home)
    return path.exists() and _object_in(path).get("plan") == plan


def _object_in(path: Path) -> dict[str, Any]:
    if not path.exists():
        error = NotYet(f"{path}: there is no report yet")
        error.add_note("it is written when the plan's last round is done: `hocket partner run`")
        raise error
    try:
        content = read_json(path)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not content.keys() >= _OF_ANY_FORMAT:
        raise _damaged(path, "is damaged: expected the JSON object that a partner's run writes")
    return dict(content)


def _damaged(path: Path, problem: str) -> DamagedReport:
    error = DamagedReport(f"{path}: {problem}")
    error.add_note("remove it; then `hocket report` writes it again from the models in the home")
    return error
