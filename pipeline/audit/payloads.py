"""Check the payloads of a transcript without a key: digests, envelopes, sealed files, and that sums are right."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.audit.attempt_record import AttemptRecord
from pipeline.exchange.mailbox import check_payload_size
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import Message, Transcript
from pipeline.plan.plan import Plan
from secure.encoding.roster import Roster
from secure.errors import PayloadMismatch, SecureError
from secure.keys.envelopes import Binding, check_envelopes
from secure.keys.group import DEAL
from secure.keys.handover import check_handover
from secure.keys.pairing import PAIRING
from secure.messages.messages import check_payload
from secure.sealing.container import SUM, UPDATE, Kind, read_chunks
from secure.verify import check_adding, check_sealed


class Payloads:
    """Fetches the payloads of one attempt after another and checks each against its manifest and the plan."""

    def __init__(self, plan: Plan, exchange: Exchange, *, n_params: int | None, recompute: bool, workers: int) -> None:
        """n_params : length of the rounds' vectors, if the transcript has it; else that of the first file found."""
        self._plan = plan
        self._n_params = n_params
        self._exchange = exchange
        self._recompute, self._workers = recompute, workers

    def check_enrolment(self, transcript: Transcript) -> None:
        """Check that the deal has an envelope for every partner, and each pairing one for every other partner.

        The content of an envelope can be read by its receiver only.
        """
        partners = set(self._plan.partner_names)
        for sender, message in transcript.of("deal").items():
            group = message.manifest.text("group")
            self._check_envelopes(message, Binding(DEAL, self._plan.digest, sender, group), partners)
        for sender, message in transcript.of("pairing").items():
            self._check_envelopes(message, Binding(PAIRING, self._plan.digest, sender, None), partners - {sender})
        for sender, message in transcript.of("handover").items():
            state, where = message.manifest.text("state"), self._exchange.where(message.name.payload)
            with tempfile.TemporaryDirectory() as folder:
                payload = self._need(message, Path(folder))
                check_handover(payload, self._plan.digest, sender, state, self._plan.joiners, where)

    def check_attempt(self, record: AttemptRecord, transcript: Transcript) -> AttemptRecord:
        """Check the sealed files of an attempt and return its record with the result.

        If the payload of an update was deleted to save space, the sum is not added again.
        """
        round_attempt = (record.round_no, record.attempt)
        call = next(iter(transcript.of("roster", *round_attempt).values()), None)
        if call is None:
            return record
        roster, totals = call.manifest.as_roster(call.digest), transcript.of("sum", *round_attempt).values()
        with tempfile.TemporaryDirectory() as folder:
            fetched = {n: self._fetch(m, Path(folder)) for n, m in transcript.of("update", *round_attempt).items()}
            files = {name: file for name, file in fetched.items() if file is not None}
            gone = tuple(name for name in fetched if name not in files)
            with _located(self._exchange.where(call.name.folder)):
                for name, file in files.items():
                    self._check_sealed(file, UPDATE, (name,), roster)
                for total in totals:
                    self._check_sealed(self._need(total, Path(folder)), SUM, roster.members, roster)
                recomputed = bool(totals) and not gone and self._recompute
                for total in totals if recomputed else ():
                    self._check_adding(total, [files[name] for name in roster.members], roster)
        return replace(record, gone=gone, recomputed=recomputed, n_params=self._known_length(record.round_no))

    def _check_envelopes(self, message: Message, expected: Binding, receivers: set[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            payload = self._need(message, Path(folder)).read_bytes()
        check_envelopes(payload, expected, receivers, self._exchange.where(message.name.payload))

    def _check_sealed(self, file: Path, kind: Kind, members: tuple[str, ...], roster: Roster) -> None:
        parameters, n_params = self._plan.seal_parameters(roster.round_no), self._length(file, roster.round_no)
        check_sealed(file, kind, members, roster=roster, parameters=parameters, n_params=n_params)

    def _known_length(self, round_no: int) -> int | None:
        """The length that the vectors of a round must have, in all rounds of training the same; None: not known yet."""
        only = self._plan.possible_lengths(round_no).only
        return self._n_params if only is None else only

    def _length(self, file: Path, round_no: int) -> int:
        """Number of values of an update of this round; of the first file's if that is one that the plan allows."""
        known = self._known_length(round_no)
        if known is None:
            possible = self._plan.possible_lengths(round_no)
            with read_chunks(file) as reader:
                found = reader.header.n_params
            known = self._n_params = found if found in possible else possible.shortest
        return known

    def _check_adding(self, total: Message, files: list[Path], roster: Roster) -> None:
        payload = total.manifest.payload
        if payload is not None:  # a sum has one: secure.messages.messages checked that
            check_adding(
                files,
                files[0].with_name("sum.recomputed"),
                roster=roster,
                parameters=self._plan.seal_parameters(roster.round_no),
                digest=payload.sha256,
                workers=self._workers,
            )

    def _need(self, message: Message, folder: Path) -> Path:
        file = self._fetch(message, folder)
        if file is None:
            raise PayloadMismatch(
                f"{self._exchange.where(message.name.payload)}: is missing, but its manifest is there"
            )
        return file

    def _fetch(self, message: Message, folder: Path) -> Path | None:
        """A local copy of a payload with the right size and digest, None if the exchange has none."""
        payload, file = message.manifest.payload, folder / Path(message.name.payload).name
        check_payload_size(self._plan, message.manifest, self._exchange.where(message.name.manifest))
        if payload is None or not self._exchange.fetch(message.name.payload, file, payload.size):
            return None
        check_payload(file, payload, self._exchange.where(message.name.payload))
        return file


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Add the place in the exchange to the message of an error in a local copy."""
    try:
        yield
    except SecureError as error:
        if place not in str(error):
            error.args = (f"{place}: {error}",)
        raise
