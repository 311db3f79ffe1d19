"""From tables to a prepared folder: whole or not at all, the same bytes for the same input."""

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from data_prep import prepare as prepare_module
from data_prep.errors import StructureSeedError, TableError
from data_prep.prepare import prepare
from data_prep.prepared import is_intact, read_prepared
from tests.data_prep.small_tables import FAST, SEED, STRUCTURES, t0_rows, t1_rows, t2_rows, write_tables


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def facts_of(folder: Path):
    return json.loads((folder / "summary.json").read_text())


def test_the_small_partner(tables, tmp_path):
    """One assay gives its tasks, labels sit where values say, every id has its row, rows add up."""
    folder = prepare(*tables, FAST, SEED, tmp_path / "prepared")
    found = read_prepared(folder)
    rows = dict(pl.read_parquet(folder / "compounds.parquet").select("input_compound_id", "row").iter_rows())
    assert found.x.shape == (len(set(rows.values())), 1024)
    assert [task.threshold for task in found.tasks] == [6.0]
    assert sum(task.training_weight for task in found.tasks) == pytest.approx(1.0)
    y = found.y.toarray()
    for i in range(len(STRUCTURES)):
        assert y[rows[f"C{i}"], 0] == (1 if 5 + (i * 7 % 20) / 10 >= 6 else -1)
    for table, name in zip(tables, ("T0", "T1", "T2"), strict=True):
        told = facts_of(folder)["tables"][name]
        assert told["rows"] == len(table.read_text().splitlines()) - 1
        assert told["rows"] == told["accepted"] + sum(told["rejected"].values())
    assert sum(fold["compounds"] for fold in facts_of(folder)["folds"]) == found.x.shape[0]


def test_files_load_as_sparsechem_loads_them(tables, tmp_path, shared):
    """The matrices have the types of the peer's own files and no explicit zeros, cls_weights its columns."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    golden = shared / "golden/sparsechem"
    for name in ("x.npz", "y_class.npz"):
        mine, theirs = sparse.load_npz(folder / name), sparse.load_npz(golden / name)
        assert (type(mine), mine.dtype, mine.indices.dtype) == (type(theirs), theirs.dtype, theirs.indices.dtype)
        assert mine.has_sorted_indices
        assert np.all(mine.data != 0)
    assert np.load(folder / "folding.npy").dtype == np.load(golden / "folding.npy").dtype
    mine, theirs = pl.read_csv(folder / "cls_weights.csv"), pl.read_csv(golden / "cls_weights.csv")
    assert mine.columns == theirs.columns
    assert mine["task_id"].to_list() == list(range(mine.height))


def test_second_run_returns_at_once(tables, tmp_path, monkeypatch):
    """An intact folder is returned without computing anything; a damaged one is made anew."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    before = _bytes(folder)
    monkeypatch.setattr(prepare_module, "make_compounds", None)
    assert prepare(*tables, FAST, SEED, tmp_path) == folder
    monkeypatch.undo()
    (folder / "x.npz").write_bytes(b"damaged")
    assert prepare(*tables, FAST, SEED, tmp_path) == folder
    assert _bytes(folder) == before


def test_same_input_same_bytes(tables, tmp_path):
    """Two roots, one worker or two: every file is the same to the byte."""
    one = prepare(*tables, FAST, SEED, tmp_path / "one")
    two = prepare(*tables, FAST, SEED, tmp_path / "two", workers=2)
    assert one.name == two.name
    assert _bytes(one) == _bytes(two)


