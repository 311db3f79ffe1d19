"""CPU time of the models of single assays of whole partners: Gaussian processes and forests, with limits for dev_p5.

Counted are all that a partner's run fits: the choice by cross-validation, the strongest local models and the take-home
models. These stand on a trunk's hidden layer, here 512 units of random numbers, half of them 0: no network is trained.
As if both kinds were chosen for each assay, so no run fits more. Default: the public MoleculeACE tables, dealt out to
five partners; the limits are for `--data dev_p5`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the modules of the tests

import numpy as np
from scipy import sparse

from partners.assay_models import fitting, out_of_fold
from partners.assay_models.assays import assays_of
from partners.assay_models.choice import choose
from partners.assay_models.fitting import AssayData, fit_assay_model
from partners.assay_models.gaussian_process import MOST_ROWS
from partners.settings import LocalKind
from tests.benchmarks.gain.partners import labels_only, load_partners, tables_of

LIMITS_S = {"Gaussian processes": 120.0, "forests": 900.0}
_N_UNITS = 512
PARTS = {
    "kernel": "Gaussian processes",
    "expected_values": "Gaussian processes",
    "fit_gaussian_process": "Gaussian processes",
    "fit_forest": "forests",
}


def timed(call: Callable[..., Any], part: str, seconds: Counter[str]) -> Callable[..., Any]:
    """The call, whose CPU seconds are added to a part."""

    @wraps(call)
    def counted(*args: Any) -> Any:  # noqa: ANN401 -- passed on
        before = time.process_time()
        try:
            return call(*args)
        finally:
            seconds[part] += time.process_time() - before

    return counted


def fit_all(own: AssayData) -> None:
    """Choose by cross-validation, then fit both kinds to every assay, without and on a trunk, whatever was chosen."""
    known, y = own.data.training_rows, sparse.csc_matrix(own.data.y)
    alone = own.inputs(known)
    hidden = np.random.default_rng(0).standard_normal((known.size, _N_UNITS), dtype=np.float32)
    on_trunk = replace(alone, hidden=np.maximum(hidden, np.float32(0)))
    for number, assay in enumerate(map(own.training_part, own.assays)):
        mine = np.searchsorted(known, assay.rows)
        if choose(assay, alone[mine], y, own.data.folding[assay.rows], number).kind == "network":
            continue
        kind: LocalKind = "mean" if assay.rows.size <= MOST_ROWS else "forest"
        for inputs in (alone, on_trunk):
            fit_assay_model(assay, kind, inputs[mine], known, number)


def main() -> None:
    """Prepare, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data")
    parser.add_argument("--bits", type=int, default=4096)
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables")
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    seconds: Counter[str] = Counter()
    for module in (out_of_fold, fitting):
        for name, part in PARTS.items():
            setattr(module, name, timed(getattr(module, name), part, seconds))
    with tempfile.TemporaryDirectory() as fresh:
        work = asked.work or Path(fresh)
        partners = load_partners(tables_of(asked.data, work, asked.shared), asked.bits, work, console.print)
    n_assays = 0
    with threadpool_limits(limits=1):
        for partner in partners.values():
            data = labels_only(partner.training_set)
            own = AssayData(data, assays_of(partner.prepared, data))
            n_assays += len(own.assays)
            fit_all(own)
    table = Table("", "CPU s", "limit", "ratio", title=f"{asked.data}: {n_assays} assays of {len(partners)} partners")
    for part, limit in LIMITS_S.items():
        table.add_row(part, f"{seconds[part]:.1f}", f"{limit:g}", f"{seconds[part] / limit:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
