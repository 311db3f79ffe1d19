"""SparseChem's own runs, steps and predictions, reproduced."""

from pathlib import Path

import numpy as np
import pytest

from partners.files.sparsechem_model import _names, read_sparsechem
from partners.network.inference import predict, predict_hidden
from partners.network.state import HeadSizes, fresh_state
from partners.network.trunk import trunk_layout
from partners.settings import Training, TrunkSettings
from tests.support.partners.our_losses import our_losses
from tests.support.partners.sparsechem_golden import golden_run, golden_set


@pytest.mark.parametrize("kind", ["class", "regr", "hybrid"])
@pytest.mark.parametrize("internal_batch_max", [None, 13])
def test_six_adam_steps(shared: Path, kind: str, internal_batch_max: int | None):
    """From its initial weights, its six batches give its losses and every one of its final weights within 1e-5."""
    folder = shared / "golden" / "sparsechem"
    facts, golden = golden_run(folder, kind)
    data = golden_set(folder, classification=facts["classification"], regression=facts["regression"])
    training = Training(
        learning_rate=facts["lr"],
        weight_decay=facts["weight_decay"],
        regression_weight=facts["regression_weight"],
        internal_batch_max=internal_batch_max,
        normalise_regression=False,
    )
    trunk_settings = TrunkSettings(hidden=tuple(facts["hidden_sizes"]))
    layout = trunk_layout(data.n_inputs, trunk_settings.hidden)
    names = {
        f"{ours}.{part}": f"{theirs}.{part}"
        for ours, theirs in _names(len(layout.hidden), HeadSizes.of(data, training))
        for part in ("weight", "bias")
    }
    initial = {ours: golden[f"init/{theirs}"] for ours, theirs in names.items()}
    trunk = np.concatenate([initial.pop(tensor.name).ravel() for tensor in layout.tensors])
    n_regressions = data.n_regressions
    units = {"mean": np.zeros(n_regressions, np.float32), "deviation": np.ones(n_regressions, np.float32)}
    state = fresh_state(initial, units if n_regressions else {}, layout, training)
    n = facts["batch_size"]
    batches = [np.arange(n) + n * step % data.n_compounds for step in range(facts["steps"])]
    losses, weights = our_losses(layout, trunk, state, data, batches, trunk_settings, training)
    assert len(golden["losses"]) == 6
    np.testing.assert_allclose(losses, golden["losses"], atol=1e-5)
    filled = [name for name, array in golden.items() if name[:6] == "final/" and array.size and "mask" not in name]
    assert sorted(filled) == sorted(f"final/{theirs}" for theirs in names.values())
    for ours, theirs in names.items():
        np.testing.assert_allclose(weights[ours], golden[f"final/{theirs}"], atol=1e-5, err_msg=theirs)


def test_its_model_predicts_the_same(shared: Path):
    """A model of its train.py, read and applied, gives its probabilities, values and trunk outputs within 1e-6."""
    folder = shared / "golden" / "sparsechem"
    model = read_sparsechem(folder / "model" / "ref.pt", folder / "model" / "ref.json")
    assert model.trunk_settings == TrunkSettings(hidden=(32, 16), dropout=(0.2, 0.1))
    assert (model.training.lr_steps, model.training.normalise_regression) == ((10,), False)
    x = golden_set(folder).x
    outputs = predict(x, model.trunk, model.state, model.layout, model.trunk_settings, model.training)
    hidden = predict_hidden(x, model.trunk, model.layout, model.trunk_settings)
    for name, ours in (("class", outputs.probabilities), ("regr", outputs.values), ("hidden", hidden)):
        theirs = np.load(folder / "model" / f"pred-{name}.npy")
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=name)
