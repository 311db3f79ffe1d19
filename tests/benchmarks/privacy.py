"""What protection costs and what it brings: gain, epsilon and measured membership, for several protections.

All partners of a data set are audited at once: each leaves a random half of its canaries out of the training, and the
rounds' own code is run (sealing replaced by its exact integer arithmetic). Attacked is the last trunk, as any member
has it, by one who knows a compound's labels: RMIA with shadow models, trained without protection on random halves of
all compounds of the partner; `--adaptive`: with the protection's dropout, decay and number of steps, as an attacker
would who knows them. First all compounds are judged, of which those not trained on have other scaffolds (held-out
folds), then the canaries, which differ in nothing but chance, with the lower bound of epsilon that this proves. Gains
are those of take-home models over the strongest local ones, which have the same compounds, on the validation fold;
intervals over targets. `--fold test` is for the last word. With `--models processes` both have Gaussian processes
alone, on the trunk and without it, which takes a fortieth of the time.

untrained : the first trunk, which has seen no compound: what random features do for a Gaussian process. Only with
            `--models processes`
none      : no dropout, 20 rounds
dropout   : dropout of the trunk, as shipped
stopped   : and a third of the rounds
short     : dropout, and a fifth of the local steps in each round
decay D   : dropout, and this penalty on the squared weights
columns   : dropout, and input columns that fewer than three partners hold stay at home
noise N   : dropout off, differential privacy with this noise multiplier; every partner's weight is equal
64 x ...  : the same noise, batches of 8 times the size, and each training compound 64 times. So large partners are
            imitated: the accounting has their number of compounds, the trunk learns no more than the copied compounds
            tell. A copy is no secret beside 63 others, so nothing is attacked
usage: privacy.py [--data demo3 dev_p5 ...] [--only PROTECTION ...] [--shared FOLDER] [--work FOLDER]
       privacy.py --epsilon [--sizes N ...] [--batch B] [--rounds R] [--steps S]    # by number of compounds; no data
"""

import argparse
import hashlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the modules of the tests

from partners.audit.attacks import rmia
from partners.audit.canaries import canary_rows, draw_canaries, left_out_rows
from partners.audit.rates import EpsilonBound, Rate, Rates, epsilon_bound, membership_rates
from partners.audit.reconstruction import Reconstruction, reconstruct
from partners.audit.shadows import Shadow, ShadowTask, joined
from partners.audit.trunk_steps import Candidates
from partners.network.inference import predict_hidden
from partners.network.trunk import initial_trunk, trunk_layout
from partners.privacy.accounting import epsilon_of
from partners.privacy.steps import NoisedSteps, sampling_share
from partners.settings import NoiseSettings, ServerOptimiser, Training, TrunkSettings
from partners.training.training import sampling_share_of
from partners.training_data.training_set import TrainingSet
from secure.ciphertexts.parameters import SealSettings
from tests.benchmarks.gain import arms
from tests.benchmarks.gain.assay_models import LastModels, scores_of_assay_models
from tests.benchmarks.gain.gains import gain
from tests.benchmarks.gain.partners import Partner, labels_only, load_partners, tables_of
from tests.benchmarks.gain.processes import Hidden, scores_of_processes
from tests.benchmarks.gain.runs import CountedColumns
from tests.benchmarks.gain.scores import FOLDS, Scores, Watch
from tests.support.clear_rounds import Agreed, Member

FEWEST_LABELS = 10  # actives, and inactives, of a task whose gain counts
DELTA, LEAST_ACCOUNTED = 1e-5, 0.4  # noise below which epsilon is above 100 and takes minutes to compute
SMALL_DELTA = 1e-6
RATE, TRUNK_SEED = 2.0, 1000


@dataclass(frozen=True)
class Protection:
    """How a federation is protected."""

    name: str
    dropout: float = 0.6
    share_of_rounds: float = 1.0
    share_of_steps: float = 1.0
    weight_decay: float = 0.0
    columns: CountedColumns | None = None
    noise: float | None = None  # multiplier
    copies: int = 1  # of each training compound
    batches: int = 1  # times the size of a batch


