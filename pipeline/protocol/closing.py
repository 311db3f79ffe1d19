"""The closing round: after the last sum every partner signs which trunk it has, so that a different one is noticed.

In all rounds before, the next `ready` does this. It has the number after the last round, and no roster follows.
"""

from collections.abc import Iterator

from pipeline.errors import Diverged
from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import Plan
from pipeline.protocol.enrolment import Enrolment
from secure.messages.confirmations import confirmations
from secure.messages.message_name import MessageName
from secure.messages.messages import Expected, Manifest, verify_manifest


def closing_ready(plan: Plan, partner: str) -> MessageName:
    """Name of the message in which a partner signs its last trunk."""
    return MessageName("ready", plan.rounds.n_rounds + 1, 1, partner)


def post_last_trunk(mailbox: Mailbox, enrolment: Enrolment, *, trunk: str, preparation: str) -> None:
    """Sign and post the digest of the last trunk."""
    name = closing_ready(mailbox.plan, mailbox.me)
    confirmed = confirmations(enrolment.pair_keys, mailbox.plan.digest, name.round_no, mailbox.me)
    mailbox.post(name, {"trunk": trunk, "preparation": preparation, "confirmations": confirmed})


def not_confirmed(plan: Plan, exchange: Exchange, trunk: str) -> list[str]:
    """Partners that have not signed yet that they have this last trunk; needs no key.

    exchange : of this plan, see Exchange.below
    Raises Diverged for one that signed another trunk, secure.errors.SecureError for a wrong message, ExchangeError.
    """
    found = dict(_closing_readies(plan, exchange))
    for name, ready in found.items():
        if (theirs := ready.text("trunk")) != trunk:
            where = exchange.where(closing_ready(plan, name).manifest)
            error = Diverged(f"{where}: {name} ends with trunk {theirs[:12]}..., expected {trunk[:12]}... as here")
            error.add_note("one of the two opened another last sum: `hocket verify` at both tells which sum is right;")
            error.add_note("use neither model before that is clear")
            raise error
    return [name for name in plan.partner_names if name not in found]


def _closing_readies(plan: Plan, exchange: Exchange) -> Iterator[tuple[str, Manifest]]:
    for partner in plan.partner_names:
        name = closing_ready(plan, partner)
        data = exchange.read(name.manifest)
        if data is not None:
            expected = Expected(name.kind, plan.digest, name.round_no, name.attempt)
            yield partner, verify_manifest(data, plan.cards[partner], expected, exchange.where(name.manifest))
