"""What MLflow's pages show: names of curves, tags and descriptions in plain words.

MLflow puts the curves whose names begin alike, up to a slash, into one group.
"""

from importlib.metadata import version

from pipeline.plan.plan import Plan

MEMBER = "hocket.member"
ROLE = "hocket.role"
PLAN = "hocket.plan"
VERSION = "hocket.version"
STATE = "hocket.state"
LOGGED = "hocket.logged"  # what the run holds already, see tracking_store.Logged

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

_ABOUT_FEDERATION = """\
**{name}**: {n_partners} partners ({partners}) train one shared trunk together; {aggregator} adds their sealed updates.
Nobody sees another member's compounds, labels, models or single updates.

Each run is one member, each step of its curves one round; {n_rounds} rounds are planned. In a run, *Overview* says what
it holds and who may see it, *Model metrics* has the curves, *Artifacts* the settings, the rounds and the report.

Plan `{plan}`, federation id `{id}`.
"""

_PARTNER = """\
**{member}** is a partner of *{name}*: it trains on its own compounds and labels, seals what it learned in a round, and
takes up the sum of all partners' updates.

**Private:** all of this. Losses, scores, the report and the model come from {member}'s own labels. None of it is ever
sent to another member; whoever may open this store can see it. The others see only the size of the sealed update, when
it came, and digests. The store holds no key, no structure and no single label; the report names assays.

| curves | what they are |
|---|---|
| train/loss | mean training loss of the round's {local_steps} local steps |
| validation/... | loss and scores on the validation fold after the round, mean over tasks; more is better, except for \
loss, log_loss, brier, ece, rmse and censored_rmse |
| update/norm, update/clipped_share | size of this partner's change of the trunk, share of it that was clipped |
| update/mean_norm | size of the mean of all partners' changes |
| seconds/... | train, seal, wait for the others, open the sum, validate; round is all together |
| bytes/up, bytes/down, bytes/up_per_parameter | size of the sealed update, of the sum, and of the first by trunk size |
| round/... | members in the roster, attempts that the round needed |
| data/... | counts of the prepared data |
"""

_AGGREGATOR = """\
**{member}** is the aggregator of *{name}*: it calls each round's roster and adds sealed updates that it cannot read.

**Private:** nothing that was learned is here, for the aggregator has no key that opens an update: no loss, no score, no
model, only sizes, seconds, rosters and digests. Every partner can know these as well.

| curves | what they are |
|---|---|
| bytes/up, bytes/down, bytes/up_per_parameter | size of the largest sealed update, of the sum, and of the first by \
trunk size |
| seconds/add, seconds/round | adding the updates; from the first ready member's word to the sum |
| round/... | members in the roster, attempts that the round needed |
"""


def curve(key: str) -> str:
    """Name of a record's number on MLflow's pages."""
    if key in _CURVES:
        return _CURVES[key]
    for beginning, group in _GROUPS.items():
        if key.startswith(beginning):
            return group + key.removeprefix(beginning)
    return key


def experiment_name(plan: Plan) -> str:
    """One experiment per federation; ids keep federations of the same name apart."""
    return f"{plan.federation.name} ({plan.federation.id[:8]})"


def experiment_tags(plan: Plan) -> dict[str, str]:
    """Tags of the experiment, its description among them: equal whichever member makes it."""
    about = _ABOUT_FEDERATION.format(
        name=plan.federation.name,
        n_partners=len(plan.partner_names),
        partners=", ".join(plan.partner_names),
        aggregator=plan.aggregator_name,
        n_rounds=plan.rounds.n_rounds,
        plan=plan.digest,
        id=plan.federation.id,
    )
    return {"mlflow.experimentKind": "custom_model_development", _NOTE: about}


def identity_tags(member: str, role: str, plan: Plan) -> dict[str, str]:
    """By which a run is found again."""
    return {MEMBER: member, ROLE: role, PLAN: plan.digest}


def run_tags(member: str, role: str, plan: Plan) -> dict[str, str]:
    """What is said of a run when it starts, and anew under a revision of the plan."""
    about = (_PARTNER if role == "partner" else _AGGREGATOR).format(
        member=member, name=plan.federation.name, local_steps=plan.rounds.local_steps
    )
    release = version("hocket")
    return identity_tags(member, role, plan) | {
        VERSION: release,
        _NOTE: about,
        "mlflow.user": member,
        "mlflow.source.name": f"hocket {release}",
    }


def state(last_step: int, n_rounds: int, *, finished: bool) -> str:
    """How far a member is; last_step is -1 before its first record, 0 before the first round."""
    if finished:
        return f"finished after {n_rounds} rounds"
    if last_step < 0:
        return "enrolling and preparing"
    return f"round {min(last_step + 1, n_rounds)} of {n_rounds}"


def artifact(step: int) -> str:
    """Path of what is known of a step beside its numbers."""
    return f"rounds/round-{step:04d}.json" if step else "rounds/preparation.json"
