"""Prepare a partner's tables or new structures, with the plan's settings and the group secret."""

from pathlib import Path
from typing import Any

from data_prep.errors import OutputOccupied
from data_prep.folds.consistency import consistency_digest
from data_prep.prediction.new_structures import check_output, prepare_new, write_new
from data_prep.preparation.input_tables import expect_expert_thresholds, read_tables
from data_prep.preparation.prepare import prepare
from data_prep.preparation.structure_check import StructureCheck
from data_prep.prepared import Prepared, read_prepared
from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.protocol.enrolment import obtain_group_secret
from pipeline.protocol.open_mailbox import open_partner_mailbox
from pipeline.runs.preparation_summary import PreparationSummary, PreparedTables
from pipeline.runs.structure_workers import open_workers
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter
from pipeline.setup.checked_tables import CheckedTables, checked_tables
from secure.ciphertexts.parameters import seal_parameters
from secure.keys.group import GroupSecret


def prepared_matrices(
    config: PartnerConfig,
    plan: Plan,
    group: GroupSecret,
    reporter: ProgressReporter,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Prepared:
    """The matrices of the partner's tables: prepared now, or read from the home if the tables are the same.

    workers, scheduler : replace the configuration's, see pipeline.runs.structure_workers
    """
    return matrices_under(
        config, plan, group.structure_seed, Home(config.home_folder).prepared, reporter, workers, scheduler
    )


def matrices_under(
    config: PartnerConfig,
    plan: Plan,
    structure_seed: bytes,
    folder: Path,
    reporter: ProgressReporter,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Prepared:
    """The same under any structure seed, with the matrices below a folder."""
    data, home = config.data, Home(config.home_folder)
    with open_workers(config, workers, scheduler) as opened, reporter.progress("preparing compounds") as progress:
        prepared = prepare(
            *_table_files(config),
            plan.preparation,
            structure_seed,
            folder,
            workers=opened,
            timeout_s=data.compound_timeout_s,
            cache=home.structures_cache,
            progress=progress,
            descriptors=data.descriptors,
            own=data.own,
        )
    for warning in PreparationSummary.read(prepared).warnings:
        reporter.warn(warning)
    return read_prepared(prepared)


def preparation_digest(plan: Plan, group: GroupSecret) -> str:
    """Digest in `ready` of how this partner prepares compounds; equal for equal settings, seed and versions."""
    return consistency_digest(plan.preparation, group.structure_seed)


def prepare_tables(
    config_file: Path, workers: int | None = None, scheduler: str | None = None, log: Log | None = None
) -> PreparedTables:
    """Prepare the tables for `hocket prepare`. Raises NotYet before the group secret is dealt.

    A partner whose `consistency` differs from the others' is refused in round 1.
    """
    config = PartnerConfig.read(config_file)
    with Home(config.home_folder).alone():
        mailbox = open_partner_mailbox(config)
        expect_usable_tables(config, mailbox.plan)  # before the custodian deals the secret
        group = obtain_group_secret(mailbox, seal_parameters(mailbox.plan.seal))
        reporter = ProgressReporter(config.name, log)
        prepared = prepared_matrices(config, mailbox.plan, group, reporter, workers=workers, scheduler=scheduler)
        folder = Home(config.home_folder).prepared / prepared.manifest["digest"]
        return PreparedTables(folder, PreparationSummary.read(folder), preparation_digest(mailbox.plan, group))


def prepare_structures(
    config_file: Path,
    structures: Path,
    output: Path,
    workers: int | None = None,
    scheduler: str | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Write fingerprints of new structures, as in training, and the refused ones, for `hocket prepare --structures`.

    Raises ConfigError for an output folder that holds something else, NotYet before the group secret is dealt.
    """
    try:
        check_output(output)
    except OutputOccupied as occupied:
        error = ConfigError(str(occupied))
        error.add_note(occupied.__notes__[0])
        raise error from occupied
    config = PartnerConfig.read(config_file)
    reporter = ProgressReporter(config.name, log)
    with Home(config.home_folder).alone():
        mailbox = open_partner_mailbox(config)
        group = obtain_group_secret(mailbox, seal_parameters(mailbox.plan.seal))
        with (
            open_workers(config, workers, scheduler) as opened,
            reporter.progress("preparing new structures") as progress,
        ):
            new = prepare_new(
                structures,
                mailbox.plan.preparation,
                group.structure_seed,
                workers=opened,
                timeout_s=config.data.compound_timeout_s,
                cache=Home(config.home_folder).structures_cache,
                progress=progress,
                renamed=config.data.own.columns,
            )
        counts = write_new(new, structures, mailbox.plan.preparation, output)
        return {"folder": str(output), **counts, "consistency": preparation_digest(mailbox.plan, group)}


def expect_usable_tables(config: PartnerConfig, plan: Plan) -> None:
    """Raise what makes the tables useless before structures are standardised: TableError, TooMuchLeftOut, NoTask.

    Raises what `expect_fixed_thresholds` raises.
    """
    expect_fixed_thresholds(config, plan)
    tables = read_tables(*_table_files(config), plan.preparation, config.data.own)
    tables.expect_usable(plan.preparation, config.data.own)


def expect_fixed_thresholds(config: PartnerConfig, plan: Plan) -> None:
    """Raise ThresholdsFromData if the plan has [privacy] and thresholds would follow from the values; TableError."""
    if plan.privacy:
        expect_expert_thresholds(_table_files(config)[0], config.data.own)


def check_tables(config_file: Path, *, all_structures: bool = False, workers: int | None = None) -> CheckedTables:
    """All that is wrong with the tables and what will come of them, for `hocket prepare --check`.

    all_structures : standardise every structure, and remember them in the home if there is one; else a sample
    """
    config = PartnerConfig.read(config_file)
    plan, home = read_plan(config.plan_file), Home(config.home_folder)
    sample = {"sample": None} if all_structures else {}
    structures = StructureCheck(
        **sample,
        workers=workers or config.n_workers,
        timeout_s=config.data.compound_timeout_s,
        cache=home.structures_cache if all_structures and home.folder.is_dir() else None,
    )
    return checked_tables(config, plan, structures)


def _table_files(config: PartnerConfig) -> tuple[Path, Path, Path]:
    data = config.data
    return config.resolve(data.assays), config.resolve(data.activities), config.resolve(data.structures)
