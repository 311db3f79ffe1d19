"""What the sums of target models tell: membership of compounds, their values, and columns that one partner fills alone.

Of the measurements of each target that three partners or more have, a random half is left out; the ridges are those of
the other half. Attacked are the opened sums, as every partner has them, over all measured compounds of the target:

fit   : how well the ridge fits a compound, by one who knows structure and value
sum   : the sum of values alone, sum F'Cy, by one who has a list of structures and no value: least squares finds for
        each structure on the list the value with which it enters the sum, which is 0 for those that do not. The list
        is all of the target's compounds, half of them in the sum; or a random half of these, so that as many compounds
        are in the sum and not on the list
ridge : the same on the last ridge, as if no sum had been opened but the result
noise : Gaussian noise on every sum: of each feature that many log units on the values, and that share of the
        direction's length on the products. Epsilon is that of one measurement of one target with values within
        2 log units of their assay's mean, over all sums (zero-concentrated differential privacy, delta 1e-6)

AUC is 0.5 where nothing is told. Rank correlation of the ridge's predictions with the values of the validation fold is
what the noise costs. usage: target_models/privacy.py [--data dev_p5] [--shared FOLDER] [--work FOLDER] [--every 4]
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import linalg
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # for the modules of the tests

from partners.audit.rates import Rates, membership_rates
from partners.target_models.conjugate_gradients import Ridges, RidgeSettings
from partners.target_models.own_part import OwnPart, TargetValues, features_of, predict_targets
from tests.benchmarks.gain.assay_models import assay_data, assays_by_target
from tests.benchmarks.gain.partners import Partner, load_partners, tables_of
from tests.benchmarks.gain.target_models import HASHES

MIN_HOLDERS, N_BITS, DELTA = 3, 4096, 1e-6
NOISES = (0.0, 0.01, 0.03, 0.1, 1.0)
LARGEST_VALUE = 2.0  # log units from an assay's mean, of the measurement that epsilon protects
_ITERATIONS = 60  # of least squares
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Target:
    """One target: which measurements are in its sums, and those of the validation fold."""

    parts: Mapping[str, OwnPart]  # of each partner, with the half that is in
    buckets: NDArray[np.uint8]  # (n, n_hashes) of all its training measurements
    values: Floats  # (n,) minus the mean of their assay
    is_in: NDArray[np.bool_]  # (n,)
    held_out: tuple[tuple[NDArray[np.uint8], Floats], ...]  # by partner: buckets and values of the validation fold


@dataclass(frozen=True, eq=False)
class Told:
    """Scores of the attacks on one target."""

    fit: Floats  # (n,)
    found: Floats  # (n,) least squares on the sum of values, all on the list
    ridge: Floats  # (n,) the same on the ridge
    half: Floats  # (n,) the same, half of them on the list; NaN for those that are not
    rank: float  # mean correlation with the values of the validation fold


def targets_of(partners: Mapping[str, Partner], every: int) -> Iterator[Target]:
    """Every n-th of the common targets."""
    own = {name: assay_data(partner) for name, partner in partners.items()}
    buckets = {name: HASHES.buckets(data.data.x) for name, data in own.items()}
    common = [held for held in assays_by_target(partners, own).values() if len(held) >= MIN_HOLDERS]
    for number, held in enumerate(common[::every]):
        rng = np.random.default_rng(number)
        parts, measured, values, is_in, held_out = {}, [], [], [], []
        for name, (_, assay) in held.items():
            data, training = own[name].data, own[name].training_part(assay)
            inside = rng.random(training.rows.size) < 0.5
            every_value = TargetValues.of([training], own[name].inputs(np.zeros(0, np.int64)))
            some = TargetValues.of([training.only(inside)], own[name].inputs(np.zeros(0, np.int64)))
            parts[name] = OwnPart(HASHES, buckets[name], {0: some})
            measured.append(buckets[name][training.rows])
            values.append(every_value.values - every_value.values.mean())
            is_in.append(inside)
            validation = data.folding[assay.rows] == data.validation_fold
            held_out.append((buckets[name][assay.rows[validation]], assay.signs[0] * assay.values[validation]))
        yield Target(parts, np.concatenate(measured), np.concatenate(values), np.concatenate(is_in), tuple(held_out))


def attacked(target: Target, noise: float, rng: np.random.Generator) -> Told:
    """The sums of one target with noise, and what they tell."""
    settings, n = RidgeSettings(), HASHES.n_features
    total = sum((part.values_part(0) for part in target.parts.values()), np.zeros(n)) + rng.normal(0, noise, n)
    ridges = Ridges.begin(total[None, :], settings)
    for _ in range(settings.n_steps):
        direction = ridges.direction[0]
        length = float(np.linalg.norm(direction))
        product = sum((part.product_part(0, direction) for part in target.parts.values()), np.zeros(n))
        ridges = ridges.stepped((product + rng.normal(0, noise * length, n))[None, :])
    weights = ridges.weights[0]
    predicted = predict_targets(HASHES, target.buckets, weights[None, :])[:, 0]
    listed = rng.random(target.is_in.size) < 0.5
    half = np.full(target.is_in.size, np.nan)
    half[listed] = _entering(target.buckets[listed], total)
    return Told(
        fit=-np.abs(target.values - predicted),
        found=_entering(target.buckets, total),
        ridge=_entering(target.buckets, weights.astype(np.float64)),
        half=half,
        rank=_rank(target, weights),
    )


def _entering(buckets: NDArray[np.uint8], total: Floats) -> Floats:
    """The value with which each structure of a list enters a sum, (n,), by least squares."""
    entering: Floats = linalg.lsqr(features_of(HASHES, buckets).T, total, damp=0.1, iter_lim=_ITERATIONS)[0]
    return entering


def _rank(target: Target, weights: NDArray[np.float32]) -> float:
    found = [
        spearmanr(predict_targets(HASHES, buckets, weights[None, :])[:, 0], values).statistic
        for buckets, values in target.held_out
        if values.size >= 10 and np.ptp(values) > 0
    ]
    return float(np.nanmean(found)) if found else math.nan


def filled_columns(target: Target) -> Floats:
    """Share of the features that are in a target's sums by the number of partners that fill them: 1, 2, more."""
    held = [part.held[0].compounds for part in target.parts.values()]
    filled = [
        np.bincount(features_of(HASHES, part.buckets[rows]).indices, minlength=HASHES.n_features) > 0
        for part, rows in zip(target.parts.values(), held, strict=True)
    ]
    n_partners = np.sum(filled, axis=0)
    counts = np.array([(n_partners == 1).sum(), (n_partners == 2).sum(), (n_partners > 2).sum()], np.float64)
    return counts / counts.sum()


