"""Names of curves, tags and descriptions on MLflow's pages.

MLflow groups curves by the part of their name before the slash.
"""

from importlib.metadata import version

from pipeline.plan.plan import Plan
from pipeline.runtime.templates import filled

MEMBER = "hocket.member"
ROLE = "hocket.role"
PLAN = "hocket.plan"
VERSION = "hocket.version"
STATE = "hocket.state"
LOGGED = "hocket.logged"  # what the run has already, see pipeline.tracking.sync.Logged

_NOTE = "mlflow.note.content"
_CURVES = {
    "loss_train": "train/loss",
    "clipped_share": "update/clipped_share",
    "update_norm": "update/norm",
    "mean_change_norm": "update/mean_norm",
    "upload_bytes": "bytes/up",
    "upload_bytes_per_parameter": "bytes/up_per_parameter",
    "download_bytes": "bytes/down",
    "n_members": "round/members",
    "attempt": "round/attempt",
    "catalogue_rows": "round/catalogue_tasks",
}
_GROUPS = {"validation_": "validation/", "seconds_": "seconds/", "n_": "data/"}


def curve(key: str) -> str:
    """Name of a record's metric on MLflow's pages."""
    if key in _CURVES:
        return _CURVES[key]
    for beginning, group in _GROUPS.items():
        if key.startswith(beginning):
            return group + key.removeprefix(beginning)
    return key


def of_report(key: str) -> str:
    """Name of one of the report's means on MLflow's pages."""
    return f"report/{key}"


def experiment_name(plan: Plan) -> str:
    """Name of the federation's experiment; the id distinguishes federations of the same name."""
    return f"{plan.federation.name} ({plan.federation.id[:8]})"


def experiment_tags(plan: Plan) -> dict[str, str]:
    """Tags of the experiment with its description, equal from every member."""
    description = filled(
        __package__,
        "experiment.md.jinja",
        name=plan.federation.name,
        n_partners=len(plan.partner_names),
        partners=", ".join(plan.partner_names),
        aggregator=plan.aggregator_name,
        n_rounds=plan.rounds.n_rounds,
        plan=plan.digest,
        id=plan.federation.id,
    )
    return {"mlflow.experimentKind": "custom_model_development", _NOTE: description}


def identity_tags(member: str, role: str, plan: Plan) -> dict[str, str]:
    """Tags by which a member's run is found again."""
    return {MEMBER: member, ROLE: role, PLAN: plan.digest}


def run_tags(member: str, role: str, plan: Plan) -> dict[str, str]:
    """Tags of a run with its description, set when it starts and again under a revision of the plan."""
    description = filled(
        __package__,
        "partner_run.md.jinja" if role == "partner" else "aggregator_run.md.jinja",
        member=member,
        name=plan.federation.name,
        local_steps=plan.rounds.local_steps,
    )
    release = version("hocket")
    return identity_tags(member, role, plan) | {
        VERSION: release,
        _NOTE: description,
        "mlflow.user": member,
        "mlflow.source.name": f"hocket {release}",
    }


def state(last_step: int, n_rounds: int, *, finished: bool) -> str:
    """State of a member in words; last_step is -1 before its first record, 0 before the first round."""
    if finished:
        return f"finished after {n_rounds} rounds"
    if last_step < 0:
        return "enrolling and preparing"
    return f"round {min(last_step + 1, n_rounds)} of {n_rounds}"


def artifact(step: int) -> str:
    """Path of the artifact with the facts of a step."""
    return f"rounds/round-{step:04d}.json" if step else "rounds/preparation.json"
