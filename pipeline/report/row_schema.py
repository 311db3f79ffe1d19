"""The rows of report.json, one for each task of a partner: its facts, its models and their scores."""

from operator import attrgetter

from partners.settings import LocalKind, ModelKind
from pipeline.report.metrics import Side
from pipeline.report.parts import ReportPart, Sides


class ClassificationScores(ReportPart):
    """A model's scores of a classification task on the test fold; None if that has too few labels.

    The metrics are described in `partners.scores.scores`.
    """

    roc_auc: float | None
    average_precision: float | None
    auc_pr: float | None
    auc_pr_calibrated: float | None
    f1_max: float | None
    kappa_max: float | None
    log_loss: float | None
    brier: float | None
    ece: float | None
    bedroc: float | None
    hit_rate_1: float | None
    hit_rate_10: float | None


class RegressionScores(ReportPart):
    """A model's scores of a regression task on the test fold; None if that has too few values.

    The metrics are described in `partners.scores.regression_scores`.
    """

    rmse: float | None  # units of the assay
    censored_rmse: float | None  # units of the assay
    r2: float | None
    pearson: float | None
    spearman: float | None


class Efficiency(ReportPart):
    """Conformal prediction of a classification task on the test fold, by one model."""

    efficiency: float | None  # share of compounds with exactly one possible class
    coverage: float | None  # share of labels that are among the possible classes


class Width(ReportPart):
    """Conformal prediction of a regression task on the test fold, by one model."""

    width: float | None  # of the prediction interval, units of the assay
    coverage: float | None  # share of values inside the interval


class _ScoredRow(ReportPart):
    """What the rows of both kinds can be asked for."""

    def score(self, side: Side, metric: str) -> float | None:
        """One model's score by one metric."""
        value: float | None = attrgetter(f"{side}.{metric}")(self)
        return value

    def network_score(self, side: Side, metric: str) -> float | None:
        """The score of the network without or with federation by one metric."""
        value: float | None = attrgetter(f"network.{side}.{metric}")(self)
        return value


class TaskRow(_ScoredRow):
    """A classification task: an assay and a threshold, and the models that were chosen for it."""

    task_id: int
    input_assay_id: str
    assay_type: str
    threshold: float
    n_labels: int  # in all folds
    n_active: int  # in the test fold
    n_inactive: int
    is_auxiliary: bool  # only trained on, never scored
    strongest: LocalKind
    kept: ModelKind  # as take-home model
    reason: str  # why these kinds
    local: ClassificationScores
    federated: ClassificationScores
    half_data: float | None  # average precision of the strongest local model fitted on half of its measurements
    network: Sides[ClassificationScores]
    domain: Sides[Efficiency] | None


class RegressionRow(_ScoredRow):
    """A regression task: an assay, and the models that were chosen for it."""

    task_id: int
    input_assay_id: str
    assay_type: str
    n_labels: int  # values in all folds
    n_exact: int  # in the test fold
    n_censored: int
    is_auxiliary: bool
    strongest: LocalKind
    kept: ModelKind
    reason: str
    local: RegressionScores
    federated: RegressionScores
    network: Sides[RegressionScores]
    domain: Sides[Width] | None


AnyRow = TaskRow | RegressionRow
