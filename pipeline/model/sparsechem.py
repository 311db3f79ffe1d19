"""`hocket export sparsechem` and `hocket check-matrices`: exchange models and data with SparseChem."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from partners.files.matrix_counts import ExpectedFeatures, count_matrices
from partners.files.round_checkpoint import RoundStart
from partners.files.sparsechem_model import SparseChemModel, write_sparsechem
from partners.network.input_columns import InputColumns
from partners.training_data.sparsechem_files import MatrixFiles
from pipeline.errors import ConfigError, NotYet
from pipeline.home.catalogue_counts import known_holders
from pipeline.home.own_columns import input_columns
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan


def export_sparsechem(config_file: Path, model_file: Path, settings_file: Path) -> dict[str, Any]:
    """Write the partner's newest federated model in SparseChem's format and return facts about it.

    Raises NotYet before this partner has trained heads in a round, ConfigError if an output file exists.
    """
    config = PartnerConfig.read(config_file)
    for file in (model_file, settings_file):
        if file.exists():
            raise ConfigError(f"{file}: exists already, expected a new file to write to")
    home = Home(config.home_folder)
    with home.alone():
        plan = read_plan(config.plan_file)
        round_no = max(home.rounds_started(), default=0)
        holders = known_holders(plan, home) if round_no else None
        start = RoundStart.read(home.start_file(round_no), holders.layout(plan), to_predict=True) if holders else None
        columns = input_columns(plan, home, holders) if holders else InputColumns()
    if start is None or start.private is None:
        raise NotYet(f"{config.name}: no model yet, expected at least one round in which this partner took part")
    model = SparseChemModel(plan.layout.trunk, *start.model(columns), plan.trunk, config.training)
    write_sparsechem(model, model_file, settings_file)
    return {
        "model": str(model_file),
        "settings": str(settings_file),
        "rounds_done": round_no - 1,
        "inputs": plan.layout.n_inputs,
        "hidden": list(plan.layout.hidden),
        "classification_tasks": start.private.n_tasks,
        "regression_tasks": start.private.n_regressions,
    }


def check_matrices(
    files: MatrixFiles, plan_file: Path | None, *, test_fold: int, validation_fold: int, trust_pickle: bool
) -> dict[str, Any]:
    """Read SparseChem's data files and count their content; a plan decides the number of features and the folds.

    Raises partners.errors.TrainingError for files that cannot be trained on.
    """
    network = None
    if plan_file:
        plan = read_plan(plan_file)
        test_fold, validation_fold = plan.preparation.folds.test, plan.preparation.folds.validation
        network = ExpectedFeatures(plan.layout.n_inputs, plan.trunk.input_transform)
    counts = count_matrices(
        files, test_fold=test_fold, validation_fold=validation_fold, trust_pickle=trust_pickle, network=network
    )
    return asdict(counts)
