"""`hocket verify`: anybody, without any secret, checks the whole transcript of a federation.

Every message by itself (transcript.py), the messages of an attempt with one another (outcomes.py), the payloads
(payloads.py), and here the whole: enrolment, order, trunks. What the sums contain stays sealed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from partners.network.trunk import initial_trunk, trunk_digest
from pipeline.audit.attempt_record import AttemptRecord, read_attempt
from pipeline.audit.clock_skew import clock_warnings
from pipeline.audit.payloads import Payloads
from pipeline.errors import BrokenTranscript, Equivocation, ExchangeConflict
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import Transcript, read_transcript
from pipeline.plan.plan import PRESENCE, Plan, spoken
from secure.messages.message_name import MessageName
from secure.messages.messages import utc

Progress = Callable[[int, int], None]  # (done, total) attempts


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """What took part when; all of it verified but the times, which are the senders' claims."""

    group: str | None  # digest of the group secret, as dealt
    dealt: int | None  # time of signing, seconds since 1970
    paired: dict[str, int]  # the same, by partner
    attempts: tuple[AttemptRecord, ...]
    n_files: int
    n_signatures: int
    notes: tuple[str, ...]  # what may be so, and is worth knowing
    warnings: tuple[str, ...]  # what somebody should be asked about

    @property
    def n_recomputed(self) -> int:
        """Sums that were added again."""
        return sum(found.recomputed for found in self.attempts)

    @property
    def n_sums(self) -> int:
        """Sums there are, that of the presence round included."""
        return sum(found.outcome == "sum" for found in self.attempts)

    @property
    def n_rounds(self) -> int:
        """Rounds of training that are done."""
        return sum(found.outcome == "sum" and found.round_no != PRESENCE for found in self.attempts)


def audit(
    plan: Plan,
    exchange: Exchange,
    *,
    now: float,
    recompute: bool = True,
    workers: int = 1,
    progress: Progress | None = None,
) -> AuditTrail:
    """Check every file of the exchange.

    now       : seconds since 1970; what is signed later than this is warned of
    recompute : add the updates of every sum again; needs disk space for the updates of a round and two sums
    workers   : most processes for that
    Raises secure.errors.SecureError, BrokenTranscript, Equivocation or ExchangeConflict, naming the first file or
    attempt that is not as it must be; ExchangeError where there is nothing to check.
    """
    exchange = exchange.below(plan.folder)
    transcript = read_transcript(plan, exchange)
    group = _check_enrolment(transcript, plan, exchange)
    attempts = [
        read_attempt(at, transcript, plan, exchange.where(MessageName("ready", *at, "").folder))
        for at in transcript.attempts
    ]
    _check_order(attempts, plan, exchange)
    _check_trunks(transcript, plan, exchange)
    payloads = Payloads(plan, exchange, recompute=recompute, workers=workers)
    payloads.check_enrolment(transcript)
    for number, found in enumerate(attempts):
        attempts[number] = payloads.check_attempt(found, transcript)
        if progress:
            progress(number + 1, len(attempts))
    return AuditTrail(
        group=group,
        dealt=next((message.manifest.time for message in transcript.of("deal").values()), None),
        paired={name: message.manifest.time for name, message in transcript.of("pairing").items()},
        attempts=tuple(attempts),
        n_files=transcript.n_files,
        n_signatures=len(transcript.messages),
        notes=tuple(_notes(attempts, transcript)),
        warnings=tuple(chain(_warnings(attempts, transcript), clock_warnings(transcript, now))),
    )


