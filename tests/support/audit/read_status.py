"""Read a federation's status in a test."""

from pipeline.audit.member_states import MemberState, Status
from pipeline.audit.status import StatusReader
from pipeline.exchange.signs import Sign, SignBoard
from pipeline.exchange.storage import open_exchange
from pipeline.plan.plan import read_plan
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from tests.support.federation import Federation
from tests.support.signed_transcripts import (
    manifest_of,
)

FOUR = ("P01", "P02", "P03", "P04")


def reader_of(federation: Federation) -> StatusReader:
    """A reader with the plan and the exchange, and nothing else."""
    return StatusReader(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))


def look(federation: Federation) -> Status:
    """The status now."""
    return reader_of(federation).read_status()


def states(status: Status) -> dict[str, str]:
    """State and place of each member."""
    return {one.name: f"{one.state} {one.place}" for one in status.members}


def member(status: Status, name: str) -> MemberState:
    """One of them."""
    return next(one for one in status.members if one.name == name)


def everybody(state: str, names: tuple[str, ...] = FOUR) -> dict[str, str]:
    """The same for all of them."""
    return dict.fromkeys(names, state)


def post_sign(federation: Federation, name: str, sign: Sign) -> Sign:
    """Post a member's sign with its own keys."""
    board = SignBoard(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))
    return board.post(load_private_keys(federation.home(name).keys), sign)


def time_of(federation: Federation, name: MessageName) -> int:
    """When a message was signed."""
    return manifest_of(federation, name).time
