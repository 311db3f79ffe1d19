"""What a shareable summary holds, to the last key: merging the summaries of others takes nothing else."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import DamagedReport, NotShareable
from pipeline.report.metrics import CLASSIFICATION, FORMAT, SUMMARY_KIND, Kind
from pipeline.report.parts import Part, PartWithOptions, Sides, problems
from pipeline.report.schema import Conclusion, Curve, GroupChange, Interval, Points

_MOST_BYTES = 4_000_000  # a summary has a few thousand

Name = Annotated[str, Field(min_length=1, max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=5)] | Literal["< 5", "withheld"]


class SharedConclusion(Conclusion):
    """The report in one sentence."""

    sentence: Annotated[str, Field(max_length=1000)]


class SharedComparison(Part):
    """One metric over the tasks that both models could be scored on."""

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


class SharedRegressionComparisons(Part):
    """All metrics of the regression tasks."""

    n_tasks: Count
    n_judged: Count
    r2: SharedComparison | None
    spearman: SharedComparison | None
    rmse: SharedComparison | None
    censored_rmse: SharedComparison | None

    def comparison(self, metric: str) -> SharedComparison | None:
        """Of one metric; None where too few tasks could be scored by it."""
        of_metric: SharedComparison | None = getattr(self, metric)
        return of_metric


class SharedComparisons(PartWithOptions):
    """All metrics of the classification tasks, and below them those of the regression tasks."""

    n_tasks: Count
    n_judged: Count
    average_precision: SharedComparison | None
    roc_auc: SharedComparison | None
    regression: SharedRegressionComparisons | None = None

    def comparison(self, metric: str) -> SharedComparison | None:
        """Of one metric; None where too few tasks could be scored by it."""
        of_metric: SharedComparison | None = getattr(self, metric)
        return of_metric


class SharedGroup(GroupChange):
    """The mean change of five tasks or more."""

    name: Name
    n_tasks: Annotated[int, Field(ge=5)]


class SharedDomain(Part):
    """How sure both models are, over the tasks where conformal prediction works for both."""

    measure: Literal["efficiency", "width"]
    n_tasks: Annotated[int, Field(ge=5)]
    local: float
    federated: float
    change: float
    interval_95: Interval | None
    n_assays: Count
    coverage: Sides[float | None]  # how often the truth was among what conformal prediction left possible
    groups: Sides[list[float]]  # means of groups of tasks, lowest first


class Histogram(Part):
    """Tasks by score of the local (column) and of the federated model (row), in even bins of 0 to 1."""

    n_bins: Annotated[int, Field(ge=1, le=100)]
    cells: list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=5)]]]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if any(max(column, row) >= self.n_bins for column, row, _ in self.cells):
            raise ValueError(f"cells: found a bin beyond the {self.n_bins} there are")
        return self


class Views(Part):
    """What the figures of one kind of task show."""

    changes: dict[Name, list[float]]
    histograms: dict[Name, Histogram]
    sizes: list[SharedGroup]
    types: list[SharedGroup]
    learning: dict[Name, Curve]
    calibration: Points  # predicted, observed
    domain: SharedDomain | None


class SharedFold(Part):
    """Shares of one fold."""

    fold: int
    compounds: float
    labels: float


class SharedPreparation(Part):
    """How much was left out, and how even the folds are."""

    rejected: dict[Name, dict[Name, float]]
    folds: list[SharedFold]


class ShareableSummary(PartWithOptions):
    """A partner's summary.json: what it may share of its report."""

    kind: Literal["hocket shareable summary"] = SUMMARY_KIND
    format: Literal[3] = FORMAT
    partner: Name
    federation: Name
    plan: Digest
    trunk: Digest
    n_rounds: Annotated[int, Field(ge=1)]
    local_steps: Annotated[int, Field(ge=1)]
    classification: Views
    regression: Views | None = None
    summary: SharedComparisons
    verdict: SharedConclusion
    data: SharedPreparation

    def views(self, kind: Kind) -> Views | None:
        """What the figures of one kind of task show."""
        return self.classification if kind == CLASSIFICATION else self.regression

    def comparisons(self, kind: Kind) -> SharedComparisons | SharedRegressionComparisons | None:
        """All metrics of one kind of task."""
        return self.summary if kind == CLASSIFICATION else self.summary.regression


def read_shared(path: Path) -> ShareableSummary:
    """The summary in a file, checked.

    Raises DamagedReport for what is no JSON or not as a summary must be, NotShareable for something else, above all a
    partner's report.json: that is private.
    """
    content = _object_in(path)
    if "tasks" in content:
        error = NotShareable(f"{path}: is a partner's private report with a row for each task, expected a summary")
        error.add_note("never send report.json to anyone: `hocket report PARTNER.toml --shareable` writes summary.json")
        raise error
    if (content.get("kind"), content.get("format")) != (SUMMARY_KIND, FORMAT):
        its_own = f"kind {str(content.get('kind'))[:80]!r} of format {str(content.get('format'))[:20]}"
        error = NotShareable(f"{path}: is {its_own}, expected {SUMMARY_KIND!r} of format {FORMAT}")
        error.add_note("`hocket report PARTNER.toml --shareable` of this version writes such a summary.json")
        raise error
    try:
        return ShareableSummary.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise _damaged(path, problems(error)) from None


def _object_in(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_BYTES:
        raise _damaged(path, f"{path.stat().st_size} bytes, expected {_MOST_BYTES} at most")
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _damaged(path, "no JSON") from None
    if not isinstance(content, dict):
        raise _damaged(path, "no JSON object")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _damaged(path: Path, what: str) -> DamagedReport:
    error = DamagedReport(f"{path}: is damaged: {what}")
    error.add_note("ask its partner for summary.json again: `hocket report PARTNER.toml --shareable` writes it")
    return error
