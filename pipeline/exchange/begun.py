"""Tell an exchange that a plan's members use from one that is new, mistyped, not mounted or another federation's."""

from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import Plan
from secure.errors import SecureError
from secure.messages.message_name import MessageName
from secure.messages.messages import Expected, verify_manifest


def deal_of(plan: Plan) -> MessageName:
    """Name of the message with which the plan begins."""
    return MessageName("deal", 0, 0, plan.federation.custodian)


def is_begun(plan: Plan, exchange: Exchange) -> bool:
    """Whether the exchange has the deal of this plan, signed by its custodian; a revision has its own.

    Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too.
    """
    name = deal_of(plan)
    expected = Expected(kind=name.kind, plan=plan.digest, round_no=0, attempt=0)
    try:
        data = exchange.read(name.manifest)
        if data is None:
            return False
        verify_manifest(data, plan.cards[name.sender], expected, exchange.where(name.manifest))
    except SecureError:
        return False
    return True


def nothing_here(plan: Plan, exchange: Exchange) -> str:
    """The sentence for an exchange that has not begun."""
    return f"{exchange.url.removeprefix('file://')}: nothing of this plan is here (plan {plan.digest[:12]})"


def advice(plan: Plan) -> str:
    """What to do about it."""
    custodian = plan.federation.custodian
    return f"is the path right, and mounted? The first message is the deal, from the run of {custodian}, the custodian"
