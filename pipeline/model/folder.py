"""The finished model as one private folder in a partner's home, with everything that predictions need."""

import json
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.folds.keyed import bit_permutation
from data_prep.prepared import Prepared
from partners.files.round_checkpoint import RoundStart
from partners.models.final_model import FinalModel, KnownCompounds, Weights, known_compounds
from partners.network.state import PartnerState
from partners.network.trunk import trunk_layout
from partners.settings import Training
from partners.training.baseline import Baseline
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.model.description import (
    COMPOUNDS_FILE,
    DESCRIPTION_FILE,
    ClassTask,
    Description,
    RegrTask,
    Which,
    weights_file,
)
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import Schema
from pipeline.runtime.templates import filled
from secure.files import atomic_folder

_README = "README.md"
_FILE_MODE = 0o600


class OpenModel:
    """A model read from its folder, ready to predict."""

    def __init__(self, folder: Path, which: Which | None = None) -> None:
        """`which` None: the model that the gate keeps.

        Raises ConfigError or partners.errors.TrainingError for a damaged folder.
        """
        self.description = Description.read(folder)
        self.which: Which = which or self.description.kept
        trunk = self.description.trunk
        layout = trunk_layout(self.description.fingerprint.n_bits, trunk.hidden)
        try:
            weights = Weights.read(folder / weights_file(self.which), layout)
            known = KnownCompounds.read(folder / COMPOUNDS_FILE, layout)
        except FileNotFoundError as missing:
            raise ConfigError(f"{folder}: a file is missing, expected a complete model: {missing}") from None
        n_tasks = (weights.state.n_tasks, weights.state.n_regressions)
        if n_tasks != (len(self.description.tasks), len(self.description.regression_tasks)):
            raise ConfigError(f"{folder}: {DESCRIPTION_FILE} and {self.which}.safetensors have other tasks")
        self.places = known.places
        self.calibration = weights.calibration
        training, least = self.description.training, self.description.least_similarity
        self.predictor = FinalModel(weights, known, layout, trunk, training, least)


def write_final_model(  # noqa: PLR0913 -- all results of a run
    folder: Path,
    plan: Plan,
    prepared: Prepared,
    training_set: TrainingSet,
    structure_seed: bytes,
    *,
    partner: str,
    training: Training,
    local: Baseline,
    federated: RoundStart,
    kept: Which,
    compound_timeout_s: float,
) -> None:
    """Write the folder whole or not at all, readable only by its owner. Raises ConfigError without federated heads."""
    if federated.private is None:
        raise ConfigError(f"{folder}: found no federated heads, expected a partner that took part in a round")
    # always on the CPU: a model predicts the same on every machine
    precision = "float32" if training.precision == "tf32" else training.precision
    training = replace(training, device="cpu", precision=precision)
    models: tuple[tuple[Which, NDArray[np.float32], PartnerState], ...] = (
        ("local", local.trunk, local.state),
        ("federated", federated.trunk, federated.private),
    )
    known, least_similarity = known_compounds(
        training_set, bit_permutation(structure_seed, plan.preparation.fingerprint.n_bits)
    )
    description = Description(
        version=version("hocket"),
        partner=partner,
        federation=plan.federation.name,
        federation_id=plan.federation.id,
        plan=plan.digest,
        n_rounds=plan.rounds.n_rounds,
        kept=kept,
        trunk=plan.trunk,
        training=training,
        chemistry=plan.preparation.chemistry,
        fingerprint=plan.preparation.fingerprint,
        compound_timeout_s=compound_timeout_s,
        tasks=tuple(ClassTask.model_validate(_chosen(ClassTask, asdict(task))) for task in prepared.tasks),
        regression_tasks=tuple(
            RegrTask.model_validate(_chosen(RegrTask, asdict(task)))
            for task in prepared.regression_tasks[: training_set.n_regressions]
        ),
        least_similarity=least_similarity,
    )
    with atomic_folder(folder) as unfinished:
        for which, trunk, state in models:
            weights = Weights.of(training_set, trunk, state, plan.layout.trunk, plan.trunk, training)
            weights.write(unfinished / weights_file(which))
        known.write(unfinished / COMPOUNDS_FILE)
        fields = description.model_dump(mode="json")
        (unfinished / DESCRIPTION_FILE).write_text(json.dumps(fields, indent=1, allow_nan=False) + "\n")
        text = filled("pipeline.model", "readme.md.jinja", partner=partner, federation=plan.federation.name)
        (unfinished / _README).write_text(text)
        for file in unfinished.iterdir():
            file.chmod(_FILE_MODE)


def _chosen(schema: type[Schema], values: dict[str, object]) -> dict[str, object]:
    return {name: values[name] for name in schema.model_fields}
