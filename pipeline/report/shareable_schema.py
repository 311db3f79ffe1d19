"""What a shareable summary holds, to the last key: whoever merges summaries of others takes nothing else."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import DamagedReport, NotShareable
from pipeline.plan.toml_schema import Schema
from pipeline.report.metrics import FORMAT, SUMMARY_KIND

_MOST_BYTES = 4_000_000  # a summary has a few thousand

Name = Annotated[str, Field(min_length=1, max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=5)] | Literal["< 5", "withheld"]
Interval = tuple[float, float]
Sides = Annotated[list[tuple[float, float]], Field(max_length=100_000)]


class Conclusion(Schema):
    """The report in one sentence."""

    metric: str
    outcome: Literal["better", "worse", "undecided", "unjudged"]
    sentence: Annotated[str, Field(max_length=1000)]


class Metric(Schema):
    """One metric over the judged tasks."""

    local: float
    federated: float
    change: float
    riptop: float
    p_tasks: float | None
    p_tasks_holm: float | None
    p_assays: float | None
    p_assays_holm: float | None
    interval_95: Interval | None
    n_judged: Annotated[int, Field(ge=5)]
    n_assays: Count
    n_better: Count
    n_worse: Count
    n_equal: Count


class RegressionSummary(Schema):
    """All metrics of regression."""

    n_tasks: Count
    n_judged: Count
    r2: Metric | None
    spearman: Metric | None
    rmse: Metric | None
    censored_rmse: Metric | None


class Numbers(Schema):
    """All metrics."""

    n_tasks: Count
    n_judged: Count
    average_precision: Metric | None
    roc_auc: Metric | None
    regression: RegressionSummary | None = None


class Group(Schema):
    """The mean change of five tasks or more."""

    name: Name
    n_tasks: Annotated[int, Field(ge=5)]
    change: float
    interval_95: Interval | None


class Curves(Schema):
    """[round, score] pairs of both models."""

    local: Sides
    federated: Sides


class Means(Schema):
    """Means of groups of tasks, lowest first, of both models."""

    local: list[float]
    federated: list[float]


class Coverage(Schema):
    """How often the truth was among what conformal prediction left possible."""

    local: float | None
    federated: float | None


class DomainSummary(Schema):
    """How sure both models are."""

    measure: Literal["efficiency", "width"]
    n_tasks: Annotated[int, Field(ge=5)]
    local: float
    federated: float
    change: float
    interval_95: Interval | None
    n_assays: Count
    coverage: Coverage
    groups: Means


class Histogram(Schema):
    """Tasks by score of the local (column) and of the federated model (row), in even bins of 0 to 1."""

    n_bins: Annotated[int, Field(ge=1, le=100)]
    cells: list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=5)]]]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if any(max(column, row) >= self.n_bins for column, row, _ in self.cells):
            raise ValueError(f"cells: found a bin beyond the {self.n_bins} there are")
        return self


class Views(Schema):
    """What the figures of one kind of task show."""

    changes: dict[Name, list[float]]
    histograms: dict[Name, Histogram]
    sizes: list[Group]
    types: list[Group]
    learning: dict[Name, Curves]
    calibration: Curves
    domain: DomainSummary | None


class Fold(Schema):
    """Shares of one fold."""

    fold: int
    compounds: float
    labels: float


class Data(Schema):
    """How much was left out, and how even the folds are."""

    rejected: dict[Name, dict[Name, float]]
    folds: list[Fold]


class Summary(Schema):
    """A partner's shareable summary."""

    kind: Literal["hocket shareable summary"]
    format: Literal[3]
    partner: Name
    federation: Name
    plan: Digest
    trunk: Digest
    n_rounds: Annotated[int, Field(ge=1)]
    local_steps: Annotated[int, Field(ge=1)]
    classification: Views
    regression: Views | None = None
    summary: Numbers
    verdict: Conclusion
    data: Data | None


def read_shared(path: Path) -> dict[str, Any]:
    """The summary in a file, checked.

    Raises DamagedReport for what is no JSON or not as a summary must be, NotShareable for something else, above all a
    partner's report.json: that is private.
    """
    found = _object_in(path)
    if "tasks" in found:
        error = NotShareable(f"{path}: is a partner's private report with a row for each task, expected a summary")
        error.add_note("never send report.json to anyone: `hocket report PARTNER.toml --shareable` writes summary.json")
        raise error
    if (found.get("kind"), found.get("format")) != (SUMMARY_KIND, FORMAT):
        told = f"kind {str(found.get('kind'))[:80]!r} of format {str(found.get('format'))[:20]}"
        error = NotShareable(f"{path}: is {told}, expected {SUMMARY_KIND!r} of format {FORMAT}")
        error.add_note("`hocket report PARTNER.toml --shareable` of this version writes such a summary.json")
        raise error
    try:
        Summary.model_validate_json(json.dumps(found))
    except ValidationError as wrong:
        keys = sorted({".".join(map(str, item["loc"])) for item in wrong.errors(include_url=False)})
        raise _damaged(path, f"wrong or unknown: {', '.join(keys[:5])[:300]}") from None
    return found


def _object_in(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_BYTES:
        raise _damaged(path, f"{path.stat().st_size} bytes, expected {_MOST_BYTES} at most")
    try:
        found = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _damaged(path, "no JSON") from None
    if not isinstance(found, dict):
        raise _damaged(path, "no JSON object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _damaged(path: Path, what: str) -> DamagedReport:
    error = DamagedReport(f"{path}: is damaged: {what}")
    error.add_note("ask its partner for summary.json again: `hocket report PARTNER.toml --shareable` writes it")
    return error
