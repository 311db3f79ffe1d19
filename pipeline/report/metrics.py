"""What a report is made of: its format, the two kinds of task, their metrics, and which way is better."""

from dataclasses import dataclass
from typing import Literal

FORMAT: Literal[3] = 3  # of report.json and of what may be shared of it
SUMMARY_KIND: Literal["hocket shareable summary"] = "hocket shareable summary"

Side = Literal["local", "federated"]

METRICS = ("average_precision", "roc_auc")
REGRESSION_METRICS = ("r2", "spearman", "rmse", "censored_rmse")
ERRORS = {"rmse", "censored_rmse", "loss"}  # less is better
SIDES: tuple[Side, Side] = ("local", "federated")
SHORT = {
    "average_precision": "AP",
    "roc_auc": "AUC-ROC",
    "r2": "R2",
    "spearman": "Spearman",
    "rmse": "RMSE",
    "censored_rmse": "cRMSE",
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
FEWEST_ASSAYS = 5  # an interval over fewer means nothing, and could end at one assay's score


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two kinds of task that a report compares both models on."""

    name: Literal["classification", "regression"]
    metrics: tuple[str, ...]  # the main one first
    curves: tuple[str, ...]  # scores by round on the validation fold
    domain_measure: Literal["efficiency", "width"]  # how sure a model is: see DomainSummary
    file_prefix: str  # of the names of its figures

    @property
    def scores(self) -> tuple[str, ...]:
        """The metrics of which more is better; their changes are shown in figures."""
        return tuple(metric for metric in self.metrics if metric not in ERRORS)


CLASSIFICATION = Kind("classification", METRICS, ("average_precision", "roc_auc", "loss"), "efficiency", "")
REGRESSION = Kind("regression", REGRESSION_METRICS, ("r2", "spearman", "rmse"), "width", "regression_")
