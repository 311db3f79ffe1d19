"""Compare the signed times, which are each sender's claim; an impossible one gives a warning, never an error."""

from collections.abc import Iterator
from itertools import chain, product

from pipeline.exchange.transcript import Message, Transcript
from secure.messages.messages import utc

TOLERANCE_S = 60  # no warning below this difference


def clock_warnings(transcript: Transcript, now: float) -> Iterator[str]:
    """Yield a warning for each member that signed later than `now` (seconds since 1970) and each pair out of order."""
    latest: dict[str, Message] = {}
    for message in sorted(transcript.messages, key=_time):
        latest[message.name.sender] = message
    for sender, message in latest.items():
        if _time(message) > now + TOLERANCE_S:
            yield f"the clock of {sender} is ahead of this machine's: the {message} is signed {utc(_time(message))}"
    worst: dict[tuple[str, str], tuple[int, str]] = {}
    for first, second in _in_sequence(transcript):
        seconds, senders = _time(first) - _time(second), (first.name.sender, second.name.sender)
        if seconds > max(TOLERANCE_S, worst.get(senders, (0, ""))[0]):
            worst[senders] = (seconds, f"the {first} is signed {seconds} s after the {second}, which followed it")
    for (first_sender, second_sender), (_, reason) in worst.items():
        yield f"the clocks of {first_sender} and {second_sender} do not agree: {reason}"


def _time(message: Message) -> int:
    return message.manifest.time


def _in_sequence(transcript: Transcript) -> Iterator[tuple[Message, Message]]:
    """Pairs of messages of which the second answers the first, so it must be signed later."""
    before = list(transcript.of("pairing").values())
    yield from product(transcript.of("deal").values(), before)
    for attempt in transcript.attempts:
        ready, updates = transcript.of("ready", *attempt), transcript.of("update", *attempt)
        rosters, sums, voids = (list(transcript.of(kind, *attempt).values()) for kind in ("roster", "sum", "void"))
        yield from product(before, ready.values())
        for roster in rosters:
            yield from ((ready[name], roster) for name in roster.manifest.named_digests("members"))
        yield from product(rosters, chain(updates.values(), voids))
        yield from product(updates.values(), sums)
        releases = list(transcript.of("release", *attempt).values())
        yield from product(sums, releases)
        before = releases or [*sums, *voids]
