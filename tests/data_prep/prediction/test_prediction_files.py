"""Tables that grow batch by batch appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_prep.errors import TableError
from data_prep.prediction.prediction_files import Columns, Texts, as_pandas, check_kind, growing_table, growing_tables

KINDS = (".csv", ".csv.gz", ".parquet")


def batch(*numbers: float) -> Columns:
    """Some rows."""
    ids = Texts(["a", "b,c"], np.arange(len(numbers)) % 2)
    return {"id": ids, "x": np.array(numbers, np.float32), "flag": np.array(numbers) > 1, "n": np.arange(len(numbers))}


def read(path: Path) -> pl.DataFrame:
    """The table as a user reads it."""
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


def write_both(beside: Path, path: Path, rows: Columns) -> None:
    """The same rows into both."""
    with growing_tables(beside, path) as sinks:
        for sink in reversed(sinks):
            sink(rows)


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


KILLED = """
import sys
from pathlib import Path
from data_prep.prediction.prediction_files import growing_table
import numpy
with growing_table(Path(sys.argv[1])) as sink:
    sink({"x": numpy.zeros(9)})
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_process_left_is_removed(tmp_path: Path, kind: str) -> None:
    """By the next one, and not before: what a process that lives writes into is its own."""
    path = tmp_path / f"out{kind}"
    command = [sys.executable, "-P", "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        for is_alive in (True, False):
            with growing_table(path) as sink:
                sink(batch(1.0))
            hidden = [file for file in tmp_path.iterdir() if file != path]
            assert len(hidden) == is_alive
            process.kill()
            process.wait()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_two_tables_of_one_name_do_not_clash(tmp_path: Path, kind: str) -> None:
    """Each is whole, and the one that ends last stays."""
    path = tmp_path / f"out{kind}"
    with growing_table(path) as first:
        first(batch(1.5))
        with growing_table(path) as second:
            second(batch(2.5, 3.5))
        assert read(path)["x"].to_list() == [2.5, 3.5]
        first(batch(4.5))
    assert read(path)["x"].to_list() == [1.5, 4.5]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_appear_together(tmp_path: Path, kind: str) -> None:
    """None before the end of the block, all after it."""
    beside, path = tmp_path / "out.rejected.csv", tmp_path / f"out{kind}"
    with growing_tables(beside, path) as (one, two):
        one(batch(1.5))
        two(batch(2.5))
        assert not beside.exists()
        assert not path.exists()
    assert (read(beside)["x"].item(), read(path)["x"].item()) == (1.5, 2.5)
    assert sorted(tmp_path.iterdir()) == sorted([beside, path])


def test_where_the_last_table_cannot_appear_none_does(tmp_path: Path) -> None:
    """Its name is taken by a folder: the table beside it would be of nothing."""
    beside, path = tmp_path / "out.rejected.csv", tmp_path / "out.csv"
    path.mkdir()
    (path / "somebodys").touch()
    with pytest.raises(OSError, match="directory"):
        write_both(beside, path, batch(1.0))
    assert list(tmp_path.iterdir()) == [path]
    assert [file.name for file in path.iterdir()] == ["somebodys"]


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_full_disk_nothing_is_half_written(small_disk: Path, kind: str) -> None:
    """The error says so and names the file, whatever the library made of it; an old file is as it was."""
    path = small_disk / f"out{kind}"
    path.write_bytes(b"old")
    rng = np.random.default_rng(1)
    rows = {"x": rng.random(400_000)}
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        write_both(small_disk / "beside.csv", path, rows)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert [file.read_bytes() for file in small_disk.iterdir()] == [b"old"]


def test_without_a_path_it_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """CSV with one header."""
    with growing_table(None) as sink:
        sink(batch(1.5))
        sink(batch(2.5))
    assert capfdbinary.readouterr().out == b"id,x,flag,n\na,1.5,true,0\na,2.5,true,0\n"


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """The message names those that can be written."""
    with pytest.raises(TableError, match=r"out\.xlsx: .*\.csv, \.csv\.gz, \.parquet"):
        check_kind(tmp_path / "out.xlsx")


def test_pandas_gets_the_same_rows() -> None:
    """For MLflow."""
    frame = as_pandas(batch(1.5, np.nan))
    assert list(frame["id"]) == ["a", "b,c"]
    assert frame["x"].isna().tolist() == [False, True]
    assert str(frame["flag"].dtype) == "bool"
