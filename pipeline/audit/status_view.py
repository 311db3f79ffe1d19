"""Show the status: as a table on a terminal, which can be updated in place, as plain lines, or as JSON."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.audit.status import MemberState, Status, StatusReader
from pipeline.errors import ExchangeError
from pipeline.plan.plan import Plan
from secure.messages.messages import utc

_COLOURS = {"absent": "dim", "void": "red", "left out": "yellow", "sealed": "green", "summed": "green"}
_COLUMNS = ("member", "role", "state", "round.attempt", "since", "ago", "bytes")


def status_json(status: Status, plan: Plan, now: float) -> dict[str, Any]:
    """The status as JSON values; times by the senders' clocks, as dates and as seconds before now."""
    return {
        "federation": plan.federation.name,
        "plan": plan.digest,
        "round": status.place.round_no,
        "attempt": status.place.attempt,
        "n_rounds": plan.rounds.n_rounds,
        "n_summed": status.n_summed,
        "finished": status.is_finished,
        "awaited": list(status.awaited),
        "members": [_member_json(member, now) for member in status.members],
        "refused": list(status.refused),
    }


def _member_json(member: MemberState, now: float) -> dict[str, Any]:
    return {
        "name": member.name,
        "role": member.role,
        "state": member.state,
        "round": member.place.round_no,
        "attempt": member.place.attempt,
        "since": None if member.since is None else utc(member.since),
        "seconds_since": None if member.since is None else int(now) - member.since,
        "bytes": member.n_bytes,
        "note": member.note,
    }


def print_status(status: Status, plan: Plan, now: float, console: Console) -> None:
    """Print the federation's round, a row for each member, the members it waits for, and invalid messages."""
    if console.is_terminal:
        console.print(_picture(status, plan, now))
        return
    for line in (_headline(status, plan), _aligned(_COLUMNS), *_lines(status, now), *_closing(status)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def watch(
    reader: StatusReader,
    console: Console,
    *,
    every_s: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show the status until the federation is finished: on a terminal in place, elsewhere after each change.

    An exchange that cannot be read gives a message, and is read again later.
    """
    if not console.is_terminal:
        for status in _changes(reader, console, every_s, sleep):
            print_status(status, reader.plan, clock(), console)
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                status = reader.read_status()
            except ExchangeError as error:
                live.update(Text(str(error), style="red"), refresh=True)
            else:
                live.update(_picture(status, reader.plan, clock()), refresh=True)
                if status.is_finished:
                    return
            sleep(every_s)


def _changes(
    reader: StatusReader, console: Console, every_s: float, sleep: Callable[[float], None]
) -> Iterator[Status]:
    shown: Status | str | None = None
    while True:
        try:
            status = reader.read_status()
        except ExchangeError as error:
            if str(error) != shown:
                console.print(str(error), markup=False, highlight=False, soft_wrap=True)
            shown = str(error)
        else:
            if status != shown:
                yield status
            shown = status
            if status.is_finished:
                return
        sleep(every_s)


def _headline(status: Status, plan: Plan) -> str:
    n_rounds = plan.rounds.n_rounds - plan.first_round + 1
    where = "finished" if status.is_finished else f"at {_round_text(status)}"
    named = f"federation {plan.federation.name}, plan {plan.digest[:12]}"
    return f"{named}: {status.n_summed} of {n_rounds} rounds done, {where}"


def _round_text(status: Status) -> str:
    place = status.place
    if not place.attempt:
        return "enrolment"
    named = f"round {place.round_no}" if place.round_no else "the catalogue round"
    return f"{named}, attempt {place.attempt}"


def _lines(status: Status, now: float) -> Iterator[str]:
    for member in status.members:
        yield _aligned(_cells(member, now))


def _aligned(cells: Sequence[str]) -> str:
    return f"{cells[0]:12} {cells[1]:10} {cells[2]:9} {', '.join(cell for cell in cells[3:] if cell)}".rstrip()


def _closing(status: Status) -> Iterator[str]:
    if status.awaited:
        yield f"waiting for {', '.join(status.awaited)}"
    for line in status.refused:
        yield f"INVALID: {line}"


def _picture(status: Status, plan: Plan, now: float) -> Group:
    table = Table(*_COLUMNS, "", box=None, pad_edge=False)
    for member in status.members:
        table.add_row(*map(Text, _cells(member, now)), style=_COLOURS.get(member.state, ""))
    closing = (Text(line, style="red" if line.startswith("INVALID") else "") for line in _closing(status))
    return Group(Text(_headline(status, plan), style="bold"), table, *closing)


def _cells(member: MemberState, now: float) -> tuple[str, ...]:
    place = "" if member.state == "absent" else str(member.place)
    if member.since is None:
        return member.name, member.role, member.state, place, "", "", "", member.note
    ago = timedelta(seconds=max(0, int(now) - member.since))  # the sender's clock may be ahead
    size = "" if member.n_bytes is None else f"{member.n_bytes} bytes"
    return member.name, member.role, member.state, place, utc(member.since), f"{ago} ago", size, member.note
