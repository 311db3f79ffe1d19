"""Names of charts, tags and descriptions on MLflow's pages.

MLflow groups charts by the part of their name before the slash, and sorts groups by name: a digit makes their order.
"""

from importlib.metadata import version

from pipeline.plan.plan import Plan
from pipeline.runtime.templates import filled

MEMBER = "hocket.member"
ROLE = "hocket.role"
PLAN = "hocket.plan"
VERSION = "hocket.version"
STATE = "hocket.state"
LOCAL_OF = "hocket.local_of"  # only of the run of a partner's strongest local models, instead of MEMBER
CONCLUSION_TAG, GATE_TAG = "hocket.verdict", "hocket.gate"  # the report's conclusion and the gate's, as sentences
# what the run has already, see pipeline.tracking.sync.Logged; MLflow's pages show no tag that begins with mlflow.
CARD = "mlflow.hocket.card"  # digest of the model card among its artifacts
LOGGED, LOGGED_BEFORE = "mlflow.hocket.logged", "hocket.logged"  # the second in runs of earlier versions

KEPT = "kept"  # alias of the registered model that the gate keeps
NOTE = "mlflow.note.content"  # MLflow shows it as the description
VALIDATION, TEST, CONCLUSION, GATE = "1_validation", "2_test", "3_verdict", "4_gate"
AUDIT = "audit"
_CURVES = {
    "loss_train": "5_training/loss",
    "clipped_share": "6_update/clipped_share",
    "update_norm": "6_update/norm",
    "mean_change_norm": "6_update/mean_norm",
    "upload_bytes": "8_bytes/up",
    "upload_bytes_per_parameter": "8_bytes/up_per_parameter",
    "download_bytes": "8_bytes/down",
    "n_members": "9_round/members",
    "attempt": "9_round/attempt",
    "catalogue_rows": "9_round/catalogue_tasks",
    "shared_columns": "9_round/input_columns",
    "epsilon": "9_round/epsilon",
}
_GROUPS = {"validation_": f"{VALIDATION}/", "seconds_": "7_seconds/", "n_": "9_data/"}


def curve(key: str) -> str:
    """Name of a record's metric on MLflow's pages."""
    if key in _CURVES:
        return _CURVES[key]
    for beginning, group in _GROUPS.items():
        if key.startswith(beginning):
            return group + key.removeprefix(beginning)
    return key


def registered_name(federation: str, federation_id: str, partner: str) -> str:
    """Name of a partner's model in the registry, without blanks."""
    return f"{federation.replace(' ', '_')}-{federation_id[:8]}-{partner}"


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
    return {"mlflow.experimentKind": "custom_model_development", NOTE: description}


def identity_tags(member: str, role: str, plan: Plan) -> dict[str, str]:
    """Tags by which a member's run is found again."""
    return {MEMBER: member, ROLE: role, PLAN: plan.digest}


def run_query(tag: str, member: str, plan: Plan) -> str:
    """MLflow's filter for a member's runs under this plan, or under a revision for all of the federation.

    tag : MEMBER or LOCAL_OF
    """
    query = f"tags.`{tag}` = '{member}'"
    return query if plan.continues else f"{query} and tags.`{PLAN}` = '{plan.digest}'"


def run_tags(member: str, role: str, plan: Plan) -> dict[str, str]:
    """Tags of a run with its description, set when it starts and again under a revision of the plan."""
    template = "partner_run.md.jinja" if role == "partner" else "aggregator_run.md.jinja"
    return identity_tags(member, role, plan) | _described(member, plan, template)


def local_run_tags(member: str, plan: Plan) -> dict[str, str]:
    """Tags of the run of a partner's strongest local models, with its description."""
    return {LOCAL_OF: member, ROLE: "local models", PLAN: plan.digest} | _described(member, plan, "local_run.md.jinja")


def local_run_name(member: str) -> str:
    """Name of the run of a partner's strongest local models."""
    return f"{member}, strongest local"


def _described(member: str, plan: Plan, template: str) -> dict[str, str]:
    release = version("hocket")
    description = filled(
        __package__,
        template,
        member=member,
        local_run=local_run_name(member),
        name=plan.federation.name,
        local_steps=plan.rounds.local_steps,
    )
    return {VERSION: release, NOTE: description, "mlflow.user": member, "mlflow.source.name": f"hocket {release}"}


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
