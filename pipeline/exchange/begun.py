"""Tell an exchange that a plan's members use from one that is new, mistyped or not mounted."""

import re

from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import Plan

_OF_A_PLAN = re.compile(r"enrol|round-\d{4}", re.ASCII)  # folders; signs alone begin nothing


def is_begun(exchange: Exchange) -> bool:
    """Whether the exchange has the enrolment, with which every plan begins, or a round.

    Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too.
    """
    return any(_OF_A_PLAN.fullmatch(folder) for folder in exchange.list_folders())


def nothing_here(plan: Plan, exchange: Exchange) -> str:
    """The sentence for an exchange that has not begun."""
    return f"{exchange.url.removeprefix('file://')}: nothing of this plan is here (plan {plan.digest[:12]})"


def advice(plan: Plan) -> str:
    """What to do about it."""
    custodian = plan.federation.custodian
    return f"is the path right, and mounted? The first message is the deal, from the run of {custodian}, the custodian"
