"""The finished model as one private folder in a partner's home, with everything that predictions need."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.descriptors.listed import DESCRIPTORS_VERSION
from data_prep.folds.keyed import bit_permutation
from data_prep.prepared import Prepared
from partners.assay_models.fitted import AssayModels
from partners.models.final_model import FinalModel, write_model_files
from partners.models.take_home import FittedModels, TrunkAndHeads
from partners.network.state import PartnerState
from partners.network.trunk import trunk_digest
from partners.new_assays.extended_model import ExtendedModel
from partners.settings import Training
from partners.training_data.training_set import TrainingSet
from pipeline.audit.provenance import check_opened
from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.model.description import (
    COMPOUNDS_FILE,
    DESCRIPTION_FILE,
    ClassTask,
    Description,
    RegrTask,
    Which,
    chosen_fields,
    weights_file,
)
from pipeline.model.extensions import FILE_MODE, README_FILE, add_stored, read_added
from pipeline.model.provenance import write_provenance
from pipeline.plan.plan import Plan
from pipeline.runtime.templates import filled
from secure.files import atomic_folder
from secure.keys.keys import PrivateKeys


class OpenModel:
    """A model read from its folder, ready to predict."""

    def __init__(self, folder: Path, which: Which | None = None) -> None:
        """`which` None: the model that the gate keeps.

        Raises ConfigError or partners.errors.TrainingError for a damaged folder, WrongProvenance for files that are not
        those in its provenance.
        """
        self.description = Description.read(folder)
        self.which: Which = which or self.description.kept
        if self.description.descriptors not in {None, DESCRIPTORS_VERSION}:
            needed = self.description.descriptors
            raise ConfigError(f"{folder}: needs descriptors of version {needed}, found version {DESCRIPTORS_VERSION}")
        try:
            self.base = read_base(folder, self.description, self.which)
            check_opened(folder, (COMPOUNDS_FILE, weights_file(self.which)))
            self.predictor = ExtendedModel(
                self.base, read_added(folder, self.description), on_trunk=self.which == "federated"
            )
        except FileNotFoundError as missing:
            raise ConfigError(f"{folder}: a file is missing, expected a complete model: {missing}") from None
        n_tasks = (self.predictor.n_tasks, self.predictor.n_regressions)
        if n_tasks != (len(self.description.tasks), len(self.description.regression_tasks)):
            raise ConfigError(f"{folder}: {DESCRIPTION_FILE} and {self.which}.safetensors have other tasks")
        self.places = self.base.places


def read_base(folder: Path, description: Description, which: Which) -> FinalModel:
    """Read one of the two models without added assays; raises what FinalModel.read raises."""
    return FinalModel.read(
        folder / weights_file(which),
        folder / COMPOUNDS_FILE,
        n_bits=description.fingerprint.n_bits,
        trunk_settings=description.trunk,
        training=description.training,
        least_similarity=description.least_similarity,
    )


def write_final_model(  # noqa: PLR0913 -- all results of a run
    home: Home,
    plan: Plan,
    prepared: Prepared,
    training_set: TrainingSet,
    structure_seed: bytes,
    *,
    keys: PrivateKeys,
    training: Training,
    local: TrunkAndHeads,
    federated: TrunkAndHeads,
    fitted: FittedModels,
    kept: Which,
    compound_timeout_s: float,
    trunk: str,
    workers: int = 1,
) -> list[str]:
    """Write HOME/model whole or not at all, readable only by its owner, with its signed provenance.

    trunk   : digest of the last trunk, as all partners have it
    workers : threads; the files do not depend on their number
    Assays that `hocket extend` added are added again, if they were fitted on this trunk. Returns the ids of those that
    were not.
    """
    training = training.on_cpu()  # a model predicts the same on every machine
    with atomic_folder(home.model) as unfinished:
        least_similarity = write_model_files(
            _models_by_file(unfinished, local, federated, fitted),
            unfinished / COMPOUNDS_FILE,
            training_set,
            bit_permutation(structure_seed, plan.preparation.fingerprint.n_bits),
            layout=plan.layout.trunk,
            trunk_settings=plan.trunk,
            training=training,
            descriptors=prepared.descriptors,
            workers=workers,
        )
        description = Description(
            **_facts_of(plan),
            **_facts_of_data(prepared, fitted, training_set),
            partner=keys.name,
            kept=kept,
            training=training,
            compound_timeout_s=compound_timeout_s,
            least_similarity=least_similarity,
        )
        left_out = add_stored(unfinished, description, home.extensions, trunk_digest(federated.trunk))
        write_provenance(unfinished, plan, home, prepared, training_set, trunk=trunk, keys=keys)
        _add_readme(unfinished, description)
    return left_out


def _models_by_file(
    folder: Path, local: TrunkAndHeads, federated: TrunkAndHeads, fitted: FittedModels
) -> dict[Path, tuple[NDArray[np.float32], PartnerState, AssayModels]]:
    return {
        folder / weights_file("local"): (local.trunk, local.state, fitted.strongest),
        folder / weights_file("federated"): (federated.trunk, federated.state, fitted.take_home),
    }


def _facts_of(plan: Plan) -> dict[str, Any]:
    """The plan's facts about its models, as fields of Description."""
    return {
        "version": version("hocket"),
        "federation": plan.federation.name,
        "federation_id": plan.federation.id,
        "plan": plan.digest,
        "n_rounds": plan.rounds.n_rounds,
        "trunk": plan.trunk,
        "chemistry": plan.preparation.chemistry,
        "fingerprint": plan.preparation.fingerprint,
    }


def _add_readme(folder: Path, description: Description) -> None:
    """Write the page for who finds the folder, and set the mode of all files."""
    names = {"partner": description.partner, "federation": description.federation}
    (folder / README_FILE).write_text(filled("pipeline.model", "readme.md.jinja", **names))
    for file in folder.iterdir():
        file.chmod(FILE_MODE)


def _facts_of_data(prepared: Prepared, fitted: FittedModels, training_set: TrainingSet) -> dict[str, Any]:
    """Fields of Description: descriptors, and trained tasks with kinds of models and labels in the training folds."""
    n_regressions, rows = training_set.n_regressions, training_set.training_rows
    kinds, regression_kinds = fitted.kinds(prepared, n_regressions)
    y, values = training_set.y[rows], training_set.y_regr[rows].getnnz(axis=0)
    counts = zip((y > 0).getnnz(axis=0).tolist(), (y < 0).getnnz(axis=0).tolist(), strict=True)
    labels = [{"n_active": active, "n_inactive": inactive} for active, inactive in counts]
    return {
        "descriptors": DESCRIPTORS_VERSION if prepared.descriptors is not None else None,
        "tasks": tuple(
            ClassTask.model_validate(chosen_fields(ClassTask, asdict(task) | asdict(kind) | counted))
            for task, kind, counted in zip(prepared.tasks, kinds, labels, strict=True)
        ),
        "regression_tasks": tuple(
            RegrTask.model_validate(chosen_fields(RegrTask, asdict(task) | asdict(kind) | {"n_values": n_values}))
            for task, kind, n_values in zip(
                prepared.regression_tasks[:n_regressions], regression_kinds, values.tolist(), strict=True
            )
        ),
    }
