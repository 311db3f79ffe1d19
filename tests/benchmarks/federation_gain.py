"""Gain of federation: each partner alone, all in one process, and the rounds of the protocol, in one table.

Arms: *strongest* (each assay's strongest local model: Gaussian process, forest or their mean, chosen inside the
training folds; first in `--arms` it is what all others are compared with); *local* (the network alone); *joint* (one
trunk, private heads, every step takes a batch of every partner, one process); *federated* (the rounds' own code;
sealing replaced by its exact integer arithmetic, which test_clear_rounds.py proves equal); *pooled* (joint, with
equal tasks at several partners as one, by the truth no partner has); *take-home* (the models of single assays on the
federated trunk, and as each partner's gate keeps them); *cross-validated* (the same, the kind and whether the trunk is
used chosen by cross-validation in the training folds, though the trunk has seen them); *pooled models* (those of
single assays, fitted to all partners' rows of a target); *target models* (take-home with one ridge for each target that
`--min-holders` partners measure, from sums in the protocol's fixed point: `gain/target_models.py`); *shuffled*
(federated, all other partners' training labels permuted: must show no gain).
Every partner takes the same number of optimiser steps in every arm. Choose settings with `--fold validation`; look at
`--fold test` once. With `--regression-weight` all arms train regression heads too (private in *joint*, by target in
*pooled*), and a second table scores them. With `--catalogue` head rows of tasks that partners have in common are
shared too; its kinds are in `gain/catalogue.py`. With `--average-seeds` the mean of the seeds' predictions is scored
too, *local*'s as well.
Without arguments, a small example on the public MoleculeACE tables; `--data dev_p5` is the study's.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the modules of the tests

from partners.target_models.conjugate_gradients import RidgeSettings
from tests.benchmarks.gain.catalogue import KINDS, held_catalogue
from tests.benchmarks.gain.gains import OF_REGRESSIONS, Gain, gain, gains_by_group, gated, gates
from tests.benchmarks.gain.partners import Partner, load_partners, tables_of
from tests.benchmarks.gain.runs import Setting, obtain
from tests.benchmarks.gain.scores import FOLDS, Scores, averaged
from tests.benchmarks.gain.target_models import USES

ARMS = (
    "strongest",
    "local",
    "joint",
    "federated",
    "take-home",
    "cross-validated",
    "pooled",
    "pooled models",
    "shuffled",
    "target models",
)
OF_ROUNDS = ("federated", "take-home", "cross-validated", "shuffled", "target models")
OF_ASSAYS = ("strongest", "take-home", "cross-validated", "pooled models", "target models")
MODELS_VERSION = 2  # of the models of single assays: kept runs of another are done again

Line = tuple[str, Sequence[Scores]]  # of a table: its name and its runs, one for each seed


def arguments() -> argparse.Namespace:
    """Parse the command line; a setting with several values is compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo", help="demo, dev_p3, dev_p5, dev_p10, dev_sparse_p5 or admet_p4")
    parser.add_argument("--shared", type=Path, help="folder with dev_p3, ... (default: HOCKET_SHARED/data)")
    parser.add_argument("--bits", type=int, default=4096)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of every partner in every round")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--arms",
        nargs="+",
        choices=ARMS,
        default=["strongest", "local", "joint", "federated", "take-home", "pooled", "pooled models"],
    )
    parser.add_argument("--server-rate", type=float, nargs="+", default=[2.0])
    parser.add_argument("--method", choices=("mean", "momentum", "adam"), default="mean")
    parser.add_argument("--weights", choices=("equal", "size"), nargs="+", default=["size"])
    parser.add_argument("--seal-bits", type=int, choices=(16, 12, 8), default=16)
    parser.add_argument("--dropout", type=float, default=0.6)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--honest", nargs="+", help="shuffled: these partners in turn (default: all)")
    parser.add_argument("--regression-weight", type=float, default=0.0, help="train regression heads too; 0: none")
    parser.add_argument("--regression-rows", action="store_true", help="share these heads' rows too, with a catalogue")
    parser.add_argument("--catalogue", choices=("none", *KINDS), nargs="+", default=["none"], help="shared head rows")
    parser.add_argument("--min-holders", type=int, default=3, help="partners that hold a shared row, 2 or more")
    parser.add_argument("--target-use", choices=USES, nargs="+", default=["mean"], help="of target models")
    parser.add_argument("--target-weight", type=float, nargs="+", default=[2 / 3], help="of target models in the mean")
    parser.add_argument("--target-penalty", type=float, nargs="+", default=[RidgeSettings().penalty])
    parser.add_argument("--target-steps", type=int, nargs="+", default=[RidgeSettings().n_steps])
    parser.add_argument("--descriptors", action="store_true", help="descriptors beside the fingerprint, for forests")
    parser.add_argument("--average-seeds", action="store_true", help="also score the mean of the seeds' predictions")
    parser.add_argument("--fold", choices=tuple(FOLDS), default="validation")
    parser.add_argument("--by-target", action="store_true", help="also the scores in regression of each target")
    parser.add_argument("--least", type=int, default=10, help="labels of both classes that a scored task has")
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables and runs")
    return parser.parse_args()


