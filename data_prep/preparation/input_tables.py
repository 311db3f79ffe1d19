"""A partner's three input tables, as far as they can be checked without standardising structures."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.columns import DAY
from data_prep.errors import ThresholdsFromData
from data_prep.labels.activities import credible
from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.plausibility import PlausibleActivities, plausible
from data_prep.labels.replicates import aggregate
from data_prep.labels.thresholds import uses_experts
from data_prep.preparation.forecast import forecast
from data_prep.preparation.losses import Losses, expect_a_task, expect_few, losses_of, unmatched_notes
from data_prep.settings import OwnTables, Preparation
from data_prep.tables.tables import Table, column_notes, read_activities, read_assays, read_structures, table_with_days

Days = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class InputTables:
    """The three tables, with the activities on one scale and without those of implausible assays."""

    assays: Table
    structures: Table
    settled: pl.DataFrame  # the accepted assays, see settle_catalogue
    plausible: PlausibleActivities
    n_rows: dict[str, int]  # of each table
    notes: tuple[str, ...] = ()  # about columns that are not read, see column_notes

    def values(self, rows: pl.DataFrame, settings: Preparation) -> Table:
        """Return one value per assay and compound, and all rejected activities.

        rows : `input_compound_id` and `row` of every compound
        """
        credible_rows = self._credible(rows, settings)
        values = aggregate(credible_rows.accepted, settings.activities)
        rejected = pl.concat([self.plausible.rejected, credible_rows.rejected, values.rejected])
        return Table(values.accepted, rejected)

    def _credible(self, rows: pl.DataFrame, settings: Preparation) -> Table:
        row_of = rows.select(pl.col("input_compound_id").cast(pl.Categorical), "row")
        measured = self.plausible.accepted.join(row_of, on="input_compound_id", how="left", maintain_order="left")
        return credible(self.settled, measured, settings.activities)

    def first_days(self, rows: pl.DataFrame, settings: Preparation, n_compounds: int) -> Days | None:
        """Return the day of each compound's first credible measurement, (n_compounds,), NaT: unknown.

        rows : as for `values`. None if no days were read.
        """
        measured = self._credible(rows, settings).accepted
        if DAY not in measured.columns and DAY in self.settled.columns:
            of_assay = self.settled.unique("input_assay_id").select("input_assay_id", DAY)
            measured = measured.join(of_assay, on="input_assay_id", how="left")
        if DAY not in measured.columns:
            return None
        first = measured.drop_nulls(DAY).group_by("row").agg(pl.col(DAY).min())
        days = np.full(n_compounds, np.datetime64("NaT"), dtype="datetime64[D]")
        days[first["row"].to_numpy()] = first[DAY].to_numpy()
        return days

    def all_rejected(self, *rejected: pl.DataFrame) -> pl.DataFrame:
        """Return these rejected rows with those of T0 and T2, each activity with its true reason."""
        return _refine_reasons(pl.concat([self.assays.rejected, self.structures.rejected, *rejected]))

    def losses(self, values: Table, rejected: pl.DataFrame, settings: Preparation, own: OwnTables) -> Losses:
        """Return the losses of T1; rejected : all_rejected's rows."""
        losses = losses_of(values.accepted, rejected, self.n_rows["T1"], settings.activities, own)
        ids = {
            "compound": self.structures.accepted["input_compound_id"],
            "assay": self.assays.accepted["input_assay_id"],
        }
        return replace(losses, notes=unmatched_notes(rejected, ids))

    def expect_usable(self, settings: Preparation, own: OwnTables) -> None:
        """Raise TooMuchLeftOut or NoTask if too much is left out or no task is trained even with every structure."""
        self.expect_few(settings, own)
        values = self.values(ids_as_rows(self.structures.accepted), settings)
        expect_a_task(forecast(self.settled, values.accepted, settings))

    def expect_few(self, settings: Preparation, own: OwnTables) -> None:
        """Raise TooMuchLeftOut if too much is left out even if every structure can be used."""
        if own.most_rejected >= 1:
            return
        values = self.values(ids_as_rows(self.structures.accepted), settings)
        losses = self.losses(values, self.all_rejected(values.rejected), settings, own)
        expect_few(losses, own, self.plausible.implausible, self.plausible.likely_unit)


def read_tables(t0: Path, t1: Path, t2: Path, settings: Preparation, own: OwnTables) -> InputTables:
    """Read the three tables. Raises TableError."""
    with_days = table_with_days(t0, t1, own.date_column, own.columns)
    structures = read_structures(t2, own.columns)
    assays = read_assays(t0, own.columns, own.date_column if with_days == "T0" else "")
    activities = read_activities(t1, own.columns, own.date_column if with_days == "T1" else "")
    tables = input_tables(assays, activities, structures, settings, own)
    notes = (
        f"{table}: {note}"
        for table, path in (("T0", t0), ("T1", t1), ("T2", t2))
        for note in column_notes(path, table, own.columns)
    )
    return replace(tables, notes=tuple(notes))


def expect_expert_thresholds(t0: Path, own: OwnTables) -> None:
    """Raise ThresholdsFromData if thresholds of an assay in T0 would be chosen by its values. Raises TableError."""
    assays = read_assays(t0, own.columns).accepted.unique("input_assay_id")
    without = assays.filter(uses_experts() & (pl.col("experts").list.len() == 0))
    if without.height:
        error = ThresholdsFromData(
            f"{t0.name}: {without.height} of {assays.height} assays have no expert threshold, expected one for each "
            "that is neither binary nor AUX_HTS: [privacy] does not cover thresholds that follow from the values"
        )
        error.add_note("give these assays expert_threshold_1, chosen without regard to the values, or leave them out")
        raise error


def input_tables(
    assays: Table, activities: Table, structures: Table, settings: Preparation, own: OwnTables
) -> InputTables:
    """Put the activities on one scale, and reject those of implausible assays."""
    tables = {"T0": assays, "T1": activities, "T2": structures}
    n_rows = {name: table.accepted.height + table.rejected.height for name, table in tables.items()}
    settled = settle_catalogue(assays.accepted)
    return InputTables(assays, structures, settled, plausible(settled, activities, settings.activities, own), n_rows)


def ids_as_rows(structures: pl.DataFrame) -> pl.DataFrame:
    """Return a `row` for each `input_compound_id`, as if every structure could be used and no two were alike."""
    return structures.select("input_compound_id").unique(maintain_order=True).with_row_index("row")


def _refine_reasons(rejected: pl.DataFrame) -> pl.DataFrame:
    """Replace 'unknown id' by the reason for which that assay or compound was rejected."""
    reason, table = pl.col("reason"), pl.col("table")
    refused = {
        name: rejected.filter(table == source)[column].drop_nulls().unique().implode()
        for name, source, column in (("assay", "T0", "input_assay_id"), ("compound", "T2", "input_compound_id"))
    }
    explained = reason
    for name, ids in refused.items():
        of_refused = (table == "T1") & (reason == f"unknown_{name}") & pl.col(f"input_{name}_id").is_in(ids)
        explained = pl.when(of_refused).then(pl.lit(f"rejected_{name}")).otherwise(explained)
    return rejected.with_columns(explained.alias("reason"))
