"""What will come of the tables: which assays give tasks, which of these are scored, and how many labels train them."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.labels.all_tasks import AllTasks, make_tasks
from data_prep.settings import Activities, Preparation, Regression
from data_prep.tables.tables import first_reason

_SEED = 0  # the group's folds are secret until the tables are prepared; any even split shows their size


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """Numbers of tasks of one kind, and why the others are not trained or not scored."""

    candidates: int
    trained: int
    scored: int
    not_trained: dict[str, int]  # by reason
    not_scored: dict[str, int]  # of the trained ones, by reason

    @property
    def reasons(self) -> str:
        """The number of candidate tasks, and why they are not trained."""
        why = ", ".join(f"{n:,} with {reason}" for reason, n in self.not_trained.items())
        return f"{self.candidates:,} candidate tasks" + (f", {why}" if why else "")

    def line(self, accuracy: str) -> str:
        """Return the numbers as text; accuracy : of the number of scored tasks, such as "about"."""
        text = f"{self.candidates:,} candidate tasks -> {self.trained:,} trained -> {accuracy} {self.scored:,} scored"
        for words, reasons in (("not trained", self.not_trained), ("not scored", self.not_scored)):
            if reasons:
                text += f"; {words}: " + ", ".join(f"{n:,} with {reason}" for reason, n in reasons.items())
        return text


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will come of the tables; what depends on folds is an estimate."""

    assays: int  # accepted rows of T0
    measured: int  # of these with a value
    classification: TaskForecast
    regression: TaskForecast
    training_labels: int  # of the classification tasks, outside test and validation fold
    training_values: int  # the same of the regression tasks
    training_compounds: int  # with such a label
    measured_compounds: int  # with such a label or value
    even_folds: bool  # compounds were split evenly, so more tasks are scored than with scaffolds as folds

    @property
    def problem(self) -> str:
        """What keeps every task from being trained, as a sentence; "" if a task is trained."""
        if self.classification.trained or self.regression.trained:
            return ""
        kinds = (("classification", self.classification), ("regression", self.regression))
        reasons = "; ".join(f"{kind}: {tasks.reasons}" for kind, tasks in kinds)
        return f"no task can be trained, expected at least one; {reasons}"

    def lines(self) -> list[str]:
        """Return the forecast as lines of text."""
        accuracy = "up to" if self.even_folds else "about"
        return [
            f"assays: {self.assays:,}, of which {self.measured:,} have values that can be used",
            f"classification: {self.classification.line(accuracy)}",
            f"regression: {self.regression.line(accuracy)}",
            f"training: about {self.training_labels:,} labels and {self.training_values:,} regression values",
        ]


def forecast(
    assays: pl.DataFrame, values: pl.DataFrame, settings: Preparation, folding: NDArray[np.int64] | None = None
) -> Forecast:
    """Return what will come of these assays and values.

    assays : settle_catalogue's rows; values : aggregate's; folding : (n_compounds,), None: compounds are split evenly
    """
    n_rows = int(values["row"].max() or 0) + 1 if values.height else 0  # type: ignore[arg-type]
    folds = np.random.default_rng(_SEED).integers(settings.folds.n_folds, size=n_rows) if folding is None else folding
    tasks = make_tasks(assays, values, folds, settings)
    labels, regression_values = _training_entries(tasks, values, folds, settings)
    measured = np.concatenate([labels, regression_values])
    return Forecast(
        assays=assays["input_assay_id"].n_unique(),
        measured=values["input_assay_id"].n_unique(),
        classification=_count(tasks.classification, *_classification_reasons(settings.activities)),
        regression=_count(tasks.regression, *_regression_reasons(settings)),
        training_labels=labels.size,
        training_values=regression_values.size,
        training_compounds=np.unique(labels).size,
        measured_compounds=np.unique(measured).size,
        even_folds=folding is None,
    )


def _count(tasks: pl.DataFrame, not_trained: pl.Expr, not_scored: pl.Expr) -> TaskForecast:
    trained = tasks.filter("training_quorum")
    return TaskForecast(
        candidates=tasks.height,
        trained=trained.height,
        scored=trained.filter(pl.col("aggregation_weight") > 0).height,
        not_trained=_numbers(tasks.filter(~pl.col("training_quorum")), not_trained),
        not_scored=_numbers(trained.filter(pl.col("aggregation_weight") == 0), not_scored),
    )


def _numbers(tasks: pl.DataFrame, reason: pl.Expr) -> dict[str, int]:
    reasons = tasks.select(reason.alias("reason"))["reason"].value_counts()
    return dict(reasons.sort(["count", "reason"], descending=[True, False]).iter_rows())


_Reasons = tuple[pl.Expr, pl.Expr]
"""Why a task is not trained, and why a trained one is not scored."""
_Lack = tuple[str, pl.Expr, str]
"""What a task lacks, when, and what it lacks else."""


def _classification_reasons(settings: Activities) -> _Reasons:
    is_aux = pl.col("assay_type").str.starts_with("AUX")
    least_active = pl.when(is_aux).then(settings.aux_training_min_active).otherwise(settings.training_min_active)
    few_in_fold = pl.col("min_fold_active") < settings.evaluation_min_active
    return _reasons(
        ("too few actives", pl.col("n_active") < least_active, "too few inactives"),
        "an auxiliary threshold or type",
        ("too few actives in a fold", few_in_fold, "too few inactives in a fold"),
    )


def _regression_reasons(settings: Preparation) -> _Reasons:
    quorum: Regression = settings.regression
    few_in_fold = pl.col("min_fold_exact") < quorum.evaluation_min_exact
    return _reasons(
        ("too few values", pl.col("n_values") < quorum.training_min_values, "too few exact values"),
        "an auxiliary type",
        ("too few exact values in a fold", few_in_fold, "too little spread in a fold"),
    )


def _reasons(training: _Lack, auxiliary: str, scoring: _Lack) -> _Reasons:
    always = pl.lit(value=True)
    lack, is_lacking, else_lack = training
    fold_lack, is_lacking_in_fold, else_fold_lack = scoring
    return (
        first_reason(**{lack: is_lacking, else_lack: always}),
        first_reason(**{
            auxiliary: pl.col("is_auxiliary"), fold_lack: is_lacking_in_fold, else_fold_lack: always
        }),
    )  # fmt: skip


def _training_entries(
    tasks: AllTasks, values: pl.DataFrame, folding: NDArray[np.int64], settings: Preparation
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the compound of each label and of each regression value of trained tasks, outside held-out folds."""
    trains = ~np.isin(folding, (settings.folds.test, settings.folds.validation))
    trained = tasks.classification.filter("training_quorum").select("candidate")
    labels = tasks.labels.join(trained, on="candidate")["row"].to_numpy()
    regression = tasks.regression.filter("training_quorum").select("input_assay_id")
    regression_values = values.join(regression, on="input_assay_id")["row"].to_numpy()
    return labels[trains[labels]], regression_values[trains[regression_values]]