UNTRAINED = Protection("untrained", share_of_rounds=0.0)
PROTECTIONS = (
    UNTRAINED,
    Protection("none", dropout=0.0),
    Protection("dropout"),
    Protection("stopped", share_of_rounds=1 / 3),
    Protection("short", share_of_steps=1 / 5),
    *(Protection(f"decay {decay:g}", weight_decay=decay) for decay in (1e-4, 1e-3)),
    Protection("columns", columns=CountedColumns()),
    *(Protection(f"noise {noise:g}", dropout=0.0, noise=noise) for noise in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)),
    *(Protection(f"64 x noise {noise:g}", dropout=0.0, noise=noise, copies=64, batches=8) for noise in (0.5, 1.0, 2.0)),
)


DEFAULTS = ["none", "dropout", "stopped", "columns", "noise 0.5", "noise 1", "noise 2"]


@dataclass(frozen=True)
class Told:
    """What the last trunk tells of one partner's compounds."""

    trunk: Rates
    canaries: Rates
    bound: EpsilonBound
    reconstruction: Reconstruction


class Audited:
    """A partner with canaries, and its shadow models."""

    def __init__(self, name: str, partner: Partner, asked: argparse.Namespace) -> None:
        self.whole = labels_only(partner.training_set)
        self._asked = asked
        self._canaries = draw_canaries(
            self.whole, min(asked.canaries, self.whole.training_rows.size // 4), name.encode()
        )
        self.data = _without(self.whole, left_out_rows(self.whole.x, self._canaries))
        self.partner = _with_set(partner, left_out_rows(self.whole.x, self._canaries))
        self._copied: dict[int, TrainingSet] = {}
        self._of_task: dict[tuple[object, ...], list[Shadow]] = {}

    def copied(self, n_copies: int) -> TrainingSet:
        """What is trained on, with each compound so many times."""
        if n_copies not in self._copied:
            self._copied = {n_copies: self.data if n_copies == 1 else copied_compounds(self.data, n_copies)}
        return self._copied[n_copies]

    @cached_property
    def shadows(self) -> ShadowTask:
        """What the shadow models have in common: training without protection."""
        asked, rows = self._asked, np.flatnonzero(self.whole.labels_per_row > 0)
        layout = trunk_layout(self.whole.n_inputs, tuple(asked.hidden))
        return ShadowTask(
            data=self.whole,
            pool=rows,
            rows=rows,
            candidates=Candidates.of(self.whole, rows, 0),
            first_trunk=initial_trunk(layout, TRUNK_SEED),
            layout=layout,
            trunk_settings=TrunkSettings(hidden=tuple(asked.hidden), dropout=0.0),
            training=Training(batch_size=asked.batch),
            n_steps=asked.rounds * asked.steps,
        )

    def _trained(self, task: ShadowTask) -> list[Shadow]:
        key = (task.training.weight_decay, task.trunk_settings.dropout, task.n_steps)
        if key not in self._of_task:
            self._of_task[key] = [task.train(number) for number in range(self._asked.shadows)]
        return self._of_task[key]

    def told(self, trunk: NDArray[np.float32], task: ShadowTask) -> Told:
        """Attack the last trunk, as the others have it; task: of the shadow models."""
        is_member = np.isin(task.rows, self.data.training_rows)
        fit = task.fit_of_trunk(trunk)
        scores = rmia(fit.likelihood, joined(self._trained(task), "trunk"))
        rows, inside = canary_rows(self.whole, self._canaries)
        of_canaries = scores[np.searchsorted(task.rows, rows)]
        return Told(
            membership_rates(scores, is_member),
            membership_rates(of_canaries, inside),
            epsilon_bound(of_canaries, inside, DELTA),
            reconstruct(self._change(trunk), self.data.x[self.data.training_rows]),
        )

    def _change(self, trunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """Change of the input weight since the first trunk, (n_columns, hidden[0])."""
        layout, first = self.shadows.layout, self.shadows.first_trunk
        return np.asarray(layout.views(trunk - first)["trunk.0.weight"])


def _without(data: TrainingSet, rows: NDArray[np.int64]) -> TrainingSet:
    return replace(data, y=_emptied(data.y, rows))


def _with_set(partner: Partner, rows: NDArray[np.int64]) -> Partner:
    """The partner without what is known of some compounds."""
    data = partner.training_set
    known = {name: _emptied(getattr(data, name), rows) for name in ("y", "y_regr", "y_censor")}
    return replace(partner, training_set=replace(data, **known))


def copied_compounds(data: TrainingSet, n_copies: int) -> TrainingSet:
    """The training set with each labelled compound of the training folds so many times; the other folds once."""
    order = np.concatenate([np.arange(data.n_compounds), np.tile(data.training_rows, n_copies - 1)])
    return TrainingSet(
        x=data.x[order], y=data.y[order], folding=data.folding[order], training_weight=data.training_weight
    )


def _emptied(matrix: sparse.csr_matrix, rows: NDArray[np.int64]) -> sparse.csr_matrix:
    stored = matrix.tocoo()
    kept = ~np.isin(stored.row, rows)
    return sparse.csr_matrix((stored.data[kept], (stored.row[kept], stored.col[kept])), shape=matrix.shape)


class Federation:
    """All partners of a data set, federated under one protection after another."""

    def __init__(self, audited: Mapping[str, Audited], asked: argparse.Namespace) -> None:
        self._audited, self._asked = audited, asked
        self.partners = {name: one.partner for name, one in audited.items()}

    def strongest(self) -> Scores:
        """The local models, on the same compounds."""
        if self._asked.models == "processes":
            return scores_of_processes(self.partners, None, self._asked.fold)
        return self._scores(Protection("none"), "strongest")[0]

    def run(self, protection: Protection) -> tuple[Scores, dict[str, Told], dict[str, float]]:
        """Scores of take-home models, what the trunk tells of each partner, and each partner's epsilon."""
        scores, trunks = self._untrained() if protection == UNTRAINED else self._scores(protection, "take-home")
        audited = self._audited if protection.copies == 1 else {}
        told = {
            name: one.told(trunks[name], self._shadow_task(one, protection))
            for name, one in audited.items()
            if name in (self._asked.attacked or audited)
        }
        return scores, told, dict(self._epsilons(protection))

    def _shadow_task(self, one: Audited, protection: Protection) -> ShadowTask:
        """How shadow models are trained: as without protection, or as with it, but for noise."""
        task = one.shadows
        if not self._asked.adaptive:
            return task
        return replace(
            task,
            trunk_settings=replace(task.trunk_settings, dropout=protection.dropout),
            training=replace(task.training, weight_decay=protection.weight_decay),
            n_steps=self._rounds(protection) * self._steps(protection),
        )

    def _untrained(self) -> tuple[Scores, dict[str, NDArray[np.float32]]]:
        agreed = self._agreed(UNTRAINED)
        first = initial_trunk(agreed.layout, TRUNK_SEED)
        hidden = dict.fromkeys(self.partners, self._hidden(first, agreed))
        return scores_of_processes(self.partners, hidden, self._asked.fold), dict.fromkeys(self.partners, first)

    def _scores(self, protection: Protection, arm: str) -> tuple[Scores, dict[str, NDArray[np.float32]]]:
        members, agreed = self._members(protection), self._agreed(protection)
        if protection.columns:
            n_columns = next(iter(members.values())).columns.n_columns
            agreed = replace(agreed, layout=trunk_layout(self._asked.bits, tuple(self._asked.hidden), 0, n_columns))
        last = LastModels(Watch(self.partners, members, agreed), agreed.n_rounds)
        if arm == "strongest":
            arms.local(members, agreed, last)
        else:
            arms.federated(members, agreed, last)
        released = {name: self._released(model.trunk, members[name], agreed) for name, model in last.models.items()}
        if self._asked.models == "processes":
            hidden = {name: self._hidden(model.trunk, agreed) for name, model in last.models.items()}
            return scores_of_processes(self.partners, hidden, self._asked.fold), released
        return scores_of_assay_models(self.partners, members, agreed, last, arm), released

    def _hidden(self, trunk: NDArray[np.float32], agreed: Agreed) -> Hidden:
        return lambda x: predict_hidden(x, trunk, agreed.layout.trunk, agreed.trunk)

    def _released(self, trunk: NDArray[np.float32], member: Member, agreed: Agreed) -> NDArray[np.float32]:
        """The trunk as the others have it: columns that are not shared are as in the first one."""
        shared = member.columns.shared
        if shared is None:
            return trunk
        layout = agreed.layout.trunk
        first, given = initial_trunk(layout, TRUNK_SEED), layout.views(trunk)
        for name, values in layout.views(first).items():
            values[shared if name == "trunk.0.weight" else slice(None)] = given[name][
                shared if name == "trunk.0.weight" else slice(None)
            ]
        return first

    def _members(self, protection: Protection) -> dict[str, Member]:
        columns = protection.columns.of(self.partners, TRUNK_SEED) if protection.columns else {}
        members = {}
        for number, (name, one) in enumerate(self._audited.items()):
            batch = self._asked.batch * protection.batches
            training = Training(batch_size=batch, seed=number, weight_decay=protection.weight_decay)
            own = {"columns": columns[name]} if columns else {}
            data = one.copied(protection.copies)
            members[name] = Member(data, training, noise=self._noise(protection, name, data, training), **own)
        return members

    def _noise(self, protection: Protection, name: str, data: TrainingSet, training: Training) -> NoiseSettings | None:
        if protection.noise is None:
            return None
        return NoiseSettings(
            clip_norm=self._asked.clip,
            noise_multiplier=protection.noise,
            sampling_share=sampling_share_of(data, training),
            key=hashlib.sha256(name.encode()).digest(),
        )

    def _rounds(self, protection: Protection) -> int:
        return max(1, round(self._asked.rounds * protection.share_of_rounds))

    def _steps(self, protection: Protection) -> int:
        return max(1, round(self._asked.steps * protection.share_of_steps))

    def _agreed(self, protection: Protection) -> Agreed:
        asked = self._asked
        most = max(one.data.n_training_labels for one in self._audited.values())
        return Agreed(
            layout=trunk_layout(asked.bits, tuple(asked.hidden)),
            trunk=TrunkSettings(hidden=tuple(asked.hidden), dropout=protection.dropout),
            trunk_seed=TRUNK_SEED,
            n_rounds=self._rounds(protection),
            local_steps=self._steps(protection),
            server=ServerOptimiser(learning_rate=RATE),
            seal=SealSettings(weights="equal" if protection.noise else "size", max_weight=most),
        )

    def _epsilons(self, protection: Protection) -> Iterator[tuple[str, float]]:
        for name, member in self._members(protection).items():
            if member.noise:
                n_steps = self._rounds(protection) * self._steps(protection)
                steps = NoisedSteps(n_steps, member.noise.sampling_share, member.noise.noise_multiplier)
                is_computed = steps.noise_multiplier >= LEAST_ACCOUNTED
                yield name, epsilon_of([steps], DELTA) if is_computed else math.inf


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["demo3"], help="demo3, demo, dev_p3, dev_p5, ...")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[one.name for one in PROTECTIONS],
        default=DEFAULTS,
        metavar="PROTECTION",
        help=f"protections, of: {', '.join(one.name for one in PROTECTIONS)}",
    )
    parser.add_argument("--models", choices=("strongest", "processes"), default="strongest", help="whose gain it is")
    parser.add_argument("--shared", type=Path, help="folder with dev_p3, ... (default: HOCKET_SHARED/data)")
    parser.add_argument("--bits", type=int, default=4096)
    parser.add_argument("--hidden", type=int, nargs="+", default=[512])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=25, help="optimiser steps of every partner in every round")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--clip", type=float, default=1.0, help="longest gradient of one compound, with noise")
    parser.add_argument("--shadows", type=int, default=8)
    parser.add_argument("--adaptive", action="store_true", help="train shadow models as protected too, but for noise")
    parser.add_argument("--attacked", nargs="+", metavar="P01", help="partners whose compounds are judged; all")
    parser.add_argument("--canaries", type=int, default=400, help="of each partner, half of which are left out")
    parser.add_argument("--fold", choices=tuple(FOLDS), default="validation")
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables")
    parser.add_argument("--epsilon", action="store_true", help="print epsilon by size alone, at delta 1e-6")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], help="of partners")
    asked = parser.parse_args()
    if UNTRAINED.name in asked.only and asked.models != "processes":
        parser.error(f"--only {UNTRAINED.name}: needs --models processes, as an untrained network has no heads")
    return asked


