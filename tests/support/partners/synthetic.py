"""Small made-up partners for the tests."""

import numpy as np
from scipy import sparse

from partners.network.trunk import TrunkLayout, initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

N_INPUTS = 96


def small_set(seed: int = 0, n_compounds: int = 120, n_tasks: int = 7, density: float = 0.3) -> TrainingSet:
    """Binary inputs and labels that depend on them, five folds."""
    rng = np.random.default_rng(seed)
    x = sparse.random(n_compounds, N_INPUTS, 0.15, format="csr", rng=rng, dtype=np.float32)
    x.data[:] = 1
    truth = x @ rng.normal(size=(N_INPUTS, n_tasks))
    y = sparse.random(n_compounds, n_tasks, density, format="csr", rng=rng).tocoo()
    y.data = np.where(truth[y.row, y.col] > np.median(truth), 1.0, -1.0)
    return TrainingSet(
        x=x,
        y=y.tocsr(),
        folding=np.arange(n_compounds) % 5,
        training_weight=rng.uniform(0.2, 1, n_tasks),
    )


def hybrid_set(seed: int = 0, n_compounds: int = 120, n_tasks: int = 7, n_regressions: int = 4) -> TrainingSet:
    """`small_set` with measured values that depend on the inputs, a third of them censored."""
    base, rng = small_set(seed, n_compounds, max(n_tasks, 1)), np.random.default_rng(seed + 1)
    values = sparse.random(n_compounds, n_regressions, 0.4, format="csr", rng=rng, dtype=np.float32)
    rows = np.repeat(np.arange(n_compounds), np.diff(values.indptr))
    truth = 6 + (base.x @ rng.normal(size=(N_INPUTS, n_regressions)))[rows, values.indices]
    marks = values.copy()
    marks.data = rng.choice([-1, 0, 0, 0, 1, 0], values.nnz).astype(np.float32)
    values.data = (truth + rng.normal(size=values.nnz)).astype(np.float32)
    return TrainingSet(
        x=base.x,
        y=base.y[:, :n_tasks],
        folding=base.folding,
        training_weight=base.training_weight[:n_tasks],
        y_regr=values,
        y_censor=marks,
        regr_weight=rng.uniform(0.2, 1, n_regressions),
        censored_weight=rng.uniform(0.2, 1, n_regressions),
    )


def small_trunk(*hidden: int, seed: int = 1) -> tuple[TrunkLayout, np.ndarray, TrunkSettings]:
    """Layout, first values and settings of a trunk for `small_set`."""
    layout = trunk_layout(N_INPUTS, hidden)
    return layout, initial_trunk(layout, seed), TrunkSettings(hidden=hidden, dropout=0.3)


TRAINING = Training(batch_size=32, learning_rate=1e-2, regression_weight=0.5)
