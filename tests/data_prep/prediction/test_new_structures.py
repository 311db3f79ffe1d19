"""New structures are prepared as in training, in the order of the file, independently of the other rows."""

import gzip
import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from scipy import sparse

from data_prep.errors import OutputOccupied, StructureSeedError, TableError
from data_prep.folds.compounds import make_compounds
from data_prep.folds.keyed import bit_permutation
from data_prep.prediction import new_structures
from data_prep.prediction.new_structures import NewStructures, check_output, prepare_new, write_new
from data_prep.settings import Chemistry, Preparation
from data_prep.tables.tables import read_structures
from tests.support.data_prep.small_tables import FAST, SEED, STRUCTURES

POOL = (*STRUCTURES[:12], "OCC", "CCO.Cl", "CC(=O)[O-].[Na+]", "", "C(", "C" * 101, "c1ccncc1", "[2H]OC")
Row = tuple[str, str]


def table_of(folder: Path, rows: list[Row], name: str = "new.csv") -> Path:
    path = folder / name
    path.write_text("".join(f"{key},{smiles}\n" for key, smiles in [("input_compound_id", "smiles"), *rows]))
    return path


def prepared(folder: Path, rows: list[Row], chosen: Preparation = FAST) -> NewStructures:
    return prepare_new(table_of(folder, rows), chosen, SEED)


def by_row(new: NewStructures) -> dict[int, tuple[object, ...]]:
    """The result of each row of the file: id, canonical SMILES and bits, or id and reason."""
    results: dict[int, tuple[object, ...]] = {}
    for row, input_row, name, canonical in new.rows.iter_rows():
        results[input_row] = (name, canonical, tuple(new.x[row].indices.tolist()), tuple(new.x[row].data.tolist()))
    for input_row, name, reason in new.rejected.iter_rows():
        assert input_row not in results
        results[input_row] = (name, reason)
    return results


ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), st.sampled_from(POOL)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_the_others(tmp_path: Path, rows: list[Row], chance: random.Random):
    """Each row has the same result in any subset and order; no row is lost or counted twice."""
    whole = by_row(prepared(tmp_path, rows))
    assert sorted(whole) == list(range(1, len(rows) + 1))
    chosen = chance.sample(range(len(rows)), chance.randint(1, len(rows)))
    part = by_row(prepared(tmp_path, [rows[i] for i in chosen]))
    expected = {row: whole[i + 1] for row, i in enumerate(chosen, start=1)}
    unnamed = {row for row, i in enumerate(chosen, start=1) if not rows[i][0]}
    assert {row: result[row in unnamed :] for row, result in part.items()} == {
        row: result[row in unnamed :] for row, result in expected.items()
    }
    assert {row: part[row][0] for row in unnamed} == {row: str(row) for row in unnamed}


def test_accepted_rows_are_in_the_order_of_the_file(tmp_path: Path):
    """Equal ids and structures keep their rows; an id with two structures is no conflict, a missing one the number."""
    rows = [("a", "CCO"), ("a", "CCCO"), ("b", "C("), ("a", "OCC"), ("", "CCN"), ("c", ""), ("d", "CCO.Cl")]
    new = prepared(tmp_path, rows)
    accepted = [(0, 1, "a", "CCO"), (1, 2, "a", "CCCO"), (2, 4, "a", "CCO"), (3, 5, "5", "CCN"), (4, 7, "d", "CCO")]
    assert new.rows.rows() == accepted
    assert new.rejected.rows() == [(3, "b", "unparsable"), (6, "c", "empty")]
    assert new.x.shape == (5, 1024)
    assert (new.x[0] != new.x[2]).nnz == (new.x[0] != new.x[4]).nnz == 0