def settings(asked: argparse.Namespace, arm: str) -> Iterator[list[Setting]]:
    """Settings of an arm, each as a list over seeds."""
    common = {
        "arm": arm, "data": asked.data, "bits": asked.bits, "hidden": tuple(asked.hidden), "rounds": asked.rounds,
        "steps": asked.steps, "dropout": asked.dropout, "batch": asked.batch, "learning_rate": asked.learning_rate,
        "weight_decay": asked.weight_decay, "regression_weight": asked.regression_weight,
    }  # fmt: skip
    if arm in OF_ASSAYS:
        common |= {"descriptors": asked.descriptors, "models": MODELS_VERSION}
    if arm not in OF_ROUNDS:
        yield [Setting(**common, seed=seed) for seed in asked.seeds]
        return
    common |= {"method": asked.method, "seal_bits": asked.seal_bits}
    if arm == "shuffled":
        common["honest"] = tuple(asked.honest) if asked.honest else None
    for rate, weights, catalogue in product(asked.server_rate, asked.weights, asked.catalogue):
        rows = {}
        if catalogue != "none":
            rows = {"catalogue": catalogue, "min_holders": asked.min_holders, "regression_rows": asked.regression_rows}
        for extra in _target_settings(asked) if arm == "target models" else [{}]:
            yield [
                Setting(**common, **rows, **extra, server_rate=rate, weights=weights, seed=seed) for seed in asked.seeds
            ]


