"""CPU seconds that a plan takes to read its catalogue from a file, check it and bind it into its digest, by rows.

A public list of all targets and thresholds is about 10,000 rows; the limit there is a second. The time per row stays
the same, as no check compares each row with each other.
usage: catalogue.py [--rows N ...]
"""

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.plan.catalogue import Catalogue, catalogue_text  # noqa: E402
from secure.encoding.canonical import canonical_json, digest  # noqa: E402

LIMIT_MS = 0.1  # per row


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    table = Table("rows", "CPU s", "ms per row", "limit", "ratio", title="catalogue from a file")
    for n_rows in options.parse_args().rows:
        seconds = cpu_seconds(n_rows)
        of_row = 1e3 * seconds / n_rows
        table.add_row(str(n_rows), f"{seconds:.2f}", f"{of_row:.4f}", f"{LIMIT_MS}", f"{of_row / LIMIT_MS:.2f}")
    Console().print(table)


def cpu_seconds(n_rows: int) -> float:
    """CPU seconds for a catalogue of four thresholds a target."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "catalogue.csv"
        file.write_text(catalogue_text((f"TARGET{i // 4}", 5.0 + i % 4) for i in range(n_rows)))
        catalogue = Catalogue(file=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
        before = time.process_time()
        with_rows = catalogue.with_file(file.with_name("plan.toml"))
        digest(canonical_json(with_rows.model_dump(mode="json")))
        return time.process_time() - before


if __name__ == "__main__":
    main()
