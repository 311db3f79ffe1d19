"""`hocket verify`: check the whole transcript of a federation without any secret.

pipeline.exchange.transcript checks each message, attempt_record.py the messages of an attempt against one another,
payloads.py the payloads, and this module enrolment, order and trunks. The content of the sums stays sealed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from partners.network.trunk import TrunkLayout
from pipeline.audit.attempt_record import AttemptRecord, read_attempt
from pipeline.audit.clock_skew import clock_warnings
from pipeline.audit.payloads import Payloads
from pipeline.errors import BrokenTranscript, Diverged, Equivocation, ExchangeConflict
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import Message, Transcript, read_transcript
from pipeline.plan.plan import COUNTING_ROUND, Plan, round_name
from secure.messages.message_name import MessageName
from secure.messages.messages import utc

AttemptProgress = Callable[[int, int], None]  # (done, total) attempts


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The result of an audit. All of it is verified except the times, which are the senders' claims."""

    group: str | None  # digest of the group secret, as dealt
    dealt: int | None  # time of signing, seconds since 1970
    paired: dict[str, int]  # the same, by partner
    attempts: tuple[AttemptRecord, ...]
    last_trunk: dict[str, int]  # when each partner signed its last trunk, in the closing round
    trunks: dict[str, str]  # digest of that trunk, by partner
    n_files: int
    n_signatures: int
    notes: tuple[str, ...]  # harmless, but worth knowing
    warnings: tuple[str, ...]  # a person should ask the named member

    @property
    def n_recomputed(self) -> int:
        """Number of sums that were added again."""
        return sum(record.recomputed for record in self.attempts)

    @property
    def n_sums(self) -> int:
        """Number of sums, with that of the counting round."""
        return sum(record.outcome == "sum" for record in self.attempts)

    @property
    def n_rounds(self) -> int:
        """Number of finished rounds of training."""
        return sum(record.outcome == "sum" and record.round_no != COUNTING_ROUND for record in self.attempts)


def audit(
    plan: Plan,
    exchange: Exchange,
    *,
    now: float,
    recompute: bool = True,
    workers: int = 1,
    progress: AttemptProgress | None = None,
) -> AuditTrail:
    """Check every file of the exchange.

    now       : seconds since 1970; a message signed later than this gives a warning
    recompute : add the updates of every sum again; needs disk space for the updates of a round and two sums
    workers   : most processes for adding
    Raises secure.errors.SecureError, BrokenTranscript, Equivocation or ExchangeConflict, naming the first file or
    attempt that is wrong; ExchangeError if there is nothing to check.
    """
    exchange = exchange.below(plan.folder)
    transcript = read_transcript(plan, exchange)
    group = _check_enrolment(transcript, plan, exchange)
    _check_one_release(transcript, exchange)
    records = [
        read_attempt(attempt, transcript, plan, exchange.where(MessageName("ready", *attempt, "").folder))
        for attempt in transcript.attempts
    ]
    attempts = [record for record in records if not _is_closing(record, plan)]
    _check_order(attempts, plan, exchange)
    closing = transcript.of("ready", plan.rounds.n_rounds + 1, 1)
    _check_closing(closing, attempts, plan, exchange)
    layout = _check_trunks(transcript, plan, exchange)
    n_params = layout.n_params if layout else None
    payloads = Payloads(plan, exchange, n_params=n_params, recompute=recompute, workers=workers)
    payloads.check_enrolment(transcript)
    for number, record in enumerate(attempts):
        attempts[number] = payloads.check_attempt(record, transcript)
        if progress:
            progress(number + 1, len(attempts))
    return AuditTrail(
        group=group,
        dealt=next((message.manifest.time for message in transcript.of("deal").values()), None),
        paired={name: message.manifest.time for name, message in transcript.of("pairing").items()},
        attempts=tuple(attempts),
        last_trunk={name: message.manifest.time for name, message in closing.items()},
        trunks={name: message.manifest.text("trunk") for name, message in closing.items()},
        n_files=transcript.n_files,
        n_signatures=len(transcript.messages) + len(transcript.signs),
        notes=tuple(_notes(attempts, transcript, plan)),
        warnings=tuple(chain(_warnings(attempts, transcript), clock_warnings(transcript, now))),
    )


