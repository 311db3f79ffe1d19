"""Preparation: the folder appears complete or not at all, with the same bytes for the same input."""

import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from data_prep.errors import StructureSeedError, TableError, TooMuchLeftOut
from data_prep.preparation import prepare as prepare_module
from data_prep.preparation.prepare import prepare
from data_prep.prepared import Prepared, is_intact, read_prepared, read_summary
from data_prep.settings import Activities, OwnTables, Regression
from data_prep.structures import structures
from data_prep.structures.steps import TIMEOUT, DescriptorStep, Step, StepResult
from tests.support.data_prep.small_tables import FAST, SEED, STRUCTURES, t0_rows, t1_rows, t2_rows, write_tables


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def facts_of(folder: Path):
    return json.loads((folder / "summary.json").read_text())


def test_the_small_partner(tables, tmp_path):
    """One assay gives its tasks, labels agree with values, every id has its row, and rows add up."""
    folder = prepare(*tables, FAST, SEED, tmp_path / "prepared")
    matrices = read_prepared(folder)
    rows = dict(pl.read_parquet(folder / "compounds.parquet").select("input_compound_id", "row").iter_rows())
    assert matrices.x.shape == (len(set(rows.values())), 1024)
    assert [task.threshold for task in matrices.tasks] == [6.0]
    assert sum(task.training_weight for task in matrices.tasks) == pytest.approx(1.0)
    y = matrices.y.toarray()
    for i in range(len(STRUCTURES)):
        assert y[rows[f"C{i}"], 0] == (1 if 5 + (i * 7 % 20) / 10 >= 6 else -1)
    assert [task.input_assay_id for task in matrices.regression_tasks] == ["A1"]
    assert [matrices.y_regr[rows[f"C{i}"], 0] for i in range(3)] == pytest.approx([5.0, 5.7, 6.4])
    for table, name in zip(tables, ("T0", "T1", "T2"), strict=True):
        summary = facts_of(folder)["tables"][name]
        assert summary["rows"] == len(table.read_text().splitlines()) - 1
        assert summary["rows"] == summary["accepted"] + sum(summary["rejected"].values())
    assert sum(fold["compounds"] for fold in facts_of(folder)["folds"]) == matrices.x.shape[0]


def test_files_load_as_sparsechem_loads_them(tables, tmp_path, shared):
    """Matrices have the types, and weight tables the columns, of MELLODDY-TUNER's files."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    golden = shared / "golden/sparsechem"
    for name in ("x.npz", "y_class.npz", "y_regr.npz", "y_censor.npz"):
        mine, theirs = sparse.load_npz(folder / name), sparse.load_npz(golden / name)
        assert (type(mine), mine.dtype, mine.indices.dtype) == (type(theirs), theirs.dtype, theirs.indices.dtype)
        assert mine.indptr.dtype == theirs.indptr.dtype
        assert mine.has_sorted_indices
        assert mine.nnz
        if name in {"x.npz", "y_class.npz"}:
            assert np.all(mine.data != 0)
    assert np.load(folder / "folding.npy").dtype == np.load(golden / "folding.npy").dtype
    for name in ("cls_weights.csv", "reg_weights.csv"):
        mine, theirs = pl.read_csv(folder / name), pl.read_csv(golden / name)
        assert mine.columns == theirs.columns
        assert mine["task_id"].to_list() == list(range(mine.height))
        assert mine["task_id"].dtype == theirs["task_id"].dtype


def test_a_measured_zero_reaches_the_files(tmp_path):
    """ADME values of 0.0 are stored, loaded and sliced as measurements, and censoring has their pattern."""
    t0 = ["A1,ADME,true,false,,high\n"]
    t1 = [f"C{i},A1,{'<' if i < 20 else '='},{i % 3 - 1}\n" for i in range(len(STRUCTURES))]
    folder = prepare(*write_tables(tmp_path / "t", t0, t1), FAST, SEED, tmp_path)
    y_regr, y_censor = (sparse.load_npz(folder / f"{name}.npz") for name in ("y_regr", "y_censor"))
    assert y_regr.nnz == y_censor.nnz == len(STRUCTURES)
    assert (y_regr.data == 0).sum() == 20
    assert sorted(set(y_censor.data.tolist())) == [-1.0, 0.0]
    for start in range(0, len(STRUCTURES), 7):  # SparseChem's batches
        values, bounds = y_regr[start : start + 7], y_censor[start : start + 7]
        assert (values.indptr == bounds.indptr).all()
        assert (values.indices == bounds.indices).all()
    assert (read_prepared(folder).y_regr != y_regr).nnz == 0


def test_second_run_returns_at_once(tables, tmp_path, monkeypatch):
    """An intact folder is returned without any computation; a damaged one is prepared again."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    before = _bytes(folder)
    monkeypatch.setattr(prepare_module, "make_compounds", None)
    assert prepare(*tables, FAST, SEED, tmp_path) == folder
    monkeypatch.undo()
    (folder / "x.npz").write_bytes(b"damaged")
    assert prepare(*tables, FAST, SEED, tmp_path) == folder
    assert _bytes(folder) == before


