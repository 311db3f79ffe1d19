"""In which rounds a partner scores the trunk on its validation fold: often enough to see, rarely enough not to slow."""

from collections.abc import Iterable

from pipeline.records import Record

SHARE = 0.02  # of the rounds' time, at most, that validation may take where no interval is set


def is_due(round_no: int, n_rounds: int, every: int, records: Iterable[Record]) -> bool:
    """Whether this round ends with scores.

    every   : rounds between two validations; 0: as often as all of them together take `SHARE` of the rounds' time
    records : of all steps; the seconds of the rounds before are counted, after a restart as well
    The last round is always validated, and without an interval the first.
    """
    if round_no == n_rounds:
        return True
    if every:
        return round_no % every == 0
    rounds = [record.metrics for record in records if 0 < record.step < round_no]
    spent_s = sum(found.get("seconds_validate", 0.0) for found in rounds)
    return spent_s <= SHARE * sum(found.get("seconds_round", 0.0) for found in rounds)
