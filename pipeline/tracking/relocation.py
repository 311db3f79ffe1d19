"""Let the store in a home find its artifacts after the home was moved, copied or restored elsewhere.

MLflow writes the absolute place of every artifact into its database (experiments, runs, models and their versions), and
resolves even a relative one to the folder of the process that asks. So the places are rewritten in the database.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import ConfigError, HomeInUse
from pipeline.home.lock import hold

_FOLDER = "mlartifacts"
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_PATIENCE_S = 60.0  # for another program that writes to the database


def artifact_folder(store_file: Path) -> str:
    """URI of the artifacts' folder next to an SQLite file; MLflow's default is the folder of the process."""
    return (store_file.resolve().parent / _FOLDER).as_uri()


def relocate(store_file: Path) -> bool:
    """Rewrite the places of artifacts, in one transaction, if they are next to another SQLite file than this one.

    Returns whether anything was rewritten. Raises ConfigError for a database that cannot be used.
    """
    here = artifact_folder(store_file)
    with _opened(store_file) as database:
        olds = _other_places(database, here)
        for old in olds:
            _rewrite(database, old, here)
    return bool(olds)


def relocate_unless_busy(store_file: Path) -> None:
    """Relocate a home's own store, unless the home's tracking process works on it, which has done so.

    Changes no file if the home did not move. Raises ConfigError for a database that cannot be used.
    """
    with _opened(store_file) as database:
        has_moved = bool(_other_places(database, artifact_folder(store_file)))
    if has_moved:
        with suppress(HomeInUse), hold(store_file.parent / "tracking.lock"):
            relocate(store_file)


@contextmanager
def _opened(store_file: Path) -> Iterator[sqlite3.Connection]:
    """Open the database if it exists, never making a new one; commit at the end, or roll back at an error."""
    address = f"file:{quote(str(store_file))}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_S)) as database, database:
            yield database
    except sqlite3.Error as error:
        raise ConfigError(f"{store_file}: MLflow's database cannot be used: {error}") from error


def _other_places(database: sqlite3.Connection, here: str) -> list[str]:
    """Other folders in which hocket's experiments keep artifacts, each next to its database; none if it is empty."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone() is None:
        return []
    query = (
        "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ? AND artifact_location != ?"
    )
    return [place for (place,) in database.execute(query, (f"file:%/{_FOLDER}", here))]


def _rewrite(database: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in _PLACES:
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 -- names from the list above
            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )
