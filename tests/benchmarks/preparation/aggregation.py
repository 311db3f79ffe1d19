"""Reading, checking and merging ten million activities: groups per second, CPU seconds and peak memory.

The tables are made from a partner's real T0 and T1 (tests/support/data_prep/large_tables.py). Each measurement runs in
a fresh process, with one polars thread and with two.

usage: aggregation.py FOLDER_OF_T0_T1 [--rows 1e7] [--compounds 1e6] [--seed 1]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # run as a script

from data_prep.labels.activities import credible
from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.replicates import aggregate
from data_prep.settings import Activities
from data_prep.tables.tables import read_activities, read_assays
from tests.support.data_prep.large_tables import write_large_tables

SHARED = Path(os.environ.get("HOCKET_SHARED", Path(__file__).resolve().parents[4] / "shared"))
GROUPS_PER_S, CPU_S, PEAK_MB = 500_000.0, 60.0, 4096.0  # the limits, for ten million rows


def measure(folder: Path, n_compounds: int) -> dict[str, float]:
    """From files to values in this process."""
    settings = Activities()
    assays, activities = read_assays(folder / "T0.csv"), read_activities(folder / "T1.csv")
    read_s = time.process_time()
    ids = pl.format("C{}", pl.int_range(n_compounds)).cast(pl.Categorical)
    row_of = pl.select(ids.alias("input_compound_id"), pl.int_range(n_compounds, dtype=pl.UInt32).alias("row"))
    measured = activities.accepted.join(row_of, on="input_compound_id", how="left", maintain_order="left")
    believed = credible(settle_catalogue(assays.accepted), measured, settings)
    del measured
    started, started_wall = time.process_time(), time.monotonic()
    values = aggregate(believed.accepted, settings)
    return {
        "groups": values.accepted.height,
        "aggregate_s": time.process_time() - started,
        "aggregate_wall_s": time.monotonic() - started_wall,
        "read_s": read_s,
        "cpu_s": time.process_time(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def apart(folder: Path, n_compounds: int, threads: int) -> dict[str, float]:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, str(folder), "--compounds", str(n_compounds), "--measure"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"POLARS_MAX_THREADS": str(threads)}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def show(found: dict[int, dict[str, float]], n_rows: int) -> None:
    """Print our figure, the limit and their ratio; above 1 is better."""
    table = Table(title=f"{n_rows:,} activities, {found[1]['groups']:,.0f} groups")
    for column in ("", "ours", "limit", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for threads, run in found.items():
        of = f"{threads} thread{'s' if threads > 1 else ''}"
        for clock in ("aggregate_s", "aggregate_wall_s"):
            speed = run["groups"] / run[clock]
            label = f"aggregation, groups per {'wall ' if 'wall' in clock else 'CPU '}second, {of}"
            table.add_row(label, f"{speed:,.0f}", f"{GROUPS_PER_S:,.0f}", f"{speed / GROUPS_PER_S:.2f}")
        cpu, peak = run["cpu_s"], run["peak_mb"]
        table.add_row(f"of it reading, CPU seconds, {of}", f"{run['read_s']:.1f}")
        table.add_row(f"files to values, CPU seconds, {of}", f"{cpu:.1f}", f"{CPU_S:.0f}", f"{CPU_S / cpu:.2f}")
        table.add_row(f"files to values, peak MB, {of}", f"{peak:,.0f}", f"{PEAK_MB:,.0f}", f"{PEAK_MB / peak:.2f}")
    Console(width=100).print(table)


def main() -> None:
    """Make the tables, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "data/dev_p3/P01")
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--compounds", type=float, default=1e6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", action="store_true", help="measure in this process; for the script itself")
    given = parser.parse_args()
    if not given.folder.is_dir():
        Console().print(f"aggregation.py: skipped, needs {given.folder} (set HOCKET_SHARED)")
        return
    n_rows, n_compounds = int(given.rows), int(given.compounds)
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.folder, n_compounds)))
        return
    with tempfile.TemporaryDirectory() as name:
        write_large_tables(given.folder, Path(name), n_compounds, n_rows, given.seed)
        show({threads: apart(Path(name), n_compounds, threads) for threads in (1, 2)}, n_rows)


if __name__ == "__main__":
    main()
