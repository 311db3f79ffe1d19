"""Regression tasks: quorums, weights, and matrices that keep a measured zero."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labels.regression import censored_weight, regression_tasks, value_matrices
from data_prep.settings import Activities, Preparation, Regression
from data_prep.tables.tables import QUALIFIER
from tests.support.data_prep.activity_tables import ASSAY_IDS, assay

N_FOLDS = 5
SPREAD = (5.0, 6.5, 5.5, 7.0, 6.0)  # values of a fold, one after the other


def folds(n, n_folds=N_FOLDS):
    return np.arange(n) % n_folds


def values_of(*assays: object):
    """Return aggregated values: for each assay "a", "b", ... (qualifier, value) of rows 0, 1, ..."""
    rows = [
        (name, row, q, float(v)) for name, pairs in zip("abc", assays, strict=False) for row, (q, v) in enumerate(pairs)
    ]
    types = (ASSAY_IDS, pl.UInt32, QUALIFIER, pl.Float64)
    names = ("input_assay_id", "row", "standard_qualifier", "standard_value")
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def spread_values(n_exact, n_below=0, n_above=0):
    """Return exact values that spread in every fold, then censored ones."""
    exact = [("=", SPREAD[i // N_FOLDS % len(SPREAD)]) for i in range(n_exact)]
    return exact + [("<", 4.0)] * n_below + [(">", 9.0)] * n_above


def tasks_of(assays, values, folding=None, **quorum: object):
    table = values_of(values)
    chosen = Preparation(regression=Regression(**quorum))
    return regression_tasks(assays, table, folds(len(values)) if folding is None else folding, chosen)


@pytest.mark.parametrize(
    ("n_exact", "n_below", "trained"), [(50, 0, True), (49, 0, False), (25, 25, True), (24, 26, False), (24, 99, False)]
)
def test_training_quorum_is_50_values_of_which_25_are_exact(n_exact, n_below, trained):
    """50 values and 25 exact ones make a task, 49 or 24 do not."""
    tasks = tasks_of(assay(), spread_values(n_exact, n_below))
    assert tasks["training_quorum"].to_list() == [trained]
    assert tasks["task_id"].to_list() == [0 if trained else None]
    assert tasks["training_weight"].to_list() == [float(trained)]
    assert tasks.select("n_values", "n_exact", "n_below", "n_above").rows() == [
        (n_exact + n_below, n_exact, n_below, 0)
    ]


@pytest.mark.parametrize(("n_exact", "evaluated"), [(125, True), (124, False)])
def test_evaluation_needs_25_exact_values_in_every_fold(n_exact, evaluated):
    """25 exact values per fold are scored; one fold with 24 is not, however many are censored."""
    tasks = tasks_of(assay(), spread_values(n_exact, 0, 100), folds(n_exact + 100))
    assert tasks["min_fold_exact"].to_list() == [n_exact // N_FOLDS]
    assert tasks["evaluated"].to_list() == [evaluated]
    assert tasks["aggregation_weight"].to_list() == [float(evaluated)]


def test_an_absent_fold_counts_0():
    """A fold without values has 0 exact ones and a standard deviation of 0."""
    tasks = tasks_of(assay(), spread_values(500), folds(500, 4))
    assert tasks.select("training_quorum", "min_fold_exact", "min_fold_std", "evaluated").rows() == [
        (True, 0, 0.0, False)
    ]


@pytest.mark.parametrize(
    ("assay_type", "width", "evaluated"),
    [("OTHER", 0.49, False), ("OTHER", 0.51, True), ("ADME", 0.49, True), ("ADME", 0.0, False)],
)
def test_values_must_spread_in_every_fold(assay_type, width, evaluated):
    """A task is scored with a standard deviation of 0.5 in every fold, an ADME task if its values differ at all."""
    n = 200  # 40 in a fold: 20 below the middle, 20 above it
    values = [("=", 6 + width * (39 / 40) ** 0.5 * (1 if i // N_FOLDS % 2 else -1)) for i in range(n)]
    tasks = tasks_of(assay(assay_type), values)
    assert tasks["min_fold_std"].to_list() == pytest.approx([width], abs=1e-12)
    assert tasks["evaluated"].to_list() == [evaluated]


def test_the_spread_is_numpys():
    """The smallest standard deviation over folds is that of numpy with one degree of freedom less."""
    rng = np.random.default_rng(0)
    values = rng.normal(6, 1, 300)
    folding = rng.integers(0, N_FOLDS, 300)
    tasks = tasks_of(assay(), [("=", v) for v in values], folding)
    expected = min(values[folding == fold].std(ddof=1) for fold in range(N_FOLDS))
    assert tasks["min_fold_std"].to_list() == pytest.approx([expected])


def test_which_assays_are_for_regression():
    """Binary assays, assays excluded by T0 and assays without values give no task; AUX weighs 0.1, not aggregated."""
    values = spread_values(200)
    for assays in (assay(is_binary=True), assay().with_columns(use_in_regression=False), assay(assay_id="b")):
        assert tasks_of(assays, values).height == 0
    tasks = tasks_of(assay("AUX_HTS"), values)
    columns = ("is_auxiliary", "evaluated", "training_weight", "aggregation_weight")
    assert tasks.select(columns).rows() == [(True, True, 0.1, 0.0)]
    left_out = Preparation(activities=Activities(auxiliary_tasks=False))
    assert regression_tasks(assay("AUX_HTS"), values_of(values), folds(200), left_out).height == 0


def test_a_catalogue_panel_counts_as_any_panel():
    """A CATALOG-PANEL is a NON-CATALOG-PANEL in regression, without a catalogue id."""
    tasks = tasks_of(assay("CATALOG-PANEL", catalog_assay_id="k", parent_assay_id="p"), spread_values(60))
    assert tasks.select("assay_type", "parent_assay_id").rows() == [("NON-CATALOG-PANEL", "p")]


@pytest.mark.parametrize(("n_censored", "weight"), [(0, 1), (5, 1), (10, 0.47368), (50, 0.05263), (100, 0)])
def test_censored_weight(n_censored, weight):
    """The weight falls with the censored share f: .05 -> 1, .1 -> .47368, .5 -> .05263, 1 -> 0."""
    computed = pl.select(censored_weight(pl.lit(n_censored), pl.lit(100), 0.05)).item()
    assert computed == pytest.approx(weight, abs=5e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.floats(0.001, 0.9))
def test_censored_values_never_weigh_more_than_their_share(n_exact, n_censored, share):
    """Weighted censored values make up at most `share` of all weighted values."""
    weight = pl.select(censored_weight(pl.lit(n_censored), pl.lit(max(n_exact + n_censored, 1)), share)).item()
    assert 0 <= weight <= 1
    if n_exact:
        assert weight * n_censored <= share * (weight * n_censored + n_exact) + 1e-9


def test_zero_is_a_measurement():
    """A value of 0.0 and an exact qualifier are stored zeros; both matrices have one pattern."""
    values = values_of([("=", 0.0), ("<", 1.5), (">", -2.0)], [("=", 7.0)])
    tasks = pl.DataFrame(
        {"input_assay_id": ["b", "a"], "task_id": [1, 0]}, schema_overrides={"input_assay_id": ASSAY_IDS}
    )
    y_regr, y_censor = value_matrices(tasks, values, 4)
    assert (y_regr.dtype, y_regr.indices.dtype, y_regr.shape) == (np.float32, np.int32, (4, 2))
    assert y_regr.data.tolist() == [0.0, 7.0, 1.5, -2.0]
    assert y_censor.data.tolist() == [0.0, 0.0, -1.0, 1.0]
    for part in ("indptr", "indices"):
        assert getattr(y_regr, part).tolist() == getattr(y_censor, part).tolist()
    assert y_regr.has_sorted_indices
    assert y_regr[:1].nnz == 2  # a batch of rows keeps them, as SparseChem takes its batches


def test_no_regression_at_all():
    """Without tasks the matrices have no column."""
    tasks = tasks_of(assay(), spread_values(3))
    y_regr, y_censor = value_matrices(tasks, values_of(spread_values(3)), 3)
    assert y_regr.shape == y_censor.shape == (3, 0)


_VALUES = st.lists(st.tuples(st.sampled_from("<=>"), st.floats(3, 10)), min_size=1, max_size=60)


@settings(max_examples=50, deadline=None)
@given(
    _VALUES, st.sampled_from(["training_min_values", "training_min_exact", "evaluation_min_exact"]), st.integers(0, 40)
)
def test_a_higher_quorum_never_adds_a_task(values, key, n):
    """Raising a quorum by one adds no trained or evaluated task."""
    low = {"training_min_values": 5, "training_min_exact": 2, "evaluation_min_exact": 1, "evaluation_min_std": 0.1}
    before, after = (tasks_of(assay(), values, **(low | {key: n + more})) for more in (0, 1))
    for column in ("training_quorum", "evaluated"):
        assert after[column].to_list() <= before[column].to_list()


@settings(max_examples=50, deadline=None)
@given(_VALUES)
def test_matrices_hold_the_values(values):
    """Every value is one stored entry, in its row, with its bound."""
    table = values_of(values)
    tasks = tasks_of(assay(), values, training_min_values=1, training_min_exact=0)
    y_regr, y_censor = value_matrices(tasks, table, len(values) + 1)
    assert y_regr.data.tolist() == [np.float32(v) for _, v in values]
    assert y_censor.data.tolist() == [{"<": -1, "=": 0, ">": 1}[q] for q, _ in values]
    assert np.diff(y_regr.indptr).tolist() == [1] * len(values) + [0]
