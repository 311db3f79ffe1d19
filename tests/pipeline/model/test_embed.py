"""`hocket embed`: the trunk's hidden layer for structures, and what it refuses."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_prep.prepared import read_prepared
from partners.files.round_checkpoint import RoundStart
from partners.network.inference import predict_hidden
from partners.network.input_columns import InputColumns
from pipeline.plan.plan import read_plan
from tests.support.cli_runner import hocket
from tests.support.federation import Federation
from tests.support.full_disk import fill
from tests.support.partner_tables import SMILES, write_structures


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Structures, and two rows that cannot be used."""
    return write_structures(tmp_path / "new.csv", 30, 3, "bad,C1CC", ",CCO")


def test_it_is_the_trunks_hidden_layer_of_a_compounds_row(finished: Federation, tmp_path: Path) -> None:
    """From SMILES to the units that the last round's trunk gives for the compound's row of x, after ReLU."""
    home, plan = finished.home("P01"), read_plan(finished.plan_file)
    (folder,) = (path.parent for path in home.prepared.glob("*/manifest.json"))
    prepared, compounds = read_prepared(folder), pl.read_parquet(folder / "compounds.parquet").unique("row").sort("row")
    known = tmp_path / "known.csv"
    compounds.select(input_compound_id=pl.col("row"), smiles="canonical_smiles").write_csv(known)
    assert hocket("embed", finished.config("P01"), known, "--output", tmp_path / "h.npz").exit_code == 0
    start = RoundStart.read(home.start_file(plan.rounds.n_rounds + 1), plan.layout)
    expected = np.maximum(predict_hidden(prepared.x, start.model(InputColumns())[0], plan.layout.trunk, plan.trunk), 0)
    with np.load(tmp_path / "h.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["hidden"], expected)
        assert found["hidden"].dtype == np.float32
        assert found["ids"].tolist() == [str(row) for row in compounds["row"]]
        assert found["input_row"].tolist() == list(range(1, compounds.height + 1))


def test_both_kinds_of_file_say_the_same(finished: Federation, new: Path, tmp_path: Path) -> None:
    """A column h0000, h0001, ... for each unit; no row is lost; the same input gives the same bytes."""
    for name in ("a.npz", "b.npz", "a.parquet", "b.parquet"):
        result = hocket("embed", finished.config("P01"), new, "--output", tmp_path / name)
        assert result.exit_code == 0, result.stderr
        assert "31 of 32 structures embedded" in result.stderr
        assert result.stdout == ""
    for kind in ("npz", "parquet"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table.columns == ["input_row", "input_compound_id", *(f"h{i:04d}" for i in range(16))]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(table.drop("input_row", "input_compound_id").to_numpy(), arrays["hidden"])
        assert table["input_compound_id"].to_list() == arrays["ids"].tolist()
        assert table["input_row"].to_list() == arrays["input_row"].tolist()
    rejected = pl.read_csv(tmp_path / "a.rejected.csv")
    assert rejected.rows() == [(4, "bad", "unparsable")]


def test_batches_do_not_show(finished: Federation, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compound gets the same bits in any batch; an empty file gives an empty table."""
    hocket("embed", finished.config("P01"), new, "--output", tmp_path / "a.npz")
    monkeypatch.setattr("pipeline.model.embed._MOST_ROWS", 7)
    hocket("embed", finished.config("P01"), new, "--output", tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    (tmp_path / "empty.smi").write_text("")
    for name in ("e.npz", "e.parquet"):
        assert (
            hocket("embed", finished.config("P01"), tmp_path / "empty.smi", "--output", tmp_path / name).exit_code == 0
        )
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert (arrays["hidden"].shape, arrays["ids"].shape) == ((0, 16), (0,))
    assert pl.read_parquet(tmp_path / "e.parquet").shape == (0, 18)


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out", "out.npy"])
def test_other_endings_are_refused(finished: Federation, new: Path, tmp_path: Path, name: str) -> None:
    """Exit code 2, and nothing is written."""
    result = hocket("embed", finished.config("P01"), new, "--output", tmp_path / name)
    assert result.exit_code == 2
    assert f"{name}: found another ending, expected one of .parquet, .npz" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["new.csv"]


def test_the_input_is_never_overwritten(finished: Federation, tmp_path: Path) -> None:
    """Exit code 2."""
    pl.DataFrame({"input_compound_id": ["a"], "smiles": ["CCO"]}).write_parquet(tmp_path / "new.parquet")
    before = (tmp_path / "new.parquet").read_bytes()
    result = hocket("embed", finished.config("P01"), tmp_path / "new.parquet", "--output", tmp_path / "new.parquet")
    assert result.exit_code == 2
    assert (tmp_path / "new.parquet").read_bytes() == before


def test_before_the_end_there_is_no_trunk(fresh: Federation, new: Path, tmp_path: Path) -> None:
    """Exit code 6, and nothing is written."""
    assert hocket("embed", fresh.config("P01"), new, "--output", tmp_path / "out.npz").exit_code == 6
    assert not list(tmp_path.glob("*out*"))


def test_a_removed_model_is_made_again(done: Federation, new: Path, tmp_path: Path) -> None:
    """As for predictions."""
    shutil.rmtree(done.home("P01").model)
    result = hocket("embed", done.config("P01"), new, "--output", tmp_path / "out.npz")
    assert result.exit_code == 0
    assert "made again" in result.stderr


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_a_full_disk_leaves_nothing(finished: Federation, tmp_path: Path, small_disk: Path, kind: str) -> None:
    """Exit code 2 and why; with space it is done."""
    many = tmp_path / "many.smi"
    many.write_text("".join(f"{smiles} {i}\n" for i in range(300) for smiles in SMILES[:9]))
    ballast = fill(small_disk)
    result = hocket("embed", finished.config("P01"), many, "--output", small_disk / f"out.{kind}")
    assert result.exit_code == 2
    assert os.strerror(errno.ENOSPC) in result.stderr
    assert list(small_disk.iterdir()) == [ballast]
    ballast.unlink()
    assert hocket("embed", finished.config("P01"), many, "--output", small_disk / f"out.{kind}").exit_code == 0
