"""The handover: a partner that joins under a revision gets the federation's state from one of the others, its sponsor.

The state is what all partners have alike at the start of a round: vector, server step, bounds, and what was counted, up
to a cap. Its digest is in the sponsor's signed manifest, where every other partner compares it with its own, and the
trunk's is in the `ready` messages of all, where the joiner sees it before it seals anything.
"""

from typing import Any

import numpy as np

from partners.errors import TrainingError
from partners.files.checkpoint import read_facts, stored_digest
from partners.files.round_checkpoint import RoundStart, SharedState
from partners.network.server_state import array_names
from pipeline.errors import ConfigError, Diverged, WrongTrunk
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.catalogue_counts import Counted, capped, known_holders, read_counted, write_counted
from pipeline.home.paths import Home
from pipeline.home.privacy_ledger import PrivacyLedger
from pipeline.home.round_state import stored_start
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import check_table
from secure.files import atomic_path
from secure.keys.handover import open_handover, seal_handover
from secure.messages.message_name import MessageName


def handover_of(plan: Plan) -> MessageName:
    """Name of the sponsor's message; only if somebody joins."""
    return MessageName("handover", 0, 0, plan.continues.sponsor if plan.continues else "")


def take_part(mailbox: Mailbox) -> None:
    """Hand the state over, receive it, or compare one's own with it, whichever is this partner's part.

    Raises NotYet while the sponsor is awaited, WrongTrunk for a state that is not what its sender said, Diverged if
    the sponsor hands over another state than this partner has, secure.errors.SecureError for a wrong message.
    """
    plan, home, name = mailbox.plan, mailbox.home, handover_of(mailbox.plan)
    if not plan.joiners:
        return
    newest = max(home.rounds_started(), default=0)
    if mailbox.me == name.sender:
        if not mailbox.repost(name):
            _hand_over(mailbox, name)
    elif mailbox.me in plan.joiners:
        if not newest:
            _receive(mailbox, name)
        home.handed_over.unlink(missing_ok=True)  # left by a run that was killed when the start was written
    elif newest == plan.first_round:
        _compare(mailbox, name)


def shared_state(plan: Plan, home: Home) -> SharedState:
    """The state at the start of the plan's first round, as this home has it."""
    holders, counted = known_holders(plan, home), read_counted(home) if plan.has_counts else None
    start = stored_start(plan, home, plan.first_round, *(() if holders is None else (holders,)))
    if start.under is None:
        raise ConfigError(f"{start.path}: is missing, expected the state that is handed over")
    facts = (
        None if counted is None else capped(counted, plan.spare_holders or 0).model_dump(mode="json", exclude_none=True)
    )
    return SharedState(start.vector(), start.server(), start.bounds, start.under, facts)


def _hand_over(mailbox: Mailbox, name: MessageName) -> None:
    """Seal the state for all who join, once, and post it."""
    plan, payload = mailbox.plan, mailbox.home.outbox(name.payload)
    state = shared_state(plan, mailbox.home)
    digest, clear = state.digest, mailbox.home.handed_over
    if not payload.exists():
        state.write(clear)
        payload.parent.mkdir(parents=True, exist_ok=True)
        cards = {joiner: plan.cards[joiner] for joiner in plan.joiners}
        with atomic_path(payload) as sealed:
            seal_handover(clear, digest, plan.digest, mailbox.me, cards, sealed)
    clear.unlink(missing_ok=True)
    mailbox.post(name, {"state": digest})


def _compare(mailbox: Mailbox, name: MessageName) -> None:
    theirs = mailbox.expect(name).text("state")
    if (mine := shared_state(mailbox.plan, mailbox.home).digest) != theirs:
        error = Diverged(
            f"{mailbox.exchange.where(name.manifest)}: {name.sender} hands state {theirs[:12]}... over, "
            f"expected {mine[:12]}... as in this home"
        )
        error.add_note("do not go on: ask it, and compare hocket versions, machines and plans")
        raise error


def _receive(mailbox: Mailbox, name: MessageName) -> None:
    """Write the state as the start of the plan's first round; that file is written last."""
    plan, home = mailbox.plan, mailbox.home
    manifest = mailbox.expect(name)
    payload = mailbox.fetch_payload(name, manifest)
    with atomic_path(home.handed_over) as clear:
        announced = open_handover(payload, plan.digest, name.sender, mailbox.keys, clear)
    where = mailbox.exchange.where(name.payload)
    if announced != manifest.text("state"):
        raise WrongTrunk(f"{where}: of state {announced[:12]}..., its manifest names {manifest.text('state')[:12]}...")
    try:
        _keep(plan, home, announced, where)
    except TrainingError as wrong:
        raise WrongTrunk(f"{where}: holds no state of this federation: {wrong}") from wrong
    home.inbox(name.payload).unlink()


def _keep(plan: Plan, home: Home, announced: str, where: str) -> None:
    file = home.handed_over
    if (found := stored_digest(file)) != announced:
        raise WrongTrunk(f"{where}: holds state {found[:12]}..., expected {announced[:12]}... as its sender signed")
    _keep_counts(plan, home, read_facts(file).get("counted"), where)
    holders = known_holders(plan, home)
    layout = holders.layout(plan) if holders else plan.layout
    state = SharedState.read(file, layout)
    _check(plan, state, len(layout.tensors), where)
    if plan.privacy:
        PrivacyLedger(home.privacy).begin()  # without it the start below would be one of unprotected rounds
    start = RoundStart(layout, state.vector, state.server, state.bounds, None, None, state.under)
    start.write(home.start_file(plan.first_round))


def _keep_counts(plan: Plan, home: Home, facts: dict[str, Any] | None, where: str) -> None:
    if not plan.has_counts:
        return
    counted = check_table(facts if isinstance(facts, dict) else {}, Counted, where)
    if counted != capped(counted, plan.spare_holders or 0):
        raise WrongTrunk(f"{where}: tells larger counts than the plan's spare_holders allow")
    write_counted(home, counted)


def _check(plan: Plan, state: SharedState, n_tensors: int, where: str) -> None:
    before = plan.continues.plan if plan.continues else ""
    if state.under.plan != before:
        raise WrongTrunk(f"{where}: is of plan {state.under.plan[:12]}..., expected {before[:12]}...")
    names = sorted(state.server.arrays)
    if names != sorted(array_names(plan.server)):
        raise WrongTrunk(f"{where}: holds {names} of the server step, expected {sorted(array_names(plan.server))}")
    if state.bounds.shape != (n_tensors,) or not (np.isfinite(state.bounds) & (state.bounds > 0)).all():
        raise WrongTrunk(f"{where}: its bounds are not {n_tensors} positive numbers")
