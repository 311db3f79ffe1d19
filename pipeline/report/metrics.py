"""Format number, kinds of task and metrics of a report, and for which metrics less is better."""

from dataclasses import dataclass
from typing import Literal

FORMAT: Literal[5] = 5  # of report.json and of summary.json
SUMMARY_KIND: Literal["hocket shareable summary"] = "hocket shareable summary"

Side = Literal["local", "federated"]

METRICS = ("average_precision", "roc_auc")
REGRESSION_METRICS = ("r2", "spearman", "rmse", "censored_rmse")
ERRORS = {"rmse", "censored_rmse", "loss"}  # less is better
SIDES: tuple[Side, Side] = ("local", "federated")
LABELS: dict[Side, str] = {"local": "strongest local", "federated": "federated"}  # for people
SHORT = {
    "average_precision": "AP",
    "roc_auc": "AUC-ROC",
    "r2": "R2",
    "spearman": "Spearman",
    "rmse": "RMSE",
    "censored_rmse": "cRMSE",
    "hit_rate_10": "hits in 10 %",
}
LONG = {
    "average_precision": "average precision",
    "roc_auc": "area under the ROC curve",
    "r2": "R²",
    "spearman": "Spearman correlation",
    "rmse": "root mean squared error, units of the assay",
    "censored_rmse": "root mean squared error with bounds, units of the assay",
    "loss": "loss",
}
FEWEST_ASSAYS = 5  # an interval over fewer is meaningless, and could end at one assay's score


@dataclass(frozen=True, slots=True)
class TaskKind:
    """A kind of task, classification or regression, with its metrics."""

    name: Literal["classification", "regression"]
    metrics: tuple[str, ...]  # the main one first
    curves: tuple[str, ...]  # scores by round on the validation fold
    domain_measure: Literal["efficiency", "width"]  # how sure a model is: see DomainSummary
    file_prefix: str  # of the names of its figures

    @property
    def scores(self) -> tuple[str, ...]:
        """The metrics for which more is better; figures show their changes."""
        return tuple(metric for metric in self.metrics if metric not in ERRORS)


CLASSIFICATION = TaskKind("classification", METRICS, ("average_precision", "roc_auc", "loss"), "efficiency", "")
REGRESSION = TaskKind("regression", REGRESSION_METRICS, ("r2", "spearman", "rmse"), "width", "regression_")
