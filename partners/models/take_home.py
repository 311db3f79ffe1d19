"""The strongest local models and the take-home models of a partner's assays: fitted once, kept in a file, compared."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared, RegressionTask, Task
from data_prep.settings import Preparation
from partners.assay_models.assays import assays_of
from partners.assay_models.choice import Choice
from partners.assay_models.fitted import AssayModels
from partners.assay_models.fitting import AssayData, AssayProgress, choose_kinds, fit_assay_models
from partners.assay_models.half_data import half_data_precision
from partners.assay_models.predictor import AssayPredictor
from partners.files.checkpoint import Checkpoint, load_checkpoint, read_facts, save_checkpoint
from partners.models.compared import ChosenKinds, ComparedModels
from partners.models.held_out import EvaluatedModel, evaluate_outputs, fewest_per_class
from partners.network.inference import Outputs, Predictor
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout, trunk_digest
from partners.settings import ON_TRUNK, ModelKind, Training, TrunkSettings
from partners.training.partner_data import PartnerData

_VERSION = 1  # of the fitting: a file of another version is fitted again
_STRONGEST, _TAKE_HOME = "strongest.", "take_home."
_AND_HEAD: Mapping[ModelKind, ModelKind] = {
    "gaussian process on the trunk": "gaussian process on the trunk and head",
    "forest on the trunk": "forest on the trunk and head",
    "mean on the trunk": "mean on the trunk and head",
}
_BY_RULE = "; by rule the take-home model is of the same kind, on the trunk"
_HEAD_TOO = ", and the head's logit is averaged in, as the task's head row is shared"
_AUXILIARY = "auxiliary: it helps the others in training, is not scored and has no model of its own"


@dataclass(frozen=True, slots=True, eq=False)
class TrunkAndHeads:
    """A trunk with a partner's heads."""

    trunk: NDArray[np.float32]  # (n_params,)
    state: PartnerState

    def predictor(self, layout: TrunkLayout, settings: TrunkSettings, training: Training) -> Predictor:
        """Load it for predictions; raises what Predictor raises."""
        return Predictor(self.trunk, self.state, layout, settings, training.on_cpu())


@dataclass(frozen=True, slots=True, eq=False)
class FittedModels:
    """Models of all assays: the strongest that the partner has alone, and those on the federated trunk."""

    assays: tuple[str, ...]  # their ids
    choices: tuple[Choice, ...]  # one for each assay
    heads: frozenset[int]  # classification tasks on shared head rows, whose logit is averaged in
    strongest: AssayModels
    take_home: AssayModels

    def kinds(self, prepared: Prepared, n_regressions: int) -> tuple[list[ChosenKinds], list[ChosenKinds]]:
        """Kinds of model of each classification and each regression task, (n_tasks,) and (n_regressions,)."""
        of_assay = dict(zip(self.assays, self.choices, strict=True))
        auxiliary = ChosenKinds("network", "network", _AUXILIARY)

        def chosen(task: Task | RegressionTask, *, with_head: bool = False) -> ChosenKinds:
            return auxiliary if task.is_auxiliary else _kinds_of(of_assay[task.input_assay_id], with_head=with_head)

        tasks = [chosen(task, with_head=task.task_id in self.heads) for task in prepared.tasks]
        return tasks, [chosen(task) for task in prepared.regression_tasks[:n_regressions]]


def _kinds_of(choice: Choice, *, with_head: bool) -> ChosenKinds:
    """Kinds of model of a task, and why; with_head: the logit of the task's head is averaged in."""
    if choice.kind == "network":
        return ChosenKinds("network", "network", choice.reason)
    on_trunk = ON_TRUNK[choice.kind]
    reason = f"cross-validation of the local kinds inside the training folds: {choice.reason}{_BY_RULE}"
    if with_head:
        return ChosenKinds(choice.kind, _AND_HEAD[on_trunk], reason + _HEAD_TOO)
    return ChosenKinds(choice.kind, on_trunk, reason)


