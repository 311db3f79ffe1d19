"""Tables that grow batch by batch appear whole or not at all."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_prep.errors import TableError
from data_prep.prediction_files import Columns, Texts, as_pandas, check_kind, growing_table

KINDS = (".csv", ".csv.gz", ".parquet")


def batch(*numbers: float) -> Columns:
    """Some rows."""
    ids = Texts(["a", "b,c"], np.arange(len(numbers)) % 2)
    return {"id": ids, "x": np.array(numbers, np.float32), "flag": np.array(numbers) > 1, "n": np.arange(len(numbers))}


def read(path: Path) -> pl.DataFrame:
    """The table as a user reads it."""
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_become_one_table(tmp_path: Path, kind: str) -> None:
    """Rows in their order, NaN as a missing value, nothing beside the file, and the same bytes again."""
    contents = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}{kind}"
        with growing_table(path) as sink:
            for columns in (batch(), batch(1.5, np.nan), batch(0.1)):
                sink(columns)
        contents.append(path.read_bytes())
    table = read(path)
    assert table["id"].to_list() == ["a", "b,c", "a"]
    assert table["x"].cast(pl.Float32).to_list() == [1.5, None, pytest.approx(0.1, abs=1e-8)]
    assert table["flag"].to_list() == [True, False, False]
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"one{kind}", f"two{kind}"]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    """Neither a new file nor a half-written one, and an old one as it was."""
    path = tmp_path / f"out{kind}"

    def fail() -> None:
        with growing_table(path) as sink:
            sink(batch(1.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_process_left_is_removed(tmp_path: Path, kind: str) -> None:
    """Leftovers of a name do not stay."""
    (tmp_path / f".out{kind}.part").write_bytes(b"half")
    if kind == ".parquet":
        (tmp_path / f".out{kind}.parts").mkdir()
        (tmp_path / f".out{kind}.parts" / "00000000.parquet").write_bytes(b"half")
    with growing_table(tmp_path / f"out{kind}") as sink:
        sink(batch(1.0))
    assert [file.name for file in tmp_path.iterdir()] == [f"out{kind}"]


def test_without_a_path_it_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """CSV with one header."""
    with growing_table(None) as sink:
        sink(batch(1.5))
        sink(batch(2.5))
    assert capfdbinary.readouterr().out == b"id,x,flag,n\na,1.5,true,0\na,2.5,true,0\n"


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """The message names those that can be written."""
    with pytest.raises(TableError, match=r"expected one of \.csv, \.csv\.gz, \.parquet"):
        check_kind(tmp_path / "out.xlsx")


def test_pandas_gets_the_same_rows() -> None:
    """For MLflow."""
    frame = as_pandas(batch(1.5, np.nan))
    assert list(frame["id"]) == ["a", "b,c"]
    assert frame["x"].isna().tolist() == [False, True]
    assert str(frame["flag"].dtype) == "bool"