def table_of(data: str, federation: Federation, asked: argparse.Namespace, console: Console) -> Table:
    """Run all protections of one data set."""
    size = f"{asked.bits} bits, hidden {asked.hidden}, {asked.rounds} x {asked.steps} steps"
    title = f"{data}, {size}, {asked.shadows} shadow models, gain by {asked.models} models on the {asked.fold} fold"
    columns = ("gain", "epsilon, by partner", "AUC", "TPR at FPR 1 %", "0.1 %", "AUC, canaries", "epsilon at least")
    table = Table("", *columns, "compounds recovered", title=title)
    local = federation.strongest()
    console.print(f"{data}: local models done", style="dim")
    for protection in PROTECTIONS:
        if protection.name not in asked.only:
            continue
        scores, told, epsilons = federation.run(protection)
        found = gain([scores], [local], federation.partners, asked.fold, "average_precision", FEWEST_LABELS)
        cells = [
            f"{found.gain:+.4f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]",
            " ".join(f"{epsilon:.1f}" for epsilon in epsilons.values()) or "none",
            *_told(list(told.values())),
        ]
        table.add_row(protection.name, *cells)
        console.print(f"{protection.name}: {'; '.join(cells)}; {found.n_tasks} tasks", style="dim")
        for name, one in told.items():
            console.print(f"{protection.name}, {name}: {_intervals(one)}", style="dim")
    return table


