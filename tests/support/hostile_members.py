"""Members who sign rosters, updates and sums as they like, with their own keys."""

import shutil
from pathlib import Path

from secure.encoding.canonical import digest
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import body_of, digest_of, say

OTHER = digest(b"another")  # of anything


def post(federation: Federation, name: MessageName, body: dict[str, object], payload: Path) -> None:
    """Sign and post a message with this payload in place of what stands there."""
    if payload != federation.payload(name):
        shutil.copyfile(payload, federation.payload(name))
    say(federation, name, body)


def call_roster(federation: Federation, members: dict[str, str], *, attempt: int = 1) -> str:
    """Sign and post a roster of round 1 with these members' ready digests; the digest to which all is bound."""
    roster = MessageName("roster", 1, attempt, AGGREGATOR)
    trunk = body_of(federation, MessageName("ready", 1, 1, "P01"))["trunk"]
    say(federation, roster, {"members": members, "trunk": trunk})
    return digest_of(federation, roster)


def ready_digests(federation: Federation, *members: str, attempt: int = 1) -> dict[str, str]:
    """Digests of these partners' ready messages of round 1 as they were posted."""
    return {name: digest_of(federation, MessageName("ready", 1, attempt, name)) for name in members}
