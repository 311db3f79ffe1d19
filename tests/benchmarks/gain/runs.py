"""Runs of one arm at one seed, trained once: scores of every task after every few rounds, in one .npz file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from partners.network.input_columns import InputColumns
from partners.network.shared_head_rows import HolderCounts
from partners.network.trunk import trunk_layout
from partners.settings import ServerOptimiser, Training, TrunkSettings
from partners.target_models.conjugate_gradients import RidgeSettings
from partners.training_data.column_flags import column_flags, compounds_by_column
from secure.ciphertexts.parameters import SealSettings
from tests.benchmarks.gain import arms
from tests.benchmarks.gain.arms import Columns, Members
from tests.benchmarks.gain.assay_models import LastModels, pooled_assay_models, scores_of_assay_models
from tests.benchmarks.gain.catalogue import HeldCatalogue, held_catalogue
from tests.benchmarks.gain.partners import Partner, labels_only
from tests.benchmarks.gain.scores import Scores, Watch
from tests.benchmarks.gain.target_models import ridge_predictions, with_target_models
from tests.support.clear_rounds import Agreed, Member

# Added later: left out of the JSON if they have no effect, so that files of earlier runs are still found.
_ADDED = (
    "regression_weight", "catalogue", "min_holders", "descriptors", "models", "regression_rows", "columns", "use",
    "ridges", "target_weight", "target_holders",
)  # fmt: skip


@dataclass(frozen=True)
class CountedColumns:
    """The plan's settings for input columns that few hold."""

    min_partners: int = 3
    min_compounds: int = 1
    withhold: float = 0.0

    def __str__(self) -> str:
        """As in a table."""
        return f"of {self.min_compounds}+ compounds at {self.min_partners}+ partners, {self.withhold:.0%} withheld"

    def of(self, partners: Mapping[str, Partner], seed: int) -> dict[str, InputColumns]:
        """Every partner's part after the counting round, by name.

        seed : of what is withheld, and of the first trunk
        """
        n_bits = next(iter(partners.values())).training_set.n_inputs
        flags = {
            name: column_flags(
                compounds_by_column(labels_only(partner.training_set)),
                self.min_compounds,
                self.withhold,
                np.random.default_rng([seed, *name.encode()]).random(n_bits),
            )
            for name, partner in partners.items()
        }
        counts = np.bincount(np.concatenate([each.flagged for each in flags.values()]), minlength=n_bits)
        holders = HolderCounts(tuple(counts.tolist()), frozenset(partners), self.min_partners)
        return {name: InputColumns(holders, each.flagged, each.withheld, seed) for name, each in flags.items()}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that a run depends on besides the data; settings that an arm does not use are None."""

    arm: str
    data: str
    bits: int
    hidden: tuple[int, ...]
    rounds: int
    steps: int  # optimiser steps of every partner in every round
    seed: int
    dropout: float = 0.6
    batch: int = 500
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    server_rate: float | None = None
    method: str | None = None
    weights: str | None = None
    seal_bits: int | None = None
    honest: tuple[str, ...] | None = None
    regression_weight: float = 0.0
    catalogue: str | None = None  # kind of catalogue, see catalogue.KINDS
    min_holders: int | None = None  # partners that hold a shared row
    descriptors: bool = False  # beside the fingerprint, for forests
    regression_rows: bool = False  # of targets that `min_holders` partners measure, shared too
    columns: CountedColumns | None = None  # which input columns are shared; None: all
    models: int = 0  # version of the models of single assays; 0: the arm has none
    use: str | None = None  # of target models, see target_models.USES
    ridges: RidgeSettings | None = None  # of target models
    target_weight: float = 0.0  # of target models in the mean with the take-home models
    target_holders: int = 0  # partners that measure a target, for it to have a model

    @property
    def label(self) -> str:
        """Name of the setting in a table."""
        hybrid = f", regression {self.regression_weight:g}" if self.regression_weight else ""
        if self.arm == "pooled models":
            return self.arm
        if self.server_rate is None:
            return f"{self.arm} {self.rounds * self.steps} steps{hybrid}"
        method = "" if self.method == "mean" else f" {self.method}"
        by = "by labels" if self.weights == "size" else "equal"
        rows = f", rows {self.catalogue} at {self.min_holders}+" if self.catalogue else ""
        shared = " in shared rows" if self.regression_rows else ""
        if self.use:
            shared += f", targets at {self.target_holders}+, {self.use}" + (
                f" {self.target_weight:.2g}" if self.use == "mean" else ""
            )
        shared += f", columns {self.columns}" if self.columns else ""
        return f"{self.arm}{method} rate {self.server_rate:g}, {by}, {self.rounds} x {self.steps}{rows}{hybrid}{shared}"

    def as_json(self) -> str:
        """The setting as JSON, whose digest names the run's file."""
        facts = {name: value for name, value in asdict(self).items() if value or name not in _ADDED}
        return json.dumps(facts, sort_keys=True)


def obtain(setting: Setting, partners: Mapping[str, Partner], folder: Path, *, predictions: bool = False) -> Scores:
    """Read the run if its file exists, else do it and write the file.

    predictions : a run kept by an earlier version, without any, is done again
    """
    setting_json = setting.as_json()
    file = folder / f"{setting.arm}-{hashlib.sha256(setting_json.encode()).hexdigest()[:16]}.npz"
    if file.exists():
        kept = _read(file)
        if kept.has_predictions or not predictions:
            return kept
    scores = _target_models(setting, partners, folder) if setting.arm == "target models" else _run(setting, partners)
    folder.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"setting": setting_json, "curve": scores.curve, "facts": scores.facts})
    unfinished = file.with_suffix(".unfinished.npz")
    np.savez_compressed(unfinished, about=np.array(about), **scores.tasks)
    unfinished.replace(file)
    return _read(file)


