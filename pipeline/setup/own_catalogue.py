"""A catalogue seen from a partner's own tables: rows it could propose, and its tasks that a plan's catalogue covers."""

from pathlib import Path

from data_prep.preparation.catalogue_tasks import catalogue_tasks
from data_prep.settings import Preparation
from pipeline.errors import ConfigError
from pipeline.plan.catalogue import Catalogue
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import read_toml
from pipeline.setup.findings import Finding, note


def own_tasks(config: PartnerConfig, settings: Preparation) -> list[tuple[str, float]]:
    """Catalogue id and threshold of each task that could be held, see `catalogue_tasks`; raises TableError."""
    data = config.data
    t0, t1, t2 = (config.resolve(table) for table in (data.assays, data.activities, data.structures))
    return catalogue_tasks(t0, t1, t2, settings, data.own)


def proposed_tasks(config_file: Path) -> list[tuple[str, float]]:
    """Own tasks for a proposal, prepared by the plan's settings, or by the default ones before there is a plan.

    Raises ConfigError if there is none, data_prep.errors.TableError for a wrong table.
    """
    config = PartnerConfig.read(config_file)
    # without its catalogue's file, which may be the one that is proposed
    settings = read_toml(config.plan_file, Plan).preparation if config.plan_file.exists() else Preparation()
    tasks = own_tasks(config, settings)
    if not tasks:
        least = settings.activities.catalogue_min_labels
        error = ConfigError(
            f"{config.resolve(config.data.assays)}: found no task to propose, "
            f"expected a catalog_assay_id with {least} labels"
        )
        error.add_note(
            "types CATALOG-PANEL and PANEL can have one; the plan's catalogue_min_labels says how many labels"
        )
        raise error
    return tasks


def examine_catalogue(config: PartnerConfig, plan: Plan) -> Finding:
    """How many of the tasks that could be held are in the plan's catalogue. Raises data_prep.errors.TableError."""
    rows = _rows(plan.catalogue)
    tasks = own_tasks(config, plan.preparation)
    covered = [task for task in tasks if task in rows]
    held = f"{len(set(covered))} of {len(rows)} rows"
    text = f"covers {len(covered)} of {len(tasks)} tasks with a catalog_assay_id, by {held}"
    if covered:
        return Finding("catalogue", text)
    return note("catalogue", text, "no head of yours is shared: compare T0's ids and thresholds with its rows")


def _rows(catalogue: Catalogue) -> set[tuple[str, float]]:
    return {(task.id, task.threshold) for task in catalogue.tasks}
