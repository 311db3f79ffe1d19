"""Small made-up prepared matrices, as `data_prep` writes them."""

import numpy as np
from scipy import sparse

from data_prep.prepared import Prepared, RegressionTask, Task

_N_FOLDS = 5


def prepared_matrices(seed: int = 0, n_compounds: int = 100, n_tasks: int = 6, n_regressions: int = 2) -> Prepared:
    """Half of the compounds measured, every third value a bound, the last task of each kind auxiliary."""
    rng = np.random.default_rng(seed)
    x = sparse.random(n_compounds, 64, 0.2, format="csr", rng=rng, dtype=np.float32)
    x.data[:] = 1
    y = sparse.random(n_compounds, n_tasks, 0.5, format="csr", rng=rng, dtype=np.float32)
    y.data = rng.choice(np.array([-1, 1], np.float32), y.nnz)
    y_regr = sparse.random(n_compounds, n_regressions, 0.5, format="csr", rng=rng, dtype=np.float32)
    y_regr.data = rng.normal(6, 1, y_regr.nnz).astype(np.float32)
    y_censor = y_regr.copy()
    y_censor.data = rng.choice(np.array([-1, 0, 0], np.float32), y_censor.nnz)
    return Prepared(
        x=x,
        y=y,
        y_regr=y_regr,
        y_censor=y_censor,
        folding=np.arange(n_compounds) % _N_FOLDS,
        tasks=tuple(made_up_task(column, y, is_auxiliary=column == n_tasks - 1) for column in range(n_tasks)),
        regression_tasks=tuple(
            made_up_regression_task(column, y_censor, is_auxiliary=column == n_regressions - 1)
            for column in range(n_regressions)
        ),
        manifest={"settings": {"fingerprint": {}, "folds": {"n_folds": _N_FOLDS}}, "digest": "made up"},
    )


def made_up_task(column: int, y: sparse.csr_matrix, *, is_auxiliary: bool) -> Task:
    """A task with the counts of its column."""
    labels = y.data[y.indices == column]
    return Task(
        task_id=column,
        input_assay_id=f"A{column // 2}",
        catalog_assay_id=None,
        parent_assay_id=None,
        assay_type="OTHER",
        threshold=6.0 + column % 2,
        threshold_method="expert",
        direction="high",
        is_auxiliary=is_auxiliary,
        n_active=int((labels == 1).sum()),
        n_inactive=int((labels == -1).sum()),
        min_fold_active=1,
        min_fold_inactive=1,
        evaluated=not is_auxiliary,
        training_weight=1 / (1 + column),
        aggregation_weight=float(not is_auxiliary),
    )


def made_up_regression_task(column: int, y_censor: sparse.csr_matrix, *, is_auxiliary: bool) -> RegressionTask:
    """A regression task with the counts of its column."""
    """A regression task with the counts of its column."""
    marks = y_censor.data[y_censor.indices == column]
    return RegressionTask(
        task_id=column,
        input_assay_id=f"A{column}",
        parent_assay_id=None,
        assay_type="OTHER",
        is_auxiliary=is_auxiliary,
        n_values=marks.size,
        n_exact=int((marks == 0).sum()),
        n_below=int((marks == -1).sum()),
        n_above=0,
        min_fold_exact=1,
        min_fold_std=0.5,
        evaluated=not is_auxiliary,
        training_weight=1 / (2 + column),
        aggregation_weight=float(not is_auxiliary),
        censored_weight=0.25 * (1 + column),
    )
