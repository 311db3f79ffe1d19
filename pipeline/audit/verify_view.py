"""The audit trail as `hocket verify` shows it: a table on a terminal, plain lines elsewhere, JSON for a program."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.audit.attempt_record import KINDS, AttemptRecord
from pipeline.audit.verify import AuditTrail
from pipeline.plan.plan import Plan, spoken
from secure.messages.messages import utc

_START = "first ready"


def trail_json(trail: AuditTrail, plan: Plan) -> dict[str, Any]:
    """All of the trail as JSON values; times are seconds since 1970 by the senders' clocks."""
    return {
        "federation": plan.federation.name,
        "plan": plan.digest,
        "n_rounds": plan.rounds.n_rounds,
        "custodian": plan.federation.custodian,
        "members": {name: {"role": card.role, "card": card.fingerprint} for name, card in plan.cards.items()},
        **asdict(trail),
        "n_sums": trail.n_sums,
        "n_recomputed": trail.n_recomputed,
        "verdict": _verdict(trail, plan),
    }


def print_trail(trail: AuditTrail, plan: Plan, console: Console) -> None:
    """Print who the members are, what took part when, what is worth knowing, and in the last line the verdict."""
    for line in _header(trail, plan):
        console.print(line, markup=False, soft_wrap=True)
    if console.is_terminal and trail.attempts:
        console.print(_table(trail))
    else:
        for line in (line for found in trail.attempts for line in _lines(found, plan)):
            console.print(line, markup=False, soft_wrap=True)
    for kind, said in (("note", trail.notes), ("warning", trail.warnings)):
        for line in said:
            console.print(f"{kind}: {line}", markup=False, soft_wrap=True, style="yellow" if kind == "warning" else "")
    console.print(_verdict(trail, plan), markup=False, soft_wrap=True)


def _header(trail: AuditTrail, plan: Plan) -> Iterator[str]:
    yield f"federation {plan.federation.name}, plan {plan.digest}"
    if plan.continues:
        yield f"revision {plan.revision} from round {plan.first_round} on, continues plan {plan.continues.plan}"
    for name, card in sorted(plan.cards.items(), key=lambda item: (item[1].role, item[0])):
        paired = f", paired {utc(trail.paired[name])}" if name in trail.paired else ""
        yield f"{card.role:10} {name}, card {card.fingerprint}{paired}"
    if trail.group and trail.dealt is not None:
        yield f"group secret {trail.group}, dealt by {plan.federation.custodian} {utc(trail.dealt)}"


def _lines(found: AttemptRecord, plan: Plan) -> Iterator[str]:
    """One attempt in two or three lines."""
    called = f" {'of' if found.outcome == 'sum' else 'for'} {', '.join(found.roster)}" if found.roster else ""
    lacking = f", missing {', '.join(found.missing)}" if found.missing else ""
    without = f", without {', '.join(found.left_out)}" if found.left_out else ""
    again = ", recomputed" if found.recomputed else ""
    yield f"{spoken(found.round_no, found.attempt)}: {found.outcome}{called}{lacking}{without}{again}"
    if found.update_bytes:
        most = max(found.update_bytes.values())
        down = f", sum {found.sum_bytes} bytes" if found.sum_bytes else ""
        yield f"  update {most} bytes, {most / plan.n_params(found.round_no):.2f} per parameter{down}"
    spans = _spans(found)
    times = [
        f"{kind} {utc(first)}{f' to {utc(last)}' if last > first else ''}" for kind, (first, last) in spans.items()
    ]
    ends = [time for span in spans.values() for time in span]
    yield f"  {', '.join(times)}: {_duration(max(ends) - min(ends))}"


def _table(trail: AuditTrail) -> Table:
    """A row for each attempt, without the columns that are empty in all of them."""
    rows = [_row(found) for found in trail.attempts]
    shown = [column for column in rows[0] if any(row[column] for row in rows)]
    table = Table(
        title="Attempts; times by the senders' clocks, then counted from the first ready", title_justify="left"
    )
    for column in shown:
        table.add_column(column, overflow="fold", no_wrap=column == _START)
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    return table


def _row(found: AttemptRecord) -> dict[str, str]:
    spans = _spans(found)
    start = spans["ready"][0]
    after = {kind: _duration(last - start) for kind, (_, last) in spans.items()}
    return {
        "round": f"{found.round_no or 'presence'}.{found.attempt}",
        "outcome": f"{found.outcome}, recomputed" if found.recomputed else found.outcome,
        "roster": ", ".join(found.roster),
        "missing": ", ".join(found.missing),
        "without": ", ".join(found.left_out),
        "bytes up": str(max(found.update_bytes.values(), default="")),
        "down": str(found.sum_bytes or ""),
        _START: utc(start),
        "all ready": after["ready"],
        "called": after.get("roster", ""),
        "updates": after.get("update", ""),
        "end": after.get("sum", after.get("void", "")),
    }


def _spans(found: AttemptRecord) -> dict[str, tuple[int, int]]:
    """First and last time of each kind of message; of those ready, only who was called."""
    spans = {}
    for kind in KINDS:
        sent = found.signed.get(kind, {})
        times = [time for name, time in sent.items() if kind != "ready" or not found.roster or name in found.roster]
        if times:
            spans[kind] = (min(times), max(times))
    return spans


def _duration(seconds: int) -> str:
    return f"{'-' if seconds < 0 else ''}{timedelta(seconds=abs(seconds))}"


def _verdict(trail: AuditTrail, plan: Plan) -> str:
    checked = f"{trail.n_files} files, {trail.n_signatures} signatures, {trail.n_recomputed} sums recomputed"
    left = trail.n_sums - trail.n_recomputed
    skipped = f", {left} not recomputed" if left else ""
    warned = f", but see {len(trail.warnings)} warning(s)" if trail.warnings else ""
    since = f" from round {plan.first_round} on" if plan.continues else ""
    done = f"{trail.n_rounds} of {plan.rounds.n_rounds - plan.first_round + 1} rounds{since} done"
    return f"{done}; {checked}{skipped}: everything is as it must be{warned}"
