"""All keys of report.json, which compares a partner's models without and with federation task by task.

`local` is the strongest local model of each task, `federated` its take-home model; only under `network`, and in the
learning curves, they are the same network without and with federation. Terminal table, pages and the shareable summary
are made from this `Report`. Keys are written in the order given here.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from pipeline.report.audit.schema import Audit
from pipeline.report.metrics import CLASSIFICATION, FORMAT, TaskKind
from pipeline.report.parts import PartWithOptions, ReportPart, Sides
from pipeline.report.row_schema import AnyRow, RegressionRow, TaskRow

Interval = tuple[float, float]
Outcome = Literal["better", "worse", "undecided", "unjudged"]
Points = Sides[list[tuple[float, float]]]
Curve = Sides[list[tuple[int, float]]]  # round, score on the validation fold


# ---------------------------------------------------------------------------------------------------- means over tasks


class ComparisonOverTasks(ReportPart):
    """One metric over the tasks that both models could be scored on."""

    local: float  # mean
    federated: float
    change: float
    interval_95: Interval  # bootstrap, of the mean change
    local_median: float
    federated_median: float
    median_change: float
    n_judged: int  # tasks that both models could be scored on
    n_better: int
    n_worse: int
    n_equal: int
    n_assays: int
    riptop: float  # relative improvement of proximity to perfection, of all tasks together
    median_riptop: float
    p_tasks: float  # Wilcoxon signed-rank test over tasks
    p_assays: float  # the same over assays
    p_tasks_holm: float  # corrected for all metrics of the report
    p_assays_holm: float


class DomainSummary(ReportPart):
    """Conformal efficiency or interval width of both models, over the tasks that have it for both."""

    measure: Literal["efficiency", "width"]  # mean share of compounds with one possible class; mean interval width
    n_tasks: int
    local: float
    federated: float
    change: float
    interval_95: Interval | None
    n_assays: int
    coverage: Sides[float | None]


class RegressionComparisons(ReportPart):
    """The comparison by each metric over the regression tasks."""

    n_tasks: int
    r2: ComparisonOverTasks | None
    n_judged: int  # if metrics differ, the fewest
    spearman: ComparisonOverTasks | None
    rmse: ComparisonOverTasks | None
    censored_rmse: ComparisonOverTasks | None
    domain: DomainSummary | None

    def comparison(self, metric: str) -> ComparisonOverTasks | None:
        """The comparison by one metric; None if no task could be scored by it."""
        of_metric: ComparisonOverTasks | None = getattr(self, metric)
        return of_metric


class Comparisons(PartWithOptions):
    """The comparison by each metric over the classification tasks, and inside it that over the regression tasks."""

    n_tasks: int
    average_precision: ComparisonOverTasks | None
    n_judged: int
    roc_auc: ComparisonOverTasks | None
    domain: DomainSummary | None
    regression: RegressionComparisons | None = None

    def of(self, kind: TaskKind) -> "Comparisons | RegressionComparisons | None":
        """The comparisons of one kind of task."""
        return self if kind == CLASSIFICATION else self.regression

    def comparison(self, metric: str) -> ComparisonOverTasks | None:
        """The comparison by one metric; None if no task could be scored by it."""
        of_metric: ComparisonOverTasks | None = getattr(self, metric)
        return of_metric


class RegressionMeans(ReportPart):
    """Means of one model over the regression tasks."""

    n_tasks: int
    r2: float | None
    n_judged: int
    spearman: float | None
    rmse: float | None
    censored_rmse: float | None


class Means(PartWithOptions):
    """Means of one model over the tasks."""

    n_tasks: int
    average_precision: float | None
    n_judged: int
    roc_auc: float | None
    regression: RegressionMeans | None = None


class TwoModels(ReportPart):
    """Two models compared: means of both, and their comparison."""

    local: Means
    federated: Means
    summary: Comparisons


class GroupChange(ReportPart):
    """Mean change of a group of tasks, with its bootstrap 95 % interval; None over fewer than five assays."""

    name: str
    n_tasks: int
    change: float
    interval_95: Interval | None


class Picks(ReportPart):
    """Hits among the best-ranked compounds of the test fold, means over the tasks that both models are scored on."""

    percent: int  # of each task's compounds that are picked
    n_tasks: int
    n_assays: int
    at_random: float  # share of actives among all compounds: the hit rate of a random pick
    local: float  # share of actives among the picked
    federated: float
    change: float
    interval_95: Interval | None  # bootstrap, of the mean change; None over fewer than five assays


class SharedWorth(ReportPart):
    """Measurements that would raise average precision as federation does, as a share of the partner's, 0 to 1."""

    share: float  # 1: as many again, or more
    low: float  # bootstrap 95 % interval
    high: float


class Worth(SharedWorth):
    """Worth in measurements, with the means that it is made from, over the tasks with all three scores.

    Made by `partners.scores.label_worth`.
    """

    n_tasks: int
    n_assays: int
    half: float  # mean average precision of the strongest local models fitted on half of the measurements
    local: float
    federated: float


class Conclusion(ReportPart):
    """The conclusion of a report in one sentence."""

    metric: str  # on which it is based
    outcome: Outcome
    p: float | None  # of the test that decides; None if there is too little data, or it is not shared
    sentence: str


class Gate(ReportPart):
    """Whether federation helped on the validation fold, and which model is kept (`partners.scores.gate`)."""

    sentence: str
    outcome: Literal["better", "worse", "undecided"]
    kept: Literal["federated", "local"]
    n_tasks: int
    confidence: float  # of the interval
    change: float | None  # mean over tasks of federated minus local
    low: float | None
    high: float | None


