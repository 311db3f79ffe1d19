"""Quorums and weights."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.settings import Activities
from data_prep.tasks import assay_report, judge_tasks
from tests.data_prep.test_activities import assay


def candidates_of(*kinds: object):
    """Return candidate tasks (assay, type, auxiliary)."""
    return pl.DataFrame(
        [(i, a, t, x) for i, (a, t, x) in enumerate(kinds)],
        schema={
            "candidate": pl.UInt32,
            "input_assay_id": pl.String,
            "assay_type": pl.String,
            "is_auxiliary": pl.Boolean,
        },
        orient="row",
    )


def labels_of(*tasks: object):
    """Return labels: for each candidate (actives, inactives), on rows 0, 1, ..."""
    rows = []
    for candidate, (n_active, n_inactive) in enumerate(tasks):
        rows += [(candidate, row, 1 if row < n_active else -1) for row in range(n_active + n_inactive)]
    return pl.DataFrame(rows, schema={"candidate": pl.UInt32, "row": pl.UInt32, "label": pl.Int8}, orient="row")


FOLDING = np.arange(40_000) % 5


@pytest.mark.parametrize(("counts", "trained"), [((25, 25), True), ((24, 26), False), ((26, 24), False)])
def test_training_quorum_is_25_of_each(counts, trained):
    """25 actives and 25 inactives make a task, 24 of either do not."""
    judged = judge_tasks(candidates_of(("a", "OTHER", False)), labels_of(counts), FOLDING, 5, Activities())
    assert judged["training_quorum"].to_list() == [trained]
    assert judged["task_id"].to_list() == [0 if trained else None]


@pytest.mark.parametrize(("counts", "trained"), [((10, 10_000), True), ((9, 10_001), False), ((10, 9_999), False)])
def test_auxiliary_quorum(counts, trained):
    """An auxiliary screen needs 10 actives and 10,000 inactives."""
    judged = judge_tasks(candidates_of(("a", "AUX_HTS", True)), labels_of(counts), FOLDING, 5, Activities())
    assert judged["training_quorum"].to_list() == [trained]


def test_evaluation_needs_ten_of_each_in_every_fold():
    """A task is scored with 10 actives and 10 inactives in every fold; a fold without labels counts 0."""
    candidates = candidates_of(("a", "OTHER", False), ("b", "OTHER", False), ("c", "OTHER", True))
    labels = labels_of((50, 50), (49, 51), (50, 50))
    judged = judge_tasks(candidates, labels, FOLDING, 5, Activities())
    assert judged["min_fold_active"].to_list() == [10, 9, 10]
    assert judged["evaluated"].to_list() == [True, False, True]
    assert judged["aggregation_weight"].to_list() == [1.0, 0.0, 0.0]
    absent = judge_tasks(candidates, labels, np.where(FOLDING == 4, 3, FOLDING), 5, Activities())
    assert absent["min_fold_active"].to_list() == [0, 0, 0]
    assert absent["evaluated"].to_list() == [False] * 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=12))
def test_training_weights_sum_to_one_per_assay(tasks):
    """The trained tasks of an assay share a weight of 1, of an auxiliary screen 0.1; task ids run through them."""
    kinds = [(name, "AUX_HTS" if name == "c" else "OTHER", False) for name, _ in tasks]
    counts = [(30, 30) if trained else (3, 30) for _, trained in tasks]
    settings = Activities(aux_training_min_inactive=25)
    judged = judge_tasks(candidates_of(*kinds), labels_of(*counts), FOLDING, 5, settings)
    for name, total in judged.group_by("input_assay_id").agg(pl.col("training_weight").sum()).iter_rows():
        any_trained = any(n == name and trained for n, trained in tasks)
        assert total == pytest.approx((0.1 if name == "c" else 1.0) * any_trained)
    ids = judged["task_id"].drop_nulls().to_list()
    assert ids == list(range(sum(trained for _, trained in tasks)))


def test_near_constant_assays_are_reported_not_dropped():
    """The report names an assay whose values do not spread, and one without values."""
    assays = pl.concat([assay(assay_id="a"), assay(assay_id="b"), assay(assay_id="c")])
    values = pl.DataFrame({"input_assay_id": ["a", "a", "b", "b"], "standard_value": [5.0, 5.0, 5.0, 6.0]})
    tasks = judge_tasks(candidates_of(("b", "OTHER", False)), labels_of((30, 30)), FOLDING, 5, Activities())
    report = assay_report(assays, values, tasks, Activities())
    assert report["near_constant"].to_list() == [True, False, False]
    assert report["n_values"].to_list() == [2, 2, 0]
    assert report["n_tasks"].to_list() == [0, 1, 0]
