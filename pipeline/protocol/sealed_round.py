"""One round at a partner, from `ready` to a sum that can be opened.

ready, roster, update, sum, release. Before this partner has released, a void leads to another attempt with the same
update, sealed again for another roster; after that, nothing but the one sum ends the round.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.exchange.mailbox import Mailbox
from pipeline.plan.plan import round_name
from pipeline.protocol.attempt import Attempt, Sum, Void
from pipeline.protocol.releases import Releases
from pipeline.protocol.round_seal import RoundSeal
from pipeline.runtime.progress import ProgressReporter
from secure.encoding.roster import Roster
from secure.files import remove_for_good
from secure.messages.confirmations import confirmations
from secure.sealing.open_sum import CheckedSum
from secure.sealing.release import ReleaseSeed


class Work(Protocol):
    """What a partner does in a round between the messages."""

    def prepare(self) -> None:
        """Make the update, once in a round: it is the same in all attempts."""

    def seal(self, roster: Roster, release: ReleaseSeed) -> Path:
        """Seal the update for a roster into a file, in place of an earlier one, and return its path."""

    def check(self, sum_file: Path, roster: Roster) -> CheckedSum:
        """Decrypt a sum and check its tag; raises secure.errors.SecureError."""


@dataclass(frozen=True, slots=True)
class Openable:
    """A sum with the right tag, and the release seeds of all its members."""

    roster: Roster
    checked: CheckedSum
    seeds: list[ReleaseSeed]


class SealedRound:
    """The attempts at one round; its state is the inbox, the outbox and the release seed in the home."""

    def __init__(
        self,
        mailbox: Mailbox,
        seal: RoundSeal,
        round_no: int,
        *,
        trunk: str,
        preparation: str,
        reporter: ProgressReporter,
    ) -> None:
        """Begin at the first attempt. trunk, preparation : what `ready` names."""
        self.mailbox, self._seal, self._round_no = mailbox, seal, round_no
        self._trunk, self._preparation, self._reporter = trunk, preparation, reporter
        self.attempt_no = 1
        self._checked: CheckedSum | None = None  # of this attempt; a new process decrypts it again

    @property
    def attempt(self) -> Attempt:
        """The attempt that this partner is at."""
        return Attempt(self.mailbox, self._round_no, self.attempt_no, self._trunk)

    @property
    def _releases(self) -> Releases:
        return Releases(self.attempt)

    def advance(self, work: Work) -> Openable | None:
        """Do the next step; the sum as soon as it can be opened, None after a void and after this partner's release.

        Raises NotYet while others are awaited, LeftBehind, AttemptsUsedUp and Equivocation as Attempt and Releases do,
        secure.errors.SecureError for what is not as it must be.
        """
        match self.attempt.stage():
            case None:
                self._be_ready(work)
                raise self.attempt.not_yet(f"{round_name(self._round_no)}: waiting for the roster")
            case Roster() as roster:
                if self.mailbox.me in roster.members:
                    self._deliver(roster, work)
                else:
                    self._warn_if_left_out(roster)
                waiting = f"waiting for the sum of {', '.join(roster.members)}"
                raise self.attempt.not_yet(f"{round_name(self._round_no)}: {waiting}")
            case Void() as void:
                self._abandon(void)
                return None
            case Sum() as total:
                return self._release(total, work)

    def _be_ready(self, work: Work) -> None:
        """Make the update, then post `ready`, which holds nothing of it."""
        work.prepare()
        pair_keys, plan = self._seal.enrolment.pair_keys, self.mailbox.plan.digest
        body: dict[str, object] = {"trunk": self._trunk, "preparation": self._preparation}
        confirmed = confirmations(pair_keys, plan, self._round_no, self.mailbox.me)
        self.mailbox.post(self.attempt.mine("ready"), body | {"confirmations": confirmed})

    def _deliver(self, roster: Roster, work: Work) -> None:
        """Seal for exactly this roster, once, and post; an update that exists is posted again byte for byte."""
        attempt, releases = self.attempt, self._releases
        if self.mailbox.has(attempt.mine("update")):
            self._expect_sealed_for(roster)
            self.mailbox.repost(attempt.mine("update"))
            return
        if not attempt.is_sealed():
            attempt.check_readies(roster, self._seal.enrolment.pair_keys)
            attempt.keep_sealed(work.seal(roster, releases.draw(roster)))
        attempt.post_update(roster, releases.held(roster).commitment)

    def _expect_sealed_for(self, roster: Roster) -> None:
        """Raise Equivocation if the posted update is for another roster than the one in the inbox."""
        sealed_for = self.mailbox.own(self.attempt.mine("update")).text("roster")
        if sealed_for != roster.digest:
            me = self.mailbox.me
            raise self.attempt.two_rosters(f"{me} sealed for roster {sealed_for}", roster, me)

    def _abandon(self, void: Void) -> None:
        """Go on to the next attempt; the release seed is deleted first, so the void attempt's sum stays closed."""
        self._releases.check_void(void)
        place = round_name(self._round_no, self.attempt_no)
        missing = ", ".join(void.missing)
        self._reporter.announce("void", f"{place}: void, the aggregator misses {missing}", missing=list(void.missing))
        for name in self.attempt.delivered(void):  # no proof against either: it may have come just too late
            self._reporter.warn(f"the aggregator misses the update of {name}, but it is on the exchange: ask both")
        remove_for_good(self.attempt.seed_file)
        self.attempt.update_file.unlink(missing_ok=True)
        self.attempt_no, self._checked = self.attempt_no + 1, None

    def _release(self, total: Sum, work: Work) -> Openable | None:
        """Release once everything is as it must be; the next step waits for the others' releases."""
        releases, roster = self._releases, total.roster
        self._warn_if_left_out(roster)
        updates = releases.expect_updates(total)
        if self.mailbox.me in roster.members and not releases.has_released:
            self._check(total, work)
            releases.post(roster)
            return None
        seeds = releases.collect(roster, updates)
        openable = Openable(roster, self._check(total, work), seeds)
        self._checked = None  # as large as the trunk, and no longer needed here
        return openable

    def _check(self, total: Sum, work: Work) -> CheckedSum:
        if self._checked is None:
            self._reporter.step = "opening"
            self._checked = work.check(self.attempt.fetch_sum(total), total.roster)
        return self._checked

    def _warn_if_left_out(self, roster: Roster) -> None:
        if self.attempt.is_left_out(roster):
            place, me = round_name(self._round_no, self.attempt_no), self.mailbox.me
            self._reporter.warn(f"{place}: the roster lacks {me}, whose ready was signed before it: ask the aggregator")