def test_same_input_same_bytes(tables, tmp_path):
    """Every file has the same bytes in another root, with one worker or two."""
    first = prepare(*tables, FAST, SEED, tmp_path / "one")
    two = prepare(*tables, FAST, SEED, tmp_path / "two", workers=2)
    assert first.name == two.name
    assert _bytes(first) == _bytes(two)


_PREPARED = """
import pathlib, sys
from data_prep.preparation.prepare import prepare
from tests.support.data_prep.small_tables import FAST, SEED
home = pathlib.Path(sys.argv[1])
print(prepare(*(home / "tables" / f"T{i}.csv" for i in range(3)), FAST, SEED, home / sys.argv[2]), end="")
"""


def test_threads_change_no_byte(tables, tmp_path):
    """Every file has the same bytes with one thread of polars or five."""
    del tables  # written where the script reads them
    folders = []
    for threads in ("1", "5"):
        command = [sys.executable, "-c", _PREPARED, str(tmp_path), threads]
        env = os.environ | {"POLARS_MAX_THREADS": threads}
        done = subprocess.run(
            command, cwd=Path(__file__).parents[3], env=env, check=True, capture_output=True, text=True
        )
        folders.append(Path(done.stdout))
    assert folders[0] != folders[1]
    assert _bytes(folders[0]) == _bytes(folders[1])


def test_row_order_and_compression_change_only_the_digest(tables, tmp_path):
    """Shuffled and zipped tables give the same matrices and tasks under another name."""
    shuffled = write_tables(tmp_path / "shuffled", t0_rows()[::-1], t1_rows()[::-1], t2_rows()[::-1])
    zipped = []
    for path in shuffled:
        zipped.append(path.with_suffix(".csv.gz"))
        zipped[-1].write_bytes(gzip.compress(path.read_bytes()))
    first, other = prepare(*tables, FAST, SEED, tmp_path), prepare(*zipped, FAST, SEED, tmp_path)
    assert first.name != other.name
    for name in {file.name for file in first.iterdir()} - {"manifest.json"}:
        assert (first / name).read_bytes() == (other / name).read_bytes(), name


def test_settings_and_seed_are_in_the_digest(tables, tmp_path):
    """Another seed or another setting is another folder, and the seed is in no file."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    assert prepare(*tables, FAST, SEED[::-1], tmp_path) != folder
    assert all(SEED not in content and SEED.hex().encode() not in content for content in _bytes(folder).values())


def test_bad_rows_do_not_stop_the_run(tmp_path):
    """Invalid rows of all kinds are in rejected.parquet with table, row, ids and reason."""
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
    matrices = read_prepared(folder)
    assert matrices.tasks == matrices.regression_tasks == ()
    assert matrices.y.shape == matrices.y_regr.shape == (matrices.x.shape[0], 0)
    assert pl.read_parquet(folder / "assays.parquet")["n_values"].to_list() == [0, 0]


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
    with pytest.raises(TableError, match=r"^none\.csv: "):
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
import data_prep.preparation.prepare as module
from tests.support.data_prep.small_tables import FAST, SEED
module.np.save = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
folder = pathlib.Path(sys.argv[1])
module.prepare(*(folder / f"T{i}.csv" for i in range(3)), FAST, SEED, folder / "prepared")
"""