def test_rows_are_those_of_the_training_preparation(golden: pl.DataFrame, tmp_path: Path):
    """Fingerprints equal those of training bit for bit, for the same structures in another order."""
    smiles = [*golden["smiles"].to_list()[:60], "CC(=O)Oc1ccccc1C(=O)O.[Na]", "OC1=NC(=O)NC=C1", "C1CC"]
    rows = [(f"C{i}", text) for i, text in enumerate(smiles)]
    path = table_of(tmp_path, rows)
    trained = make_compounds(read_structures(path).accepted, Preparation(), SEED)
    new = prepare_new(table_of(tmp_path, rows[::-1], "other.csv"), Preparation(), SEED)
    row_of = dict(trained.rows.select("input_compound_id", "row").iter_rows())
    assert new.rows["input_compound_id"].to_list() == [name for name, _ in rows[::-1] if name in row_of]
    expected = trained.x[[row_of[name] for name in new.rows["input_compound_id"]]]
    assert (new.x != expected).nnz == 0
    assert new.x.dtype == expected.dtype
    np.testing.assert_array_equal(new.x.indices, expected.indices)
    smiles_of = dict(trained.rows.select("input_compound_id", "canonical_smiles").iter_rows())
    assert dict(new.rows.select("input_compound_id", "canonical_smiles").iter_rows()) == smiles_of
    refused = new.rejected.select("input_compound_id", "reason").rows()
    assert refused == trained.rejected.select("input_compound_id", "reason").rows() == [(rows[-1][0], "unparsable")]


