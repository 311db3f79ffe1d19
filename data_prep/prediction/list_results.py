"""Results for a list of structures as one data frame, in the order of the list."""

from collections.abc import Sequence

import polars as pl

from data_prep.prediction.prediction_files import Columns, as_polars
from data_prep.prediction.structure_files import StructureRecord


def beside_structures(
    records: Sequence[StructureRecord], refused: Sequence[StructureRecord], results: Columns
) -> pl.DataFrame:
    """The results with the structures that they are for: columns input_row, smiles and reason, then those of results.

    results : with a column input_row; `input_compound_id` is left out
    A refused structure has one row with its reason, and null in all columns of the results.
    """
    reasons = {record.input_row: record.reason for record in refused}
    rows = [record.input_row for record in records]
    structures = pl.DataFrame(
        {
            "input_row": rows,
            "smiles": [record.text for record in records],
            "reason": [reasons.get(row) for row in rows],
        },
        schema={"input_row": pl.Int64, "smiles": pl.String, "reason": pl.String},
    )
    table = as_polars(results).drop("input_compound_id")
    return structures.join(table, on="input_row", how="left", maintain_order="left_right")
