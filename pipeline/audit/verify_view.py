"""Show the result of `hocket verify`: as a table on a terminal, as plain lines, or as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.audit.attempt_record import KINDS, AttemptRecord
from pipeline.audit.provenance import ModelCheck
from pipeline.audit.verify import AuditTrail
from pipeline.plan.plan import COUNTING_ROUND, Plan, round_name
from pipeline.runtime.printable import printable
from secure.messages.messages import utc

ATTEMPTS = "Attempts; times by the senders' clocks, then counted from the first ready"
_START = "first ready"


def trail_json(trail: AuditTrail, plan: Plan, models: Sequence[ModelCheck] = ()) -> dict[str, Any]:
    """The whole trail as JSON values; times are seconds since 1970 by the senders' clocks."""
    return {
        "federation": plan.federation.name,
        "plan": plan.digest,
        "n_rounds": plan.rounds.n_rounds,
        "custodian": plan.federation.custodian,
        "members": {name: {"role": card.role, "card": card.fingerprint} for name, card in plan.cards.items()},
        **asdict(trail),
        "n_sums": trail.n_sums,
        "n_recomputed": trail.n_recomputed,
        **({"models": [_model_json(model) for model in models]} if models else {}),
        "verdict": conclusion(trail, plan),
    }


def _model_json(model: ModelCheck) -> dict[str, Any]:
    facts = {"folder": str(model.folder), "added": list(model.added), "notes": list(model.notes)}
    return facts | {"provenance": model.provenance.unsigned()}


def print_trail(trail: AuditTrail, plan: Plan, console: Console, models: Sequence[ModelCheck] = ()) -> None:
    """Print the members, every attempt, models, notes and warnings, and the conclusion in the last line."""
    for line in map(printable, header(trail, plan)):
        console.print(line, markup=False, soft_wrap=True)
    if console.is_terminal and trail.attempts:
        console.print(_table(trail))
    else:
        for line in (printable(line) for record in trail.attempts for line in _lines(record)):
            console.print(line, markup=False, soft_wrap=True)
    for line in (printable(line) for model in models for line in model_lines(model)):
        console.print(line, markup=False, soft_wrap=True)
    for kind, lines in (("note", trail.notes), ("warning", trail.warnings)):
        for line in lines:
            console.print(
                printable(f"{kind}: {line}"), markup=False, soft_wrap=True, style="yellow" if kind == "warning" else ""
            )
    console.print(conclusion(trail, plan), markup=False, soft_wrap=True)


def model_lines(model: ModelCheck) -> Iterator[str]:
    """A model that was checked against its provenance, in two or three lines."""
    made = model.provenance
    trained = [each for each in made.rounds if each.round_no > COUNTING_ROUND]
    own = sum(made.partner in each.members for each in trained)
    yield f"model of {made.partner} in {model.folder}: signed by its card, every file is the one that is listed"
    yield (
        f"  {len(trained)} rounds, {own} with {made.partner}, trunk {made.trunk[:12]}; hocket {made.version}, "
        f"sources {made.sources[:12]}; matrices {made.data['prepared'][:12]}"
    )
    for note in model.notes:
        yield f"  {note}"
    if model.added:
        yield f"  {len(model.added)} assays that `hocket extend` added are not covered by the signature"


def header(trail: AuditTrail, plan: Plan) -> Iterator[str]:
    """Federation, members and group secret, a line each."""
    yield f"federation {plan.federation.name}, plan {plan.digest}"
    if plan.continues:
        yield f"revision {plan.revision} from round {plan.first_round} on, continues plan {plan.continues.plan}"
        if plan.joiners:
            yield f"{', '.join(plan.joiners)} joined, with the state of {plan.continues.sponsor}"
    for name, card in sorted(plan.cards.items(), key=lambda item: (item[1].role, item[0])):
        paired = f", paired {utc(trail.paired[name])}" if name in trail.paired else ""
        yield f"{card.role:10} {name}, card {card.fingerprint}{paired}"
    if trail.group and trail.dealt is not None:
        yield f"group secret {trail.group}, dealt by {plan.federation.custodian} {utc(trail.dealt)}"
    if plan.trunk.start_digest:
        yield f"begins from the trunk {plan.trunk.start_digest} of a file: whether round 1 does, only partners can see"
    lengths = {record.n_params for record in trail.attempts if record.round_no > COUNTING_ROUND and record.n_params}
    if plan.columns.are_counted and lengths:
        most = plan.possible_lengths(plan.first_round).longest
        yield (
            f"input columns that {plan.columns.min_partners} partners or more flagged are shared: vectors of "
            f"{', '.join(map(str, sorted(lengths)))} parameters, {most} if all were"
        )


