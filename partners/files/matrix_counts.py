"""Check a SparseChem user's data files for training and count what is in them."""

from dataclasses import dataclass

import numpy as np

from partners.network.input_transform import transformed
from partners.settings import InputTransform
from partners.training_data.sparsechem_files import MatrixFiles, read_training_set
from partners.training_data.training_set import check_features


@dataclass(frozen=True, slots=True)
class ExpectedFeatures:
    """What a network expects of its features."""

    n_inputs: int
    transform: InputTransform


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCounts:
    """The numbers of compounds, features, tasks, labels and values in the files, and the folds that were used."""

    compounds: int
    features: int
    classification_tasks: int
    labels: int
    actives: int
    regression_tasks: int
    values: int
    censored_values: int
    test_fold: int
    validation_fold: int
    labels_by_fold: dict[str, int]
    training_labels: int


def count_matrices(
    files: MatrixFiles,
    *,
    test_fold: int,
    validation_fold: int,
    trust_pickle: bool = False,
    network: ExpectedFeatures | None = None,
) -> MatrixCounts:
    """Read the files as for training and count their content.

    network : also check the features against it
    Raises partners.errors.TrainingError for files that cannot be trained on.
    """
    matrices = read_training_set(files, test_fold=test_fold, validation_fold=validation_fold, trust_pickle=trust_pickle)
    if network is not None:
        check_features(matrices.x, network.n_inputs)
        transformed(matrices.x, network.transform)
    folds, n_labels = np.unique(matrices.folding), matrices.labels_per_row
    return MatrixCounts(
        compounds=matrices.n_compounds,
        features=matrices.n_inputs,
        classification_tasks=matrices.n_tasks,
        labels=int(matrices.y.nnz),
        actives=int((matrices.y.data > 0).sum()),
        regression_tasks=matrices.n_regressions,
        values=int(matrices.y_regr.nnz),
        censored_values=int(np.count_nonzero(matrices.y_censor.data)),
        test_fold=test_fold,
        validation_fold=validation_fold,
        labels_by_fold={str(fold): int(n_labels[matrices.folding == fold].sum()) for fold in folds},
        training_labels=matrices.n_training_labels,
    )
