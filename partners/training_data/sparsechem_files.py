"""Read SparseChem's data files as a training set: matrices (.npz, .mtx, .npy), folds (.npy), task weights (.csv)."""

import csv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import io, sparse

from partners.errors import BadMatrixFile, BadWeights
from partners.training_data.training_set import TrainingSet
from secure.files import open_plain

_TRAINING, _CENSORED = ("training_weight", "weight"), ("censored_weight",)  # `weight` is the older name
_MOST = {_TRAINING: 1.0, _CENSORED: float("inf")}  # SparseChem's own range


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFiles:
    """Paths of a data set's files; x, folding and at least one of y_class and y_regr are needed."""

    x: Path
    folding: Path
    y_class: Path | None = None
    y_regr: Path | None = None
    y_censor: Path | None = None
    weights_class: Path | None = None
    weights_regr: Path | None = None

    def __post_init__(self) -> None:
        """Raise BadMatrixFile if there are no labels, or a file is there without the file that it belongs to."""
        if self.y_class is None and self.y_regr is None:
            raise BadMatrixFile("labels: found neither y_class nor y_regr, expected at least one of them")
        for name, needed in (("weights_class", "y_class"), ("y_censor", "y_regr"), ("weights_regr", "y_regr")):
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise BadMatrixFile(f"{name}: found no {needed}, expected both")


def read_training_set(
    files: MatrixFiles, *, test_fold: int, validation_fold: int, trust_pickle: bool = False
) -> TrainingSet:
    """Read and check a data set.

    trust_pickle : read matrices in .npy files too, by unpickling, which runs any code in the file
    Raises BadMatrixFile for a file that is not what it should be, and what TrainingSet raises.
    """
    x = read_sparse(files.x, trust_pickle=trust_pickle)
    nothing = sparse.csr_matrix((x.shape[0], 0))
    y_class = read_sparse(files.y_class, trust_pickle=trust_pickle) if files.y_class else nothing
    regression: dict[str, Any] = {}
    if files.y_regr is not None:
        regression["y_regr"] = read_sparse(files.y_regr, trust_pickle=trust_pickle)
        n_tasks = regression["y_regr"].shape[1]
        table = _read_weights(files.weights_regr, n_tasks)
        regression["regr_weight"] = _column(table, _TRAINING, n_tasks, files.weights_regr)
        regression["censored_weight"] = _column(table, _CENSORED, n_tasks, files.weights_regr)
    if files.y_censor is not None:
        regression["y_censor"] = read_sparse(files.y_censor, trust_pickle=trust_pickle)
    weights = _read_weights(files.weights_class, y_class.shape[1])
    return TrainingSet(
        x=x,
        y=y_class,
        folding=read_folding(files.folding),
        training_weight=_column(weights, _TRAINING, y_class.shape[1], files.weights_class),
        test_fold=test_fold,
        validation_fold=validation_fold,
        **regression,
    )


def read_sparse(path: Path, *, trust_pickle: bool = False) -> sparse.csr_matrix:
    """Read a sparse matrix of real numbers from .npz (scipy), .mtx (Matrix Market) or, if trusted, pickled .npy.

    Raises BadMatrixFile, and secure.files.NotPlainFile for a named pipe, a device or a folder.
    """
    open_plain(path).close()  # a pipe would be waited for
    try:
        content = _read_matrix(path, trust_pickle=trust_pickle)
    except (ValueError, KeyError, EOFError, UnpicklingError, ImportError, AttributeError, zipfile.BadZipFile) as error:
        raise BadMatrixFile(f"{path.name}: cannot be read as a sparse matrix: {error}") from None
    if not (sparse.issparse(content) and getattr(content, "dtype", np.dtype("O")).kind in "biuf"):
        kind = f"a {type(content).__name__} of {getattr(content, 'dtype', 'objects')}"
        raise BadMatrixFile(f"{path.name}: found {kind}, expected a sparse matrix of real numbers")
    matrix = cast(sparse.coo_matrix, content)
    n_stored, rows = int(matrix.nnz), sparse.csr_matrix(matrix)
    if rows.nnz != n_stored:  # from pairs of indices scipy adds up entries of the same row and column
        n_duplicates = n_stored - rows.nnz
        raise BadMatrixFile(
            f"{path.name}: {n_duplicates} duplicate entries, expected one value for each row and column"
        )
    return rows


def _read_matrix(path: Path, *, trust_pickle: bool) -> Any:  # noqa: ANN401 -- a pickle can hold any object
    if path.suffix == ".npz":
        return sparse.load_npz(path)
    if path.suffix == ".mtx":
        return io.mmread(path)
    if path.suffix != ".npy":
        raise ValueError(f"its name ends in {path.suffix or 'nothing'}, expected .npz, .mtx or .npy")
    if not trust_pickle:
        error = BadMatrixFile(f"{path.name}: a matrix in .npy is a pickle, which can run code, expected .npz or .mtx")
        error.add_note("if you made the file yourself, trust it with --trust-pickle")
        raise error
    return np.load(path, allow_pickle=trust_pickle).item()


def read_folding(path: Path) -> NDArray[np.int64]:
    """Read the fold of every compound, (n_compounds,), from .npy; raises what `read_sparse` raises."""
    open_plain(path).close()
    try:
        folding = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadMatrixFile(f"{path.name}: cannot be read as .npy without pickle: {error}") from None
    if not isinstance(folding, np.ndarray) or folding.ndim != 1 or folding.dtype.kind not in "iu":
        kind = f"{folding.dtype} of shape {folding.shape}" if isinstance(folding, np.ndarray) else "several arrays"
        raise BadMatrixFile(f"{path.name}: found {kind}, expected one integer fold for each compound")
    return folding.astype(np.int64)


def _read_weights(path: Path | None, n_tasks: int) -> Sequence[Mapping[str, str]]:
    """Read the rows of a weights table in the order of the tasks; empty without a file."""
    if path is None:
        return ()
    try:
        with TextIOWrapper(open_plain(path), newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        ids = [int(row["task_id"]) for row in rows]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise BadMatrixFile(f"{path.name}: cannot be read as a table with whole numbers in task_id: {error}") from None
    if sorted(ids) != list(range(n_tasks)):
        raise BadWeights(f"{path.name}: found {len(ids)} task ids, expected each of 0 to {n_tasks - 1} once")
    return [row for _, row in sorted(zip(ids, rows, strict=True), key=lambda pair: pair[0])]


def _column(
    rows: Sequence[Mapping[str, str]], names: tuple[str, ...], n_tasks: int, path: Path | None
) -> NDArray[np.float32]:
    """Weights from the first of these columns that exists; ones without it, except for training weights.

    Raises BadWeights.
    """
    name = next((name for name in names if rows and name in rows[0]), None)
    if name is None or path is None:
        if rows and path is not None and names is _TRAINING:
            raise BadWeights(f"{path.name}: found no column {' or '.join(names)}, expected one")
        return np.ones(n_tasks, dtype=np.float32)
    weights = np.ones(n_tasks, dtype=np.float32)
    for task, row in enumerate(rows):
        try:
            weights[task] = float(row[name])
        except (ValueError, TypeError):
            raise BadWeights(f"{path.name}: found {row[name]!r} in {name} of task {task}, expected a number") from None
        if not 0 <= weights[task] <= _MOST[names]:
            raise BadWeights(f"{path.name}: found {row[name]} in {name} of task {task}, expected 0 to {_MOST[names]:g}")
    return weights
