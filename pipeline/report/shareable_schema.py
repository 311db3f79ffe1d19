"""All keys of a shareable summary; merging refuses any file with other keys."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from partners.settings import ModelKind
from pipeline.errors import DamagedReport, NotShareable
from pipeline.report.audit.shared import SharedAudit
from pipeline.report.metrics import CLASSIFICATION, FORMAT, SUMMARY_KIND, TaskKind
from pipeline.report.parts import PartWithOptions, ReportPart, Sides, problems
from pipeline.report.schema import (
    Conclusion,
    Curve,
    GroupChange,
    Interval,
    Picks,
    Points,
    PrivacyBound,
    SharedWorth,
)
from secure.files import NotPlainFile, TooLarge, read_plain

_MOST_BYTES = 4_000_000  # a usual summary has a few thousand
_LARGEST = 1e12  # no score or error of an assay is larger, and pages and figures can show it
_LARGEST_COUNT = 1 << 53  # up to here every count is a number in JSON and in a figure

Name = Annotated[str, Field(min_length=1, max_length=200)]
Partner = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]  # as on a card
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SharedKind = ModelKind | Literal["other models"]
Count = Annotated[int, Field(ge=5)] | Literal["< 5", "withheld"]


class SharedConclusion(Conclusion):
    """The conclusion of a report in one sentence, of limited length."""

    sentence: Annotated[str, Field(max_length=1000)]


class SharedComparison(ReportPart):
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


class SharedRegressionComparisons(ReportPart):
    """The comparison by each metric over the regression tasks, as far as it is shared."""

    n_tasks: Count
    n_judged: Count
    r2: SharedComparison | None
    spearman: SharedComparison | None
    rmse: SharedComparison | None
    censored_rmse: SharedComparison | None

    def comparison(self, metric: str) -> SharedComparison | None:
        """The comparison by one metric; None if too few tasks could be scored by it."""
        of_metric: SharedComparison | None = getattr(self, metric)
        return of_metric


class SharedComparisons(PartWithOptions):
    """The comparison by each metric over the classification tasks, and inside it that over the regression tasks."""

    n_tasks: Count
    n_judged: Count
    average_precision: SharedComparison | None
    roc_auc: SharedComparison | None
    regression: SharedRegressionComparisons | None = None

    def of(self, kind: TaskKind) -> "SharedComparisons | SharedRegressionComparisons | None":
        """The comparisons of one kind of task."""
        return self if kind == CLASSIFICATION else self.regression

    def comparison(self, metric: str) -> SharedComparison | None:
        """The comparison by one metric; None if too few tasks could be scored by it."""
        of_metric: SharedComparison | None = getattr(self, metric)
        return of_metric


class SharedGroup(GroupChange):
    """The mean change of five tasks or more."""

    name: Name
    n_tasks: Annotated[int, Field(ge=5)]


class SharedPicks(Picks):
    """Hits among the best-ranked compounds, over five assays or more."""

    n_tasks: Annotated[int, Field(ge=5)]
    n_assays: Annotated[int, Field(ge=5)]


class SharedDomain(ReportPart):
    """Conformal efficiency or interval width of both models, over the tasks that have it for both."""

    measure: Literal["efficiency", "width"]
    n_tasks: Annotated[int, Field(ge=5)]
    local: float
    federated: float
    change: float
    interval_95: Interval | None
    n_assays: Count
    coverage: Sides[float | None]  # share of labels or values that conformal prediction covered
    groups: Sides[list[float]]  # means of groups of tasks, lowest first


class Histogram(ReportPart):
    """Tasks by score of the local (column) and of the federated model (row), in even bins of 0 to 1."""

    n_bins: Annotated[int, Field(ge=1, le=100)]
    cells: list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=5)]]]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if any(max(column, row) >= self.n_bins for column, row, _ in self.cells):
            raise ValueError(f"cells: found a bin number of {self.n_bins} or more, expected less")
        return self


class Views(ReportPart):
    """The data for the figures of one kind of task, and its kinds of model."""

    strongest: dict[SharedKind, float]  # share of the scored tasks by the kind of their strongest local model
    kept: dict[SharedKind, float]  # by that of their take-home model, whether or not a head is averaged in
    changes: dict[Name, list[float]]
    histograms: dict[Name, Histogram]
    sizes: list[SharedGroup]
    types: list[SharedGroup]
    learning: dict[Name, Curve]
    calibration: Points  # predicted, observed
    domain: SharedDomain | None


class SharedFold(ReportPart):
    """Share of the compounds and labels in one fold."""

    fold: int
    compounds: float
    labels: float


class SharedPreparation(ReportPart):
    """Share of rejected rows by table and reason, and the shares of each fold."""

    rejected: dict[Name, dict[Name, float]]
    folds: list[SharedFold]


class ShareableSummary(PartWithOptions):
    """A partner's shareable summary, summary.json."""

    kind: Literal["hocket shareable summary"] = SUMMARY_KIND
    format: Literal[5] = FORMAT
    partner: Partner
    federation: Name
    plan: Digest
    trunk: Digest
    n_rounds: Annotated[int, Field(ge=1)]
    local_steps: Annotated[int, Field(ge=1)]
    last_round: Date  # UTC
    classification: Views
    regression: Views | None = None
    summary: SharedComparisons
    network: SharedComparisons  # of the same network without and with federation
    verdict: SharedConclusion
    picks: list[SharedPicks]
    worth: SharedWorth | None = None
    data: SharedPreparation
    audit: SharedAudit | None = None
    privacy: PrivacyBound | None = None  # the plan's: what was spent would reveal the number of compounds

    def views(self, kind: TaskKind) -> Views | None:
        """The data for the figures of one kind of task."""
        return self.classification if kind == CLASSIFICATION else self.regression