# ------------------------------------------------------------------------------------------------------------- details


class FollowedTasks(ReportPart):
    """Number of tasks in the means by round, for each kind."""

    classification: int
    regression: int

    def of(self, kind: TaskKind) -> int:
        """The number for one kind of task."""
        return self.classification if kind == CLASSIFICATION else self.regression


class Learning(PartWithOptions):
    """Learning curves: scores on the validation fold after each round, if they were recorded."""

    average_precision: Curve | None = None
    roc_auc: Curve | None = None
    loss: Curve | None = None
    r2: Curve | None = None
    spearman: Curve | None = None
    rmse: Curve | None = None
    n_tasks: FollowedTasks

    def curves(self, kind: TaskKind) -> dict[str, Curve]:
        """The curves of one kind of task, by score."""
        curves: dict[str, Curve | None] = {name: getattr(self, name) for name in kind.curves}
        return {name: curve for name, curve in curves.items() if curve is not None}


class ReliabilityPoint(ReportPart):
    """A point of a calibration curve: mean prediction and mean observation of entries with similar predictions."""

    predicted: float
    observed: float
    n_entries: int
    n_tasks: int


ReliabilityCurves = Sides[list[ReliabilityPoint]]


class InputTable(ReportPart):
    """Numbers of rows of an input table: all, accepted, and rejected by reason."""

    accepted: int
    rejected: dict[str, int]
    rows: int


class Fold(ReportPart):
    """Compounds, scaffolds, labels and values in one fold."""

    compounds: int
    fold: int
    labels: int
    scaffolds: int
    share: float  # of all compounds
    values: int


class PreparationCounts(ReportPart):
    """Counts of the prepared data: most of summary.json of the prepared matrices, whose keys are sorted."""

    assays: dict[str, JsonValue]  # no page shows this and other unchecked tables: see `data_prep.preparation.summary`
    classification: dict[str, JsonValue]
    compounds: dict[str, JsonValue]
    folds: list[Fold]
    regression: dict[str, JsonValue]
    tables: dict[str, InputTable]
    warnings: list[str]


class ColumnFacts(ReportPart):
    """Which input columns were shared, and which of them this partner's updates changed."""

    n_columns: int
    n_shared: int  # in the vector
    n_sent: int  # of these, flagged by this partner: in all others its updates are zero
    n_private: int  # set by its training compounds, and its own
    private_compounds: float  # share of its training compounds that set one of its own columns


class DatedPart(ReportPart):
    """One part of the test fold by date, over the tasks that can be scored in both parts."""

    n_compounds: int
    n_labels: int
    active_share: float | None  # of the labels of these tasks; average precision depends on it
    average_precision: ComparisonOverTasks | None
    roc_auc: ComparisonOverTasks | None

    def comparison(self, metric: str) -> ComparisonOverTasks | None:
        """The comparison by one metric; None if no task could be scored in both parts."""
        of_metric: ComparisonOverTasks | None = getattr(self, metric)
        return of_metric


class ByDate(ReportPart):
    """Both models on the newest quarter of the compounds and on the older ones: see `partners.models.by_date`."""

    cutoff: str  # last day of the older part, as 2024-03-31
    n_undated: int
    n_tasks: int
    older: DatedPart
    newest: DatedPart


class PrivacyBound(ReportPart):
    """The plan's bound on what all updates of a partner reveal about one of its compounds."""

    epsilon: float
    delta: float


class PrivacyFacts(PrivacyBound):
    """The bound, and what this partner's updates revealed at most."""

    spent: float  # epsilon at the same delta


# ----------------------------------------------------------------------------------------------------------- the whole


class Facts(ReportPart):
    """Partner, federation, plan and model of a report."""

    format: Literal[5] = FORMAT
    partner: str
    federation: str
    plan: str  # digest
    trunk: str  # digest
    n_rounds: int
    local_steps: int
    last_round: str  # date of the last round, UTC, as 2026-01-31
    gate: Gate
    seed: int  # of the bootstrap


class Report(Facts, PartWithOptions):
    """A partner's report.json. Private: it names assays."""

    local: Means
    federated: Means
    summary: Comparisons
    network: TwoModels  # the same network without and with federation; without domain
    tasks: list[TaskRow]
    regression_tasks: list[RegressionRow] | None = None  # absent if the partner leaves regression out
    verdict: Conclusion
    picks: list[Picks]
    worth: Worth | None = None
    learning: Learning
    calibration: ReliabilityCurves
    data: PreparationCounts
    regression_calibration: ReliabilityCurves | None = None
    audit: Audit | None = None  # from audit.json; report.json has none
    columns: ColumnFacts | None = None  # absent if the plan shares all
    by_date: ByDate | None = None  # absent without a column of days
    privacy: PrivacyFacts | None = None  # absent without differential privacy
    unconfirmed: list[str] | None = None  # partners that had not signed yet that they have the same last trunk

    def rows(self, kind: TaskKind) -> Sequence[AnyRow]:
        """The rows of one kind of task."""
        return self.tasks if kind == CLASSIFICATION else self.regression_tasks or ()

    def reliability(self, kind: TaskKind) -> ReliabilityCurves | None:
        """The calibration curves of one kind of task."""
        return self.calibration if kind == CLASSIFICATION else self.regression_calibration
