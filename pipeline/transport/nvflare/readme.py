"""The README of an exported folder: the exact commands, from certificates to the last round."""

from pipeline.plan.plan import Plan
from pipeline.runtime.templates import filled
from pipeline.transport.nvflare.names import AGGREGATOR_FILE, EXECUTOR, OUTCOME, OUTCOME_S, PARTNER_FILE


def readme(plan: Plan, project: str, host: str, port: int, storage: str, admin: str) -> str:
    """The text, for this plan and this server."""
    names = plan.partner_names
    return filled(
        __package__,
        "readme.md.jinja",
        federation=plan.federation.name,
        digest=plan.digest,
        partners=", ".join(names),
        names=", ".join(names),
        n_partners=len(names),
        min_partners=plan.rounds.min_partners,
        ready_h=f"{plan.rounds.ready_deadline_s / 3600:g}",
        update_h=f"{plan.rounds.update_deadline_s / 3600:g}",
        aggregator=plan.aggregator_name,
        host=host,
        port=port,
        project=project,
        storage=storage,
        admin=admin,
        executor=f"`{EXECUTOR}`",
        aggregator_variable=AGGREGATOR_FILE,
        partner_variable=PARTNER_FILE,
        outcome_variable=OUTCOME,
        outcome_s=OUTCOME_S,
    )