def _read(file: Path) -> Scores:
    with np.load(file, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        return Scores({name: stored[name] for name in stored if name != "about"}, about["curve"], about["facts"])


def _target_models(setting: Setting, partners: Mapping[str, Partner], folder: Path) -> Scores:
    """The take-home models of the setting with target models; both are read if they are kept."""
    if setting.ridges is None or setting.use is None:
        raise ValueError("target models without their settings")
    plain = replace(setting, arm="take-home", use=None, ridges=None, target_weight=0.0, target_holders=0)
    if setting.use == "local mean":
        plain = replace(plain, arm="strongest", method=None, seal_bits=None, server_rate=None, weights=None)
        plain = replace(plain, catalogue=None, min_holders=None, regression_rows=False)
    take_home = obtain(plain, partners, folder, predictions=True)
    least = setting.target_holders
    facts = {"data": setting.data, "bits": setting.bits, "min_holders": least, "ridges": asdict(setting.ridges)}
    file = folder / f"ridges-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}.npz"
    if not file.exists():
        found = ridge_predictions(partners, least, setting.ridges)
        np.savez_compressed(file, about=np.array(json.dumps({"curve": [], "facts": {}})), **found.tasks)
    return with_target_models(partners, take_home, _read(file), setting.use, setting.target_weight)


def members_of(setting: Setting, partners: Mapping[str, Partner], rows: HeldCatalogue) -> dict[str, Member]:
    """Partners with their training settings; regression only if the setting gives it a weight."""
    members = {}
    columns = setting.columns.of(partners, _trunk_seed(setting)) if setting.columns else {}
    for number, (name, partner) in enumerate(partners.items()):
        training = Training(
            batch_size=setting.batch,
            learning_rate=setting.learning_rate,
            weight_decay=setting.weight_decay,
            regression_weight=setting.regression_weight,
            seed=100 * setting.seed + number,
        )
        whole = partner.training_set
        training_set = whole if setting.regression_weight else labels_only(whole)
        members[name] = Member(training_set, training, rows.held.get(name, {}), columns.get(name, InputColumns()))
    return members


def agreed_of(setting: Setting, members: Members, rows: HeldCatalogue) -> Agreed:
    """Part of a setting that a plan would have."""
    most = max(member.training_set.n_training_labels for member in members.values())
    n_columns = next(iter(members.values())).columns.n_columns
    return Agreed(
        layout=trunk_layout(setting.bits, setting.hidden, rows.counts.n_places, n_columns),
        trunk=TrunkSettings(hidden=setting.hidden, dropout=setting.dropout),
        trunk_seed=_trunk_seed(setting),
        n_rounds=setting.rounds,
        local_steps=setting.steps,
        server=ServerOptimiser(method=setting.method or "mean", learning_rate=setting.server_rate or 1.0),
        seal=SealSettings(bits=setting.seal_bits or 16, weights=setting.weights or "equal", max_weight=most),
        counts=rows.counts,
    )


def _trunk_seed(setting: Setting) -> int:
    return 1000 + setting.seed


def _run(setting: Setting, partners: Mapping[str, Partner]) -> Scores:
    rows = HeldCatalogue()
    if setting.catalogue and setting.min_holders:
        rows = held_catalogue(setting.catalogue, partners, setting.min_holders)
    members = members_of(setting, partners, rows)
    agreed = agreed_of(setting, members, rows)
    watch = Watch(partners, members, agreed)
    if setting.arm == "pooled models":
        return pooled_assay_models(partners)
    if setting.arm in {"strongest", "take-home", "cross-validated"}:
        last = LastModels(watch, agreed.n_rounds)
        if setting.arm == "strongest":
            arms.local(members, agreed, last)
        else:
            arms.federated(members, agreed, last, _regression_rows(setting, partners))
        return scores_of_assay_models(partners, members, agreed, last, setting.arm)
    if setting.arm == "local":
        arms.local(members, agreed, watch)
    elif setting.arm == "federated":
        arms.federated(members, agreed, watch, _regression_rows(setting, partners))
    elif setting.arm == "shuffled":
        arms.shuffled(members, agreed, watch, setting.honest or tuple(members))
    else:
        columns = arms.private_columns(members) if setting.arm == "joint" else _by_truth(members, partners)
        arms.together(members, columns, agreed, watch)
    return watch.scores()


def _regression_rows(setting: Setting, partners: Mapping[str, Partner]) -> list[dict[str, list[int]]]:
    """Holders' tasks of each target that enough partners measure."""
    if not setting.regression_rows:
        return []
    targets: dict[str, dict[str, list[int]]] = {}
    for name, partner in partners.items():
        for task, target in enumerate(partner.regressions.targets):
            targets.setdefault(target, {}).setdefault(name, []).append(task)
    return [held for held in targets.values() if len(held) >= (setting.min_holders or 2)]


def _by_truth(members: Members, partners: Mapping[str, Partner]) -> dict[str, Columns]:
    classes = {name: partner.classes.keys for name, partner in partners.items()}
    trains_values = any(member.training_set.n_regressions for member in members.values())
    regressions = {name: partner.regressions.keys if trains_values else () for name, partner in partners.items()}
    return arms.pooled_columns(classes, regressions)