def _told(told: Sequence[Told]) -> Iterator[str]:
    """Means over partners, and the worst."""
    yield _mean_worst([one.trunk.auc for one in told], "{:.3f}")
    for number in (1, 2):
        rates = [one.trunk.at[number].true_positive_rate for one in told]
        yield _mean_worst([rate for rate in rates if rate is not None], "{:.1%}")
    yield _mean_worst([one.canaries.auc for one in told], "{:.3f}")
    yield _mean_worst([one.bound.epsilon for one in told], "{:.2f}")
    yield str(sum(one.reconstruction.n_recovered for one in told)) if told else "not measured"


def _mean_worst(values: Sequence[float], form: str) -> str:
    if not values:
        return "not measurable"
    mean = form.format(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean}, worst {form.format(max(values))}"


def _intervals(told: Told) -> str:
    """One partner's figures, with 95 % intervals."""
    parts = []
    for name, rates in (("all", told.trunk), ("canaries", told.canaries)):
        low, high = rates.auc_interval
        parts.append(f"{name}: {rates.n_members} in, {rates.n_others} out, AUC {rates.auc:.3f} [{low:.3f}, {high:.3f}]")
        parts += [_rate(rate) for rate in rates.at]
    found, bound = told.reconstruction, told.bound
    parts.append(
        f"epsilon at least {bound.epsilon:.2f} of {bound.largest:.2f} that {bound.n_canaries} canaries can show"
    )
    return "; ".join([*parts, f"{found.n_recovered} of {found.n_compounds} compounds recovered"])