def epsilon(noise: float) -> float:
    """Epsilon of all sums for one measurement; a centred value moves a sum by twice its size at most."""
    if noise == 0:
        return math.inf
    moved = (2 * LARGEST_VALUE) ** 2 + RidgeSettings().n_steps * 2.0**2
    rho = moved / (2 * noise**2)
    return rho + 2 * math.sqrt(rho * math.log(1 / DELTA))


def _shown(rates: Rates) -> list[str]:
    at = next(rate for rate in rates.at if rate.false_positive_rate == 0.01)
    positive = "" if at.true_positive_rate is None else f"{at.true_positive_rate:.2f}"
    return [f"{rates.auc:.3f} [{rates.auc_interval[0]:.3f}, {rates.auc_interval[1]:.3f}]", positive]


def main() -> None:
    """Prepare, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="dev_p5")
    parser.add_argument("--shared", type=Path, help="folder with dev_p5, ... (default: HOCKET_SHARED/data)")
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables")
    parser.add_argument("--every", type=int, default=4, help="every n-th target is attacked")
    asked = parser.parse_args()
    shared = asked.shared or Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data"
    if not shared.exists():
        Console().print(f"privacy.py: skipped, needs {shared} (set HOCKET_SHARED)")
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory() as fresh:
        work = asked.work or Path(fresh)
        partners = load_partners(tables_of(asked.data, work, shared), N_BITS, work, lambda _: None)
        targets = list(targets_of(partners, asked.every))
    shares = np.mean([filled_columns(target) for target in targets], axis=0)
    console.print(f"{len(targets)} targets; features filled by one, two, more partners: {shares.round(3)}")
    columns = [
        "fit: AUC",
        "TPR at FPR 1 %",
        "sum, all listed: AUC",
        "TPR at 1 %",
        "r of values",
        "half listed: AUC",
        "TPR at 1 %",
    ]
    columns += ["ridge, all listed: AUC", "TPR at 1 %", "rank correlation"]
    table = Table("noise", "epsilon", *columns, title=asked.data)
    is_in = np.concatenate([target.is_in for target in targets])
    values = np.concatenate([target.values for target in targets])
    for noise in NOISES:
        told = [attacked(target, noise, np.random.default_rng([7, number])) for number, target in enumerate(targets)]
        fit, found, half, ridge = (
            np.concatenate([getattr(one, name) for one in told]) for name in ("fit", "found", "half", "ridge")
        )
        listed = np.isfinite(half)
        cells = _shown(membership_rates(fit, is_in)) + _shown(membership_rates(np.abs(found), is_in))
        cells += [f"{np.corrcoef(found[is_in], values[is_in])[0, 1]:.2f}"]
        cells += _shown(membership_rates(np.abs(half[listed]), is_in[listed]))
        cells += _shown(membership_rates(np.abs(ridge), is_in))
        rank = np.nanmean([one.rank for one in told])
        table.add_row(f"{noise:g}", f"{epsilon(noise):.0f}", *cells, f"{rank:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