def _check_enrolment(transcript: Transcript, plan: Plan, exchange: Exchange) -> str | None:
    """Check that the custodian dealt, all pairings are for its group, and both were complete before the first round."""
    deals, pairings = transcript.of("deal"), transcript.of("pairing")
    custodian = plan.federation.custodian
    for message in (message for sender, message in deals.items() if sender != custodian):
        where = exchange.where(message.name.manifest)
        raise ExchangeConflict(f"{where}: found a deal by {message.name.sender}, expected one by {custodian}")
    groups = {str(message): message.manifest.text("group") for message in chain(deals.values(), pairings.values())}
    if len(set(groups.values())) > 1:
        listed = ", ".join(f"{message} {group[:12]}" for message, group in groups.items())
        raise Equivocation(f"{exchange.where('enrol')}: found more than one group secret: {listed}")
    missing = [] if deals else [f"the deal of {custodian}"]
    missing += [f"the pairing of {name}" for name in plan.partner_names if name not in pairings]
    handed, sponsor = transcript.of("handover"), plan.continues.sponsor if plan.continues else ""
    for message in (message for sender, message in handed.items() if sender != sponsor):
        where = exchange.where(message.name.manifest)
        raise ExchangeConflict(f"{where}: found a handover by {message.name.sender}, expected {sponsor or 'none'}")
    missing += [f"the handover of {sponsor}"] if sponsor and not handed else []
    if missing and transcript.attempts:
        raise BrokenTranscript(f"{exchange.where('enrol')}: {', '.join(missing)} missing, although there are rounds")
    return next(iter(groups.values()), None)


def _check_order(attempts: Sequence[AttemptRecord], plan: Plan, exchange: Exchange) -> None:
    """Check that a round follows a sum, an attempt a void, and nothing the plan's last round."""
    expected: tuple[int, int] | None = (plan.starts_with, 1)
    for record, following in zip(attempts, (*attempts[1:], None), strict=False):
        if record.unreleased and following is not None:
            missing = ", ".join(record.unreleased)
            raise BrokenTranscript(
                f"{exchange.url}: {_place(record)} lacks the release of {missing}, but another follows"
            )
        if (record.round_no, record.attempt) != expected:
            raise BrokenTranscript(
                f"{exchange.url}: {_place(record)} is out of order; "
                f"expected {round_name(*expected) if expected else 'nothing more'}"
            )
        if record.round_no > plan.rounds.n_rounds:
            raise BrokenTranscript(f"{exchange.url}: has round {record.round_no}, the plan {plan.rounds.n_rounds}")
        if record.attempt > plan.rounds.max_attempts:
            place = f"{exchange.url}: {round_name(record.round_no)}"
            raise BrokenTranscript(f"{place} has attempt {record.attempt}, the plan allows {plan.rounds.max_attempts}")
        expected = {
            "sum": (record.round_no + 1, 1),
            "void": (record.round_no, record.attempt + 1),
            "open": None,
        }[record.outcome]


def _is_closing(record: AttemptRecord, plan: Plan) -> bool:
    """Whether this is the closing round, in which partners sign their last trunk and nothing else."""
    return (record.round_no, record.attempt) == (plan.rounds.n_rounds + 1, 1) and set(record.signed) <= {"ready"}


def _check_one_release(transcript: Transcript, exchange: Exchange) -> None:
    """Check that each partner has released for one roster in a round; of two, either it or the aggregator did wrong."""
    released: dict[tuple[int, str], Message] = {}
    for message in (message for message in transcript.messages if message.name.kind == "release"):
        name = message.name
        first = released.setdefault((name.round_no, name.sender), message)
        if first is not message:
            rosters = " and ".join(each.manifest.text("roster") for each in (first, message))
            where = exchange.where(name.manifest)
            raise Equivocation(f"{where}: {name.sender} has released twice in a round, for the rosters {rosters}")


