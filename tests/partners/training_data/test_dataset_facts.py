"""Facts about the data for MLflow: counts that add up and digests that differ between sets, nothing else."""

import json

import numpy as np
import pytest
from scipy import sparse

from partners.training_data.dataset_facts import dataset_facts
from partners.training_data.training_set import TrainingSet


def data(seed: int = 0, *, regression: bool = False) -> TrainingSet:
    """60 compounds, 4 tasks, folds 0 to 4; with regression, 2 tasks more, censored values among theirs."""
    rng = np.random.default_rng(seed)
    y = sparse.csr_matrix(rng.choice([-1, 0, 1], (60, 4), p=[0.4, 0.3, 0.3]))
    more = {}
    if regression:
        measured = rng.random((60, 2)) < 0.5
        values = sparse.csr_matrix(np.where(measured, rng.normal(6, 1, (60, 2)), 0))
        marks = values.copy()
        marks.data = rng.choice([-1.0, 0.0, 1.0], values.nnz)
        more = {"y_regr": values, "y_censor": marks}
    return TrainingSet(
        x=sparse.random(60, 32, 0.2, "csr", random_state=rng),
        y=y,
        folding=np.arange(60) % 5,
        training_weight=np.ones(4, dtype=np.float32),
        **more,
    )


@pytest.mark.parametrize("regression", [False, True])
def test_counts_are_those_of_the_folds(regression: bool):  # noqa: FBT001 -- a parameter of the test
    """Every labelled compound is in one of the three; labels and values are all counted, once."""
    data_set = data(regression=regression)
    facts = {fact["context"]: fact["counts"] for fact in dataset_facts("P01", data_set)}
    assert list(facts) == ["training", "validation", "test"]
    assert facts["test"]["n_compounds"] == len(data_set.rows_of(0))
    assert facts["validation"]["n_compounds"] == len(data_set.rows_of(1))
    for key, expected in (("n_active", (data_set.y.data > 0).sum()), ("n_inactive", (data_set.y.data < 0).sum())):
        assert sum(counts[key] for counts in facts.values()) == expected
    if regression:
        exact = (data_set.y_censor.data == 0).sum()
        assert sum(counts["n_exact"] for counts in facts.values()) == exact
        assert sum(counts["n_censored"] for counts in facts.values()) == data_set.y_regr.nnz - exact
    else:
        assert not any("n_exact" in counts for counts in facts.values())


def test_digests_tell_sets_and_folds_apart():
    """Equal data, equal digests; other data or another fold, another digest."""
    first, again, other = (dataset_facts("P01", data(seed)) for seed in (1, 1, 2))
    assert first == again
    digests = [fact["digest"] for fact in (*first, *other)]
    assert len(set(digests)) == 6


def test_facts_are_names_digests_and_whole_numbers():
    """The facts hold no label, value or structure."""
    for fact in json.loads(json.dumps(dataset_facts("P01", data(regression=True)))):
        assert set(fact) == {"name", "context", "digest", "counts"}
        assert fact["name"].startswith("P01, ")
        assert all(type(count) is int for count in fact["counts"].values())
