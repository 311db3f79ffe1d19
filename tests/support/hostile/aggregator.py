"""An aggregator's messages as a test wants them, and partners that must refuse them."""

from pathlib import Path

import pytest

from pipeline.plan.plan import read_plan
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.roster import Roster
from secure.messages.message_name import MessageName
from secure.messages.messages import payload_digest
from secure.sealing.add import add_updates
from tests.support.federation import AGGREGATOR, Federation, step
from tests.support.hostile_members import post
from tests.support.signed_transcripts import digest_of, update_of

ALL = ("P01", "P02", "P03", "P04")
ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
SUM = MessageName("sum", 1, 1, AGGREGATOR)
VOID = MessageName("void", 1, 1, AGGREGATOR)


def refuses(federation: Federation, name: str, error: type[Exception], said: str | None = None) -> None:
    """The partner refuses, also when it is started again, and its state is that of the round it was in."""
    before = federation.home(name).rounds_started()
    for _ in range(2):
        with pytest.raises(error, match=said):
            drive(federation, name)
    assert federation.home(name).rounds_started() == before


def drive(federation: Federation, name: str) -> None:
    """Let one newly opened partner advance until it waits."""
    partner = federation.partner(name)
    while step(partner) == "on":
        pass


def has_sealed(federation: Federation, name: str, attempt: int = 1) -> bool:
    """Whether the partner made or posted a sealed update."""
    update = update_of(name, 1, attempt)
    return federation.payload(update).exists() or federation.home(name).outbox(update.payload).exists()


def add(federation: Federation, roster: MessageName, updates: dict[str, Path]) -> Path:
    """Add any updates as the sum of a roster that was signed."""
    plan = read_plan(federation.plan_file)
    at = Roster(plan.digest, roster.round_no, roster.attempt, tuple(sorted(updates)), digest_of(federation, roster))
    path = federation.folder / "hostile.sum"
    add_updates(list(updates.values()), seal_parameters(plan.seal), path, roster=at)
    return path


def roster_of(federation: Federation) -> Roster:
    """The roster of round 1 as it is posted, of all partners."""
    return Roster(read_plan(federation.plan_file).digest, 1, 1, ALL, digest_of(federation, ROSTER))


def release_of(name: str, attempt: int = 1) -> MessageName:
    """A partner's release in round 1."""
    return MessageName("release", 1, attempt, name)


def post_sum(federation: Federation, total: Path, **listed: str) -> None:
    """Sign a sum of round 1 that lists every member's update as it was posted, except for what is given."""
    updates = {name: payload_digest(federation.payload(update_of(name))).sha256 for name in ALL}
    post(federation, SUM, {"roster": digest_of(federation, ROSTER), "updates": updates | listed}, total)
