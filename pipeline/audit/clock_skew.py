"""The times under the signatures are each sender's claim; here they are compared, and nothing is refused for them."""

from collections.abc import Iterator
from itertools import chain, product

from pipeline.exchange.transcript import Message, Transcript
from secure.messages.messages import utc

_TOLERANCE_S = 60  # two clocks may differ by so much without a word


def clock_warnings(transcript: Transcript, now: float) -> Iterator[str]:
    """One line for each member who signed later than `now` (seconds since 1970), and for each two out of order."""
    latest: dict[str, Message] = {}
    for message in sorted(transcript.messages, key=_time):
        latest[message.name.sender] = message
    for sender, message in latest.items():
        if _time(message) > now + _TOLERANCE_S:
            yield f"the clock of {sender} is ahead of ours: the {message} is signed {utc(_time(message))}"
    worst: dict[tuple[str, str], tuple[int, str]] = {}
    for first, second in _in_sequence(transcript):
        seconds, senders = _time(first) - _time(second), (first.name.sender, second.name.sender)
        if seconds > max(_TOLERANCE_S, worst.get(senders, (0, ""))[0]):
            worst[senders] = (seconds, f"the {first} is signed {seconds} s after the {second}, which followed it")
    for (one, other), (_, said) in worst.items():
        yield f"the clocks of {one} and {other} do not agree: {said}"


def _time(message: Message) -> int:
    return message.manifest.time


def _in_sequence(transcript: Transcript) -> Iterator[tuple[Message, Message]]:
    """Pairs of messages of which the second is made only after the first has come."""
    before = list(transcript.of("pairing").values())
    yield from product(transcript.of("deal").values(), before)
    for at in transcript.attempts:
        ready, updates = transcript.of("ready", *at), transcript.of("update", *at)
        rosters, sums, voids = (list(transcript.of(kind, *at).values()) for kind in ("roster", "sum", "void"))
        yield from product(before, ready.values())
        for roster in rosters:
            yield from ((ready[name], roster) for name in roster.manifest.named_digests("members"))
        yield from product(rosters, chain(updates.values(), voids))
        yield from product(updates.values(), sums)
        before = [*sums, *voids]
