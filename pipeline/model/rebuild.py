"""Rebuild a missing model folder from the other files in a partner's home."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from data_prep.prepared import Prepared, read_prepared
from partners.files.checkpoint import read_facts
from partners.files.round_checkpoint import RoundStart
from partners.models.take_home import TrunkAndHeads, read_models
from partners.network.trunk import trunk_digest
from partners.settings import Training
from partners.training.baseline import read_baseline
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from pipeline.audit.provenance import check_signature
from pipeline.errors import ConfigError
from pipeline.home.canaries import left_out_of
from pipeline.home.catalogue_counts import Holders, known_holders
from pipeline.home.own_columns import input_columns
from pipeline.home.paths import Home
from pipeline.model.extensions import report_left_out
from pipeline.model.folder import write_final_model
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.report.report import read_report
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import seal_parameters
from secure.keys.group import GroupSecret
from secure.keys.keys import PrivateKeys, load_private_keys


def rebuild_final_model(config: PartnerConfig) -> list[str]:
    """Write HOME/model from kept rounds, both networks and matrices; nothing is trained. The caller locks the home.

    Returns the ids of added assays that were fitted on another trunk and are left out.
    Raises NotYet before the plan's last round is done here, ConfigError if a needed file is missing.
    """
    plan = read_plan(config.plan_file)
    home = Home(config.home_folder, plan.folder)
    report = read_report(home)
    baseline_file = _existing(home.baseline / "local.safetensors")
    local, facts = read_baseline(baseline_file, plan.layout.trunk)
    final_file = _existing(home.start_file(plan.rounds.n_rounds + 1))
    holders = known_holders(plan, home) or Holders()
    final = RoundStart.read(final_file, holders.layout(plan), to_predict=True)
    training = trained_settings(facts)
    if final.private is None:
        raise ConfigError(f"{final_file}: found no heads, expected those of a partner that took part in a round")
    prepared = finished_matrices(home)
    data = training_set(prepared, plan.preparation.folds, training, left_out_of(home, prepared.x))
    federated = TrunkAndHeads(*final.model(input_columns(plan, home, holders)))
    _check_fitted(home.assay_models, data, (local.trunk, federated.trunk))
    keys = load_private_keys(home.keys, config.passphrase())
    return write_final_model(
        home,
        plan,
        prepared,
        data,
        _group_secret(home, plan, keys).structure_seed,
        keys=keys,
        training=training,
        local=TrunkAndHeads(local.trunk, local.state),
        federated=federated,
        fitted=read_models(home.assay_models, plan.layout.trunk, data.training_rows.size),
        kept=report.gate.kept,
        compound_timeout_s=config.data.compound_timeout_s,
        trunk=final.digest,
        workers=config.n_workers,
    )


def model_folder(config: PartnerConfig, reporter: ProgressReporter) -> Path:
    """HOME/model; if it is missing, it is made again first, with the assays that were added to it.

    Raises NotYet before the federation is finished here, what `rebuild_final_model` raises, and
    secure.errors.SecureError if its provenance names this home's card and is not signed by it.
    """
    home = Home(config.home_folder)
    if not home.model.exists():
        read_report(home)  # NotYet before the federation is finished here
        with home.alone():
            reporter.report("the finished model is missing: it is made again from the files in the home")
            report_left_out(reporter, rebuild_final_model(config))
    if doubt := check_signature(home.model, home.keys / "card.toml"):
        reporter.warn(doubt)
    return home.model


def group_secret(config: PartnerConfig, plan: Plan) -> GroupSecret:
    """The group secret in the home; raises ConfigError if it is missing, and secure's errors."""
    home = Home(config.home_folder, plan.folder)
    return _group_secret(home, plan, load_private_keys(home.keys, config.passphrase()))


def _group_secret(home: Home, plan: Plan, keys: PrivateKeys) -> GroupSecret:
    return GroupSecret.load(_existing(home.group_secret), seal_parameters(plan.seal), keys)


def trained_settings(facts: Mapping[str, Any]) -> Training:
    """The settings of the finished training, even if partner.toml has others today; facts: of the local model."""
    return TypeAdapter(Training).validate_json(json.dumps(facts["training"]))


def _existing(file: Path) -> Path:
    if not file.exists():
        raise ConfigError(f"{file}: is missing, but needed to rebuild the finished model")
    return file


def finished_matrices(home: Home) -> Prepared:
    """The prepared matrices that the models of assays were fitted on; the home may hold others too."""
    folder = home.prepared / str(read_facts(_existing(home.assay_models)).get("prepared"))
    if not folder.is_dir():
        error = ConfigError(f"{folder}: found no such matrices, but the models of assays were fitted on them")
        error.add_note("`hocket prepare` makes them from the same tables and plan, with `descriptors` as it was")
        raise error
    return read_prepared(folder)


def _check_fitted(file: Path, data: TrainingSet, trunks: Iterable[NDArray[np.float32]]) -> None:
    """Refuse models of assays that were fitted on other data or networks; trunks: the local and the federated one."""
    facts, networks = read_facts(file), [trunk_digest(trunk) for trunk in trunks]
    for what, found, expected in (
        ("other data", facts.get("data"), data.digest()),
        ("other networks", facts.get("networks"), networks),
    ):
        if found != expected:
            error = ConfigError(f"{file}: holds models that were fitted on {what}, expected those of the finished run")
            error.add_note("restore the home from one backup; its files must be of the same run")
            raise error
