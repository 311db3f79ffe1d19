"""A finished federation's transcript, changed by members who sign whatever they like with their own keys."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.audit.verify import AuditTrail, audit
from pipeline.errors import BrokenTranscript, Equivocation, ExchangeConflict, ExitCode
from pipeline.exchange.storage import open_exchange
from pipeline.plan.plan import read_plan
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.canonical import digest
from secure.errors import SecureError
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest, parse_manifest, payload_digest, sign_manifest
from secure.sealing.container import Header, read_chunks, write_chunks
from tests.support.federation import AGGREGATOR, Federation, age, step, until_waiting

ALL = ("P01", "P02", "P03")
NOW = 4_000_000_000  # after whatever the members signed
SUM = MessageName("sum", 1, 1, AGGREGATOR)
ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
VOID = MessageName("void", 1, 1, AGGREGATOR)
UPDATE = MessageName("update", 1, 1, "P02")
READY = MessageName("ready", 1, 1, "P02")
DEAL = MessageName("deal", 0, 0, "P01")
PAIRING = MessageName("pairing", 0, 0, "P02")


def run_audit(federation: Federation, *, now: float = NOW, **options: Any) -> AuditTrail:  # noqa: ANN401 -- audit's own
    """What an outsider with plan and exchange finds."""
    exchange = open_exchange(f"file://{federation.exchange}")
    return audit(read_plan(federation.plan_file), exchange, now=now, **options)


def refusal(federation: Federation, error: type[Exception], *said: str) -> None:
    """The audit must refuse with this error and name these."""
    with pytest.raises(error) as caught:
        run_audit(federation)
    assert getattr(caught.value, "exit_code", ExitCode.SECURITY) == ExitCode.SECURITY
    assert isinstance(caught.value, SecureError | Equivocation | ExchangeConflict | BrokenTranscript)
    for part in said:
        assert part in str(caught.value)


def ready_of(name: str, round_no: int = 1, attempt: int = 1) -> MessageName:
    """A partner's ready."""
    return MessageName("ready", round_no, attempt, name)


def update_of(name: str, round_no: int = 1, attempt: int = 1) -> MessageName:
    """A partner's sealed update."""
    return MessageName("update", round_no, attempt, name)


def at_round(name: MessageName, round_no: int, attempt: int = 1) -> MessageName:
    """The same message in another place."""
    return replace(name, round_no=round_no, attempt=attempt)


def manifest_of(federation: Federation, name: MessageName) -> Manifest:
    """A posted message."""
    return parse_manifest((federation.exchange / name.manifest).read_bytes(), "here")


def body_of(federation: Federation, name: MessageName) -> dict[str, Any]:
    """What a posted message says."""
    return dict(manifest_of(federation, name).body)


def digest_of(federation: Federation, name: MessageName) -> str:
    """Digest of a posted manifest."""
    return digest((federation.exchange / name.manifest).read_bytes())


def say(
    federation: Federation, name: MessageName, body: dict[str, object], *, plan: str | None = None, time: int = 0
) -> None:
    """Post a message with its sender's real signature, whatever it says, over the payload that lies there.

    time : of signing; by default that of the message which stands there already
    """
    payload, place = federation.exchange / name.payload, federation.exchange / name.manifest
    if not time and place.exists():
        time = manifest_of(federation, name).time
    data = sign_manifest(
        load_private_keys(federation.home(name.sender).keys),
        kind=name.kind,
        plan=plan or read_plan(federation.plan_file).digest,
        round_no=name.round_no,
        attempt=name.attempt,
        time=time,
        body=body,
        payload=payload_digest(payload) if payload.exists() else None,
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def say_again(federation: Federation, *names: MessageName) -> None:
    """Sign posted messages anew, over what their payloads are now; the sum lists the updates as they are now."""
    for name in names:
        body = body_of(federation, name)
        if name.kind == "sum":
            updates = {sender: replace(name, kind="update", sender=sender) for sender in body["updates"]}
            body["updates"] = {n: payload_digest(federation.exchange / u.payload).sha256 for n, u in updates.items()}
        say(federation, name, body)


def sign_later(federation: Federation, name: MessageName, seconds: int) -> None:
    """Sign a posted message anew, with another time."""
    say(federation, name, body_of(federation, name), time=manifest_of(federation, name).time + seconds)


def rewrite(federation: Federation, name: MessageName, change: Callable[[Header], Header]) -> None:
    """Write a sealed file again under another header, its ciphertexts as they were."""
    path, parameters = federation.exchange / name.payload, seal_parameters(read_plan(federation.plan_file).seal)
    with read_chunks(path) as reader:
        reader.expect_shape(parameters)
        header, found = reader.header, [chunks.copy() for _, chunks in reader]
    with write_chunks(path, change(header), found[0].shape[1]) as writer:
        for chunks in found:
            writer.write(chunks)
        writer.close()


def flip(path: Path, position: int, mask: int = 1) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[position] ^= mask
    path.write_bytes(data)


def unrelease(federation: Federation, round_no: int) -> None:
    """Take away the releases of a federation's last round, and the last trunks that were signed after it."""
    closing = read_plan(federation.plan_file).rounds.n_rounds + 1
    for name in federation.partners:
        remove(federation.exchange, MessageName("release", round_no, 1, name), ready_of(name, closing))


def make_void(federation: Federation, round_no: int, *missing: str) -> None:
    """The aggregator declares an attempt that has come to its end void, with all updates on the exchange."""
    unrelease(federation, round_no)
    total, roster = at_round(SUM, round_no), at_round(ROSTER, round_no)
    time = manifest_of(federation, total).time
    for path in (total.manifest, total.payload):
        (federation.exchange / path).unlink()
    body = {"roster": digest_of(federation, roster), "missing": sorted(missing)}
    say(federation, at_round(VOID, round_no), body, time=time)


def remove(folder: Path, *names: MessageName) -> None:
    """Delete messages, payloads included."""
    for name in names:
        for path in (name.manifest, name.payload):
            (folder / path).unlink(missing_ok=True)


def federation_with_a_void(folder: Path) -> Federation:
    """Four partners, one round: P03 vanishes after the first roster, so the attempt is void and the next without it."""
    federation = Federation(folder, n_partners=4, n_rounds=1)
    until_waiting(federation, federation.partners)  # all are ready
    step(federation.aggregator())  # and on the roster
    there = [name for name in (*federation.partners, AGGREGATOR) if name != "P03"]
    for late in (ROSTER, MessageName("ready", 1, 2, "P01")):
        until_waiting(federation, there)
        age(federation, late, 3601)
    until_waiting(federation, there)
    return federation


def outcomes(federation: Federation) -> list[tuple[int, int, str]]:
    """Round, attempt and outcome of all attempts found."""
    return [(found.round_no, found.attempt, found.outcome) for found in run_audit(federation).attempts]
