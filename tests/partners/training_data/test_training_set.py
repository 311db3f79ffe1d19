"""A training set refuses data that cannot be trained on, each with one sentence."""

import numpy as np
import pytest
from scipy import sparse

from partners.errors import (
    BadCensoring,
    BadFeatures,
    BadFolds,
    BadLabels,
    BadLengths,
    BadValues,
    BadWeights,
    FeatureCountMismatch,
    TrainingError,
)
from partners.training.training import train_round
from partners.training_data.training_set import TrainingSet, check_features
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk


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
        ({"y": _with_value(small_set().y, 0.5)}, BadLabels, r"not \+1 or -1, .*\b0\.5 at row \d"),
        ({"y": _with_value(small_set().y, 0.0)}, BadLabels, r"not \+1 or -1, .*\b0 at row \d"),
        ({"y": _with_value(small_set().y, np.nan)}, BadLabels, r"not \+1 or -1, .*\bnan at row \d"),
        ({"x": _with_value(small_set().x, np.inf)}, BadFeatures, "1 values .*not finite"),
        ({"x": small_set().x[:-1]}, BadLengths, r"\by: .*\b120 rows.*\b119\b"),
        ({"folding": np.zeros(7)}, BadLengths, "folding: found shape"),
        ({"training_weight": np.ones(3)}, BadLengths, "training_weight: found shape"),
        ({"training_weight": np.full(7, -1.0)}, BadWeights, "at least 0"),
        ({"training_weight": np.full(7, np.nan)}, BadWeights, "at least 0"),
        ({"aggregation_weight": np.ones(3)}, BadLengths, "aggregation_weight: found shape"),
        ({"aggregation_weight": np.full(7, -1.0)}, BadWeights, "at least 0"),
        ({"regr_aggregation_weight": np.ones(1)}, BadLengths, "regr_aggregation_weight: found shape"),
        ({"validation_fold": 0}, BadFolds, "both 0"),
        ({"folding": np.arange(120) % 2}, BadFolds, "to train on"),
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
    with pytest.raises(BadLabels, match=r"1 labels .*\b3 at row 1, task 2"):
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


_HYBRID = hybrid_set()


def _hybrid_parts(**changes: object) -> dict[str, object]:
    names = ("x", "y", "folding", "training_weight", "y_regr", "y_censor", "regr_weight", "censored_weight")
    return {name: getattr(_HYBRID, name) for name in names} | changes


_UNSORTED_TWICE = sparse.csr_matrix(
    (np.ones(2, np.float32), np.array([1, 1]), np.array([0, 2, *[2] * 119])), shape=(120, 4)
)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"y_regr": _with_value(_HYBRID.y_regr, np.nan)}, BadValues, r"1 values .*\bnan at row \d"),
        ({"y_regr": _UNSORTED_TWICE}, BadValues, "y_regr: 1 duplicate entries"),
        ({"y_regr": _HYBRID.y_regr[1:]}, BadLengths, r"y_regr: .*\b119 rows.*\b120\b"),
        ({"y_censor": _with_value(_HYBRID.y_censor, 0.5)}, BadCensoring, r"-1, 0 .*\b0\.5\b"),
        ({"y_censor": _with_value(_HYBRID.y_censor, np.nan)}, BadCensoring, r"-1, 0 .*\bnan\b"),
        ({"y_censor": _HYBRID.y_regr[:, 1:]}, BadCensoring, r"\(120, 3\), .*\(120, 4\), as y_regr"),
        ({"y_censor": sparse.csr_matrix(_HYBRID.y_censor.toarray())}, BadCensoring, "one mark"),
        ({"regr_weight": np.ones(3)}, BadLengths, r"regr_weight: .*\(3,\), .*\(4,\), as y_regr"),
        ({"regr_weight": np.full(4, np.inf)}, BadWeights, r"regr_weight: .*\binf .*task 0"),
        ({"censored_weight": np.ones(5)}, BadLengths, "censored_weight: found shape"),
        ({"censored_weight": np.array([1, 1, -1, 1])}, BadWeights, r"censored_weight: .*-1\.0 .*task 2"),
        ({"y_regr": sparse.csr_matrix((120, 4))}, BadCensoring, r"y_censor: .*\bmarks .*\b0 values"),
    ],
)
def test_wrong_regression_data_is_refused(changes: dict[str, object], error: type[TrainingError], words: str):
    """Values, marks and their weights are checked when the set is made, in one sentence."""
    with pytest.raises(error, match=words) as caught:
        TrainingSet(**_hybrid_parts(**changes))
    assert "\n" not in str(caught.value)


def test_measured_values_count_as_labels():
    """A compound with a value and no label is trained on; a stored zero is a value; all marks are zero if not given."""
    y = sparse.csr_matrix((3, 2))
    values = sparse.csr_matrix((np.zeros(1), np.array([0]), np.array([0, 0, 0, 1])), shape=(3, 1))
    data = TrainingSet(x=sparse.eye(3, format="csr"), y=y, folding=[2, 2, 2], training_weight=[1, 1], y_regr=values)
    assert data.training_rows.tolist() == [2]
    assert (data.n_training_labels, data.n_regressions) == (1, 1)
    assert data.y_censor.data.tolist() == [0]
    assert data.regr_weight.tolist() == data.censored_weight.tolist() == [1]


def test_regression_is_part_of_the_digest():
    """One changed value, mark or weight of regression changes the digest; a set without regression keeps its own."""
    base = TrainingSet(**_hybrid_parts())
    assert base.digest() == _HYBRID.digest()
    others = [
        _hybrid_parts(y_regr=_with_value(base.y_regr, 3)),
        _hybrid_parts(y_censor=_with_value(base.y_censor, 1 - abs(base.y_censor.data[3]))),
        _hybrid_parts(regr_weight=base.regr_weight / 2),
        _hybrid_parts(censored_weight=base.censored_weight / 2),
        {name: part for name, part in _hybrid_parts().items() if name in _parts()},
    ]
    assert len({base.digest(), *(TrainingSet(**other).digest() for other in others)}) == 6
