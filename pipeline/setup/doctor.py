"""`hocket doctor`: check a member's whole set-up before a run, and say what to do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from pipeline.errors import ExitCode, PipelineError
from pipeline.exchange.storage import open_exchange
from pipeline.home.paths import Home
from pipeline.plan.member_configs import MemberConfig, PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.setup.doctor_exchange import examine_begun, probe_exchange
from pipeline.setup.doctor_machine import LoadingLibraries, examine_libraries, examine_machine
from pipeline.setup.doctor_member import (
    examine_enrolment,
    examine_home,
    examine_keys,
    examine_plan,
    examine_tracking,
    open_keys,
)
from pipeline.setup.findings import Finding, examined, note, refused, wrong
from secure.errors import SecureError
from secure.keys.keys import PrivateKeys

if TYPE_CHECKING:
    from pipeline.setup.checked_tables import CheckedTables

_SHOWN_TABLE_FINDINGS = 3


Checking = Callable[[str], AbstractContextManager[object]]
"""Says what is being checked, while a check that may take seconds is running."""


def examine(config: MemberConfig, checking: Checking = nullcontext) -> Iterator[Finding]:
    """Yield the findings of all checks, each as soon as it is known. Nothing is changed in home or exchange.

    For the aggregator this needs neither torch nor rdkit nor polars.
    """
    role = "partner" if isinstance(config, PartnerConfig) else "aggregator"
    with LoadingLibraries(role) as libraries:
        yield from _examine(config, role, checking)
        with checking("whether the libraries load"):
            loading = examined("versions", libraries.findings)
        yield from loading


def _examine(config: MemberConfig, role: str, checking: Checking) -> Iterator[Finding]:
    plan, why = _plan(config)
    yield from examined("machine", lambda: examine_machine(config, plan))
    yield from examined("versions", lambda: examine_libraries(role))
    yield from why if plan is None else examined("plan", lambda: examine_plan(config, plan))
    yield from examined("home", lambda: examine_home(config))
    keys, why = _keys(config)
    yield from why if keys is None else examined("keys", lambda: examine_keys(config, keys, plan))
    with checking("the exchange"):
        exchange = examined("exchange", lambda: _exchange(config, plan))
    yield from exchange
    if plan is not None and keys is not None and keys.name in plan.cards:
        yield from examined("enrolment", lambda: _enrolment(config, plan, keys))
    if isinstance(config, PartnerConfig):
        with checking("the tables"):
            tables = examined("tables", lambda: _tables(config, plan))
        yield from tables
    with checking("the tracking store"):
        tracking = examined("tracking", lambda: examine_tracking(config))
    yield from tracking


def _plan(config: MemberConfig) -> tuple[Plan | None, list[Finding]]:
    try:
        return read_plan(config.plan_file), []
    except (PipelineError, SecureError) as error:
        if not getattr(error, "__notes__", []):
            error.add_note(_plan_advice(config))
        return None, [refused("plan", error)]


def _plan_advice(config: MemberConfig) -> str:
    if not config.plan_file.is_file():
        return "put the path of the plan into the configuration: plan = PATH, relative to the configuration's folder"
    return "take the plan that all members agreed on, whole; `hocket key show PLAN` prints its digest"


def _keys(config: MemberConfig) -> tuple[PrivateKeys | None, list[Finding]]:
    try:
        return open_keys(config), []
    except (PipelineError, SecureError, OSError) as error:
        return None, [refused("keys", error)]


def _enrolment(config: MemberConfig, plan: Plan, keys: PrivateKeys) -> Iterator[Finding]:
    return examine_enrolment(config, plan, keys, open_exchange(config.exchange_url).below(plan.folder))


def _exchange(config: MemberConfig, plan: Plan | None) -> Iterator[Finding]:
    yield from probe_exchange(config.exchange_url)
    if plan is not None:
        yield from examine_begun(config, plan)


def _tables(config: PartnerConfig, plan: Plan | None) -> Iterator[Finding]:
    """The first findings of `hocket prepare --check`; only those that stop a run are wrong, others leave out rows."""
    from pipeline.setup.checked_tables import checked_tables  # noqa: PLC0415 -- polars; the aggregator's doctor has none

    data = config.data
    files = (config.resolve(data.assays), config.resolve(data.activities), config.resolve(data.structures))
    if missing := [file for file in files if not file.is_file()]:
        for file in missing:
            yield wrong("tables", f"{file}: no such file", "put its path into [data]", ExitCode.DATA)
        return
    checked = checked_tables(config, plan)
    problems = checked.tables.findings
    errors = [problem for problem in problems if problem.stops]
    doubtful = [problem for problem in problems if problem.serious and not problem.stops]
    for problem in errors:
        yield wrong("tables", str(problem), "`hocket prepare CONFIG --check` says what to do", ExitCode.DATA)
    for problem in doubtful[:_SHOWN_TABLE_FINDINGS]:
        yield note("tables", str(problem), "correct these rows, or go on without them")
    if n_more := len(problems) - len(errors) - len(doubtful[:_SHOWN_TABLE_FINDINGS]):
        yield note("tables", f"{n_more} further findings", "`hocket prepare CONFIG --check` lists all of them")
    if not errors:
        yield Finding("tables", f"{', '.join(file.name for file in files)}: can be read")
        yield from _forecast(checked)
        if plan is not None:
            yield from _by_plan(config, plan, checked)


def _by_plan(config: PartnerConfig, plan: Plan, checked: "CheckedTables") -> Iterator[Finding]:
    """What the plan's differential privacy and its catalogue mean for these tables."""
    if plan.trunk.start:
        yield from examined("plan", lambda: _start(config, plan))
    if plan.privacy is not None:
        from pipeline.setup.epsilon_reach import examine_reach  # noqa: PLC0415 -- few plans need it

        yield from examine_reach(config, plan, plan.privacy, checked.n_training_compounds)
    if plan.catalogue.tasks:
        from pipeline.setup.own_catalogue import examine_catalogue  # noqa: PLC0415 -- polars; the aggregator has none

        yield examine_catalogue(config, plan)


def _start(config: PartnerConfig, plan: Plan) -> Iterator[Finding]:
    """Check the trunk that the plan begins from."""
    from pipeline.home.first_trunk import expect_start  # noqa: PLC0415 -- safetensors; the aggregator has none

    expect_start(config.plan_file, plan, Home(config.home_folder, plan.folder))
    yield Finding("plan", f"begins from the trunk {plan.trunk.start}, whose digest is the plan's")


def _forecast(checked: "CheckedTables") -> Iterator[Finding]:
    """What is left out of the tables, what will come of them, and whether the plan lets all labels count."""
    losses, forecast = checked.tables.losses, checked.tables.forecast
    if losses is None or forecast is None:
        return
    tasks, labels = forecast.classification, checked.n_training_labels
    text = f"{100 * losses.share:g} % of T1's rows left out; {tasks.trained:,} tasks, up to {tasks.scored:,} scored"
    yield Finding("tables", f"{text}; about {labels:,} training labels")
    if checked.is_heavier:
        advice = "agree on a larger one before the group secret is dealt"
        yield note("tables", f"more training labels than the plan's seal.max_weight, {checked.max_weight:,}", advice)