def _check_closing(
    closing: Mapping[str, Message], attempts: Sequence[AttemptRecord], plan: Plan, exchange: Exchange
) -> None:
    """Check that last trunks are signed after the last sum, and that all partners have the same one."""
    last = attempts[-1] if attempts else None
    is_over = last is not None and (last.round_no, last.outcome, last.unreleased) == (plan.rounds.n_rounds, "sum", ())
    if closing and not is_over:
        raise BrokenTranscript(
            f"{exchange.url}: {', '.join(closing)} signed a last trunk before the last round was over"
        )
    holders: dict[str, list[str]] = {}
    for name, message in closing.items():
        holders.setdefault(message.manifest.text("trunk"), []).append(name)
    if len(holders) > 1:
        listed = "; ".join(f"{trunk[:12]} at {', '.join(names)}" for trunk, names in holders.items())
        raise Diverged(f"{exchange.url}: partners end with different trunks: {listed}")


def _check_trunks(transcript: Transcript, plan: Plan, exchange: Exchange) -> TrunkLayout | None:
    """Check that all attempts at a round start from one trunk, those at the first round from the plan's.

    The trunk is the whole shared vector, in the counting round all input columns and no rows. Returns the vector's
    layout, which the first round's trunk tells; None if round 1 is not part of the transcript, or if only partners know
    the first vector.
    """
    trunks: dict[int, str] = {}
    layout = None
    for round_no, attempt in transcript.attempts:
        for message in transcript.of("roster", round_no, attempt).values():
            trunk = message.manifest.text("trunk")
            if round_no == COUNTING_ROUND and not trunks:
                trunks[round_no] = plan.first_digest(plan.layout)
            elif round_no == 1 and layout is None and plan.knows_first_vector:
                layout = plan.first_layout(trunk) or plan.layout
                trunks[round_no] = plan.first_digest(layout)
            if trunk != trunks.setdefault(round_no, trunk):
                where = exchange.where(message.name.manifest)
                error = Equivocation(
                    f"{where}: starts from trunk {trunk[:12]}, {round_name(round_no)} from {trunks[round_no][:12]}"
                )
                if round_no == 1 and trunk == plan.first_digest(plan.layout_with(len(plan.catalogue.tasks))):
                    error.add_note("it has a place for every row of the catalogue, as in an earlier version of hocket:")
                    error.add_note("check this exchange with that version; to go on, start a new federation")
                raise error

    return layout


def _notes(attempts: Sequence[AttemptRecord], transcript: Transcript, plan: Plan) -> Iterator[str]:
    last = plan.rounds.n_rounds
    is_over = any(record.round_no == last and record.outcome == "sum" and not record.unreleased for record in attempts)
    closing = transcript.of("ready", last + 1, 1)
    if is_over and (silent := [name for name in plan.partner_names if name not in closing]):
        yield f"{', '.join(silent)} {'has' if len(silent) == 1 else 'have'} not signed the last trunk yet"
    for path in transcript.unfinished:
        yield f"{path}: has no manifest; its sender is still posting it, or was stopped"
    for record in attempts:
        if record.unreleased:
            yield f"{_place(record)}: {', '.join(record.unreleased)} has not released, so nobody can open the sum"
        if record.gone:
            effect = "not recomputed: " if record.outcome == "sum" else ""
            yield f"{_place(record)}: {effect}update of {', '.join(record.gone)} is gone, its manifest is there"


def _warnings(attempts: Sequence[AttemptRecord], transcript: Transcript) -> Iterator[str]:
    for record in attempts:
        round_attempt = (record.round_no, record.attempt)
        here = [name for name in record.missing if name in record.update_bytes]
        if here:
            signed = ", ".join(f"{name} (signed {utc(record.signed['update'][name])})" for name in here)
            yield (
                f"{_place(record)}: void although the update of {signed} is here: "
                f"ask {', '.join(here)} and the aggregator when it was posted"
            )
        for name in record.left_out_ready:
            yield f"{_place(record)}: the roster lacks {name}, whose ready was signed before it: ask the aggregator"
        ready = transcript.of("ready", *round_attempt)
        for field in ("trunk", "preparation"):
            values = {name: message.manifest.text(field)[:12] for name, message in ready.items()}
            if len(set(values.values())) > 1:
                listed = ", ".join(f"{name} {value}" for name, value in values.items())
                yield f"{_place(record)}: the ready messages name different values of {field}: {listed}"


def _place(record: AttemptRecord) -> str:
    return round_name(record.round_no, record.attempt)
