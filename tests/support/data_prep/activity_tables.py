"""Small tables of assays and measured values, and tasks and labels made from them."""

import numpy as np
import polars as pl

from data_prep.tables.tables import QUALIFIER

ASSAY_IDS = pl.Enum(["a", "b", "c"])


def assay(
    assay_type="OTHER", direction="", *, is_binary=False, experts=(), assay_id="a", **other: object
) -> pl.DataFrame:
    """Return a table of one accepted assay, as read_assays returns it."""
    row = {"input_row": 1, "input_assay_id": assay_id, "assay_type": assay_type, "direction": direction}
    row |= {"experts": list(experts), "is_binary": is_binary, "use_in_regression": True}
    row |= {"catalog_assay_id": None, "parent_assay_id": None} | other
    types = {"input_assay_id": ASSAY_IDS, "experts": pl.List(pl.Float64)}
    return pl.DataFrame([row], schema_overrides=types | dict.fromkeys(_LINKS, pl.String))


_LINKS = ("catalog_assay_id", "parent_assay_id")


def measured(values, assay_id="a") -> pl.DataFrame:
    """Return activities (qualifier, value, row) as read_activities returns them, joined with compound rows."""
    return pl.DataFrame(
        [(i + 1, f"c{i}", assay_id, q, float(v), row) for i, (q, v, row) in enumerate(values)],
        schema={
            "input_row": pl.UInt32,
            "input_compound_id": pl.Categorical,
            "input_assay_id": pl.Categorical,
            "standard_qualifier": QUALIFIER,
            "standard_value": pl.Float64,
            "row": pl.UInt32,
        },
        orient="row",
    )


def candidates_of(*kinds: object):
    """Return candidate tasks (assay, type, auxiliary, catalogue id or nothing)."""
    return pl.DataFrame(
        [(i, *kind, *[None] * (4 - len(kind))) for i, kind in enumerate(kinds)],
        schema={
            "candidate": pl.UInt32,
            "input_assay_id": ASSAY_IDS,
            "assay_type": pl.String,
            "is_auxiliary": pl.Boolean,
            "catalog_assay_id": pl.String,
        },
        orient="row",
    )


def labels_of(*tasks: object):
    """Return labels: for each candidate (actives, inactives), on rows 0, 1, ..."""
    rows = []
    for candidate, (n_active, n_inactive) in enumerate(tasks):
        rows += [(candidate, row, 1 if row < n_active else -1) for row in range(n_active + n_inactive)]
    return pl.DataFrame(rows, schema={"candidate": pl.UInt32, "row": pl.UInt32, "label": pl.Int8}, orient="row")


FOLDING = np.arange(40_000) % 5
