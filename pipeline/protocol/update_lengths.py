"""The length that the sealed updates of an attempt must have, as the aggregator knows it.

Only partners know how many rows of a catalogue travel. The first vector's digest, which all of round 1 signed, tells
how many places there are. Under a revision that begins later it is gone, and only the updates themselves tell it; so,
too, the number of input columns, if these are counted.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pipeline.exchange.mailbox import Outbox
from pipeline.plan.lengths import PossibleLengths
from secure.errors import BadContainer
from secure.messages.message_name import MessageName


def training_lengths(outbox: Outbox) -> PossibleLengths:
    """Lengths that vectors of training rounds can have, by the plan and the aggregator's roster of round 1.

    Takes a while: first vectors are computed.
    """
    plan = outbox.plan
    possible = plan.possible_lengths(plan.first_round)
    if possible.only is not None or plan.columns.are_counted:
        return possible
    attempts = range(1, plan.rounds.max_attempts + 1)
    names = [MessageName("roster", 1, attempt, plan.aggregator_name) for attempt in attempts]
    called = next((outbox.own(name) for name in names if outbox.has(name)), None)
    layout = plan.first_layout(called.text("trunk")) if called else None
    return PossibleLengths.one(layout.n_params) if layout else possible


def check_lengths(lengths: Mapping[str, int], files: Mapping[str, Path], allowed: PossibleLengths) -> int:
    """The one length of all updates; raises BadContainer, naming who has another.

    lengths, files : by partner. Where several lengths are allowed, that of most partners is right; where no length has
    more partners than the others, nobody knows which is, and all are named.
    """
    expected = _expected(lengths, allowed)
    odd = sorted(name for name, length in lengths.items() if length != expected)
    if expected is not None and not odd:
        return expected
    found = "; ".join(f"{files[name].name}: {lengths[name]} parameters" for name in odd)
    wanted = expected if expected is not None else f"one length for all, of {allowed}"
    error = BadContainer(f"{found}, expected {wanted}")
    error.add_note("an update's length follows from the plan and the counts in catalogue.json of its partner's home:")
    error.add_note("compare hocket versions, plans and these counts")
    raise error


def _expected(lengths: Mapping[str, int], allowed: PossibleLengths) -> int | None:
    """The only allowed length, or the allowed one that most partners have; None if there is no such length."""
    if allowed.only is not None:
        return allowed.only
    votes = Counter(length for length in lengths.values() if length in allowed)
    most = [length for length, n in votes.items() if n == max(votes.values())]
    return most[0] if len(most) == 1 else None
