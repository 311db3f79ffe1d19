"""SparseChem's data files are read, and wrong ones refused in one sentence."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import io, sparse

from partners.errors import (
    BadCensoring,
    BadFolds,
    BadLabels,
    BadLengths,
    BadMatrixFile,
    BadValues,
    BadWeights,
    TrainingError,
)
from partners.training_data.sparsechem_files import MatrixFiles, read_folding, read_sparse, read_training_set
from partners.training_data.training_set import TrainingSet
from secure.files import NotPlainFile
from tests.support.partners.synthetic import hybrid_set

_DATA = hybrid_set()


def _save_pickled(path: Path, matrix: sparse.csr_matrix) -> None:
    np.save(path, matrix)  # what SparseChem's examples do


_WRITERS: dict[str, Callable[[Path, sparse.csr_matrix], None]] = {
    ".npz": sparse.save_npz,
    ".mtx": io.mmwrite,
    ".npy": _save_pickled,
}


def _files(folder: Path, suffix: str = ".npz") -> MatrixFiles:
    matrices = {"x": _DATA.x, "y_class": _DATA.y, "y_regr": _DATA.y_regr, "y_censor": _DATA.y_censor}
    paths = {name: folder / f"{name}{suffix}" for name in matrices}
    for name, matrix in matrices.items():
        _WRITERS[suffix](paths[name], matrix)
    np.save(folder / "folding.npy", _DATA.folding)
    lines = [f"{task},{weight}" for task, weight in enumerate(_DATA.training_weight)]
    (folder / "class.csv").write_text("task_id,training_weight\n" + "\n".join(reversed(lines)))
    pairs = enumerate(zip(_DATA.regr_weight, _DATA.censored_weight, strict=True))
    lines = [f"{task},OTHER,{weight},1.0,{censored}" for task, (weight, censored) in pairs]
    head = "task_id,task_type,training_weight,aggregation_weight,censored_weight\n"
    (folder / "regr.csv").write_text(head + "\n".join(lines))
    tables = {"weights_class": folder / "class.csv", "weights_regr": folder / "regr.csv"}
    return MatrixFiles(folding=folder / "folding.npy", **paths, **tables)


def _read(files: MatrixFiles, *, trust_pickle: bool = False) -> TrainingSet:
    return read_training_set(files, test_fold=0, validation_fold=1, trust_pickle=trust_pickle)


@pytest.mark.parametrize("suffix", _WRITERS)
def test_every_format_gives_the_same_set(tmp_path: Path, suffix: str):
    """Matrices in .npz, .mtx and trusted .npy, and weights in any order of rows, are read as they were."""
    data = _read(_files(tmp_path, suffix), trust_pickle=True)
    if suffix == ".mtx":  # decimal text
        np.testing.assert_allclose(data.y_regr.data, _DATA.y_regr.data, rtol=1e-6)
        data = dataclasses.replace(data, y_regr=_DATA.y_regr)
    assert data.digest() == _DATA.digest()


def test_a_measured_zero_is_kept(tmp_path: Path):
    """A stored zero in y_regr is a value, not a gap, in each format."""
    matrix = sparse.csr_matrix((np.array([0.0, 1.5]), np.array([1, 0]), np.array([0, 1, 2])), shape=(2, 2))
    for suffix, write in _WRITERS.items():
        write(tmp_path / f"m{suffix}", matrix)
        assert read_sparse(tmp_path / f"m{suffix}", trust_pickle=True).nnz == 2


def test_what_may_be_absent(tmp_path: Path):
    """Without tables all weights are 1; without y_censor, or with an empty one, all is exact; one kind is enough."""
    files = dataclasses.replace(_files(tmp_path), weights_class=None, weights_regr=None, y_censor=None)
    data = _read(files)
    assert set(data.training_weight) == set(data.regr_weight) == set(data.censored_weight) == {1}
    assert not data.y_censor.data.any()
    sparse.save_npz(tmp_path / "empty.npz", sparse.csr_matrix(_DATA.y_regr.shape))
    assert _read(dataclasses.replace(files, y_censor=tmp_path / "empty.npz")).digest() == data.digest()
    assert _read(dataclasses.replace(files, y_class=None)).n_tasks == 0
    assert _read(dataclasses.replace(files, y_regr=None)).n_regressions == 0


def test_the_older_name_of_the_weight(tmp_path: Path):
    """A column `weight` counts as training_weight."""
    files = _files(tmp_path)
    table = tmp_path / "class.csv"
    table.write_text(table.read_text().replace("training_weight", "weight"))
    np.testing.assert_allclose(_read(files).training_weight, _DATA.training_weight)


def test_a_pickle_is_read_only_when_trusted(tmp_path: Path):
    """A .npy matrix is refused, with the reason and how to trust it; no code in it has run."""
    with pytest.raises(BadMatrixFile, match=r"x\.npy: .*pickle") as caught:
        _read(_files(tmp_path, ".npy"))
    assert "--trust-pickle" in caught.value.__notes__[0]


def test_folding_is_never_a_pickle(tmp_path: Path):
    """Folds are plain integers: an array of objects is refused, trusted or not."""
    files = _files(tmp_path)
    np.save(tmp_path / "folding.npy", np.array([1, None], dtype=object))
    with pytest.raises(BadMatrixFile, match="without pickle"):
        _read(files, trust_pickle=True)


def _changed(matrix: sparse.csr_matrix, value: float) -> sparse.csr_matrix:
    other = matrix.copy()
    other.data[5] = value
    return other


_TWICE = sparse.coo_matrix((np.ones(3), ([0, 0, 1], [2, 2, 1])), shape=(120, 4))


@pytest.mark.parametrize(
    ("name", "matrix", "error", "words"),
    [
        ("y_class", _changed(_DATA.y, 0.5), BadLabels, r"not \+1 or -1, .*\b0\.5 at row \d"),
        ("y_class", _changed(_DATA.y, np.nan), BadLabels, r"\bnan at row \d"),
        ("y_class", _DATA.y[1:], BadLengths, r"\by: .*\b119 rows.*\b120\b"),
        ("y_regr", _changed(_DATA.y_regr, np.nan), BadValues, r"1 values .*not finite.*\bnan\b"),
        ("y_regr", _changed(_DATA.y_regr, np.inf), BadValues, r"1 values .*not finite.*\binf\b"),
        ("y_regr", _DATA.y_regr[1:], BadLengths, r"y_regr: .*\b119 rows.*\b120\b"),
        ("y_regr", _TWICE, BadMatrixFile, r"y_regr.mtx: 1 duplicate entries"),
        ("y_censor", _changed(_DATA.y_censor, 2), BadCensoring, r"1 marks .*-1, 0 .*\b2\b"),
        ("y_censor", _changed(_DATA.y_censor, np.nan), BadCensoring, r"1 marks .*-1, 0 .*\bnan\b"),
        ("y_censor", _DATA.y_censor[:, 1:], BadCensoring, r"\(120, 3\), .*\(120, 4\)"),
        ("y_censor", sparse.csr_matrix(_DATA.y_censor.toarray()), BadCensoring, "one mark"),
        ("x", _DATA.x.astype(np.complex64), BadMatrixFile, "complex64, .*real numbers"),
    ],
)
def test_wrong_matrices_are_refused(tmp_path: Path, name: str, matrix: object, error: type[TrainingError], words: str):
    """Labels, values, marks, shapes and types that cannot be trained on: one sentence, before any training."""
    files = _files(tmp_path)
    path = tmp_path / f"{name}{'.mtx' if isinstance(matrix, sparse.coo_matrix) else '.npz'}"
    _WRITERS[path.suffix](path, matrix)
    with pytest.raises(error, match=words) as caught:
        _read(dataclasses.replace(files, **{name: path}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("folding", "error", "words"),
    [
        (np.zeros(7, int), BadLengths, r"folding: .*\(7,\), .*\(120,\)"),
        (np.zeros((120, 1), int), BadMatrixFile, r"integer fold"),
        (np.zeros(120), BadMatrixFile, r"float64 .*\(120,\)"),
        (np.arange(120) % 2, BadFolds, r"test fold 0 .*validation fold 1"),
    ],
)
def test_wrong_folds_are_refused(tmp_path: Path, folding: np.ndarray, error: type[TrainingError], words: str):
    """Another length, another type, or nothing left to train on."""
    files = _files(tmp_path)
    np.save(files.folding, folding)
    with pytest.raises(error, match=words):
        _read(files)


def test_equal_folds_are_refused(tmp_path: Path):
    """Validation and test fold must differ."""
    with pytest.raises(BadFolds, match="both 2"):
        read_training_set(_files(tmp_path), test_fold=2, validation_fold=2)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("task_id,training_weight\n0,1\n", BadWeights, r"\b1 task ids.*\b0 to 3\b"),
        ("task_id,training_weight\n0,1\n1,1\n2,1\n2,1\n", BadWeights, r"\b0 to 3 once"),
        ("task_id,training_weight\n0,1\n1,1\n2,1.5\n3,1\n", BadWeights, r"\b1\.5 in training_weight .*task 2"),
        ("task_id,training_weight\n0,1\n1,-1\n2,1\n3,1\n", BadWeights, r"-1 in training_weight .*task 1"),
        ("task_id,training_weight\n0,nan\n1,1\n2,1\n3,1\n", BadWeights, r"\bnan in training_weight.*\b0 to 1\b"),
        ("task_id,training_weight\n0,high\n1,1\n2,1\n3,1\n", BadWeights, "'high' in training_weight.* number"),
        ("task_id,training_weight\n0\n1,1\n2,1\n3,1\n", BadWeights, "None in training_weight.* number"),
        ("task_id\n0\n1\n2\n3\n", BadWeights, r"no column training_weight\b"),
        ("task_id,weight,censored_weight\n0,1,-2\n1,1,1\n2,1,1\n3,1,1\n", BadWeights, "found -2 in censored_weight"),
        ("task,weight\n0,1\n", BadMatrixFile, "numbers in task_id"),
        ("task_id,weight\nzero,1\n", BadMatrixFile, "numbers in task_id"),
        ("", BadWeights, "found 0 task ids"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, error: type[TrainingError], words: str):
    """Missing or repeated tasks, missing columns, weights that are no numbers or out of range."""
    files = _files(tmp_path)
    (tmp_path / "regr.csv").write_text(text)
    with pytest.raises(error, match=words):
        _read(files)


def test_files_need_their_counterparts(tmp_path: Path):
    """Files without labels, and marks or weights without their values, are refused."""
    files = _files(tmp_path)
    with pytest.raises(BadMatrixFile, match=r"\by_class .*\by_regr\b"):
        MatrixFiles(x=files.x, folding=files.folding)
    with pytest.raises(BadMatrixFile, match=r"y_censor: .*\by_regr\b"):
        MatrixFiles(x=files.x, folding=files.folding, y_class=files.y_class, y_censor=files.y_censor)


@pytest.mark.parametrize("suffix", [".npz", ".mtx", ".npy", ".csv", ""])
@pytest.mark.parametrize("content", [b"", b"rubbish", b"%%MatrixMarket matrix coordinate real general\n2 2 1\n9 9 x\n"])
def test_rubbish_is_refused_by_name(tmp_path: Path, suffix: str, content: bytes):
    """A file of any name and content that is no matrix is refused in one sentence with its name."""
    path = tmp_path / f"rubbish{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadMatrixFile, match=r"^rubbish"):
        read_sparse(path, trust_pickle=True)
    with pytest.raises(BadMatrixFile, match=r"^rubbish"):
        read_folding(path)


@pytest.mark.parametrize("name", ["x.npz", "x.mtx", "folding.npy"])
def test_a_named_pipe_is_not_waited_for(tmp_path: Path, name: str):
    """Matrices come from other programs and people."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(NotPlainFile):
        (read_folding if name.startswith("folding") else read_sparse)(tmp_path / name)
