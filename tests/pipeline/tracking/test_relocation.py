"""Stores of homes that were moved: exactly the places beside the old database change."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.home.lock import hold
from pipeline.tracking.relocation import artifact_folder, relocate, relocate_unless_busy

OLD = "file:///old/home/mlartifacts"
TABLES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "source, storage_location",
}


def store_in(folder: Path, experiment: str = OLD) -> Path:
    """A database with MLflow's columns of places, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for table, columns in TABLES.items():
            database.execute(f"CREATE TABLE {table} ({columns})")
        database.executemany("INSERT INTO experiments VALUES (?)", [(experiment,), ("/old/home/mlruns/0",), (None,)])
        runs = [f"{OLD}/1/artifacts", f"{OLD}2/1/artifacts", "s3://bucket/mlartifacts/1", None]
        database.executemany("INSERT INTO runs VALUES (?)", [(place,) for place in runs])
        database.execute("INSERT INTO logged_models VALUES (?)", (f"{OLD}/models/m/artifacts",))
        database.execute("INSERT INTO model_versions VALUES ('models:/m', ?)", (f"{OLD}/models/m/artifacts",))
    return folder / "mlflow.db"


def places(store: Path) -> dict[str, list[tuple[str | None, ...]]]:
    """All places in a database."""
    with closing(sqlite3.connect(store)) as database:
        return {
            table: database.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 -- our own names
            for table, columns in TABLES.items()
        }


@pytest.mark.parametrize("name", ["home", "a home", "hä?#%41'home"])
def test_only_places_beside_the_old_database_change(tmp_path: Path, name: str):
    """Whatever the folder is called; other buckets, folders of a longer name and empty places stay."""
    store = store_in(tmp_path / name)
    assert relocate(store)
    here = artifact_folder(store)
    assert here == (tmp_path / name / "mlartifacts").as_uri()
    assert places(store) == {
        "experiments": [(here,), ("/old/home/mlruns/0",), (None,)],
        "runs": [(f"{here}/1/artifacts",), (f"{OLD}2/1/artifacts",), ("s3://bucket/mlartifacts/1",), (None,)],
        "logged_models": [(f"{here}/models/m/artifacts",)],
        "model_versions": [("models:/m", f"{here}/models/m/artifacts")],
    }
    assert not relocate(store)


def test_a_store_that_did_not_move_is_not_written(tmp_path: Path):
    """Not a byte changes."""
    store = store_in(tmp_path / "home", (tmp_path / "home" / "mlartifacts").as_uri())
    before = store.read_bytes()
    assert not relocate(store)
    assert store.read_bytes() == before


def test_a_home_that_moves_back_is_as_before(tmp_path: Path):
    """There and back again."""
    store = store_in(tmp_path / "first")
    relocate(store)
    before = places(store)
    (tmp_path / "first").rename(tmp_path / "second")
    assert relocate(tmp_path / "second" / "mlflow.db")
    (tmp_path / "second").rename(tmp_path / "first")
    assert relocate(store)
    assert places(store) == before


def test_a_database_half_rewritten_is_not_kept(tmp_path: Path):
    """One transaction: if a table is missing, nothing has changed."""
    store = store_in(tmp_path / "home")
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("DROP TABLE model_versions")
    with pytest.raises(ConfigError, match="model_versions"):
        relocate(store)
    with closing(sqlite3.connect(store)) as database:
        assert database.execute("SELECT * FROM experiments").fetchone() == (OLD,)


def test_no_database_is_made(tmp_path: Path):
    """A missing one is an error, an empty one has no places."""
    with pytest.raises(ConfigError, match="mlflow"):
        relocate(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").touch()
    assert not relocate(tmp_path / "mlflow.db")


def test_a_tracking_process_is_left_alone(tmp_path: Path):
    """It holds the lock, and has relocated the store itself."""
    store = store_in(tmp_path / "home")
    with hold(store.parent / "tracking.lock"):
        relocate_unless_busy(store)
        assert places(store)["experiments"][0] == (OLD,)
    relocate_unless_busy(store)
    assert places(store)["experiments"][0] == (artifact_folder(store),)


def test_a_home_that_did_not_move_gets_no_file(tmp_path: Path):
    """Not even a lock: a finished run may be asked for every ten minutes."""
    store = store_in(tmp_path / "home", (tmp_path / "home" / "mlartifacts").as_uri())
    relocate_unless_busy(store)
    assert list(store.parent.iterdir()) == [store]