def test_a_killed_run_leaves_no_half_folder(tables):
    """After kill -9 while writing there is no incomplete folder, and the next run writes it."""
    home = tables[0].parent
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(home)], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in (home / "prepared").iterdir() if not p.name.startswith(".")] == []
    folder = prepare(*tables, FAST, SEED, home / "prepared")
    assert is_intact(folder)
    assert list((home / "prepared").iterdir()) == [folder]


def test_progress_is_told(tables, tmp_path):
    """The callback gets the progress of all distinct structures, then, with a note, of scaffolds and folds."""
    calls = []
    prepare(*tables, FAST, SEED, tmp_path, progress=lambda done, total, note="": calls.append((done, total, note)))
    assert (60, 60, "") in calls
    assert all(note for _, _, note in calls[calls.index((60, 60, "")) + 1 :])
    assert calls[-1][0] == calls[-1][1]


def test_compounds_without_descriptors_are_warned_of(tables, tmp_path, monkeypatch):
    """One whose descriptors take too long stays, with NaN; progress names the step."""

    def made(step: Step, texts: list[str], _timeout_s: float) -> list[StepResult]:
        slow = isinstance(step, DescriptorStep)
        return [StepResult(reason=TIMEOUT) if slow and "s" in text else step.make(text) for text in texts]

    monkeypatch.setattr(structures, "guarded", made)
    notes = []
    folder = prepare(
        *tables, FAST, SEED, tmp_path, descriptors=True, progress=lambda _done, _all, note="": notes.append(note)
    )
    assert "descriptors" in notes
    assert read_summary(folder)["warnings"][-1].startswith("10 compounds without descriptors because of this machine")
    matrices = read_prepared(folder)
    assert matrices.x.shape[0] == 60
    assert np.isnan(matrices.descriptors).all(axis=1).sum() == 10


def test_the_manifest_holds_the_balance_of_folds(tables, tmp_path):
    """Compounds, share, scaffolds and labels of the folds add up; uneven folds cause a warning with advice."""
    folder = prepare(*tables, FAST, SEED, tmp_path)
    matrices, summary = read_prepared(folder), read_summary(folder)
    folds = summary["folds"]
    assert [row["fold"] for row in folds] == [0, 1, 2, 3, 4]
    assert [row["compounds"] for row in folds] == np.bincount(matrices.folding, minlength=5).tolist()
    assert sum(row["labels"] for row in folds) == matrices.y.nnz
    assert sum(row["scaffolds"] for row in folds) == 6
    uneven = [row["fold"] for row in folds if not 6 <= row["compounds"] <= 24]  # of 60; six scaffolds of ten each
    warnings = summary["warnings"]
    assert [int(text.split()[1]) for text in warnings] == uneven != []
    assert all("scaffold_balanced = true" in text for text in warnings)


def test_compounds_without_structure_or_activity(tmp_path):
    """An activity of an unknown compound is rejected; a compound nobody measured has a row without labels."""
    folder = prepare(
        *write_tables(tmp_path / "t", t1=[*t1_rows(), "nobody,A1,=,6\n"], t2=[*t2_rows(), "idle,CCCCCCCCO\n"]),
        *(FAST, SEED, tmp_path),
    )
    matrices, rows = read_prepared(folder), pl.read_parquet(folder / "compounds.parquet")
    row = rows.filter(input_compound_id="idle")["row"].item()
    assert matrices.x[row].nnz > 0
    assert matrices.y[row].nnz == matrices.y_regr[row].nnz == 0
    assert facts_of(folder)["tables"]["T1"]["rejected"] == {"unknown_compound": 1}