def _lines(record: AttemptRecord) -> Iterator[str]:
    """One attempt as two or three lines."""
    called = f" {'of' if record.outcome == 'sum' else 'for'} {', '.join(record.roster)}" if record.roster else ""
    lacking = f", missing {', '.join(record.missing)}" if record.missing else ""
    without = f", without {', '.join(record.left_out)}" if record.left_out else ""
    again = ", recomputed" if record.recomputed else ""
    yield f"{round_name(record.round_no, record.attempt)}: {record.outcome}{called}{lacking}{without}{again}"
    if record.update_bytes:
        most = max(record.update_bytes.values())
        down = f", sum {record.sum_bytes} bytes" if record.sum_bytes else ""
        each = f", {most / record.n_params:.2f} per parameter" if record.n_params else ""
        yield f"  update {most} bytes{each}{down}"
    spans = _spans(record)
    times = [
        f"{kind} {utc(first)}{f' to {utc(last)}' if last > first else ''}" for kind, (first, last) in spans.items()
    ]
    ends = [time for span in spans.values() for time in span]
    yield f"  {', '.join(times)}: {_duration(max(ends) - min(ends))}"


def _table(trail: AuditTrail) -> Table:
    """The attempts as a table for a terminal."""
    columns, rows = attempt_rows(trail)
    table = Table(title=ATTEMPTS, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == _START)
    for row in rows:
        table.add_row(*row)
    return table


def attempt_rows(trail: AuditTrail) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, without those that are empty in all rows, and a row for each attempt."""
    rows = [_row(record) for record in trail.attempts]
    columns = [column for column in rows[0] if any(row[column] for row in rows)] if rows else []
    return columns, [[row[column] for column in columns] for row in rows]


def _row(record: AttemptRecord) -> dict[str, str]:
    spans = _spans(record)
    start = spans["ready"][0]
    after = {kind: _duration(last - start) for kind, (_, last) in spans.items()}
    return {
        "round": f"{record.round_no or 'counting'}.{record.attempt}",
        "outcome": f"{record.outcome}, recomputed" if record.recomputed else record.outcome,
        "roster": ", ".join(record.roster),
        "missing": ", ".join(record.missing),
        "without": ", ".join(record.left_out),
        "bytes up": str(max(record.update_bytes.values(), default="")),
        "down": str(record.sum_bytes or ""),
        _START: utc(start),
        "all ready": after["ready"],
        "called": after.get("roster", ""),
        "updates": after.get("update", ""),
        "end": after.get("sum", after.get("void", "")),
        "released": after.get("release", ""),
    }


def _spans(record: AttemptRecord) -> dict[str, tuple[int, int]]:
    """First and last time of each kind of message; of the ready messages only those of the roster."""
    spans = {}
    for kind in KINDS:
        sent = record.signed.get(kind, {})
        times = [time for name, time in sent.items() if kind != "ready" or not record.roster or name in record.roster]
        if times:
            spans[kind] = (min(times), max(times))
    return spans


def _duration(seconds: int) -> str:
    return f"{'-' if seconds < 0 else ''}{timedelta(seconds=abs(seconds))}"


def conclusion(trail: AuditTrail, plan: Plan) -> str:
    """What was checked, in one sentence."""
    checked = f"{trail.n_files} files, {trail.n_signatures} signatures, {trail.n_recomputed} sums recomputed"
    n_skipped = trail.n_sums - trail.n_recomputed
    skipped = f", {n_skipped} not recomputed" if n_skipped else ""
    warned = f", but see {len(trail.warnings)} warning(s)" if trail.warnings else ""
    since = f" from round {plan.first_round} on" if plan.continues else ""
    done = f"{trail.n_rounds} of {plan.rounds.n_rounds - plan.first_round + 1} rounds{since} done"
    return f"{done}; {checked}{skipped}: everything is right{warned}"
