"""Tables of assays that were not in the federation."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.partner_tables import SMILES

_COLUMNS = ("input_assay_id", "assay_type", "use_in_regression", "is_binary", "expert_threshold_1", "direction")


@dataclass(frozen=True, slots=True)
class NewTableFiles:
    """T0, T1 and T2."""

    assays: Path
    activities: Path
    structures: Path

    @property
    def options(self) -> list[str]:
        """As options of `hocket extend`."""
        files = (("assays", self.assays), ("activities", self.activities), ("structures", self.structures))
        return [word for name, file in files for word in (f"--{name}", str(file))]


def write_new_assays(
    folder: Path, sizes: Mapping[str, int], *, seed: int = 7, in_regression: bool = True, threshold: float | None = 6.0
) -> NewTableFiles:
    """Assays of so many compounds, active where a nitrogen is in the side chain; `constant` in a name: equal values."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    files = NewTableFiles(*(folder / f"{name}.csv" for name in ("T0", "T1", "T2")))
    _write(files.structures, ("input_compound_id", "smiles"), [(f"N{i}", smiles) for i, smiles in enumerate(SMILES)])
    rows: list[tuple[object, ...]] = []
    for assay, size in sizes.items():
        for i in sorted(rng.permutation(len(SMILES))[:size]):
            value = 5.5 + 2 * ("N" in SMILES[i][4:]) + rng.normal(0, 0.3)
            rows.append((f"N{i}", assay, "=", 5.0 if "constant" in assay else round(float(value), 2)))
    header = ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value")
    _write(files.activities, header, rows)
    used = str(in_regression).lower()
    given = "" if threshold is None else threshold
    _write(files.assays, _COLUMNS, [(assay, "OTHER", used, "false", given, "high") for assay in sizes])
    return files


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