def test_several_ids_of_one_structure_are_replicates(tmp_path):
    """Ids that share a structure share a row, and their values are merged like replicates."""
    t1 = [*t1_rows(), "twin,A1,=,9.5\n", "C0,A1,=,5\n"]
    folder = prepare(
        *write_tables(tmp_path / "t", t1=t1, t2=[*t2_rows(), f"twin,{STRUCTURES[0]}\n"]), FAST, SEED, tmp_path
    )
    matrices, rows = read_prepared(folder), pl.read_parquet(folder / "compounds.parquet")
    shared = rows.filter(pl.col("input_compound_id").is_in(["twin", "C0"]))["row"].unique().to_list()
    assert len(shared) == 1
    assert matrices.y_regr[shared[0], 0] == pytest.approx(9.5)
    compounds = facts_of(folder)["compounds"]
    assert compounds == {"rows": len(STRUCTURES), "ids": len(STRUCTURES) + 1, "merged_ids": 1}


def test_the_summary_counts_what_the_files_hold(tmp_path):
    """Tasks, labels, values, folds and notes of summary.json are those of the matrices and tables."""
    t0 = [*t0_rows(), "A3,CATALOG-PANEL,true,false,6,\n", "A4,OTHER,true,false,6,\n"]
    t1 = t1_rows() + [f"C{i},A3,{'<' if i < 6 else '='},{5 + i % 2 * 2}\n" for i in range(60)]
    t1 += [f"C{i},A4,=,5\n" for i in range(60)]
    folder = prepare(*write_tables(tmp_path / "t", t0, t1), FAST, SEED, tmp_path)
    matrices, summary = read_prepared(folder), read_summary(folder)
    assert summary == facts_of(folder)
    labels, values = summary["classification"], summary["regression"]
    assert labels["tasks"] == len(matrices.tasks)
    assert labels["labels"] == {
        "all": matrices.y.nnz, "active": (matrices.y.data > 0).sum(), "inactive": (matrices.y.data < 0).sum()
    }  # fmt: skip
    assert sum(kind["active"] for kind in labels["by_type"].values()) == labels["labels"]["active"]
    assert sum(labels["thresholds"].values()) == len(matrices.tasks)
    assert (values["tasks"], values["values"]) == (3, matrices.y_regr.nnz)
    assert values["exact"] == (matrices.y_censor.data == 0).sum()
    assert values["censored_share"] == pytest.approx((matrices.y_censor.data != 0).mean(), abs=1e-4)
    assert set(values["by_type"]) == {"OTHER", "NON-CATALOG-PANEL"}
    assert [fold["labels"] for fold in summary["folds"]] == [matrices.y[matrices.folding == f].nnz for f in range(5)]
    assert [fold["values"] for fold in summary["folds"]] == [
        matrices.y_regr[matrices.folding == f].nnz for f in range(5)
    ]
    assert summary["assays"]["near_constant"] == 2  # A2 and A4
    assert summary["assays"]["catalogue_notes"] == {"missing_catalog_id": 1}


def test_leaving_auxiliary_tasks_out(tables, tmp_path):
    """Without auxiliary tasks only the other ones remain, and their assay's weight is theirs."""
    low = Activities(training_min_active=1, training_min_inactive=1)
    some, fewer = (
        read_prepared(prepare(*tables, replace(FAST, activities=chosen), SEED, tmp_path))
        for chosen in (low, replace(low, auxiliary_tasks=False))
    )
    assert [task.threshold_method for task in some.tasks] == ["aux_low", "expert", "aux_high"]
    assert [(task.threshold_method, task.training_weight) for task in fewer.tasks] == [("expert", 1.0)]


_ID = st.sampled_from(["C0", "C1", "C2", "twin", "nobody", ""])
_T1_ROW = st.tuples(_ID, st.sampled_from(["A1", "A2", "A9", ""]), st.sampled_from(["=", "<", ">>", "?"]),
                    st.sampled_from(["5", "6.5", "nan", "inf", "x", "99", ""]))  # fmt: skip
