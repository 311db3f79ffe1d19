"""`hocket audit`: what a finished partner's releases reveal about its compounds."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from partners.audit.columns import column_table
from partners.audit.rates import largest_bound
from partners.audit.reconstruction import reconstruct
from pipeline.report.audit.schema import (
    EXAMPLE,
    Audit,
    AuditColumns,
    AuditColumnTable,
    AuditIncoming,
    AuditReconstruction,
)
from pipeline.runs.audit_subject import AuditSubject, read_subject
from pipeline.runs.audit_views import canary_views, membership_views
from pipeline.runs.shadow_models import shadow_models
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_NO_TRUNKS = (
    "the steps of the trunk: the home keeps no trunks of earlier rounds; set [audit] history_gb in partner.toml before "
    "round 1"
)
_NO_SHADOWS = "LiRA and RMIA: at least two shadow models are needed, see --shadows"
_NO_CANARIES = "canaries: none were drawn; set [audit] canaries in partner.toml before round 1"
_NO_HOLDERS = "holders of input columns: they are not counted, so columns that only one partner sets are not known"
_FEWEST_SHADOWS = 2


def run_audit(config_file: Path, *, quick: bool, n_shadows: int, log: Log | None = None) -> Audit:
    """Audit a finished partner's home, write audit.json, and return what it holds.

    quick     : columns, canaries and incoming trunks alone; the rest stays as an earlier audit of this trunk left it
    n_shadows : shadow models, which take most of the time; those of an interrupted audit are used again
    Raises NotYet before the federation is finished here, HomeInUse while another process works there.
    """
    subject = read_subject(config_file)
    reporter = ProgressReporter(subject.config.name, log)
    with subject.home.alone():
        before = Audit.read(subject.home)
        kept = before if before and before.trunk == subject.trunk_digest else None
        audit = _quick(subject, kept) if quick else _whole(subject, n_shadows, reporter)
        audit.write(subject.home)
    return audit


def _quick(subject: AuditSubject, kept: Audit | None) -> Audit:
    """Canaries were drawn before this trunk, so that a kept view of them is right."""
    if kept:
        return kept.model_copy(update=_exact_parts(subject))
    missing = _missing(subject)
    return Audit(**_exact_parts(subject), n_shadows=0, views=list(canary_views(subject)), missing=missing)


def _whole(subject: AuditSubject, n_shadows: int, reporter: ProgressReporter) -> Audit:
    rows, is_member = subject.candidates()
    task, n = subject.shadow_task(rows), n_shadows if n_shadows >= _FEWEST_SHADOWS else 0
    shadows = shadow_models(task, n, subject.home.audit / "shadows", subject.config.n_workers, reporter) if n else []
    reporter.report("attacking membership of the training")
    views = list(membership_views(subject, task, is_member, shadows))
    missing = [*([] if shadows else [_NO_SHADOWS]), *([] if subject.trunks() else [_NO_TRUNKS]), *_missing(subject)]
    return Audit(
        **_exact_parts(subject),
        n_shadows=len(shadows),
        views=views,
        reconstruction=_reconstruction(subject),
        missing=missing,
    )


def _missing(subject: AuditSubject) -> list[str]:
    return [*([] if subject.canaries else [_NO_CANARIES]), *([] if subject.columns.is_counted else [_NO_HOLDERS])]


def _exact_parts(subject: AuditSubject) -> dict[str, Any]:
    """Whose audit it is, columns, incoming trunks."""
    looks = subject.history.looks()
    warnings = [f"round {look.round_no}: {text}" for look, texts in looks for text in texts]
    table = column_table(subject.trained.x[subject.trained.training_rows], subject.holders())
    return {
        "partner": subject.config.name,
        "federation": subject.plan.federation.name,
        "plan": subject.plan.digest,
        "trunk": subject.trunk_digest,
        "largest_epsilon": largest_bound(EXAMPLE),
        "allowed_epsilon": subject.plan.privacy.epsilon if subject.plan.privacy else None,
        "columns": AuditColumnTable(
            n_columns=table.n_columns,
            n_compounds=table.n_compounds,
            classes=[AuditColumns.model_validate(asdict(part)) for part in table.classes],
            n_alone=table.n_alone,
            n_exposed=table.n_exposed,
        ),
        "incoming": AuditIncoming(n_rounds=len(looks), warnings=warnings),
    }


def _reconstruction(subject: AuditSubject) -> AuditReconstruction:
    name = "trunk.0.weight"
    change = subject.layout.views(subject.trunk - subject.first_trunk)[name]
    result = reconstruct(change, subject.trained.x[subject.trained.training_rows])
    return AuditReconstruction.model_validate(asdict(result))