def _check_enrolment(transcript: Transcript, plan: Plan, exchange: Exchange) -> str | None:
    """One deal, by the custodian; all pairings for its group; complete before the first round."""
    deals, pairings = transcript.of("deal"), transcript.of("pairing")
    custodian = plan.federation.custodian
    for message in (message for sender, message in deals.items() if sender != custodian):
        where = exchange.where(message.name.manifest)
        raise ExchangeConflict(f"{where}: the group secret is dealt by {custodian}, not by {message.name.sender}")
    groups = {str(message): message.manifest.text("group") for message in chain(deals.values(), pairings.values())}
    if len(set(groups.values())) > 1:
        listed = ", ".join(f"{said} {group[:12]}" for said, group in groups.items())
        raise Equivocation(f"{exchange.where('enrol')}: not all are of one group: {listed}")
    lacking = [] if deals else [f"the deal of {custodian}"]
    lacking += [f"the pairing of {name}" for name in plan.partner_names if name not in pairings]
    if lacking and transcript.attempts:
        raise BrokenTranscript(f"{exchange.where('enrol')}: lacks {', '.join(lacking)}, and there are rounds")
    return next(iter(groups.values()), None)


def _check_order(attempts: Sequence[AttemptRecord], plan: Plan, exchange: Exchange) -> None:
    """Rounds follow one another by a sum, attempts by a void, until the plan's last round."""
    expected: tuple[int, int] | None = (plan.starts_with, 1)
    for found in attempts:
        if (found.round_no, found.attempt) != expected:
            raise BrokenTranscript(
                f"{exchange.url}: {_place(found)} follows out of order; "
                f"expected {spoken(*expected) if expected else 'nothing more'}"
            )
        if found.round_no > plan.rounds.n_rounds:
            raise BrokenTranscript(f"{exchange.url}: has round {found.round_no}, the plan {plan.rounds.n_rounds}")
        if found.attempt > plan.rounds.max_attempts:
            place = f"{exchange.url}: {spoken(found.round_no)}"
            raise BrokenTranscript(f"{place} has attempt {found.attempt}, the plan allows {plan.rounds.max_attempts}")
        expected = {
            "sum": (found.round_no + 1, 1),
            "void": (found.round_no, found.attempt + 1),
            "open": None,
        }[found.outcome]


def _check_trunks(transcript: Transcript, plan: Plan, exchange: Exchange) -> None:
    """All attempts at a round start from one trunk, those at the first from the one that follows from the plan.

    The trunk is the whole shared vector; in the presence round it is named too.
    """
    trunks: dict[int, str] = {}
    for round_no, attempt in transcript.attempts:
        for message in transcript.of("roster", round_no, attempt).values():
            if round_no in (PRESENCE, 1) and not trunks:
                trunks[PRESENCE] = trunks[1] = trunk_digest(initial_trunk(plan.layout, plan.federation.seed))
            found = message.manifest.text("trunk")
            if found != trunks.setdefault(round_no, found):
                where = exchange.where(message.name.manifest)
                raise Equivocation(
                    f"{where}: starts from trunk {found[:12]}, {spoken(round_no)} from {trunks[round_no][:12]}"
                )


def _notes(attempts: Sequence[AttemptRecord], transcript: Transcript) -> Iterator[str]:
    for path in transcript.unfinished:
        yield f"{path}: has no manifest; its sender is still posting, or was stopped"
    for found in attempts:
        if found.gone:
            what = "not recomputed: " if found.outcome == "sum" else ""
            yield f"{_place(found)}: {what}update of {', '.join(found.gone)} is gone, its manifest is there"


def _warnings(attempts: Sequence[AttemptRecord], transcript: Transcript) -> Iterator[str]:
    for found in attempts:
        at = (found.round_no, found.attempt)
        here = [name for name in found.missing if name in found.update_bytes]
        if here:
            signed = ", ".join(f"{name} (signed {utc(found.signed['update'][name])})" for name in here)
            yield (
                f"{_place(found)}: void although the update of {signed} is here: "
                f"ask {', '.join(here)} and the aggregator when it was posted"
            )
        for what in ("trunk", "preparation"):
            said = {name: message.manifest.text(what)[:12] for name, message in transcript.of("ready", *at).items()}
            if len(set(said.values())) > 1:
                listed = ", ".join(f"{name} {value}" for name, value in said.items())
                yield f"{_place(found)}: not all who are ready name the same {what}: {listed}"


def _place(found: AttemptRecord) -> str:
    return spoken(found.round_no, found.attempt)