def _rate(rate: Rate) -> str:
    at = f"TPR at FPR {rate.false_positive_rate:.1%}"
    if rate.true_positive_rate is None or rate.interval is None:
        return f"{at} not measurable with n = {rate.n_others}"
    return f"{at} {rate.true_positive_rate:.1%} [{rate.interval[0]:.1%}, {rate.interval[1]:.1%}]"


def epsilon_table(asked: argparse.Namespace) -> Table:
    """Epsilon of partners of several sizes, by the accounting alone."""
    n_steps = asked.rounds * asked.steps
    title = f"epsilon at delta {SMALL_DELTA:g}, {n_steps:,} steps, batches of {asked.batch:,}"
    noises = [one.noise for one in PROTECTIONS if one.name in DEFAULTS and one.noise]
    table = Table("training compounds", *(f"noise {noise:g}" for noise in noises), title=title)
    for size in asked.sizes:
        share = sampling_share(size, asked.batch)
        epsilons = [epsilon_of([NoisedSteps(n_steps, share, noise)], SMALL_DELTA) for noise in noises]
        table.add_row(f"{size:,}", *(f"{epsilon:.2f}" for epsilon in epsilons))
    return table


def main() -> None:
    """Print a table for each data set."""
    asked, console = arguments(), Console(width=200)
    if asked.epsilon:
        console.print(epsilon_table(asked))
        return
    shared = asked.shared or Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data"
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        for data in asked.data:
            tell = lambda text: console.print(text, style="dim")  # noqa: E731
            partners = load_partners(tables_of(data, work, shared), asked.bits, work, tell)
            audited = {name: Audited(name, partner, asked) for name, partner in partners.items()}
            console.print(table_of(data, Federation(audited, asked), asked, console))


if __name__ == "__main__":
    main()
