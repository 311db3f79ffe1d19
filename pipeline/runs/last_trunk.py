"""Note in a partner's report which partners have not signed yet that they have the same last trunk."""

from pipeline.exchange.storage import Exchange
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from pipeline.protocol.closing import not_confirmed
from pipeline.report import report as reporting


def confirm_trunk(home: Home, plan: Plan, exchange: Exchange) -> list[str]:
    """Note in the report which partners have not confirmed the last trunk yet, and return them; needs no key.

    exchange : of this plan, see Exchange.below
    Raises what `not_confirmed` raises, Diverged above all.
    """
    report = reporting.read_report(home)
    missing = not_confirmed(plan, exchange, report.trunk)
    if (missing or None) != report.unconfirmed:
        reporting.write_report(home, report.model_copy(update={"unconfirmed": missing or None}))
    return missing
