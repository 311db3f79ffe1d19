"""What an assay's models make of bounds: left out, taken as values, or replaced by what is expected beyond them.

Measured values of the training folds beyond a limit (the lowest 30 %, as assays have detection limits) become bounds.
Models of each assay are fitted three ways, and scored on the exact values of the validation fold, beside models that
have seen all exact values. Default: P03 and P04 of `admet_p4`; no test fold is looked at.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the modules of the tests

from partners.assay_models.assays import Assay, assays_of
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from tests.benchmarks.gain.partners import Partner, labels_only, load_partners

WAYS = ("all exact", "left out", "as values", "expected beyond the bound")
_SHARE = 0.3  # of the training values that become bounds


def ways_of(assay: Assay) -> dict[str, Assay]:
    """The training folds' measurements of an assay as each way takes them; the last is filled in later."""
    limit = float(np.quantile(assay.values, _SHARE))
    is_bound = assay.values < limit
    values, marks = np.where(is_bound, limit, assay.values), np.where(is_bound, -1, 0).astype(np.int8)
    censored = Assay(assay.input_assay_id, assay.rows, values, marks, assay.tasks, assay.signs, assay.regression)
    return dict(zip(WAYS, (assay, assay.only(~is_bound), censored, censored), strict=True))


def predictions(way: str, assay: Assay, inputs: Inputs, some: Inputs) -> NDArray[np.float64]:
    """Mean of Gaussian process and forest, fitted one way, for some compounds."""
    known = inputs[assay.rows]
    similarity, values = kernel(known, known), assay.values
    if way == WAYS[-1]:
        values = expected_values(similarity, values, assay.marks)
    process = fit_gaussian_process(similarity, values, 1).predict(kernel(some, known))
    return (process + fit_forest(known, values, 0).values(some)) / 2


def scores(partner: Partner) -> Iterator[tuple[str, float, float, float]]:
    """Way, R2, Spearman and average precision (mean over thresholds) of every assay and way."""
    data = labels_only(partner.training_set)
    inputs, y = Inputs.of(data.x), data.y.tocsc()
    for assay in assays_of(partner.prepared, data):
        fold = data.folding[assay.rows]
        training = assay.only(~np.isin(fold, (data.test_fold, data.validation_fold)))
        held_out = assay.only((fold == data.validation_fold) & (assay.marks == 0))
        if held_out.rows.size < 20 or not 50 <= training.rows.size <= MOST_ROWS:
            continue
        labels = [y[held_out.rows][:, [task]].toarray().ravel() for task in assay.tasks]
        for way, measured in ways_of(training).items():
            predicted = predictions(way, measured, inputs, inputs[held_out.rows])
            r2 = 1 - float(((predicted - held_out.values) ** 2).mean() / held_out.values.var())
            precision = [
                average_precision_score(label[label != 0] > 0, sign * predicted[label != 0])
                for label, sign in zip(labels, assay.signs, strict=True)
                if {-1, 1} <= set(label.tolist())
            ]
            yield way, r2, float(spearmanr(predicted, held_out.values)[0]), float(np.mean(precision))


def main() -> None:
    """Print a table of means over assays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="admet_p4")
    parser.add_argument("--partners", nargs="+", default=["P03", "P04"])
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data")
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables")
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not (asked.shared / asked.data).is_dir():
        console.print(f"{asked.shared / asked.data}: no such folder; nothing is measured (see --shared)")
        return
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as fresh:
        partners = load_partners(asked.shared / asked.data, 4096, asked.work or Path(fresh), console.print)
    for name in asked.partners:
        for way, *numbers in scores(partners[name]):
            found[way].append(tuple(numbers))
    n_assays = len(found[WAYS[0]])
    table = Table("bounds", "R2", "Spearman", "AP", title=f"{asked.data}, {n_assays} assays, validation fold")
    for way, rows in found.items():
        table.add_row(way, *(f"{mean:.3f}" for mean in np.mean(rows, axis=0)))
    console.print(table)


if __name__ == "__main__":
    main()