def test_bits_are_rdkits_under_the_permutation(tmp_path: Path):
    """Bits equal those of RDKit called directly, permuted."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=1024)
    places = bit_permutation(SEED, 1024)
    new = prepared(tmp_path, [(f"C{i}", text) for i, text in enumerate(STRUCTURES)])
    for row, smiles in enumerate(new.rows["canonical_smiles"]):
        bits = list(generator.GetFingerprint(Chem.MolFromSmiles(smiles)).GetOnBits())
        assert new.x[row].indices.tolist() == sorted(places[bits].tolist())


def test_workers_and_formats_change_nothing(tmp_path: Path):
    """One or two processes, and CSV, zipped CSV or Parquet with numeric ids, give the same result."""
    rows = [(str(i), text) for i, text in enumerate(STRUCTURES)]
    path = table_of(tmp_path, rows)
    first = prepare_new(path, FAST, SEED)
    zipped = tmp_path / "new.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    parquet = tmp_path / "new.parquet"
    pl.DataFrame({"input_compound_id": range(len(rows)), "smiles": STRUCTURES}).write_parquet(parquet)
    for other in (prepare_new(path, FAST, SEED, workers=2), *(prepare_new(p, FAST, SEED) for p in (zipped, parquet))):
        assert by_row(other) == by_row(first)
        assert other.rows.equals(first.rows)


def test_all_rejected_gives_an_empty_matrix(tmp_path: Path):
    """A file of invalid rows gives no row of x, and all its rows are rejected."""
    new = prepared(tmp_path, [("a", "C("), ("", "")])
    assert new.x.shape == (0, 1024)
    assert new.rows.is_empty()
    assert new.rejected["reason"].to_list() == ["unparsable", "empty"]


def test_no_table_and_short_seeds_are_refused(tmp_path: Path):
    """A file without the columns and a short seed raise typed errors before any structure is standardised."""
    (tmp_path / "no.csv").write_text("id,structure\n1,C\n")
    with pytest.raises(TableError, match=r"no\.csv: missing column smiles\b"):
        prepare_new(tmp_path / "no.csv", FAST, SEED)
    with pytest.raises(StructureSeedError, match="found 8 bytes"):
        prepare_new(tmp_path / "no.csv", FAST, b"melloddy")


def test_progress_is_told_of_distinct_structures(tmp_path: Path):
    """Progress counts equal SMILES once, since they are standardised once."""
    calls: list[tuple[int, int]] = []
    path = table_of(tmp_path, [("a", "CCO"), ("b", "CCO"), ("c", "CCN")])
    prepare_new(path, FAST, SEED, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (2, 2)


# ------------------------------------------------------------------------------------------------------- the folder


def test_the_folder_holds_what_was_made(tmp_path: Path):
    """The folder holds x, rows, rejected rows, digests of the files and counts that add up, but not the seed."""
    path = table_of(tmp_path, [("a", "CCO"), ("b", "C("), ("c", "CCN"), ("d", "")])
    new = prepare_new(path, FAST, SEED)
    counts = write_new(new, path, FAST, tmp_path / "out" / "here")
    folder = tmp_path / "out" / "here"
    assert counts == {"rows": 4, "accepted": 2, "rejected": {"empty": 1, "unparsable": 1}}
    assert (sparse.load_npz(folder / "x.npz") != new.x).nnz == 0
    assert pl.read_parquet(folder / "compounds.parquet").equals(new.rows)
    assert pl.read_parquet(folder / "rejected.parquet").equals(new.rejected)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["counts"] == counts
    assert manifest["settings"] == json.loads(json.dumps(asdict(FAST)))
    assert set(manifest["files"]) == {"x.npz", "compounds.parquet", "rejected.parquet"}
    assert all(SEED not in file.read_bytes() for file in folder.iterdir())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["here"]


def test_an_earlier_output_is_replaced_whole(tmp_path: Path):
    """The same input gives the same bytes; another input replaces the output; an empty folder is accepted."""
    folder = tmp_path / "out"
    folder.mkdir()
    path = table_of(tmp_path, [("a", "CCO"), ("b", "C(")])
    contents = []
    for _ in range(2):
        write_new(prepare_new(path, FAST, SEED), path, FAST, folder)
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert contents[0] == contents[1]
    other = table_of(tmp_path, [("z", "CCCC")])
    write_new(prepare_new(other, FAST, SEED), other, FAST, folder)
    assert pl.read_parquet(folder / "compounds.parquet")["input_compound_id"].to_list() == ["z"]


@pytest.mark.parametrize(
    "occupy",
    [
        lambda folder: (folder / "thesis.txt").write_text("years of work"),
        lambda folder: (folder / "manifest.json").write_text('{"kind": "hocket prepared"}'),
        lambda folder: (folder / "manifest.json").write_text("[1]"),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff"),
    ],
)
def test_another_folder_is_refused_and_left_alone(tmp_path: Path, occupy):
    """A folder that holds other files than an earlier output stays unchanged."""
    folder = tmp_path / "out"
    folder.mkdir()
    occupy(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    path = table_of(tmp_path, [("a", "CCO")])
    with pytest.raises(OutputOccupied, match=r"/out: ") as refusal:
        write_new(prepare_new(path, FAST, SEED), path, FAST, folder)
    assert "another folder" in refusal.value.__notes__[0]
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    with pytest.raises(OutputOccupied):
        check_output(path)  # a file


def test_a_failed_write_leaves_the_earlier_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the disk is full, the folder stays unchanged and no other file is left."""
    path = table_of(tmp_path, [("a", "CCO")])
    folder = tmp_path / "all" / "out"
    write_new(prepare_new(path, FAST, SEED), path, FAST, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def fail(*_args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(new_structures.sparse, "save_npz", fail)
    with pytest.raises(OSError, match="disk full"):
        write_new(prepare_new(path, FAST, SEED), path, FAST, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_tautomers_are_settled_as_in_the_plan(tmp_path: Path):
    """Two tautomers are one structure under "canonical" and two under "keep"."""
    rows = [("a", "Oc1ccccn1"), ("b", "O=c1cccc[nH]1")]
    kept = prepared(tmp_path, rows).rows["canonical_smiles"]
    canonical = prepared(tmp_path, rows, Preparation(chemistry=Chemistry())).rows["canonical_smiles"]
    assert (kept.n_unique(), canonical.n_unique()) == (2, 1)