def _target_settings(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for steps, penalty, use in product(asked.target_steps, asked.target_penalty, asked.target_use):
        ridges = RidgeSettings(penalty=penalty, n_steps=steps)
        for weight in asked.target_weight if use.endswith("mean") else [0.0]:
            yield {"ridges": ridges, "use": use, "target_weight": weight, "target_holders": asked.min_holders}


def lines(asked: argparse.Namespace, partners: Mapping[str, Partner], work: Path, console: Console) -> Iterator[Line]:
    """Run all arms, first the one that gains are over, and print the result of each as soon as it is done."""
    local: list[Scores] = []
    reference = "strongest" if "strongest" in asked.arms else "local"
    for arm in [reference, *(arm for arm in asked.arms if arm != reference)]:
        for chosen in settings(asked, arm):
            done = []
            for setting in chosen:
                done.append(obtain(setting, partners, work / "runs", predictions=asked.average_seeds))
                console.print(f"{setting.label}, seed {setting.seed}: {_course(done[-1])}", style="dim")
            label, local = chosen[0].label, local or done
            if arm in OF_ROUNDS and reference != arm:
                results = gates(done, local, partners)
                said = ", ".join(f"{name} {'/'.join(r.outcome for r in seeds)}" for name, seeds in results.items())
                console.print(f"{label}: gates say federated is: {said}", style="dim")
            yield label, done
            if arm in {"take-home", "target models"} and reference == "strongest":
                yield f"{label}, as the gate keeps", gated(done, local, partners)
            if asked.average_seeds and len(done) > 1:
                yield f"{label}, mean of {len(done)} seeds", [averaged(done, partners)]


def class_table(found: Sequence[Line], partners: Mapping[str, Partner], asked: argparse.Namespace) -> Table:
    """Gains of every line over the first one; by partner those in AUC-PR."""
    least = f"{asked.least}+ labels" if asked.least > 1 else "all"
    means = ["AUC-PR", f"gain, {least}", "gain, all tasks", "AUC-ROC", f"gain, {least}"]
    table = Table("", *means, "CPU s/round", "MB up, down", *partners, title=_title(asked))
    local = found[0][1]
    for label, runs in found:
        precision, wide, roc = (
            gain(runs, local, partners, asked.fold, metric, least)
            for metric, least in (
                ("average_precision", asked.least),
                ("average_precision", 1),
                ("roc_auc", asked.least),
            )
        )
        cells = [f"{precision.mean:.4f}", _interval(precision), _interval(wide), f"{roc.mean:.4f}", _interval(roc)]
        table.add_row(label, *cells, *_costs(runs[0].facts), *_by_partner(precision, partners))
    return table


def regression_table(found: Sequence[Line], partners: Mapping[str, Partner], asked: argparse.Namespace) -> Table:
    """Gains in regression tasks of every line with values over the first one; by partner those in R2."""
    least = f"{2 * asked.least}+ values"
    names = {"r2": "R2", "spearman": "Spearman", "pearson": "Pearson", "mae": "mean absolute error"}
    columns = [part for name in names.values() for part in (name, f"gain, {least}")]
    table = Table("", *columns, *partners, title=_title(asked))
    for label, runs in found:
        known = [each for each in names if _has(each, runs) and _has(each, found[0][1])]
        gains = {each: gain(runs, found[0][1], partners, asked.fold, each, asked.least) for each in known}
        if gains:
            parts = [
                (f"{gains[each].mean:.4f}", _interval(gains[each])) if each in gains else ("", "") for each in names
            ]
            table.add_row(label, *(cell for pair in parts for cell in pair), *_by_partner(gains["r2"], partners))
    return table


def _has(metric: str, runs: Sequence[Scores]) -> bool:
    return any(name.endswith(f"/{metric}") for name in runs[0].tasks)


def group_table(found: Sequence[Line], partners: Mapping[str, Partner], asked: argparse.Namespace) -> Table:
    """Gains in AUC-PR of every line over the first one, by own training labels and by the number of other holders."""
    parts = {label: gains_by_group(runs, found[0][1], partners, asked.fold, asked.least) for label, runs in found[1:]}
    groups = next(iter(parts.values()))
    table = Table("", *(f"{group.name}, n={group.n_tasks}" for group in groups), title=_title(asked))
    for label, gains in parts.items():
        cells = ("{:+.3f} ({:+.3f}, {:+.3f})".format(group.gain, *group.interval) for group in gains)
        table.add_row(label, *cells)
    return table


def target_table(found: Sequence[Line], partners: Mapping[str, Partner], asked: argparse.Namespace) -> Table:
    """Each target's mean scores over partners, of every line with values."""
    table = Table("target", "", "R2", "Spearman", "Pearson", "mean absolute error", title=_title(asked))
    targets = sorted({target for partner in partners.values() for target in partner.regressions.targets})
    for target, (label, runs) in product(targets, found):
        cells = [_mean_of_target(target, runs[0], partners, asked, metric) for metric in OF_REGRESSIONS]
        if any(cells):
            table.add_row(target, label, *cells)
    return table


def _mean_of_target(
    target: str, run: Scores, partners: Mapping[str, Partner], asked: argparse.Namespace, metric: str
) -> str:
    values = []
    for name, partner in partners.items():
        scores, n_exact = run.of(name, asked.fold, metric), run.of(name, asked.fold, "n_exact")
        if scores is not None and n_exact is not None and target in partner.regressions.targets:
            column = partner.regressions.targets.index(target)
            values += [float(scores[column])] if n_exact[column] >= 2 * asked.least else []
    return f"{sum(values) / len(values):.3f} ({len(values)})" if values else ""


def _title(asked: argparse.Namespace) -> str:
    title = f"{asked.data}, {asked.bits} bits, hidden {asked.hidden}, dropout {asked.dropout}, {asked.fold} fold"
    reference = "strongest" if "strongest" in asked.arms else "local"
    return f"{title}, seeds {asked.seeds}; gains over {reference} with 95 % intervals over targets"


def _costs(facts: Mapping[str, float]) -> tuple[str, str]:
    if not facts:  # no rounds
        return "", ""
    is_sent = math.isfinite(facts["cosine_last"])
    sent = f"{facts['bytes_up'] / 1e6:.1f}, {facts['bytes_down'] / 1e6:.1f}" if is_sent else ""
    return f"{facts['seconds']:.2f}", sent


def _by_partner(found: Gain, partners: Iterable[str]) -> Iterator[str]:
    parts = found.by_partner
    return ("{:+.4f} ({:+.3f}, {:+.3f})".format(*parts[name]) if name in parts else "" for name in partners)


def _interval(found: Gain) -> str:
    low, high = found.interval
    return f"{found.gain:+.4f} ({low:+.4f}, {high:+.4f}) n={found.n_tasks}"


def _course(scores: Scores) -> str:
    """Print the validation fold's scores and measurements of the rounds."""
    if not scores.facts:
        return "no rounds"
    curve = " ".join(f"{n_done}:{value:.4f}" for n_done, value in scores.curve)
    first, last, clipped = (scores.facts[name] for name in ("cosine_first", "cosine_last", "clipped"))
    rounds = f"; cosine of changes {first:.3f} to {last:.3f}, clipped {clipped:.0e}"
    return f"validation AUC-PR after rounds {curve}{rounds if math.isfinite(last) else ''}"


def main() -> None:
    """Prepare, run, print."""
    asked = arguments()
    shared = asked.shared or Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data"
    console = Console(width=None if sys.stdout.isatty() else 300)
    with tempfile.TemporaryDirectory() as fresh:
        work = asked.work or Path(fresh)
        tables = tables_of(asked.data, work, shared)
        partners = load_partners(
            tables,
            asked.bits,
            work,
            lambda text: console.print(text, style="dim"),
            descriptors=asked.descriptors,
        )
        for kind in (kind for kind in asked.catalogue if kind != "none"):
            console.print(_coverage(kind, partners, asked.min_holders), style="dim")
        found = list(lines(asked, partners, work, console))
        console.print(class_table(found, partners, asked))
        if len(found) > 1:
            console.print(group_table(found, partners, asked))
        if asked.regression_weight or set(asked.arms) & set(OF_ASSAYS):
            console.print(regression_table(found, partners, asked))
        if asked.by_target:
            console.print(target_table(found, partners, asked))


def _coverage(kind: str, partners: Mapping[str, Partner], min_holders: int) -> str:
    rows = held_catalogue(kind, partners, min_holders)
    n_scored = sum(int(partner.classes.is_scored.sum()) for partner in partners.values())
    return (
        f"catalogue {kind}: {rows.n_rows} tasks at 2 or more partners; {len(rows.counts.shared_rows)} at {min_holders} "
        f"or more are shared, {rows.n_heads} of {n_scored} heads"
    )


if __name__ == "__main__":
    main()
