"""A training set refuses data that cannot be trained on, each with one sentence."""

import numpy as np
import pytest
from scipy import sparse

from partners.errors import (
    BadFeatures,
    BadFolds,
    BadLabels,
    BadLengths,
    BadWeights,
    FeatureCountMismatch,
    TrainingError,
)
from partners.training import train_round
from partners.training_set import TrainingSet, check_features
from tests.partners.synthetic import TRAINING, small_set, small_trunk


def _parts(**changes: object) -> dict[str, object]:
    data = small_set()
    parts = {"x": data.x, "y": data.y, "folding": data.folding, "training_weight": data.training_weight}
    return parts | changes


def _with_value(matrix: sparse.csr_matrix, value: float) -> sparse.csr_matrix:
    changed = matrix.copy()
    changed.data[3] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"y": _with_value(small_set().y, 0.5)}, BadLabels, "not \\+1 or -1, the first is 0.5 at row"),
        ({"y": _with_value(small_set().y, 0.0)}, BadLabels, "not \\+1 or -1"),
        ({"y": _with_value(small_set().y, np.nan)}, BadLabels, "not \\+1 or -1"),
        ({"x": _with_value(small_set().x, np.inf)}, BadFeatures, "1 values are not finite"),
        ({"x": small_set().x[:-1]}, BadLengths, "y: found 120 rows, expected 119"),
        ({"folding": np.zeros(7)}, BadLengths, "folding: found shape"),
        ({"training_weight": np.ones(3)}, BadLengths, "training_weight: found shape"),
        ({"training_weight": np.full(7, -1.0)}, BadWeights, "at least 0"),
        ({"training_weight": np.full(7, np.nan)}, BadWeights, "at least 0"),
        ({"validation_fold": 0}, BadFolds, "both 0"),
        ({"folding": np.arange(120) % 2}, BadFolds, "expected at least one to train on"),
        ({"y": sparse.csr_matrix((120, 7))}, BadFolds, "no labelled compound"),
    ],
)
def test_wrong_data_is_refused(changes: dict[str, object], error: type[TrainingError], words: str):
    """Labels, features, lengths, weights and folds are checked when the set is made."""
    with pytest.raises(error, match=words) as caught:
        TrainingSet(**_parts(**changes))
    assert isinstance(caught.value, TrainingError)
    assert "\n" not in str(caught.value)


def test_the_place_of_a_wrong_label_is_named():
    """The first wrong label is named by row and task, so that its owner can find it."""
    y = sparse.csr_matrix(np.array([[1, 0, 0], [0, -1, 3.0]]))
    with pytest.raises(BadLabels, match=r"1 labels .* 3 at row 1, task 2"):
        TrainingSet(x=sparse.eye(2, format="csr"), y=y, folding=np.array([2, 2]), training_weight=np.ones(3))


def test_feature_count_must_fit_the_trunk():
    """Training stops before the first step when x has another number of features than the trunk."""
    layout, trunk, settings = small_trunk(8)
    parts = _parts()
    data = TrainingSet(**(parts | {"x": parts["x"][:, :50]}))
    with pytest.raises(FeatureCountMismatch, match="found 50 features, expected 96"):
        train_round(data, trunk, None, layout, settings, TRAINING, 0, 1)
    with pytest.raises(FeatureCountMismatch):
        check_features(data.x, 51)


def test_canonical_form_leaves_the_callers_matrix_alone():
    """Unsorted columns and duplicates are put right in a copy; other formats and types are taken too."""
    unsorted = sparse.csr_matrix((np.array([1.0, 1.0, 1.0]), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3))
    data = TrainingSet(x=unsorted, y=sparse.coo_matrix([[1]]), folding=[3], training_weight=[1])
    assert data.x.has_sorted_indices
    assert data.x.toarray().tolist() == [[2, 0, 1]]
    assert unsorted.indices.tolist() == [2, 0, 0]
    assert (data.x.dtype, data.y.dtype, data.training_weight.dtype) == (np.float32,) * 3


def test_training_rows_are_labelled_and_outside_the_held_out_folds():
    """Compounds of the test and validation folds and those without a label are never trained on."""
    data = small_set(2, density=0.1)
    labelled = np.diff(data.y.indptr) > 0
    assert not labelled.all()
    expected = [i for i in range(data.n_compounds) if data.folding[i] not in (0, 1) and labelled[i]]
    assert data.training_rows.tolist() == expected
    assert data.n_training_labels == data.y[expected].nnz
    assert set(data.rows_of(1)) == {i for i in range(data.n_compounds) if data.folding[i] == 1 and labelled[i]}


def test_the_digest_tells_sets_apart():
    """Equal sets have equal digests; one changed label, bit, fold or weight changes it."""
    base = TrainingSet(**_parts())
    assert base.digest() == small_set().digest()
    flipped = base.y.copy()
    flipped.data[0] *= -1
    others = [
        _parts(y=flipped),
        _parts(x=_with_value(base.x, 2)),
        _parts(folding=(base.folding + 1) % 5),
        _parts(training_weight=base.training_weight * 2),
        _parts(validation_fold=2),
    ]
    assert len({base.digest(), *(TrainingSet(**other).digest() for other in others)}) == 6