_T2_ROW = st.tuples(_ID, st.sampled_from(["CCO", "OCC", "c1ccccc1", "C1CC", "", "[Na+].[Cl-]"]))
_T0_ROW = st.tuples(st.sampled_from(["A1", "A2", "A9", ""]), st.sampled_from(["OTHER", "ADME", "MAGIC", "AUX_PL"]),
                    st.sampled_from(["true", "", "perhaps"]), st.sampled_from(["", "true"]),
                    st.sampled_from(["", "6", "x"]), st.sampled_from(["", "low"]))  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(_T0_ROW, max_size=5), st.lists(_T1_ROW, max_size=25), st.lists(_T2_ROW, min_size=1, max_size=8))
def test_rows_add_up_through_everything(tmp_path_factory, t0, t1, t2):
    """For random tables every row is accepted or rejected exactly once, and labels agree with values."""
    home = tmp_path_factory.mktemp("dirty")
    lines = [[",".join(row) + "\n" for row in table] for table in (t0, t1, t2)]
    lines[1] = ["fine,fine,=,5\n", *lines[1]]
    tiny = Activities(
        training_min_active=0, training_min_inactive=0, evaluation_min_active=0, evaluation_min_inactive=0
    )
    chosen = replace(FAST, activities=tiny, regression=Regression(training_min_values=1, training_min_exact=0))
    folder = prepare(*write_tables(home, *lines), chosen, SEED, home)
    rejected, summary = pl.read_parquet(folder / "rejected.parquet"), facts_of(folder)["tables"]
    for table, rows in zip(("T0", "T1", "T2"), lines, strict=True):
        numbers = rejected.filter(table=table)["input_row"]
        assert numbers.is_unique().all()
        assert numbers.is_between(1, len(rows)).all()
        assert summary[table]["rows"] == len(rows) == summary[table]["accepted"] + numbers.len()
    _require_labels_of_values(read_prepared(folder))


def _require_labels_of_values(matrices: Prepared) -> None:
    """Check every label against the value and bound in regression for the same assay and row."""
    column = {task.input_assay_id: task.task_id for task in matrices.regression_tasks}
    for task in matrices.tasks:
        if task.input_assay_id not in column or task.threshold_method == "fixed":
            continue
        k = column[task.input_assay_id]
        sign = -1 if task.direction == "low" else 1
        labels = dict(
            zip(matrices.y[:, [task.task_id]].tocoo().row, matrices.y[:, [task.task_id]].tocoo().data, strict=True)
        )
        values, bounds = matrices.y_regr[:, [k]].tocoo(), matrices.y_censor[:, [k]].tocoo()
        for row, value, bound in zip(values.row, values.data, bounds.data, strict=True):
            above, below = sign * (value - task.threshold) >= 0, sign * bound
            expected = 1 if above and below >= 0 else -1 if (not above and below <= 0) else None
            if expected is None and value == np.float32(task.threshold):
                expected = -1
            assert labels.get(row) == expected


# ------------------------------------------------------------------------------------------- what is left out of T1


STRICT = OwnTables(most_rejected=0.1)


def in_nanomolar(rows: list[str]) -> list[str]:
    """Rows of T1 in nM, the qualifier turned around."""
    turned = {"<": ">", ">": "<", "=": "="}
    parts = [row.strip().split(",") for row in rows]
    return [f"{c},{a},{turned[q]},{10 ** (9 - float(v))!r}\n" for c, a, q, v in parts]


