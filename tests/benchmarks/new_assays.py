"""New assays on the federated trunk: what it is worth for an assay that no partner brought to the federation.

Some assays of two partners are taken out of all training; every second one's target is taken out at all partners. After
the rounds 20, 50, 100 and 200 of each one's training compounds are drawn, three times, and models are fitted as
`hocket extend` does. Scored is average precision on a held-out fold, over the best model without the trunk, which is
chosen in the same way. Choose with `--fold validation`; look at `--fold test` once.
"""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the modules of the tests

from partners.assay_models.assays import Assay, assays_of
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.assay_models.out_of_fold import predicted_out_of_fold
from partners.assay_models.yardstick import Yardstick
from partners.network.inference import predict_hidden
from partners.new_assays.folds import cross_validation_folds
from partners.new_assays.kept_model import choose_new
from partners.new_assays.new_assay import NewAssay
from partners.settings import LocalKind
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.gain.catalogue import HeldCatalogue
from tests.benchmarks.gain.gains import interval
from tests.benchmarks.gain.partners import Partner, labels_only, load_partners, tables_of
from tests.benchmarks.gain.runs import Setting, agreed_of, members_of
from tests.benchmarks.gain.scores import FOLDS
from tests.support.clear_rounds import clear_rounds

SIZES, DRAWS = (20, 50, 100, 200), 3
_FEWEST_OF_CLASS = 10  # of the held-out fold, in a scored task

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One task of one draw."""

    n_labels: int
    known: bool  # another partner has trained on the target
    target: str
    without: float  # average precision of the best model without the trunk
    kept: float  # of the one that is kept
    on_trunk: float  # of the best one on the trunk, kept or not


def taken_out(partner: Partner, n_assays: int, fold: int, rng: np.random.Generator) -> list[Assay]:
    """Assays with 200 training compounds and a scored task, drawn at random."""
    data = labels_only(partner.training_set)
    y = data.y[data.rows_of(fold)].toarray()
    enough = np.minimum((y > 0).sum(axis=0), (y < 0).sum(axis=0)) >= _FEWEST_OF_CLASS
    large = [
        assay
        for assay in assays_of(partner.prepared, data)
        if enough[list(assay.tasks)].any() and (data.folding[assay.rows] > 1).sum() >= max(SIZES)
    ]
    return [large[i] for i in sorted(rng.permutation(len(large))[:n_assays])]


def without(data: TrainingSet, tasks: list[int]) -> TrainingSet:
    """The training set without the labels of some tasks, whose columns stay empty."""
    y = sparse.csc_matrix(data.y)
    kept = np.ones(y.nnz, dtype=bool)
    for task in tasks:
        kept[y.indptr[task] : y.indptr[task + 1]] = False
    column = np.repeat(np.arange(y.shape[1]), np.diff(y.indptr))[kept]
    return replace(data, y=sparse.csr_matrix((y.data[kept], (y.indices[kept], column)), shape=y.shape))


def predicted(kind: LocalKind, assay: Assay, known: Inputs, some: Inputs) -> Floats:
    """Values of some compounds from a model of this kind."""
    similarity = kernel(known, known)
    values = expected_values(similarity, assay.values, assay.marks, known.n_kernels)
    process = fit_gaussian_process(similarity, values, known.n_kernels).predict(kernel(some, known))
    if kind == "gaussian process":
        return process
    forest = fit_forest(known, values, 0).values(some)
    return forest if kind == "forest" else (process + forest) / 2


def rows_of(
    partner: Partner, assay: Assay, inputs: Inputs, fold: int, others: set[str], rng: np.random.Generator
) -> Iterator[Row]:
    """Every size, draw and scored task of one assay; inputs: of all the partner's compounds, with the hidden layer."""
    data = partner.training_set
    y = sparse.csc_matrix(data.y)
    held_out = assay.rows[data.folding[assay.rows] == fold]
    training = np.flatnonzero(data.folding[assay.rows] > 1)
    target = partner.classes.targets[assay.tasks[0]]
    for size in SIZES:
        for _ in range(DRAWS):
            drawn = assay.only(np.isin(np.arange(assay.rows.size), rng.choice(training, size, replace=False)))
            new = _new_assay(drawn, data)
            known, some = inputs[drawn.rows], inputs[held_out]
            folding, folds = cross_validation_folds(new.folding, 0)
            alone = predicted_out_of_fold(new.assay, known.without_hidden(), folding, 0)
            on_trunk = predicted_out_of_fold(new.assay, known, folding, 0)
            chosen = choose_new(Yardstick.of(new.assay, new.y), alone, on_trunk, folds, 0)
            before = predicted(chosen.alone, drawn, known.without_hidden(), some.without_hidden())
            after = predicted(chosen.on_trunk, drawn, known, some)
            for task, sign in zip(assay.tasks, assay.signs, strict=True):
                label = np.asarray(y[held_out][:, [task]].todense()).ravel()
                if min((label > 0).sum(), (label < 0).sum()) < _FEWEST_OF_CLASS:
                    continue
                first, second = (
                    float(average_precision_score(label[label != 0] > 0, sign * values[label != 0]))
                    for values in (before, after)
                )
                kept = second if chosen.keeps_trunk else first
                yield Row(size, target in others, target, first, kept, second)


