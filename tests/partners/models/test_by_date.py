"""Scores apart for the newest compounds and the older ones: which they are, and scores beside scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from data_prep.settings import Folds, Preparation
from partners.models.by_date import FEWEST_PER_CLASS, NEWEST_SHARE, ByDate, _cutoff, scores_by_date
from partners.models.held_out import EvaluatedModel, evaluate_outputs
from partners.network.inference import Outputs
from partners.settings import Training
from partners.training.partner_data import PartnerData
from partners.training_data.prepared_data import training_set
from tests.support.partners.prepared_matrices import prepared_matrices

N_COMPOUNDS = 1500
MATRICES = prepared_matrices(n_compounds=N_COMPOUNDS, n_tasks=6)
TRAINING = Training()
DATA = training_set(MATRICES, Folds(), TRAINING)
OWN = PartnerData(DATA, TRAINING, "digest")
RNG = np.random.default_rng(0)
DAYS = np.datetime64("2020-01-01") + RNG.permutation(N_COMPOUNDS).astype("timedelta64[D]")


def model(seed: int) -> EvaluatedModel:
    """A model that guesses."""
    rng = np.random.default_rng(seed)

    def outputs(fold: int) -> Outputs:
        n = DATA.rows_of(fold).size
        logits = rng.normal(size=(n, DATA.n_tasks)).astype(np.float32)
        return Outputs(logits, np.zeros((n, DATA.n_regressions), np.float32))

    return evaluate_outputs(OWN, Preparation(), outputs(DATA.test_fold), outputs(DATA.validation_fold))


LOCAL, FEDERATED = model(1), model(2)


def by_date(days: np.ndarray | None) -> ByDate | None:
    """Both models by these days."""
    return scores_by_date(replace(MATRICES, days=days), DATA, LOCAL, FEDERATED)


def test_scores_are_those_of_scikit_learn():
    """Each part's, over the tasks with enough of both classes in both parts; auxiliary tasks are left out."""
    found = by_date(DAYS)
    labels, cutoff = LOCAL.test.labels, np.datetime64(found.cutoff)
    days = DAYS[labels.row]
    parts = {"older": days <= cutoff, "newest": days > cutoff}
    tasks = [
        task.task_id
        for task in MATRICES.tasks
        if not task.is_auxiliary
        and all(
            min((labels.active == side)[part & (labels.task == task.task_id)].sum() for side in (True, False))
            >= FEWEST_PER_CLASS
            for part in parts.values()
        )
    ]
    assert found.n_tasks == len(tasks) > 0
    for name, part in parts.items():
        of_part = getattr(found, name)
        for side, scored in (("local", LOCAL), ("federated", FEDERATED)):
            for metric, reference in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
                chosen = [part & (labels.task == task) for task in tasks]
                expected = [reference(labels.active[rows], scored.test.labels.logit[rows]) for rows in chosen]
                np.testing.assert_allclose(getattr(getattr(of_part, metric), side), expected, atol=1e-6)
        judged = part & np.isin(labels.task, tasks)
        assert of_part.active_share == pytest.approx(labels.active[judged].mean())
    assert found.older.n_compounds + found.newest.n_compounds == np.unique(labels.row[labels.task < 5]).size


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_the_newest_are_about_a_quarter(numbers: list[int]):
    """Each part has a compound, all of a day are in one part, and no earlier day would leave less than the quarter."""
    days = np.datetime64("2020-01-01") + np.array(numbers, "timedelta64[D]")
    cutoff = _cutoff(days)
    if len(set(numbers)) == 1:
        assert cutoff is None
        return
    newest = days > cutoff
    assert 0 < newest.sum() < days.size
    assert cutoff in days
    assert newest.mean() <= NEWEST_SHARE + 1 / days.size or cutoff == np.unique(days)[-2]


def test_compounds_without_a_day_are_in_no_part():
    """They are counted; all others are as before."""
    some = DAYS.copy()
    some[::3] = np.datetime64("NaT")
    found = by_date(some)
    rows = np.unique(LOCAL.test.labels.row)
    assert found.n_undated == int(np.isnat(some[rows]).sum()) > 0


@pytest.mark.parametrize("days", [None, np.full(N_COMPOUNDS, np.datetime64("NaT", "D")), DAYS[:1].repeat(N_COMPOUNDS)])
def test_without_days_there_is_nothing(days: np.ndarray | None):
    """No column, only empty cells, or one day for all."""
    assert by_date(days) is None


def test_too_few_in_a_part_give_no_comparison():
    """No task is judged, and no number is made up."""
    days = np.where(np.arange(N_COMPOUNDS) % 97, DAYS[0], DAYS[0] + 1)
    found = by_date(days)
    assert found.n_tasks == 0
    assert not found.newest.roc_auc.is_scored.any()
    assert np.isnan(found.newest.active_share)
