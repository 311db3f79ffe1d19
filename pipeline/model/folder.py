"""The finished model as one private folder in a partner's home, with everything that predictions need."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from data_prep.folds.keyed import bit_permutation
from data_prep.prepared import Prepared
from partners.files.round_checkpoint import RoundStart
from partners.models.final_model import FinalModel, write_model_files
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
        try:
            self.predictor = FinalModel.read(
                folder / weights_file(self.which),
                folder / COMPOUNDS_FILE,
                n_bits=self.description.fingerprint.n_bits,
                trunk_settings=self.description.trunk,
                training=self.description.training,
                least_similarity=self.description.least_similarity,
            )
        except FileNotFoundError as missing:
            raise ConfigError(f"{folder}: a file is missing, expected a complete model: {missing}") from None
        n_tasks = (self.predictor.n_tasks, self.predictor.n_regressions)
        if n_tasks != (len(self.description.tasks), len(self.description.regression_tasks)):
            raise ConfigError(f"{folder}: {DESCRIPTION_FILE} and {self.which}.safetensors have other tasks")
        self.places = self.predictor.places
        self.calibration = self.predictor.calibration


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
    training = training.on_cpu()  # a model predicts the same on every machine
    with atomic_folder(folder) as unfinished:
        least_similarity = write_model_files(
            {
                unfinished / weights_file("local"): (local.trunk, local.state),
                unfinished / weights_file("federated"): (federated.trunk, federated.private),
            },
            unfinished / COMPOUNDS_FILE,
            training_set,
            bit_permutation(structure_seed, plan.preparation.fingerprint.n_bits),
            layout=plan.layout.trunk,
            trunk_settings=plan.trunk,
            training=training,
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
        fields = description.model_dump(mode="json")
        (unfinished / DESCRIPTION_FILE).write_text(json.dumps(fields, indent=1, allow_nan=False) + "\n")
        text = filled("pipeline.model", "readme.md.jinja", partner=partner, federation=plan.federation.name)
        (unfinished / _README).write_text(text)
        for file in unfinished.iterdir():
            file.chmod(_FILE_MODE)


def _chosen(schema: type[Schema], values: dict[str, object]) -> dict[str, object]:
    return {name: values[name] for name in schema.model_fields}