def _new_assay(drawn: Assay, data: TrainingSet) -> NewAssay:
    columns = list(drawn.tasks)
    return NewAssay(
        assay=replace(drawn, rows=np.arange(drawn.rows.size), tasks=tuple(range(len(columns)))),
        tasks=(),
        regression_task=None,
        x=data.x[drawn.rows],
        descriptors=None,
        y=sparse.csr_matrix(data.y[drawn.rows][:, columns]),
        folding=data.folding[drawn.rows],
    )


def all_rows(asked: argparse.Namespace, partners: Mapping[str, Partner]) -> list[Row]:
    """Train without the assays that are taken out, then extend by each of them."""
    rng, fold = np.random.default_rng(asked.seed), FOLDS[asked.fold]
    out = {name: taken_out(partners[name], asked.assays, fold, rng) for name in asked.partners}
    setting = Setting(
        arm="federated", data=asked.data, bits=asked.bits, hidden=(512,), rounds=20, steps=25, batch=500,
        seed=asked.seed, server_rate=2.0, method="mean", weights="size", seal_bits=16,
    )  # fmt: skip
    members = members_of(setting, partners, HeldCatalogue())
    gone = {partners[name].classes.targets[assay.tasks[0]] for name, assays in out.items() for assay in assays[::2]}
    for name, partner in partners.items():
        tasks = {task for task, target in enumerate(partner.classes.targets) if target in gone}
        tasks |= {task for assay in out.get(name, ()) for task in assay.tasks}
        members[name] = replace(members[name], training_set=without(members[name].training_set, sorted(tasks)))
    agreed = agreed_of(setting, members, HeldCatalogue())
    state = clear_rounds(members, agreed)
    rows: list[Row] = []
    for name, assays in out.items():
        partner, others = partners[name], _trained_targets(partners, out) - gone
        hidden = predict_hidden(partner.training_set.x, state.trunk, agreed.layout.trunk, agreed.trunk)
        inputs = Inputs.of(partner.training_set.x, hidden)
        for assay in assays:
            rows += rows_of(partner, assay, inputs, fold, others, rng)
    return rows


def _trained_targets(partners: Mapping[str, Partner], out: Mapping[str, list[Assay]]) -> set[str]:
    """Targets of all assays that were trained on; of the partner itself none is left, as an assay is a target's."""
    return {
        partner.classes.targets[task]
        for name, partner in partners.items()
        for task in range(len(partner.classes.targets))
        if not any(task in assay.tasks for assay in out.get(name, ()))
    }


def table_of(rows: list[Row], title: str) -> Table:
    """Means over tasks and draws, with intervals over targets."""
    table = Table("target", "labels", "tasks", "without trunk", "kept", "gain", "always the trunk", title=title)
    groups = defaultdict(list)
    for row in rows:
        groups[row.known, row.n_labels].append(row)
    for (known, size), group in sorted(groups.items(), key=lambda item: (not item[0][0], item[0][1])):
        target = np.array([row.target for row in group])
        gain = np.array([row.kept - row.without for row in group])
        always = np.array([row.on_trunk - row.without for row in group])
        low, high = interval(gain, target)
        table.add_row(
            "others measure it" if known else "new to all",
            str(size),
            f"{len(group) // DRAWS} ({np.unique(target).size} targets)",
            f"{np.mean([row.without for row in group]):.3f}",
            f"{np.mean([row.kept for row in group]):.3f}",
            f"{gain.mean():+.3f} ({low:+.3f}, {high:+.3f})",
            f"{always.mean():+.3f}",
        )
    return table


def main() -> None:
    """Prepare, train, extend, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data")
    parser.add_argument("--bits", type=int, default=4096)
    parser.add_argument("--partners", nargs="+", default=["P02", "P03"], help="whose assays are taken out")
    parser.add_argument("--assays", type=int, default=20, help="of each of these partners")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", choices=tuple(FOLDS), default="validation")
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables")
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory() as fresh:
        work = asked.work or Path(fresh)
        partners = load_partners(tables_of(asked.data, work, asked.shared), asked.bits, work, console.print)
    title = f"{asked.data}, {asked.fold} fold: average precision of new assays, intervals over targets"
    console.print(table_of(all_rows(asked, partners), title))


if __name__ == "__main__":
    main()
