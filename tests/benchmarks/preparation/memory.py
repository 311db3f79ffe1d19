"""Peak memory of preparing a million structures and ten million activities, end to end.

Activities are made from a partner's real T0 and T1; structures are simple enumerated ones, whose tautomers are
kept, so that the chemistry takes minutes. Counted is what the process and its workers hold at the same time.

The whole is `--rows 1e7 --compounds 1e6`; without arguments it is a part of that, of one partner of the dev data.
usage: memory.py [FOLDER_OF_T0_T1] [--rows 2e6] [--compounds 5e4] [--workers 2] [--seed 1]
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # run as a script

from data_prep.preparation.prepare import prepare
from data_prep.prepared import read_summary
from data_prep.settings import Chemistry, Preparation
from tests.support.data_prep.large_tables import write_large_tables

LIMIT_MB = 6 * 1024.0
SHARED = Path(os.environ.get("HOCKET_SHARED", Path(__file__).resolve().parents[4] / "shared"))
SEED = bytes(range(32))
RINGS = ("c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccc2ccccc2c1", "C1CCNCC1", "c1ccoc1", "C1CC1", "C1CCOC1")
LINKS = ("C", "C(F)", "C(Cl)", "C(C)", "C(O)", "C(N)", "C(S)", "C(Br)", "C(CC)", "C(OC)")


def smiles(i: int) -> str:
    """Structure number i: a ring, six links that spell i, an acid; all distinct up to a million."""
    return RINGS[i % len(RINGS)] + "".join(LINKS[i // 10**place % 10] for place in range(6)) + "C(=O)O"


class Watch(threading.Thread):
    """Records the peak of resident memory of this process and all its children."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb, self._done = 0.0, threading.Event()

    def run(self) -> None:
        """Read the memory twenty times a second."""
        while not self._done.wait(0.05):
            self.peak_mb = max(self.peak_mb, _resident_mb("self"))

    def end(self) -> float:
        """Stop and return the peak."""
        self._done.set()
        self.join()
        return self.peak_mb


def _resident_mb(pid: str) -> float:
    total = 0.0
    with suppress(OSError, IndexError):  # ended meanwhile
        total = int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_resident_mb(child) for child in (task / "children").read_text().split())
    return total


def main() -> None:
    """Prepare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "data/dev_p3/P01")
    parser.add_argument("--rows", type=float, default=2e6)
    parser.add_argument("--compounds", type=float, default=5e4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if not given.folder.is_dir():
        Console().print(f"memory.py: skipped, needs {given.folder} (set HOCKET_SHARED)")
        return
    n_rows, n_compounds = int(given.rows), int(given.compounds)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_large_tables(given.folder, home, n_compounds, n_rows, given.seed)
        rows = pl.DataFrame({"input_compound_id": [f"C{i}" for i in range(n_compounds)]})
        rows.with_columns(pl.Series("smiles", map(smiles, range(n_compounds)))).write_csv(home / "T2.csv")
        del rows
        started, watch = time.monotonic(), Watch()
        before = _resident_mb("self")
        watch.start()
        tables = (home / "T0.csv", home / "T1.csv", home / "T2.csv")
        settings = Preparation(chemistry=Chemistry(tautomers="keep"))
        folder = prepare(*tables, settings, SEED, home / "prepared", workers=given.workers)
        peak, seconds = watch.end(), time.monotonic() - started
        summary = read_summary(folder)
    table = Table(title=f"{n_compounds:,} structures, {n_rows:,} activities, {given.workers} workers")
    for column in ("", "ours", "limit", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("peak MB", f"{peak:,.0f}", f"{LIMIT_MB:,.0f}", f"{LIMIT_MB / peak:.2f}")
    table.add_row("MB before", f"{before:,.0f}")
    table.add_row("wall seconds", f"{seconds:,.0f}")
    table.add_row("rows of x", f"{summary['compounds']['rows']:,}")
    table.add_row("labels", f"{summary['classification']['labels']['all']:,}")
    table.add_row("regression values", f"{summary['regression']['values']:,}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
