"""Show the status: as a table on a terminal, which can be updated in place, as plain lines, or as JSON."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.audit.member_states import Deadline, MemberState, Status
from pipeline.audit.status import StatusReader
from pipeline.errors import ExchangeError
from pipeline.exchange.signs import Sign, trouble_text
from pipeline.plan.plan import Plan
from secure.messages.messages import utc

_RED = ("TROUBLE", "LATE", "INVALID")
_COLOURS = {"absent": "dim", "void": "red", "left out": "yellow"}
_COLOURS |= dict.fromkeys(("sealed", "released", "summed"), "green")
COLUMNS = ("member", "role", "state", "round.attempt", "since", "ago", "bytes")


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
        "awaited_since": _date(status.awaited_since),
        "deadline": _deadline_json(status.deadline, now),
        "unreleased": list(status.unreleased),
        "unconfirmed": list(status.unconfirmed),
        "late": {name: utc(since) for name, since in status.late(now).items()},
        "trouble": [member.name for member in status.members if member.trouble],
        "members": [_member_json(member, now) for member in status.members],
        "refused": list(status.refused),
    }


def _date(time: int | None) -> str | None:
    return None if time is None else utc(time)


def _deadline_json(deadline: Deadline | None, now: float) -> dict[str, Any] | None:
    if deadline is None:
        return None
    return {"time": utc(deadline.time), "seconds_left": deadline.time - int(now), "then": deadline.then}


def _sign_json(sign: Sign | None, now: float) -> dict[str, Any] | None:
    if sign is None:
        return None
    place = {"round": sign.round_no, "attempt": sign.attempt, "step": sign.step}
    return {"time": utc(sign.time), "seconds_since": int(now) - sign.time, **place, "exit_code": sign.exit_code}


def _member_json(member: MemberState, now: float) -> dict[str, Any]:
    return {
        "name": member.name,
        "role": member.role,
        "state": member.state,
        "round": member.place.round_no,
        "attempt": member.place.attempt,
        "since": _date(member.since),
        "seconds_since": None if member.since is None else int(now) - member.since,
        "bytes": member.n_bytes,
        "note": member.note,
        "sign": _sign_json(member.sign, now),
    }


def print_status(status: Status, plan: Plan, now: float, console: Console) -> None:
    """Print the federation's round, a row for each member, the members it waits for, and invalid messages."""
    if console.is_terminal:
        console.print(_picture(status, plan, now))
        return
    for line in (headline(status, plan), _aligned(COLUMNS), *_lines(status, now), *closing(status, now)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def watch(
    reader: StatusReader,
    console: Console,
    *,
    every_s: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    seen: Callable[[Status, float], None] = lambda _status, _now: None,
) -> None:
    """Show the status until the federation is finished: on a terminal in place, elsewhere after each change.

    An exchange that cannot be read gives a message, and is read again later.
    seen : called with each status and the time at which it was read
    """
    statuses = _statuses(reader, clock, every_s=every_s, sleep=sleep, seen=seen)
    if not console.is_terminal:
        for changed in _changes(statuses, console):
            print_status(changed, reader.plan, clock(), console)
        return
    with Live(console=console, auto_refresh=False) as live:
        for status, now in statuses:
            shown = Text(status, style="red") if isinstance(status, str) else _picture(status, reader.plan, now)
            live.update(shown, refresh=True)


def _statuses(
    reader: StatusReader,
    clock: Callable[[], float],
    *,
    every_s: float,
    sleep: Callable[[float], None],
    seen: Callable[[Status, float], None],
) -> Iterator[tuple[Status | str, float]]:
    """Statuses with their times until the federation is finished; a text why an exchange cannot be read."""
    while True:
        try:
            status = reader.read_status()
        except ExchangeError as error:
            yield str(error), clock()
        else:
            now = clock()
            seen(status, now)
            yield status, now
            if status.is_finished:
                return
        sleep(every_s)


def _changes(statuses: Iterator[tuple[Status | str, float]], console: Console) -> Iterator[Status]:
    """The statuses that differ from the one before in more than the time of a sign of life."""
    shown: object = None
    for status, now in statuses:
        if isinstance(status, str):
            if status != shown:
                console.print(status, markup=False, highlight=False, soft_wrap=True)
            shown = status
        elif (essence := _without_signs(status, now)) != shown:
            yield status
            shown = essence


def _without_signs(status: Status, now: float) -> tuple[object, ...]:
    members = tuple(replace(member, sign=member.trouble) for member in status.members)
    return replace(status, members=members), sorted(status.late(now))


def headline(status: Status, plan: Plan) -> str:
    """How far the federation is, in a sentence."""
    n_rounds = plan.rounds.n_rounds - plan.first_round + 1
    where = "finished" if status.is_finished else f"at {_round_text(status)}"
    named = f"federation {plan.federation.name}, plan {plan.digest[:12]}"
    return f"{named}: {status.n_summed} of {n_rounds} rounds done, {where}"


def _round_text(status: Status) -> str:
    place = status.place
    if not place.attempt:
        return "enrolment"
    named = f"round {place.round_no}" if place.round_no else "the counting round"
    return f"{named}, attempt {place.attempt}"


def _lines(status: Status, now: float) -> Iterator[str]:
    for member in status.members:
        yield _aligned(member_cells(member, now))


def _aligned(cells: Sequence[str]) -> str:
    return f"{cells[0]:12} {cells[1]:10} {cells[2]:9} {', '.join(cell for cell in cells[3:] if cell)}".rstrip()


def closing(status: Status, now: float) -> Iterator[str]:
    """Who is awaited and since when, what happens by when, who is in trouble or late, and what is invalid."""
    if status.awaited:
        since = "" if status.awaited_since is None else f", since {_when(status.awaited_since, now)}"
        yield f"waiting for {', '.join(status.awaited)}{since}"
    if status.deadline:
        yield f"about {utc(status.deadline.time)}: {status.deadline.then}"
    yield from _releases(status)
    for name, trouble in ((member.name, member.trouble) for member in status.members):
        if trouble:
            yield f"TROUBLE: {trouble_text(name, trouble)}"
    for name, since_s in status.late(now).items():
        yield f"LATE: {name} has given no sign of life since {_when(since_s, now)}"
    for line in status.refused:
        yield f"INVALID: {line}"


def _releases(status: Status) -> Iterator[str]:
    """Whose release is awaited, with what to ask before a revision, and who has not signed its last trunk."""
    if status.unreleased:
        names = ", ".join(status.unreleased)
        yield (
            f"the sum of {_round_text(status)} opens when {names} has released; before a revision leaves a member out, "
            "ask it outside the exchange whether it has released: secure/KEYS.md"
        )
    if status.unconfirmed:
        yield f"not yet signed its last trunk: {', '.join(status.unconfirmed)}"


def is_urgent(line: str) -> bool:
    """Whether a closing line needs a person to act."""
    return line.startswith(_RED)


def _when(time_s: int, now: float) -> str:
    return f"{utc(time_s)} ({_ago(time_s, now)})"


def _ago(time_s: int, now: float) -> str:
    return f"{timedelta(seconds=max(0, int(now) - time_s))} ago"  # the sender's clock may be ahead


def _picture(status: Status, plan: Plan, now: float) -> Group:
    table = Table(*COLUMNS, "", box=None, pad_edge=False)
    for member in status.members:
        table.add_row(*map(Text, member_cells(member, now)), style=_COLOURS.get(member.state, ""))
    lines = (Text(line, style="red" if is_urgent(line) else "") for line in closing(status, now))
    return Group(Text(headline(status, plan), style="bold"), table, *lines)


def member_cells(member: MemberState, now: float) -> tuple[str, ...]:
    """Name, role, state, round, since, how long ago, bytes, and notes with the last sign of life."""
    place = "" if member.state == "absent" else str(member.place)
    note = ", ".join(filter(None, (member.note, _sign_text(member, now))))
    if member.since is None:
        return member.name, member.role, member.state, place, "", "", "", note
    size = "" if member.n_bytes is None else f"{member.n_bytes} bytes"
    return member.name, member.role, member.state, place, utc(member.since), _ago(member.since, now), size, note


def _sign_text(member: MemberState, now: float) -> str:
    sign = member.sign
    if sign is None:
        return ""
    if member.trouble:
        return f"trouble, exit code {sign.exit_code}"
    if member.is_over:
        return "its run is finished"
    if member.is_ahead(now):
        return f"{sign.step}, its clock is ahead: sign of life {utc(sign.time)}"
    return f"{sign.step}, sign of life {_ago(sign.time, now)}"
