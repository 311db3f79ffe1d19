"""Peak memory of sealing, adding and opening, at the size of MELLODDY's largest layer: 32,000 x 6,000 parameters.

Every step runs in a process of its own; counted are the peak resident sets of that process and of all its workers, as
the kernel keeps them (VmHWM), added up. usage: secure_memory.py [millions of parameters] [partners] [bits]
"""

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the consortium of the tests

from tests.support.secure.consortium import make_consortium
from tests.support.secure.round_steps import Cost, apart, open_mean, seal_apart

CORES = len(os.sched_getaffinity(0))
AGGREGATOR_LIMIT_MB = 300.0
PARTNER_LIMIT = 3.0  # times the trunk


def main(millions: str = "192", partners: str = "10", bits: str = "16") -> None:
    """Measure and print."""
    n_params, n_partners = int(float(millions) * 1e6), int(partners)
    trunk_mb = 4 * n_params / 2**20
    consortium = make_consortium(n_partners, bits=int(bits), max_partners=n_partners)
    table = Table(title=f"{n_params / 1e6:g} M parameters ({trunk_mb:.0f} MB), {n_partners} partners, {bits} bits")
    for column in ("", "wall s", "peak MB", "limit MB"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        files, total = [Path(name) / partner for partner in consortium.partners], Path(name) / "sum"
        sealed = [seal_apart(consortium, file.name, n_params, file, workers=CORES) for file in files]
        _row(table, "partner: seal", sealed[0], PARTNER_LIMIT * trunk_mb)
        _row(table, "aggregator: add", apart(lambda: consortium.add(files, total, workers=CORES)), AGGREGATOR_LIMIT_MB)
        opened = apart(lambda: open_mean(consortium, total, n_params, workers=CORES))
        _row(table, "partner: open", opened, PARTNER_LIMIT * trunk_mb)
    Console(width=100).print(table)


def _row(table: Table, what: str, cost: Cost, limit: float) -> None:
    table.add_row(what, f"{cost.wall_s:.0f}", f"{cost.peak_mb:.0f}", f"{limit:.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
