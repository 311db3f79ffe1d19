"""From a partner's tables to its training set."""

from pathlib import Path
from typing import Any

import numpy as np

from data_prep.check import Finding, check
from data_prep.consistency import consistency_digest
from data_prep.prepare import prepare
from data_prep.prepared import Prepared, read_prepared, read_summary
from partners.training_set import TrainingSet
from pipeline.configs import PartnerConfig
from pipeline.console import Narrator
from pipeline.enrolment import obtain_group_secret
from pipeline.home import Home
from pipeline.opening import open_partner_mail
from pipeline.plan import Plan, read_plan
from secure.group import GroupSecret
from secure.parameters import seal_parameters


def prepared_matrices(config: PartnerConfig, plan: Plan, group: GroupSecret, narrator: Narrator) -> Prepared:
    """Prepare the tables, or read what was prepared from the same tables before."""
    data = config.data
    with narrator.progress("preparing compounds") as progress:
        folder = prepare(
            config.resolve(data.assays),
            config.resolve(data.activities),
            config.resolve(data.structures),
            plan.preparation,
            group.structure_seed,
            Home(config.home_folder).prepared,
            workers=config.n_workers,
            progress=progress,
        )
    return read_prepared(folder)


def training_set(prepared: Prepared, plan: Plan) -> TrainingSet:
    """The prepared matrices as the trainer takes them."""
    return TrainingSet(
        x=prepared.x,
        y=prepared.y,
        folding=prepared.folding,
        training_weight=np.array([task.training_weight for task in prepared.tasks], dtype=np.float32),
        test_fold=plan.preparation.folds.test,
        validation_fold=plan.preparation.folds.validation,
    )


def preparation_digest(plan: Plan, group: GroupSecret) -> str:
    """What `ready` says about how this partner prepares compounds; equal for equal set-ups."""
    return consistency_digest(plan.preparation, group.structure_seed)


def prepare_tables(config_file: Path) -> dict[str, Any]:
    """`hocket prepare`: prepare and summarise. Raises NotYet before the group secret is dealt."""
    config = PartnerConfig.read(config_file)
    with Home(config.home_folder).alone():
        mail = open_partner_mail(config)
        group = obtain_group_secret(mail, seal_parameters(mail.plan.seal))
        prepared = prepared_matrices(config, mail.plan, group, Narrator(config.name))
        folder = Home(config.home_folder).prepared / prepared.manifest["digest"]
        return {"folder": str(folder), **read_summary(folder)}


def check_tables(config_file: Path) -> list[Finding]:
    """`hocket prepare --check`: everything that is wrong with the tables, before any expensive step."""
    config = PartnerConfig.read(config_file)
    data = config.data
    plan = read_plan(config.plan_file)
    tables = (config.resolve(data.assays), config.resolve(data.activities), config.resolve(data.structures))
    return check(*tables, plan.preparation)
