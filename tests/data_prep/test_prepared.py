"""Reading a prepared folder: an incomplete, changed or inconsistent one is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from data_prep.descriptors.listed import DESCRIPTORS, DESCRIPTORS_VERSION
from data_prep.errors import PreparedError
from data_prep.preparation.prepare import prepare
from data_prep.prepared import Prepared, is_intact, manifest_of, read_prepared, read_summary
from data_prep.structures.structures import describe_all
from tests.support.data_prep.small_tables import FAST, SEED


@pytest.fixture
def folder(tables, tmp_path) -> Path:
    return prepare(*tables, FAST, SEED, tmp_path)


def _sign_again(folder: Path) -> None:
    """Write the digests of the changed files into the manifest."""
    facts = json.loads((folder / "manifest.json").read_text())
    kept = {key: value for key, value in facts.items() if key not in {"kind", "format", "files"}}
    (folder / "manifest.json").write_bytes(manifest_of(folder, kept))


FILES = [
    *("x.npz", "y_class.npz", "folding.npy", "cls_weights.csv", "tasks.parquet"),
    *("y_regr.npz", "y_censor.npz", "reg_weights.csv", "regression_tasks.parquet"),
    *("assays.parquet", "compounds.parquet", "rejected.parquet", "summary.json"),
]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_is_refused(folder, name):
    """A file with a flipped byte or a cut end, or a missing file, is named."""
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    for damaged in (content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], content[:-1]):
        (folder / name).write_bytes(damaged)
        with pytest.raises(PreparedError, match=f"{name}: found other content"):
            read_prepared(folder)
        assert not is_intact(folder)
    (folder / name).unlink()
    with pytest.raises(PreparedError, match=f"{name}: cannot be read"):
        read_prepared(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no readable manifest"),
        (b"[]", "expected kind"),
        (b'{"kind": "other"}', "expected kind"),
        (b'{"kind": "hocket prepared", "format": 99}', r"\bformat 99\b.*\bformat 3\b"),
        (b'{"kind": "hocket prepared", "format": 3}', "list of files"),
        (b'{"kind": "hocket prepared", "format": 3, "files": {}}', "list of files"),
    ],
)
def test_a_wrong_manifest_is_refused(folder, content, message):
    """A manifest that is empty, of another kind, of another format or without its files is refused."""
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(PreparedError, match=message):
        read_prepared(folder)


def test_no_folder_is_refused(tmp_path):
    """A folder that is not there is no prepared folder."""
    with pytest.raises(PreparedError, match=r"/none: .*prepared folder"):
        read_prepared(tmp_path / "none")


def _with_data(matrix: sparse.csr_matrix, value: float) -> sparse.csr_matrix:
    changed = matrix.copy()
    changed.data[:] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("folding.npy", lambda matrices: matrices.folding[:-1], "folding.npy: found shape"),
        ("folding.npy", lambda matrices: matrices.folding + 5, r"folding\.npy: .*out of range"),
        ("y_class.npz", lambda matrices: matrices.y[:-1], "y_class.npz: found shape"),
        ("y_class.npz", lambda matrices: matrices.y * 2, r"y_class\.npz: .*other values"),
        ("y_class.npz", lambda matrices: abs(matrices.y), r"^tasks\.parquet: .*counts"),
        ("x.npz", lambda matrices: matrices.x * 2, r"x\.npz: .*other values"),
        ("y_regr.npz", lambda matrices: matrices.y_regr[:-1], "y_regr.npz: found shape"),
        ("y_regr.npz", lambda matrices: matrices.y_regr * np.inf, r"y_regr\.npz: .*not finite"),
        ("y_censor.npz", lambda matrices: matrices.y_censor[:, :0], "y_censor.npz: found shape"),
        ("y_censor.npz", lambda matrices: _with_data(matrices.y_censor, 2), r"y_censor\.npz: .*other values"),
        (
            "y_censor.npz",
            lambda matrices: _with_data(matrices.y_censor, 1),
            r"^regression_tasks\.parquet: .*counts",
        ),
        ("y_censor.npz", lambda matrices: sparse.csr_matrix(matrices.y_censor.shape), r"y_censor\.npz: .*pattern"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(folder, name, change, message):
    """Shapes, folds, labels and counts must agree even if the digests do."""
    changed = change(read_prepared(folder))
    np.save(folder / name, changed) if name.endswith(".npy") else sparse.save_npz(folder / name, changed)
    _sign_again(folder)
    with pytest.raises(PreparedError, match=message):
        read_prepared(folder)


@pytest.fixture
def described(tables, tmp_path) -> Path:
    """A prepared folder with descriptors."""
    return prepare(*tables, FAST, SEED, tmp_path / "described", descriptors=True)


def test_descriptors_are_read_back(folder, described):
    """They are those of the canonical SMILES of each row; no other matrix changes, and without them there is None."""
    plain, matrices = read_prepared(folder), read_prepared(described)
    rows = pl.read_parquet(described / "compounds.parquet").unique("row").sort("row")
    assert matrices.descriptors is not None
    assert matrices.descriptors.tobytes() == describe_all(rows["canonical_smiles"].to_list()).tobytes()
    assert matrices.descriptors.shape == (matrices.x.shape[0], len(DESCRIPTORS))
    assert plain.descriptors is None
    assert "descriptors" not in plain.manifest
    assert matrices.manifest["descriptors"] == DESCRIPTORS_VERSION
    assert {file.name for file in described.iterdir()} == {file.name for file in folder.iterdir()} | {"descriptors.npy"}
    for name in set(FILES):
        assert (described / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found[:-1], "found shape"),
        (lambda found: found[:, :-1], "found shape"),
        (lambda found: found[:, 0], "found shape"),
        (lambda found: found.astype(np.float64), "found type float64, expected float32"),
        (lambda found: found * np.float32(np.inf), "found infinite values"),
    ],
)
def test_descriptors_that_do_not_fit_are_refused(described, change, message):
    """Shape, type and infinite values."""
    with np.errstate(invalid="ignore"):
        np.save(described / "descriptors.npy", change(read_prepared(described).descriptors))
    _sign_again(described)
    with pytest.raises(PreparedError, match=rf"descriptors\.npy: {message}"):
        read_prepared(described)


def test_damaged_descriptors_are_refused(described):
    """A changed, a missing and an undeclared file, and those of another version."""
    file = described / "descriptors.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(PreparedError, match=r"descriptors\.npy: found other content"):
        read_prepared(described)
    assert not is_intact(described)
    file.unlink()
    with pytest.raises(PreparedError, match=r"descriptors\.npy: cannot be read"):
        read_prepared(described)
    file.write_bytes(content)
    facts = json.loads((described / "manifest.json").read_text())
    for version, message in ((None, "another list of files"), (99, "found descriptors of version 99, expected those")):
        (described / "manifest.json").write_text(json.dumps(facts | {"descriptors": version}))
        with pytest.raises(PreparedError, match=message):
            read_prepared(described)


@pytest.mark.parametrize("wanted", [True, False])
def test_descriptors_and_the_manifest_agree(folder, described, wanted):
    """Descriptors that the manifest does not name, and a manifest that names absent ones."""
    matrices = read_prepared(described if wanted else folder)
    other = None if wanted else np.zeros((matrices.x.shape[0], len(DESCRIPTORS)), np.float32)
    with pytest.raises(PreparedError, match=r"descriptors\.npy: found (no )?descriptors"):
        replace(matrices, descriptors=other)


def test_types_and_shapes(folder):
    """Matrices x and y are float32 CSR, folds int64, tasks by number."""
    matrices = read_prepared(folder)
    assert isinstance(matrices, Prepared)
    assert (matrices.x.dtype, matrices.y.dtype, matrices.folding.dtype) == (np.float32, np.float32, np.int64)
    assert matrices.y_regr.dtype == matrices.y_censor.dtype == np.float32
    assert [task.task_id for task in matrices.regression_tasks] == list(range(matrices.y_regr.shape[1]))
    assert matrices.x.format == matrices.y.format == "csr"
    assert [task.task_id for task in matrices.tasks] == list(range(matrices.y.shape[1]))
    assert matrices.manifest["settings"]["fingerprint"]["n_bits"] == 1024


@pytest.mark.parametrize(("count", "accepted"), [(3, True), (0.5, False), (-1, False), (0, False)])
def test_counts_where_the_settings_say_so(folder, count, accepted):
    """With a fingerprint of counts x holds positive whole numbers, nothing else."""
    facts = json.loads((folder / "manifest.json").read_text())
    facts["settings"]["fingerprint"]["counts"] = True
    (folder / "manifest.json").write_text(json.dumps(facts))
    sparse.save_npz(folder / "x.npz", _with_data(read_prepared(folder).x, count))
    _sign_again(folder)
    if accepted:
        assert read_prepared(folder).x.data.max() == count
    else:
        with pytest.raises(PreparedError, match=r"x\.npz: .*other values"):
            read_prepared(folder)


def test_the_summary_is_read_back(folder):
    """A summary.json is read back, and refused once it is changed."""
    assert read_summary(folder)["compounds"]["ids"] == 60
    (folder / "summary.json").write_text("{}")
    with pytest.raises(PreparedError, match=r"summary\.json: .*content"):
        read_summary(folder)


def test_reading_needs_no_rdkit(folder):
    """A process that reads a prepared folder never imports RDKit."""
    code = (
        "import pathlib, sys; from data_prep.prepared import read_prepared; "
        "read_prepared(pathlib.Path(sys.argv[1])); sys.exit('rdkit' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
