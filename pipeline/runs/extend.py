"""`hocket extend`: models for assays that were not in the federation, added to the partner's finished model."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.preparation.prepare import prepare
from data_prep.prepared import Prepared, read_measured_assays, read_prepared, read_summary
from partners.models.final_model import FinalModel
from partners.new_assays.extension import Extension
from partners.new_assays.fit import FitJob, fit_extensions
from partners.new_assays.new_assay import NewAssay, RefusedAssay, for_few_labels, new_assays
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.model.description import Description
from pipeline.model.extensions import FILE_MODE, extend_folder, extension_file, stored_files
from pipeline.model.folder import read_base
from pipeline.model.rebuild import group_secret, model_folder
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from pipeline.runs.structure_workers import open_workers
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_SEED = 0  # of forests, resamples and shuffled folds
_PREPARED, _REPORT = "prepared", "added.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTables:
    """The tables of the command line."""

    assays: Path
    activities: Path
    structures: Path | None = None  # None: those of the configuration


@dataclass(frozen=True, slots=True)
class ExtensionReport:
    """What came of the new assays; private to the partner."""

    results: list[dict[str, Any]]  # an AssayResult of each assay added now
    refused: list[RefusedAssay]
    file: Path  # with all assays that were ever added


def extend_model(config_file: Path, tables: NewTables, log: Log | None = None) -> ExtensionReport:
    """Fit, compare and add models of the tables' assays; an assay that was added before is replaced.

    If every assay is refused, nothing is written. Raises NotYet before the federation is finished here, TableError for
    a table that cannot be read.
    """
    config = PartnerConfig.read(config_file)
    reporter, home = ProgressReporter(config.name, log), Home(config.home_folder)
    folder = model_folder(config, reporter)
    with home.alone():
        description = Description.read(folder).without_added()
        base = read_base(folder, description, "federated")
        prepared_folder = _prepare(config, tables, home, reporter, descriptors=description.descriptors is not None)
        prepared = read_prepared(prepared_folder)
        accepted, refused = new_assays(prepared, read_measured_assays(prepared_folder), description.assays)
        report = home.extensions / _REPORT
        if not accepted:
            return ExtensionReport([], refused, report)
        extensions = _fit(accepted, base, prepared, config, reporter)
        for new, extension in zip(accepted, extensions, strict=True):
            file = home.extensions / extension_file(new.assay.input_assay_id)
            extension.write(file)
            file.chmod(FILE_MODE)
        extend_folder(folder, home.extensions, base.trunk_digest)
        _write_report(home, base.trunk_digest, refused)
    results = [dict(extension.facts["result"]) for extension in extensions]
    reporter.report(f"added {len(results)} assays to {folder}")
    if description.kept == "local" and any(extension.on_trunk for extension in extensions):
        reporter.warn("the gate keeps the local model: --model federated predicts new assays on the trunk")
    return ExtensionReport(results, refused, report)


def _prepare(
    config: PartnerConfig, tables: NewTables, home: Home, reporter: ProgressReporter, *, descriptors: bool
) -> Path:
    """Prepare the tables with the plan's chemistry, fingerprint, folds and seed; say what was rejected."""
    plan, data = read_plan(config.plan_file), config.data
    with open_workers(config) as workers, reporter.progress("preparing compounds") as progress:
        folder = prepare(
            tables.assays,
            tables.activities,
            tables.structures or config.resolve(data.structures),
            for_few_labels(plan.preparation),
            group_secret(config, plan).structure_seed,
            home.extensions / _PREPARED,
            workers=workers,
            timeout_s=data.compound_timeout_s,
            cache=home.structures_cache,
            progress=progress,
            descriptors=descriptors,
            own=replace(data.own, most_rejected=1.0, date_column=""),
        )
    for name, table in read_summary(folder)["tables"].items():
        if reasons := table["rejected"]:
            counts = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
            reporter.warn(f"{name}: rows left out: {counts}; listed in {folder / 'rejected.parquet'}")
    return folder


def _fit(
    accepted: list[NewAssay], base: FinalModel, prepared: Prepared, config: PartnerConfig, reporter: ProgressReporter
) -> list[Extension]:
    jobs = [
        FitJob(new, partial(base.inputs, new.x, new.descriptors, on_trunk=True), _facts(new, base, prepared))
        for new in accepted
    ]
    with reporter.progress("comparing and fitting models of new assays") as progress:
        return fit_extensions(jobs, _SEED, config.n_workers, progress)


def _facts(new: NewAssay, base: FinalModel, prepared: Prepared) -> dict[str, Any]:
    """Facts for the file of an added assay, without the result."""
    regression = [new.regression_task] if new.regression_task else []
    return {
        "assay": new.assay.input_assay_id,
        "trunk": base.trunk_digest,
        "prepared": prepared.manifest["digest"],
        "tasks": [asdict(task) for task in new.tasks],
        "regression_tasks": [asdict(task) for task in regression],
    }


def _write_report(home: Home, trunk: str, refused: list[RefusedAssay]) -> None:
    """Write how good the models of all added assays are, and which assays the last run refused."""
    results = [facts["result"] for _, facts in stored_files(home.extensions, trunk)]
    content = {"kind": "hocket new assays", "added": results, "refused": [asdict(assay) for assay in refused]}
    write_json(home.extensions / _REPORT, content)
    (home.extensions / _REPORT).chmod(FILE_MODE)
