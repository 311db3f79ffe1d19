"""Golden structures, standardised once for all tests, and small tables to prepare."""

from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock

from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.structures import Structures, standardise_all
from tests.support.data_prep.small_tables import write_tables


@pytest.fixture(scope="session")
def golden(shared: Path) -> pl.DataFrame:
    """MELLODDY-TUNER's 1,543 structures: smiles -> canonical_smiles, murcko_scaffold, fold_scaffold, fold_id, bits."""
    return pl.read_csv(shared / "golden/tuner/structures.csv.gz")


@pytest.fixture(scope="session")
def standardised(golden: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Structures:
    """Our results for the golden structures; tautomers take half a minute, so computed once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    run = folder if worker_id == "master" else folder.parent  # of this run of pytest alone
    with FileLock(run / "golden.lock"):
        return standardise_all(
            golden["smiles"].to_list(), Chemistry(), Fingerprint(), workers=2, cache=run / "golden.cache"
        )


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path, Path]:
    """T0, T1 and T2 of a small partner with one trainable assay."""
    return write_tables(tmp_path / "tables")
