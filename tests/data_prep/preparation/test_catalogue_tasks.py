"""Tasks for a catalogue from the tables alone are those that preparation makes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.errors import TableError
from data_prep.preparation.catalogue_tasks import catalogue_tasks
from data_prep.preparation.prepare import prepare
from data_prep.prepared import read_prepared
from data_prep.settings import Activities, Chemistry, Preparation
from tests.support.partner_tables import write_tables

SETTINGS = Preparation(
    chemistry=Chemistry(tautomers="keep"),
    activities=Activities(
        catalogue_min_labels=20, catalogue_min_fold_active=0, catalogue_min_fold_inactive=0, evaluation_min_active=1
    ),
)


def tables(folder: Path, *catalogue: str) -> tuple[Path, Path, Path]:
    """Tables of a partner; assays of a catalogue with these ids."""
    write_tables(folder, "P01", seed=0, catalogue=catalogue)
    return folder / "T0.csv", folder / "T1.csv", folder / "T2.csv"


def without_thresholds(t0: Path) -> None:
    """Leave the thresholds to preparation."""
    t0.write_text(t0.read_text().replace(",6.0,", ",,"))


@pytest.mark.parametrize("edit", [without_thresholds, lambda _: None])
def test_they_are_the_tasks_that_preparation_makes(tmp_path: Path, edit: Callable[[Path], None]):
    """Same ids and thresholds, expert and adaptive, an entry for each task of a row."""
    files = tables(tmp_path / "in", "A", "B", "A")
    edit(files[0])
    prepared = read_prepared(prepare(*files, SETTINGS, bytes(range(32)), tmp_path / "out"))
    expected = [(task.catalog_assay_id, task.threshold) for task in prepared.tasks if not task.is_auxiliary]
    found = catalogue_tasks(*files, SETTINGS)
    assert found == sorted(pair for pair in expected if pair[0])
    assert [name for name, _ in found] == ["A", "A", "B"]


def test_a_task_needs_an_id_and_labels(tmp_path: Path):
    """Neither an assay without an id nor one with too few labels is proposed."""
    assert catalogue_tasks(*tables(tmp_path), SETTINGS) == []
    files = tables(tmp_path, "A")
    assert catalogue_tasks(*files, SETTINGS) == [("A", 6.0)]
    strict = replace(SETTINGS, activities=replace(SETTINGS.activities, catalogue_min_labels=121))
    assert catalogue_tasks(*files, strict) == []


def test_an_unreadable_table_is_refused(tmp_path: Path):
    """As when it is prepared."""
    files = tables(tmp_path, "A")
    files[0].write_text("nothing\n")
    with pytest.raises(TableError, match=r"T0\.csv: missing column"):
        catalogue_tasks(*files, SETTINGS)
