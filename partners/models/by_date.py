"""Scores on the test fold apart for the newest compounds and the older ones, by the day of the first measurement."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared
from partners.models.held_out import EvaluatedModel, Labels
from partners.scores.comparison import number_groups
from partners.scores.paired_scores import PairedScores
from partners.scores.scores import TaskScores, score_labels
from partners.training_data.training_set import TrainingSet

Flags = NDArray[np.bool_]

NEWEST_SHARE = 0.25  # of the partner's dated compounds; a smaller part leaves few tasks to score
FEWEST_PER_CLASS = 5  # actives, and inactives, that a task needs in each part; the parts are small


@dataclass(frozen=True, slots=True, eq=False)
class DatedPart:
    """One part of the test fold, with the scores of both models over the tasks that can be scored in both parts."""

    n_compounds: int  # with a label
    n_labels: int
    active_share: float  # of the labels of these tasks, on which average precision depends; NaN without any
    average_precision: PairedScores
    roc_auc: PairedScores


@dataclass(frozen=True, slots=True, eq=False)
class ByDate:
    """Both parts of the test fold."""

    cutoff: str  # the last day of the older part, as 2024-03-31
    n_undated: int  # labelled compounds of the test fold without a day, which are in no part
    n_tasks: int  # that can be scored in both parts
    older: DatedPart
    newest: DatedPart


def scores_by_date(
    prepared: Prepared, data: TrainingSet, strongest: EvaluatedModel, take_home: EvaluatedModel
) -> ByDate | None:
    """Score both models apart on the newest quarter of the compounds and on the older ones, test fold only.

    The quarter is that of all labelled compounds with a day. None if the matrices have no days, or only one.
    All models were trained on the training folds' compounds of all days: this says whether gain and scores hold for the
    newest chemistry, and is no forecast from the past.
    """
    if prepared.days is None:
        return None
    days = prepared.days
    cutoff = _cutoff(days[(data.labels_per_row > 0) & ~np.isnat(days)])
    if cutoff is None:
        return None
    labels, others = strongest.test.labels, take_home.test.labels
    is_newest = days[labels.row] > cutoff
    is_scorable = np.array([not task.is_auxiliary for task in prepared.tasks])[labels.task]
    parts = [flags & is_scorable for flags in (days[labels.row] <= cutoff, is_newest)]  # NaT is in none
    scores = [[_scores(model, part, data.n_tasks) for model in (labels, others)] for part in parts]
    in_both = np.logical_and.reduce([each.is_scored for of_part in scores for each in of_part])
    assays = number_groups([task.input_assay_id for task in prepared.tasks])
    older, newest = (_part(labels, part, of_part, in_both, assays) for part, of_part in zip(parts, scores, strict=True))
    undated = np.unique(labels.row[np.isnat(days[labels.row])])
    return ByDate(str(cutoff), undated.size, int(in_both.sum()), older, newest)


def _cutoff(days: NDArray[np.datetime64]) -> np.datetime64 | None:
    """The last day of the older part; None if all days are one."""
    if not days.size or days.min() == days.max():
        return None
    ranked = np.sort(days)
    cutoff = ranked[int((1 - NEWEST_SHARE) * (ranked.size - 1))]
    return np.datetime64(cutoff if cutoff < ranked[-1] else ranked[ranked < cutoff][-1])


def _scores(labels: Labels, part: Flags, n_tasks: int) -> TaskScores:
    return score_labels(
        labels.task[part], labels.active[part], labels.logit[part], n_tasks, min_per_class=FEWEST_PER_CLASS
    )


def _part(
    labels: Labels, part: Flags, scores: list[TaskScores], in_both: Flags, assays: NDArray[np.int64]
) -> DatedPart:
    local, federated = scores
    kept = np.flatnonzero(in_both)
    judged = part & in_both[labels.task]

    def paired(metric: str) -> PairedScores:
        before, after = (getattr(model, metric)[kept] for model in (local, federated))
        return PairedScores(before, after, number_groups(assays[kept].tolist()))

    return DatedPart(
        n_compounds=int(np.unique(labels.row[part]).size),
        n_labels=int(part.sum()),
        active_share=float(labels.active[judged].mean()) if judged.any() else float("nan"),
        average_precision=paired("average_precision"),
        roc_auc=paired("roc_auc"),
    )
