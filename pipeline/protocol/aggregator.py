"""The aggregator: calls rosters, adds sealed updates, posts sums. It holds no key that opens anything.

Nothing here may import torch, rdkit or polars; tests/test_architecture.py holds that.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.errors import AttemptsUsedUp, Diverged, NotYet
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.round_metrics import RoundRecord, write_record
from pipeline.plan.lengths import PossibleLengths
from pipeline.plan.plan import COUNTING_ROUND, round_name
from pipeline.protocol.update_lengths import check_lengths, training_lengths
from pipeline.runtime.progress import ProgressReporter
from secure.encoding.roster import Roster
from secure.errors import SecureError, WrongRoster, WrongSender
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest
from secure.sealing.add import add_updates
from secure.sealing.container import read_chunks
from secure.sealing.release import released_seed


@dataclass(frozen=True, slots=True)
class Position:
    """Round and attempt at which a member is."""

    round_no: int
    attempt: int


class AggregatorRun:
    """The aggregator's step machine; its state is the outbox and the inbox in its home."""

    def __init__(
        self, mailbox: Mailbox, reporter: ProgressReporter, clock: Callable[[], float] = time.time, workers: int = 1
    ) -> None:
        self.plan = plan = mailbox.plan
        self.mailbox = mailbox
        self.home = mailbox.home
        self._reporter = reporter
        self._clock = clock
        self._workers = workers
        self._position = Position(plan.starts_with, 1)
        mailbox.home.remove_leftovers()

    def advance(self) -> bool:
        """Do the next step; False after the last round. Raises NotYet while partners are awaited."""
        if self._position.round_no > self.plan.rounds.n_rounds:
            return False
        self._reporter.set_round(self._position.round_no, self._position.attempt)
        if self._repost("sum"):
            self._expect_releases()
            self._tidy()
            self._position = Position(self._position.round_no + 1, 1)  # after the counting round comes the first
        elif self._repost("void"):
            self._tidy()
            self._position = Position(self._position.round_no, self._position.attempt + 1)
        elif self._repost("roster"):
            with self._removing_refused():
                self._collect_updates()
        else:
            self._call_roster()
        return True

    def _name(self, kind: str, sender: str | None = None) -> MessageName:
        return MessageName(kind, self._position.round_no, self._position.attempt, sender or self.mailbox.me)

    def _repost(self, kind: str) -> bool:
        """Post this message again if it was signed before; False if it was not."""
        return self.mailbox.repost(self._name(kind))

    def _expect_releases(self) -> None:
        """Raise NotYet until every member has released: no partner can open the sum before, or be ready again.

        Raises secure.errors.SecureError for a release for another roster, or with another seed than committed to.
        """
        members = sorted(self.mailbox.own(self._name("sum")).named_digests("updates"))
        released, updates = self._received("release", members), self._received("update", members)
        roster = self.mailbox.own(self._name("roster")).as_roster(self.mailbox.digest_of(self._name("roster")))
        for name in released.keys() & updates.keys():
            where = self.mailbox.exchange.where(self._name("release", name).manifest)
            released_seed(released[name], updates[name], roster, where)
        awaited = [name for name in members if name not in released]
        if awaited:
            raise NotYet(f"{round_name(self._position.round_no)}: waiting for the release of {', '.join(awaited)}")

    def _call_roster(self) -> None:
        ready = self._received("ready", self.plan.partner_names)
        self._check_alike(ready)
        lacking = [name for name in self.plan.partner_names if name not in ready]
        if lacking and not self._may_close(ready):
            raise NotYet(f"{round_name(self._position.round_no)}: waiting for {', '.join(lacking)} to be ready")
        members = {name: self.mailbox.digest_of(self._name("ready", name)) for name in sorted(ready)}
        trunk = next(iter(ready.values())).text("trunk")
        self.mailbox.post(self._name("roster"), {"members": members, "trunk": trunk})
        self._reporter.report(
            f"{round_name(self._position.round_no, self._position.attempt)}: roster {', '.join(members)}"
        )

    def _may_close(self, ready: dict[str, Manifest]) -> bool:
        """Whether the deadline after the first `ready` has passed and enough partners are ready."""
        if len(ready) < self.plan.min_roster(self._position.round_no):
            return False
        first = min(self.mailbox.accepted_at(self._name("ready", name)) for name in ready)
        return self._clock() - first > self.plan.rounds.ready_deadline_s

    def _check_alike(self, ready: dict[str, Manifest]) -> None:
        """Raise Diverged unless all partners have the same trunk and prepare compounds alike."""
        for key in ("trunk", "preparation"):
            holders: dict[str, list[str]] = {}
            for name, manifest in ready.items():
                holders.setdefault(manifest.text(key), []).append(name)
            if len(holders) > 1:
                groups = sorted(holders.values(), key=len, reverse=True)
                odd = groups if len(groups[0]) == len(groups[1]) else groups[1:]
                named = ", ".join(sorted(name for group in odd for name in group))
                error = Diverged(
                    f"{round_name(self._position.round_no)}: the {key} digest of {named} differs from the others'"
                )
                error.add_note("compare hocket versions, machines and plans of the partners, and correct what differs")
                if key == "preparation" and self.plan.has_counts:
                    error.add_note("or they counted other holders: compare catalogue.json in their homes")
                raise error

    def _collect_updates(self) -> None:
        roster = self.mailbox.own(self._name("roster"))
        members = sorted(roster.named_digests("members"))
        updates = self._received("update", members)
        fetched = {name: self._fetch(name, manifest) for name, manifest in updates.items()}
        files = {name: file for name, file in fetched.items() if file is not None}
        missing = [name for name in members if name not in files]
        if not missing:
            self._add(roster.as_roster(self.mailbox.digest_of(self._name("roster"))), files)
        elif self._clock() - self.mailbox.accepted_at(self._name("roster")) > self.plan.rounds.update_deadline_s:
            self._void(missing)
        else:
            raise NotYet(
                f"{round_name(self._position.round_no)}: waiting for the sealed update of {', '.join(missing)}"
            )

    @contextmanager
    def _removing_refused(self) -> Iterator[None]:
        """Remove all updates of the attempt from the inbox if one is refused, so that a correct one can replace it."""
        try:
            yield
        except SecureError as error:
            for name in self.plan.partner_names:
                for path in (self._name("update", name).manifest, self._name("update", name).payload):
                    self.home.inbox(path).unlink(missing_ok=True)
            error.add_note("nothing was added. Stop the partner that the file's name has, and read its log;")
            error.add_note("remove the file, start the partner (it posts its outbox again), then start this run again")
            raise

    def _fetch(self, sender: str, manifest: Manifest) -> Path | None:
        """The sealed update's file, or None while the exchange does not show it."""
        name = self._name("update", sender)
        roster = self.mailbox.digest_of(self._name("roster"))
        sealed_for = manifest.text("roster")
        if sealed_for != roster:
            where = self.mailbox.exchange.where(name.manifest)
            raise WrongRoster(f"{where}: sealed for roster {sealed_for[:12]}..., expected {roster[:12]}...")
        try:
            return self.mailbox.fetch_payload(name, manifest)
        except NotYet:
            return None

    def _add(self, roster: Roster, files: dict[str, Path]) -> None:
        self.mailbox.check_not_posted(self._name("void"))  # of a restored home: partners may have deleted their seeds
        self._reporter.step = "adding"
        members = list(roster.members)
        sum_file = self.home.outbox(self._name("sum").payload)
        sum_file.parent.mkdir(parents=True, exist_ok=True)
        sizes = [files[name].stat().st_size for name in members]
        n_params = self._check_headers(files)
        started = time.monotonic()
        with self._reporter.progress(
            f"{round_name(self._position.round_no)}: adding {len(members)} sealed updates"
        ) as progress:
            added = add_updates(
                [files[name] for name in members],
                self.plan.seal_parameters(roster.round_no),
                sum_file,
                progress=progress,
                roster=roster,
                workers=self._workers,
            )
        seconds = time.monotonic() - started
        self._record(members, sizes, sum_file.stat().st_size, seconds, n_params)
        digests = {name: payload.sha256 for name, payload in added.updates.items()}  # of the bytes that were added
        self.mailbox.post(self._name("sum"), {"roster": roster.digest, "updates": digests})

    def _check_headers(self, files: dict[str, Path]) -> int:
        """The length of the vectors; raises for a sealed update of another partner or length, naming the file.

        `add_updates` checks the rest.
        """
        lengths: dict[str, int] = {}
        for name, file in files.items():
            with read_chunks(file) as reader:
                header = reader.header
            if header.members != (name,):
                raise WrongSender(f"{file.name}: holds the update of {', '.join(header.members)}, expected {name}'s")
            lengths[name] = header.n_params
        counting = self._position.round_no == COUNTING_ROUND
        allowed = self.plan.possible_lengths(COUNTING_ROUND) if counting else self._training_lengths
        return check_lengths(lengths, files, allowed)

    @cached_property
    def _training_lengths(self) -> PossibleLengths:
        return training_lengths(self.mailbox)

    def _record(self, members: list[str], sizes: list[int], sum_size: int, seconds: float, n_params: int) -> None:
        per_parameter = max(sizes) / n_params
        metrics = {
            "n_members": len(members),
            "attempt": self._position.attempt,
            "upload_bytes": max(sizes),
            "upload_bytes_per_parameter": per_parameter,
            "download_bytes": sum_size,
            "seconds_add": seconds,
            "seconds_round": self._clock() - self.mailbox.accepted_at(self._name("ready", members[0])),
        }
        facts = {"roster": members, "roster_digest": self.mailbox.digest_of(self._name("roster"))}
        write_record(self.home.metrics, RoundRecord(self._position.round_no, self._clock(), metrics, facts))
        message = f"sum of {len(members)} updates, upload {per_parameter:.2f} bytes per parameter"
        self._reporter.report(f"{round_name(self._position.round_no)}: {message}")

    def _void(self, missing: list[str]) -> None:
        # after the last attempt no partner would seal again, but a late update can still be added
        if self._position.attempt >= self.plan.rounds.max_attempts:
            error = AttemptsUsedUp(
                f"{round_name(self._position.round_no)}: {', '.join(missing)} did not deliver in attempt "
                f"{self._position.attempt}, the last one that the plan allows"
            )
            error.add_note("the attempt is not void: when they have delivered, start the aggregator again")
            raise error
        self.mailbox.check_not_posted(self._name("sum"))  # of a restored home: partners may have released for it
        roster = self.mailbox.digest_of(self._name("roster"))
        self.mailbox.post(self._name("void"), {"roster": roster, "missing": missing})
        place = round_name(self._position.round_no, self._position.attempt)
        self._reporter.announce("void", f"{place}: void, {', '.join(missing)} did not deliver", missing=missing)

    def _received(self, kind: str, senders: list[str]) -> dict[str, Manifest]:
        manifests = {name: self.mailbox.receive(self._name(kind, name)) for name in senders}
        return {name: manifest for name, manifest in manifests.items() if manifest is not None}

    def _tidy(self) -> None:
        """Remove the sealed files of a finished round from the home: the exchange holds them."""
        for name in self.plan.partner_names:
            self.home.inbox(self._name("update", name).payload).unlink(missing_ok=True)
        self.home.outbox(self._name("sum").payload).unlink(missing_ok=True)
