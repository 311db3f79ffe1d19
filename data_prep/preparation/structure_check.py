"""Standardise structures without the group's secret, to check them before anything is prepared."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_prep.folds.compounds import Compounds, make_compounds
from data_prep.folds.keyed import MIN_SEED_BYTES
from data_prep.settings import Preparation
from data_prep.structures.structures import StructureWorkers
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class StructureCheck:
    """How structures are checked; see make_compounds."""

    sample: int | None = 200  # number of rows that are standardised, None: all; 200 take some 3 s at most
    workers: StructureWorkers = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    cache: Path | None = None

    def compounds(self, structures: pl.DataFrame, settings: Preparation) -> Compounds:
        """Return the compounds; without the group's secret, so their folds are like the group's, but not the same."""
        return make_compounds(
            structures,
            settings,
            bytes(MIN_SEED_BYTES),
            workers=self.workers,
            timeout_s=self.timeout_s,
            cache=self.cache,
        )