def test_row_order_and_compression_change_only_the_digest(tables, tmp_path):
    """Shuffled and zipped tables give the same matrices and tasks under another name."""
    shuffled = write_tables(tmp_path / "shuffled", t0_rows()[::-1], t1_rows()[::-1], t2_rows()[::-1])
    zipped = []
    for path in shuffled:
        zipped.append(path.with_suffix(".csv.gz"))
        zipped[-1].write_bytes(gzip.compress(path.read_bytes()))
    one, other = prepare(*tables, FAST, SEED, tmp_path), prepare(*zipped, FAST, SEED, tmp_path)
    assert one.name != other.name
    for name in ("x.npz", "y_class.npz", "folding.npy", "cls_weights.csv", "tasks.parquet", "compounds.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_settings_and_seed_are_in_the_digest(tables, tmp_path):
    """Another seed or another setting is another folder, and the seed is in no file."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    assert prepare(*tables, FAST, SEED[::-1], tmp_path) != folder
    assert all(SEED not in content and SEED.hex().encode() not in content for content in _bytes(folder).values())


def test_bad_rows_do_not_stop_the_run(tmp_path):
    """Rows of all kinds of badness end in rejected.parquet with table, row, ids and reason."""
    t0 = [*t0_rows(), "A3,MAGIC,,,,\n"]
    t1 = [*t1_rows(), "C0,A1,=,nan\n", "C0,A9,=,5\n", "C0,A3,=,5\n", "nobody,A1,=,5\n", "X1,A1,=,6\n", "C1,A1,=,99\n"]
    t2 = [*t2_rows(), "X1,C1CC\n", f"X2,{'C' * 10_000_000}\n", "X3,\n", "C0,CCCCCCN\n"]
    folder = prepare(*write_tables(tmp_path / "t", t0, t1, t2), FAST, SEED, tmp_path)
    rejected = pl.read_parquet(folder / "rejected.parquet")
    n1, n2 = len(t1_rows()), len(t2_rows())
    of_c0 = [(1, "rejected_compound"), (61, "rejected_compound")]
    assert rejected.filter(table="T0").select("input_row", "reason").rows() == [(3, "unknown_assay_type")]
    assert rejected.filter(table="T1").select("input_row", "reason").rows() == [
        *of_c0,
        (n1 + 1, "missing_value"),
        (n1 + 2, "unknown_assay"),
        (n1 + 3, "rejected_assay"),
        (n1 + 4, "unknown_compound"),
        (n1 + 5, "rejected_compound"),
        (n1 + 6, "out_of_range"),
    ]
    assert rejected.filter(table="T2").select("input_row", "reason").rows() == [
        (1, "conflicting_structures"),
        (n2 + 1, "unparsable"),
        (n2 + 2, "too_large"),
        (n2 + 3, "empty"),
        (n2 + 4, "conflicting_structures"),
    ]


def test_empty_t1_gives_no_tasks(tmp_path):
    """A T1 with a header only gives structures and folds, and a matrix of no labels."""
    folder = prepare(*write_tables(tmp_path / "t", t1=[]), FAST, SEED, tmp_path)
    found = read_prepared(folder)
    assert found.tasks == ()
    assert found.y.shape == (found.x.shape[0], 0)


def test_too_few_labels_give_no_task(tmp_path):
    """With 24 actives an assay is not trained, and assays.parquet says how many values it has."""
    labels = [f"C{i},A1,=,{7 if i < 24 else 5}\n" for i in range(60)]
    folder = prepare(*write_tables(tmp_path / "t", t1=labels), FAST, SEED, tmp_path)
    assert read_prepared(folder).tasks == ()
    assays = pl.read_parquet(folder / "assays.parquet")
    assert assays.select("input_assay_id", "n_values", "n_tasks").rows() == [("A1", 60, 0), ("A2", 0, 0)]


def test_short_seed_and_missing_table_are_refused(tables, tmp_path):
    """A short seed and a missing file stop the run before anything is written."""
    root = tmp_path / "prepared"
    with pytest.raises(StructureSeedError, match="found 8 bytes"):
        prepare(*tables, FAST, b"melloddy", root)
    with pytest.raises(TableError, match=r"none\.csv: cannot be read"):
        prepare(tmp_path / "none.csv", *tables[1:], FAST, SEED, root)
    assert not root.exists()


def test_a_failed_run_leaves_nothing(tables, tmp_path, monkeypatch):
    """When writing fails, neither the folder nor a part of it stays behind."""

    def fail(*_args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(prepare_module.sparse, "save_npz", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare(*tables, FAST, SEED, tmp_path / "prepared")
    assert list((tmp_path / "prepared").iterdir()) == []


_KILLED = """
import os, pathlib, signal, sys
import data_prep.prepare as module
from tests.data_prep.small_tables import FAST, SEED
module.np.save = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
folder = pathlib.Path(sys.argv[1])
module.prepare(*(folder / f"T{i}.csv" for i in range(3)), FAST, SEED, folder / "prepared")
"""


def test_a_killed_run_leaves_no_half_folder(tables):
    """After kill -9 in the middle of writing there is no folder to take for whole, and the next run makes it."""
    home = tables[0].parent
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(home)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in (home / "prepared").iterdir() if not p.name.startswith(".")] == []
    folder = prepare(*tables, FAST, SEED, home / "prepared")
    assert is_intact(folder)
    assert list((home / "prepared").iterdir()) == [folder]


def test_progress_is_told(tables, tmp_path):
    """The callback hears of all distinct structures."""
    heard = []
    prepare(*tables, FAST, SEED, tmp_path, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (60, 60)
