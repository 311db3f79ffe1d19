"""Tell an exchange that a plan's members use from one that is new, mistyped, not mounted or another federation's."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.exchange.storage import Exchange
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from secure.errors import SecureError, WrongPlan
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


@contextmanager
def deal_explained(plan: Plan, home: Home, me: str) -> Iterator[None]:
    """Verify a message in this block; if it is a deal of another plan, the error says how to go on.

    home, me : this member's
    """
    try:
        yield
    except WrongPlan as error:
        custodian = plan.federation.custodian
        folder = home.outbox("enrol") if me == custodian else home.inbox("enrol")
        own = [str(path) for path in (folder, home.group_secret) if path.exists()]
        removal = f"rm -r {' '.join(own)}; " if own else ""
        renewal = "empty the exchange, and deal again" if me == custodian else f"{custodian} deals again"
        error.add_note(f"the plan was changed after the deal; if nobody has enrolled yet: {removal}{renewal}")
        error.add_note("else restore the plan as it was dealt, or make a revision: see secure/KEYS.md")
        raise


def nothing_here(plan: Plan, exchange: Exchange) -> str:
    """The sentence for an exchange that has not begun."""
    return f"{exchange.url.removeprefix('file://')}: nothing of this plan is here (plan {plan.digest[:12]})"


def advice(plan: Plan) -> str:
    """What to do about it."""
    custodian = plan.federation.custodian
    return f"is the path right, and mounted? The first message is the deal, from the run of {custodian}, the custodian"