def fit_models(
    prepared: Prepared,
    own: PartnerData,
    local: TrunkAndHeads,
    federated: TrunkAndHeads,
    layout: TrunkLayout,
    settings: TrunkSettings,
    file: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> FittedModels:
    """Fit, or read from the file if that was done before with the same data, networks and settings.

    progress : called with (assays done, assays in all, step)
    Raises CheckpointDamaged, and what Predictor raises.
    """
    shared = own.shared_tasks
    facts = {
        "kind": "assay models",
        "version": _VERSION,
        "data": own.training_set.digest(),
        "prepared": prepared.manifest["digest"],
        "networks": [trunk_digest(network.trunk) for network in (local, federated)],
        "heads": sorted(shared),
        "seed": own.training.seed,
    }
    known = own.training_set.training_rows.size
    if (kept := _read(file, facts, layout, known)) is not None:
        return kept
    data = _assay_data(prepared, own)
    choices = choose_kinds(data, _step(progress, "choosing local models"))
    kinds = [choice.kind for choice in choices]

    def fitted(network: TrunkAndHeads, heads: Collection[int], name: str, *, on_trunk: bool) -> AssayModels:
        predictor = network.predictor(layout, settings, own.training)
        return fit_assay_models(data, kinds, predictor, on_trunk=on_trunk, heads=heads, progress=_step(progress, name))

    models = FittedModels(
        tuple(assay.input_assay_id for assay in data.assays),
        tuple(choices),
        shared,
        fitted(local, (), "fitting local models", on_trunk=False),
        fitted(federated, shared, "fitting take-home models", on_trunk=True),
    )
    _write(file, facts, models)
    return models


def _assay_data(prepared: Prepared, own: PartnerData) -> AssayData:
    assays = assays_of(prepared, own.training_set)
    return AssayData(own.training_set, assays, prepared.descriptors, own.training.seed, own.workers)


def _step(progress: Callable[[int, int, str], None] | None, name: str) -> AssayProgress | None:
    return None if progress is None else lambda done, total: progress(done, total, name)


def _read(file: Path, facts: dict[str, Any], layout: TrunkLayout, n_known: int) -> FittedModels | None:
    """The models of the file if it was written with these facts."""
    if not file.exists() or any(read_facts(file).get(name) != fact for name, fact in facts.items()):
        return None
    return read_models(file, layout, n_known)


def read_models(file: Path, layout: TrunkLayout, n_known: int) -> FittedModels:
    """Read the models that `fit_models` kept; n_known: number of compounds in the training folds.

    Raises FileNotFoundError or CheckpointDamaged.
    """
    stored = load_checkpoint(file, layout)
    choices = [Choice(**choice) for choice in stored.facts["choices"]]
    strongest, take_home = (
        AssayModels.from_arrays(
            {name.removeprefix(part): array for name, array in stored.others.items() if name.startswith(part)}, n_known
        )
        for part in (_STRONGEST, _TAKE_HOME)
    )
    heads = frozenset(stored.facts["heads"])
    return FittedModels(tuple(stored.facts["assays"]), tuple(choices), heads, strongest, take_home)


def _write(file: Path, facts: dict[str, Any], models: FittedModels) -> None:
    others = {_STRONGEST + name: array for name, array in models.strongest.arrays().items()}
    others |= {_TAKE_HOME + name: array for name, array in models.take_home.arrays().items()}
    choices = [asdict(choice) for choice in models.choices]
    facts = json.loads(json.dumps(facts | {"assays": models.assays, "choices": choices}))
    save_checkpoint(file, Checkpoint(facts=facts, others=others))


def compare_models(
    prepared: Prepared,
    own: PartnerData,
    preparation: Preparation,
    models: FittedModels,
    local: TrunkAndHeads,
    federated: TrunkAndHeads,
    layout: TrunkLayout,
    settings: TrunkSettings,
) -> ComparedModels:
    """Score the strongest local and the take-home models, and both networks, on validation and test fold.

    The strongest local models are fitted once more, on half of the measurements.
    """
    data = own.training_set
    known = data.x[data.training_rows]

    def scored(network: TrunkAndHeads, assay_models: AssayModels) -> EvaluatedModel:
        predictor = AssayPredictor(network.predictor(layout, settings, own.training), assay_models, known, own.workers)

        def outputs(fold: int) -> Outputs:
            rows = data.rows_of(fold)
            return predictor(data.x[rows], None if prepared.descriptors is None else prepared.descriptors[rows])

        return evaluate_outputs(own, preparation, outputs(data.test_fold), outputs(data.validation_fold))

    none = AssayModels.none(data.n_tasks, data.n_regressions)
    tasks, regression_tasks = models.kinds(prepared, data.n_regressions)
    return ComparedModels(
        strongest=scored(local, models.strongest),
        take_home=scored(federated, models.take_home),
        half_data=half_data_precision(
            _assay_data(prepared, own), [choice.kind for choice in models.choices], fewest_per_class(preparation)
        ),
        network_local=scored(local, none),
        network_federated=scored(federated, none),
        tasks=tasks,
        regression_tasks=regression_tasks,
    )
