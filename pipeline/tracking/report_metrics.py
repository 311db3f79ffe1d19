"""A partner's report as metrics of its MLflow runs: test scores, the conclusion and the gate."""

from collections import Counter
from collections.abc import Iterator

from pipeline.errors import DamagedReport, NotYet
from pipeline.home.paths import Home
from pipeline.report.metrics import CLASSIFICATION, REGRESSION, Side
from pipeline.report.report import read_report
from pipeline.report.schema import ComparisonOverTasks, Comparisons, Report
from pipeline.tracking.descriptions import AUDIT, CONCLUSION, GATE, TEST, VALIDATION

_OUTCOMES = {"better": 1, "undecided": 0, "worse": -1}  # others, such as "unjudged", are no number


def report_in(home: Home) -> Report | None:
    """The partner's report; None if it cannot be read, since `hocket report` says what to do."""
    try:
        return read_report(home)
    except (NotYet, DamagedReport):
        return None


def scores_on_test_fold(report: Report, side: Side) -> dict[str, float]:
    """Means on the test fold of one side: of its models of assays, and under `..._network` of its network."""
    return {f"{TEST}/{metric}": getattr(compared, side) for metric, compared in _compared(report.summary)} | {
        f"{TEST}/{metric}_network": getattr(compared, side) for metric, compared in _compared(report.network.summary)
    }


def conclusion(report: Report) -> dict[str, float]:
    """What federation changed on the test fold: change, interval, p that decides, tasks; and the outcome."""
    metrics: dict[str, float] = {}
    for metric, compared in _compared(report.summary):
        low, high = compared.interval_95
        metrics |= {
            f"{CONCLUSION}/{metric}_change": compared.change,
            f"{CONCLUSION}/{metric}_change_low": low,
            f"{CONCLUSION}/{metric}_change_high": high,
            f"{CONCLUSION}/{metric}_p": compared.p_assays_holm,
            f"{CONCLUSION}/{metric}_tasks_better": compared.n_better,
            f"{CONCLUSION}/{metric}_tasks_worse": compared.n_worse,
        }
    for metric, compared in _compared(report.network.summary):
        metrics[f"{CONCLUSION}/{metric}_network_change"] = compared.change
    return metrics | _outcome(CONCLUSION, report.verdict.outcome)


def gate(report: Report) -> dict[str, float]:
    """The gate's result on the validation fold."""
    found = report.gate
    numbers = {"change": found.change, "low": found.low, "high": found.high, "tasks": found.n_tasks}
    metrics = {f"{GATE}/{name}": float(number) for name, number in numbers.items() if number is not None}
    return metrics | _outcome(GATE, found.outcome) | {f"{GATE}/keeps_federated": float(found.kept == "federated")}


def audit(report: Report) -> dict[str, float]:
    """What `hocket audit` measured: AUC and rates of each view, and counts; empty without an audit."""
    return {f"{AUDIT}/{name}": value for name, value in report.audit.numbers()} if report.audit else {}


def validation_curves(report: Report, side: Side) -> Iterator[tuple[str, int, float]]:
    """Name, round and score of each point of the network's curves on the validation fold."""
    for kind in (CLASSIFICATION, REGRESSION):
        for name, curve in report.learning.curves(kind).items():
            for round_no, score in curve.of(side):
                yield f"{VALIDATION}/{name}", round_no, score


def kinds(report: Report, side: Side) -> dict[str, str]:
    """Number of tasks, without auxiliary ones, with each kind of model, as parameters."""
    rows = [row for kind in (CLASSIFICATION, REGRESSION) for row in report.rows(kind) if not row.is_auxiliary]
    counts = Counter(row.strongest if side == "local" else row.kept for row in rows)
    return {f"kinds.{kind.replace(' ', '_')}": str(n) for kind, n in sorted(counts.items())}


def _compared(summary: Comparisons) -> Iterator[tuple[str, ComparisonOverTasks]]:
    for kind in (CLASSIFICATION, REGRESSION):
        comparisons = summary.of(kind)
        for metric in kind.metrics if comparisons else ():
            compared = comparisons.comparison(metric) if comparisons else None
            if compared:
                yield metric, compared


def _outcome(group: str, outcome: str) -> dict[str, float]:
    return {f"{group}/outcome": _OUTCOMES[outcome]} if outcome in _OUTCOMES else {}