def test_a_table_in_nanomolar_is_refused_before_any_structure(tmp_path, monkeypatch):
    """Without its unit nothing is prepared or written, and the message names assay, share and setting."""
    monkeypatch.setattr(prepare_module, "make_compounds", None)
    tables = write_tables(tmp_path / "t", t1=in_nanomolar(t1_rows()))
    with pytest.raises(TooMuchLeftOut, match=r"\(100 %\).*at most 10 %.*63 implausible_assay.*A1") as caught:
        prepare(*tables, FAST, SEED, tmp_path / "prepared", own=STRICT)
    notes = "\n".join(caught.value.__notes__)
    assert all(word in notes for word in ("A1: 100% of 60 values", "nM", "standard_unit", "accept", "most_rejected"))
    assert not (tmp_path / "prepared").exists()


def test_a_stated_unit_gives_the_same_matrices(tables, tmp_path):
    """[data] unit, or the column standard_unit, changes the digest and no matrix."""
    plain = prepare(*tables, FAST, SEED, tmp_path, own=STRICT)
    in_nm = write_tables(tmp_path / "nm", t1=in_nanomolar(t1_rows()))
    by_setting = prepare(*in_nm, FAST, SEED, tmp_path, own=replace(STRICT, unit="nM"))
    header, *rows = in_nm[1].read_text().splitlines()
    in_nm[1].write_text("\n".join([f"{header},standard_unit", *(f"{row},nM" for row in rows)]))
    by_column = prepare(*in_nm, FAST, SEED, tmp_path, own=STRICT)
    assert len({plain.name, by_setting.name, by_column.name}) == 3
    for name in {file.name for file in plain.iterdir()} - {"manifest.json"}:
        assert (plain / name).read_bytes() == (by_setting / name).read_bytes() == (by_column / name).read_bytes(), name


def test_unit_and_accepted_assays_are_in_the_digest(tables, tmp_path):
    """What changes the rows is; how many may be rejected is not, and the defaults leave the digest as it was."""
    plain = prepare(*tables, FAST, SEED, tmp_path)
    others = [OwnTables(unit="-log10 M"), OwnTables(accept=frozenset(["A1"])), OwnTables(most_rejected=0.5)]
    same = [prepare(*tables, FAST, SEED, tmp_path, own=own) == plain for own in others]
    assert same == [False, False, True]


@pytest.mark.parametrize("prepared_before", [False, True])
def test_structures_that_cost_too_much_are_refused_afterwards(tmp_path, prepared_before):
    """Exactly the allowed share is allowed; a folder that was prepared under a larger share is refused too."""
    tables = write_tables(tmp_path / "t", t2=[*t2_rows()[:-7], *(f"C{i},xxx\n" for i in range(53, 60))])
    if prepared_before:
        prepare(*tables, FAST, SEED, tmp_path)
    with pytest.raises(TooMuchLeftOut, match=r"7 of 63 rows \(11\.11 %\)"):
        prepare(*tables, FAST, SEED, tmp_path, own=STRICT)
    folder = prepare(*tables, FAST, SEED, tmp_path, own=OwnTables(most_rejected=7 / 63))
    assert read_summary(folder)["rejected_share"] == 0.1111
    assert read_summary(folder)["tables"]["T1"]["rejected"] == {"rejected_compound": 7}


def test_a_lost_assay_is_refused_unless_it_is_accepted(tmp_path):
    """However small its share: whole assays are lost by an id in other case, a wrong type or a wrong unit."""
    t1 = [f"C{i},A{k},=,{5 + (i * 7 % 20) / 10}\n" for k in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) for i in range(60)]
    t0 = [f"A{k},OTHER,true,false,6,high\n" for k in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)] + ["a12,OTHER,,,6,\n"]
    tables = write_tables(tmp_path / "t", t0=t0, t1=t1)
    with pytest.raises(TooMuchLeftOut, match=r"1 assay \(A12\) left out whole"):
        prepare(*tables, FAST, SEED, tmp_path, own=STRICT)
    folder = prepare(*tables, FAST, SEED, tmp_path, own=replace(STRICT, accept=frozenset(["A12"])))
    assert read_summary(folder)["lost_assays"] == []
    assert read_summary(prepare(*tables, FAST, SEED, tmp_path))["lost_assays"] == ["A12"]
