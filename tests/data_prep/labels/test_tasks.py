"""Quorums and weights of classification tasks."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.regression import regression_tasks
from data_prep.labels.tasks import apply_quorum, assay_report
from data_prep.settings import Activities, Preparation, Regression
from tests.support.data_prep.activity_tables import ASSAY_IDS, FOLDING, assay, candidates_of, labels_of


@pytest.mark.parametrize(("counts", "trained"), [((25, 25), True), ((24, 26), False), ((26, 24), False)])
def test_training_quorum_is_25_of_each(counts, trained):
    """25 actives and 25 inactives make a task, 24 of either do not."""
    judged = apply_quorum(candidates_of(("a", "OTHER", False)), labels_of(counts), FOLDING, 5, Activities())
    assert judged["training_quorum"].to_list() == [trained]
    assert judged["task_id"].to_list() == [0 if trained else None]


@pytest.mark.parametrize(("counts", "trained"), [((10, 10_000), True), ((9, 10_001), False), ((10, 9_999), False)])
def test_auxiliary_quorum(counts, trained):
    """An auxiliary screen needs 10 actives and 10,000 inactives."""
    judged = apply_quorum(candidates_of(("a", "AUX_HTS", True)), labels_of(counts), FOLDING, 5, Activities())
    assert judged["training_quorum"].to_list() == [trained]


def test_evaluation_needs_ten_of_each_in_every_fold():
    """A task is scored with 10 actives and 10 inactives in every fold; a fold without labels counts 0."""
    candidates = candidates_of(("a", "OTHER", False), ("b", "OTHER", False), ("c", "OTHER", True))
    labels = labels_of((50, 50), (49, 51), (50, 50))
    judged = apply_quorum(candidates, labels, FOLDING, 5, Activities())
    assert judged["min_fold_active"].to_list() == [10, 9, 10]
    assert judged["evaluated"].to_list() == [True, False, True]
    assert judged["aggregation_weight"].to_list() == [1.0, 0.0, 0.0]
    absent = apply_quorum(candidates, labels, np.where(FOLDING == 4, 3, FOLDING), 5, Activities())
    assert absent["min_fold_active"].to_list() == [0, 0, 0]
    assert absent["evaluated"].to_list() == [False] * 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=12))
def test_training_weights_sum_to_one_per_assay(tasks):
    """The trained tasks of an assay share a weight of 1, of an auxiliary screen 0.1; task ids run through them."""
    kinds = [(name, "AUX_HTS" if name == "c" else "OTHER", False) for name, _ in tasks]
    counts = [(30, 30) if trained else (3, 30) for _, trained in tasks]
    settings = Activities(aux_training_min_inactive=25)
    judged = apply_quorum(candidates_of(*kinds), labels_of(*counts), FOLDING, 5, settings)
    for name, total in judged.group_by("input_assay_id").agg(pl.col("training_weight").sum()).iter_rows():
        any_trained = any(n == name and trained for n, trained in tasks)
        assert total == pytest.approx((0.1 if name == "c" else 1.0) * any_trained)
    ids = judged["task_id"].drop_nulls().to_list()
    assert ids == list(range(sum(trained for _, trained in tasks)))


def report_of(assays, values, tasks):
    rows = [(a, i, "=", v) for i, (a, v) in enumerate(values)]
    names = ["input_assay_id", "row", "standard_qualifier", "standard_value"]
    table = pl.DataFrame(
        rows, schema=dict(zip(names, (ASSAY_IDS, pl.UInt32, pl.String, pl.Float64), strict=True)), orient="row"
    )
    regression = regression_tasks(assays, table, FOLDING, Preparation(regression=Regression(training_min_values=2)))
    return assay_report(assays, table, tasks, regression, Activities())


def test_near_constant_assays_are_reported_not_dropped():
    """The report marks an assay with equal values as near-constant, and lists one without values."""
    assays = pl.concat([assay(assay_id="a", parent_assay_id="p"), assay(assay_id="b"), assay(assay_id="c")])
    assays = settle_catalogue(assays)
    values = [("a", 5.1), ("a", 5.1), ("a", 5.1), ("b", 5.0), ("b", 6.0)]
    tasks = apply_quorum(candidates_of(("b", "OTHER", False)), labels_of((30, 30)), FOLDING, 5, Activities())
    report = report_of(assays, values, tasks)
    assert report["near_constant"].to_list() == [True, False, False]
    assert report["n_values"].to_list() == [3, 2, 0]
    assert report["n_tasks"].to_list() == [0, 1, 0]
    assert report["std"].to_list() == pytest.approx([0, 0.5**0.5, None])
    assert report["parent_assay_id"].to_list() == ["p", None, None]
    assert report["in_regression"].to_list() == [False] * 3


def test_the_report_says_what_became_of_catalogue_ids():
    """Notes on T0 and on a failed quorum share one column; an auxiliary task's failure is not noted."""
    assays = settle_catalogue(
        pl.concat(
            [
                assay("CATALOG-PANEL", assay_id="a"),
                assay("CATALOG-PANEL", assay_id="b", catalog_assay_id="cat1"),
                assay("CATALOG-PANEL", assay_id="c", catalog_assay_id="cat2"),
            ]
        )
    )
    kinds = [("b", "CATALOG-PANEL", False, "cat1"), ("b", "CATALOG-PANEL", True, "cat1")]
    kinds += [("c", "CATALOG-PANEL", False, "cat2"), ("c", "CATALOG-PANEL", True, "cat2")]
    labels = labels_of((199, 200), (200, 200), (200, 200), (199, 200))
    report = report_of(assays, [("b", 5.0)], apply_quorum(candidates_of(*kinds), labels, FOLDING, 5, Activities()))
    assert report["catalog_note"].to_list() == ["missing_catalog_id", "failed_quorum", None]
    assert report["catalog_assay_id"].to_list() == [None, "cat1", "cat2"]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6),
    st.sampled_from([name for name in Activities.__slots__ if "_min_" in name and not name.startswith("adaptive")]),
    st.integers(0, 40),
    st.sampled_from([None, "cat"]),
)
def test_a_higher_quorum_never_adds_a_task(counts, key, n, catalogue):
    """Raising any quorum by one adds no trained, evaluated or catalogue task."""
    kinds = [("a", "CATALOG-PANEL" if catalogue else "OTHER", False, catalogue)] * len(counts)
    small = dict.fromkeys(("training_min_active", "training_min_inactive", "catalogue_min_labels"), 20)
    low, high = (Activities(**(small | {key: n + more})) for more in (0, 1))
    before, after = (apply_quorum(candidates_of(*kinds), labels_of(*counts), FOLDING, 5, q) for q in (low, high))
    for column in (pl.col("evaluated"), pl.col("catalog_assay_id").is_not_null()):
        some, fewer = before.select(column).to_series(), after.select(column).to_series()
        assert not (fewer & ~some).any()
    if catalogue is None:
        assert not (after["training_quorum"] & ~before["training_quorum"]).any()
