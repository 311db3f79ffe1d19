"""Fingerprints of new structures for a trained model, made as in the preparation for training.

The result for a structure depends only on the structure, the settings and the group's seed, not on the other rows of
the file. So, unlike in training, equal structures and equal ids each keep their own row, and an id with two structures
is no conflict.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import rdkit
from scipy import sparse

from data_prep.atomic import atomic_folder
from data_prep.errors import OutputOccupied
from data_prep.folds.compounds import fingerprint_matrix
from data_prep.folds.keyed import bit_permutation, require_strong_seed
from data_prep.settings import Preparation
from data_prep.structures.structures import StructureProgress, StructureWorkers, standardise_all
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S
from data_prep.tables.plain_file import open_plain
from data_prep.tables.tables import Renamed, read_structures
from data_prep.version import CODE_VERSION, FORMAT_VERSION

X_FILE, COMPOUNDS_FILE, REJECTED_FILE, MANIFEST_FILE = "x.npz", "compounds.parquet", "rejected.parquet", "manifest.json"
_KIND = "hocket new structures"
_REJECTED = ("input_row", "input_compound_id", "reason")


@dataclass(frozen=True, slots=True)
class NewStructures:
    """The accepted and the rejected structures of a file, each in the order of the file."""

    x: sparse.csr_matrix  # (n_accepted, n_bits), as the x of training
    rows: pl.DataFrame  # `row` of x, `input_row` (1 is the first row of data), `input_compound_id`, `canonical_smiles`
    rejected: pl.DataFrame  # `input_row`, `input_compound_id`, `reason`: codes as in training, but none of scaffolds


def prepare_new(
    path: Path,
    settings: Preparation,
    structure_seed: bytes,
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
    renamed: Renamed | None = None,
) -> NewStructures:
    """Standardise and fingerprint the table at `path`, in any format of table T2.

    Rows without an id take the row's number; those that the standardiser refuses are rejected (its codes).
    renamed : names of the columns in the file, see read_structures
    Raises TableError for a file that is no such table, StructureSeedError for a seed of fewer than 32 bytes.
    """
    require_strong_seed(structure_seed)
    table = read_structures(path, renamed, number_unnamed=True)
    distinct = table.accepted.select("smiles").unique(maintain_order=True).with_row_index("index")
    structures = standardise_all(
        distinct["smiles"].to_list(),
        settings.chemistry,
        settings.fingerprint,
        workers=workers,
        timeout_s=timeout_s,
        cache=cache,
        progress=progress,
    )
    results = {"canonical_smiles": structures.smiles, "reason": structures.reasons}
    distinct = distinct.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in results.items())
    rows = table.accepted.join(distinct, on="smiles", how="left", nulls_equal=True).sort("input_row")
    accepted = rows.filter(pl.col("reason").is_null()).with_row_index("row")
    refused = rows.filter(pl.col("reason").is_not_null())
    rejected = pl.concat([frame.select(_REJECTED) for frame in (table.rejected, refused)]).sort("input_row")
    positions = bit_permutation(structure_seed, settings.fingerprint.n_bits)
    x = fingerprint_matrix(structures, positions, accepted["index"].to_numpy())
    return NewStructures(x, accepted.select("row", "input_row", "input_compound_id", "canonical_smiles"), rejected)


def check_output(folder: Path) -> None:
    """Raise OutputOccupied if `folder` holds anything but an earlier output of write_new."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        kind = json.loads((folder / MANIFEST_FILE).read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        kind = None
    if kind != _KIND:
        error = OutputOccupied(f"{folder}: exists and is no earlier output, expected a new or empty folder")
        error.add_note("nothing was removed; choose another folder")
        raise error


def write_new(new: NewStructures, source: Path, settings: Preparation, folder: Path) -> dict[str, Any]:
    """Write x.npz, compounds.parquet, rejected.parquet and manifest.json to `folder`; return the counts.

    The folder appears complete or not at all, and replaces an earlier output. Raises OutputOccupied.
    """
    folder = Path(os.path.realpath(folder))  # Path.resolve of Python 3.11 fails at a link to itself
    check_output(folder)
    reasons = new.rejected.group_by("reason").len().sort("reason")
    counts = {
        "rows": new.rows.height + new.rejected.height,
        "accepted": new.rows.height,
        "rejected": dict(reasons.iter_rows()),
    }
    with atomic_folder(folder) as unfinished:
        sparse.save_npz(unfinished / X_FILE, new.x)
        new.rows.write_parquet(unfinished / COMPOUNDS_FILE)
        new.rejected.write_parquet(unfinished / REJECTED_FILE)
        files = {name: _digest(unfinished / name) for name in (X_FILE, COMPOUNDS_FILE, REJECTED_FILE)}
        manifest = {
            "kind": _KIND,
            "format": FORMAT_VERSION,
            "input": _digest(source),
            "settings": asdict(settings),
            "versions": {"rdkit": rdkit.__version__, "code": CODE_VERSION},
            "counts": counts,
            "files": files,
            "digest": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
        }
        (unfinished / MANIFEST_FILE).write_bytes(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
    return counts


def _digest(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
