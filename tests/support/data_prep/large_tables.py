"""Large tables for the benchmarks: the real T0 and T1 of one partner, its compounds copied and its values jittered."""

from pathlib import Path

import numpy as np
import polars as pl

_TYPES = ("OTHER", "PANEL", "ADME", "NON-CATALOG-PANEL", "AUX_HTS")
_TYPE_SHARES = (0.7, 0.1, 0.1, 0.05, 0.05)
_QUALIFIERS = ("=", "<", ">", "~", "<=", "")
_QUALIFIER_SHARES = (0.75, 0.1, 0.1, 0.02, 0.02, 0.01)


def large_assays(t0: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The real assays with types of all kinds, so that every replicate rule is used."""
    rng = np.random.default_rng(seed)
    types = rng.choice(_TYPES, t0.height, p=_TYPE_SHARES)
    directions = rng.choice(["high", "low", ""], t0.height, p=(0.8, 0.1, 0.1))
    return t0.with_columns(pl.Series("assay_type", types), pl.Series("direction", directions))


def large_activities(t1: pl.DataFrame, n_compounds: int, n_rows: int, seed: int) -> pl.DataFrame:
    """`n_rows` activities of about `n_compounds` compounds C0, C1, ...: real rows, values moved by some hundredths.

    Every compound of `t1` stands for several; its replicates are drawn with it, so groups hold 1 to 10 rows or so.
    """
    rng = np.random.default_rng(seed)
    codes = t1["input_compound_id"].rank("dense").to_numpy() - 1
    n_copies = -(-n_compounds // (int(codes.max()) + 1))
    at = rng.integers(0, t1.height, n_rows)
    compound = (codes[at].astype(np.int64) * n_copies + rng.integers(0, n_copies, n_rows)) % n_compounds
    value = t1["standard_value"].cast(pl.Float64).to_numpy()[at] + rng.normal(0, 0.3, n_rows)
    qualifier = rng.choice(len(_QUALIFIERS), n_rows, p=_QUALIFIER_SHARES)
    return pl.DataFrame(
        {
            "input_assay_id": t1["input_assay_id"].gather(at),
            "input_compound_id": pl.Series(compound),
            "standard_qualifier": pl.Series(_QUALIFIERS).gather(qualifier),
            "standard_value": pl.Series(np.round(value, 2)),
        }
    ).with_columns(pl.format("C{}", "input_compound_id").alias("input_compound_id"))


def write_large_tables(real: Path, folder: Path, n_compounds: int, n_rows: int, seed: int) -> None:
    """Write T0.csv and T1.csv into `folder`, made from T0.csv.gz and T1.csv.gz of the folder `real`."""
    t0, t1 = (pl.read_csv(real / f"{name}.csv.gz", infer_schema=False) for name in ("T0", "T1"))
    large_assays(t0, seed).write_csv(folder / "T0.csv")
    large_activities(t1, n_compounds, n_rows, seed).write_csv(folder / "T1.csv")
