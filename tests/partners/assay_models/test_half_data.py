"""Models fitted on half of the measurements: against the same steps by hand, and what they never depend on."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from partners.assay_models.fitting import fit_assay_model
from partners.assay_models.half_data import half_data_precision
from partners.assay_models.predictor import ValuePredictor
from partners.settings import LocalKind
from tests.support.partners.made_up_assays import made_up_assays, own_data

PREPARED = made_up_assays(described=True)
OWN = own_data(PREPARED)
KINDS: list[LocalKind] = ["mean", "gaussian process", "forest", "network", "mean"]  # HIGH LOW BINARY FEW VALUES


def test_scores_are_those_of_models_fitted_on_half():
    """By scikit-learn, for the two tasks of the first assay and that of the second, where low values are active."""
    found = half_data_precision(OWN, KINDS, 1)
    known, test = OWN.data.training_rows, OWN.data.rows_of(OWN.data.test_fold)
    inputs, y = OWN.inputs(known), OWN.data.y[test].toarray()
    for number in (0, 1):
        assay = OWN.training_part(OWN.assays[number])
        n = assay.rows.size
        drawn = np.random.default_rng(OWN.seed + number).permutation(n)[: (n + 1) // 2]
        half = assay.only(np.isin(np.arange(n), drawn))
        assert half.rows.size == (n + 1) // 2
        mine = inputs[np.searchsorted(known, half.rows)]
        model = fit_assay_model(half, KINDS[number], mine, known, OWN.seed + number)
        assert model is not None
        values = ValuePredictor([model], inputs, OWN.quantiles().shape[1])(OWN.inputs(test))[:, 0]
        for task, sign in zip(assay.tasks, assay.signs, strict=True):
            measured = y[:, task] != 0
            expected = average_precision_score(y[measured, task] > 0, sign * values[measured])
            assert found[task] == pytest.approx(expected)


def test_tasks_of_a_network_and_auxiliary_ones_have_no_score():
    """Nor has any task if every assay is left to the network, or none has enough labels."""
    found = half_data_precision(OWN, KINDS, 1)
    assert np.isfinite(found).tolist() == [True, True, True, True, False, False]
    assert np.isnan(half_data_precision(OWN, ["network"] * 5, 1)).all()
    assert np.isnan(half_data_precision(OWN, KINDS, 1000)).all()


def test_the_seed_decides_and_the_number_of_workers_does_not():
    """Equal bits with one worker and with three, other halves with another seed."""
    first = half_data_precision(OWN, KINDS, 1)
    np.testing.assert_array_equal(half_data_precision(replace(OWN, workers=3), KINDS, 1), first)
    assert not np.array_equal(half_data_precision(replace(OWN, seed=9), KINDS, 1), first, equal_nan=True)