def read_shared(path: Path) -> ShareableSummary:
    """Read and check a shareable summary.

    Raises DamagedReport for a file that is no JSON or has wrong keys, NotShareable for another kind of file, above all
    a partner's report.json, which is private.
    """
    content = _object_in(path)
    if "tasks" in content:
        error = NotShareable(f"{path}: is a partner's private report with a row for each task, expected a summary")
        error.add_note("never send report.json to anyone: `hocket report PARTNER.toml --shareable` writes summary.json")
        raise error
    if (content.get("kind"), content.get("format")) != (SUMMARY_KIND, FORMAT):
        kind = f"kind {str(content.get('kind'))[:80]!r} of format {str(content.get('format'))[:20]}"
        error = NotShareable(f"{path}: is {kind}, expected {SUMMARY_KIND!r} of format {FORMAT}")
        error.add_note("`hocket report PARTNER.toml --shareable` of this version writes such a summary.json")
        raise error
    _check_values(content, path)
    try:
        return ShareableSummary.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise _damaged(path, problems(error)) from None


def _object_in(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_plain(path, _MOST_BYTES), parse_constant=_refuse)
    except (TooLarge, NotPlainFile) as error:
        raise _damaged(path, str(error.strerror)) from None
    except (ValueError, RecursionError):
        raise _damaged(path, "no JSON") from None
    if not isinstance(content, dict):
        raise _damaged(path, "no JSON object")
    return content


def _check_values(content: object, path: Path) -> None:
    """Raise DamagedReport for a value that no partner's report has and no page or terminal can show."""
    pending = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and not value.isprintable():
            raise _damaged(path, f"found the text {value[:80]!a}, expected printable characters")
        elif isinstance(value, int) and abs(value) > _LARGEST_COUNT:
            raise _damaged(path, f"found a number of {value.bit_length()} bits, expected one below 2^53")
        elif isinstance(value, float) and not abs(value) <= _LARGEST:
            raise _damaged(path, f"found the number {value:g}, expected one of at most {_LARGEST:g}")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _damaged(path: Path, problem: str) -> DamagedReport:
    error = DamagedReport(f"{path}: is damaged: {problem}")
    error.add_note("ask the partner for summary.json again: `hocket report PARTNER.toml --shareable` writes it")
    return error
