"""One attempt at a round as a partner sees it: the aggregator's word, refused where it contradicts what we hold."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import AttemptsUsedUp, Diverged, Equivocation, LeftBehind, NotYet
from pipeline.exchange.mailbox import Mailbox
from pipeline.plan.plan import round_name
from secure.encoding.roster import Roster, check_roster, check_summed
from secure.errors import SecureError
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest

_ROUND = re.compile(r"round-(\d{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Void:
    """The aggregator gave the attempt up: members of its roster are missing."""

    roster: Roster
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """The aggregator added up the updates of the roster."""

    roster: Roster
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where a partner is, and what it has been told there."""

    mailbox: Mailbox
    round_no: int
    number: int
    trunk: str  # digest of what this partner holds at the start of the round

    def mine(self, kind: str) -> MessageName:
        """This partner's own message."""
        return MessageName(kind, self.round_no, self.number, self.mailbox.me)

    def theirs(self, kind: str) -> MessageName:
        """The aggregator's message."""
        return MessageName(kind, self.round_no, self.number, self.mailbox.plan.aggregator_name)

    @property
    def update_file(self) -> Path:
        """This partner's sealed update in its outbox."""
        return self.mailbox.home.outbox(self.mine("update").payload)

    def stage(self) -> Roster | Void | Sum | None:
        """How far the aggregator has come: None before its roster, then the roster, then its void or its sum.

        All is checked against what this partner holds and has been shown. Raises AttemptsUsedUp beyond the plan's last
        attempt, NotYet where the roster of a void or sum is not here, LeftBehind where it never will be, Equivocation
        for a contradiction, Diverged for another trunk, secure.errors.SecureError for a roster that is not allowed.
        """
        outcome = self._outcome()
        if outcome is None:
            self._check_allowed()
            called = self.mailbox.receive(self.theirs("roster"))
            return None if called is None else self._checked_roster(called)
        with self._or_left_behind():
            roster = self._checked_roster(self.mailbox.expect(self.theirs("roster")))
        return self._checked_void(outcome, roster) if outcome.kind == "void" else self._checked_sum(outcome, roster)

    def not_yet(self, wait: str) -> NotYet:
        """The end of a step that waits for others; raises LeftBehind where that is in vain."""
        self.check_not_left_behind(wait)
        return NotYet(wait)

    def check_not_left_behind(self, wait: str) -> None:
        """Raise LeftBehind where this attempt's void or sum is awaited in vain: a later round has its sum."""
        later = self._later_sum()
        if later is not None and self._outcome() is None:  # it can have come while this partner worked
            raise self._left_behind(wait, later)

    def is_sealed(self) -> bool:
        """Whether the update is sealed: then it is sent again byte for byte, never sealed once more.

        Raises Equivocation where only the exchange has it: a restored home would seal the very same update again.
        """
        if self.mailbox.has(self.mine("update")) or self.update_file.exists():
            return True
        self.mailbox.check_not_posted(self.mine("update"))
        return False

    def keep_sealed(self, sealed: Path) -> None:
        """Move a sealed update to the outbox: from then on it is the only one of this attempt."""
        self.update_file.parent.mkdir(parents=True, exist_ok=True)
        sealed.replace(self.update_file)

    def post_update(self, roster: Roster) -> None:
        """Sign and post the update that was sealed for this roster."""
        self.mailbox.post(self.mine("update"), {"roster": roster.digest})

    def fetch_sum(self, total: Sum) -> Path:
        """The sealed sum; raises NotYet where the storage does not show it yet, LeftBehind where it never will."""
        with self._or_left_behind():
            return self.mailbox.fetch_payload(self.theirs("sum"), total.manifest)

    def delivered(self, void: Void) -> list[str]:
        """Members that a void misses though their signed update for its roster is on the exchange."""
        return [name for name in void.missing if self._has_delivered(name, void.roster.digest)]

    def _outcome(self) -> Manifest | None:
        """The sum or the void, if it has come; raises Equivocation where there are both."""
        total, void = (self.mailbox.receive(self.theirs(kind)) for kind in ("sum", "void"))
        if total is not None and void is not None:
            where = self.theirs("void").manifest
            raise Equivocation(f"{where}: the aggregator signed a void and a sum for the same attempt")
        return total or void

    def _checked_roster(self, manifest: Manifest) -> Roster:
        """The roster of this manifest, refused unless this partner, holding its trunk, may seal for it."""
        me, plan, where = self.mailbox.me, self.mailbox.plan, self.theirs("roster").manifest
        theirs = manifest.text("trunk")
        if theirs != self.trunk:
            raise Diverged(f"{where}: trunk {theirs[:12]}..., ours is {self.trunk[:12]}...")
        roster = manifest.as_roster(self.mailbox.digest_of(self.theirs("roster")))
        check_roster(roster, None, plan.partner_names, plan.min_roster(self.round_no))
        listed = manifest.named_digests("members").get(me)
        if listed is not None:
            if not self.mailbox.has(self.mine("ready")):
                raise Equivocation(f"{where}: lists {me}, which never said ready for this attempt")
            if listed != self.mailbox.digest_of(self.mine("ready")):
                raise Equivocation(f"{where}: lists a ready of {me} that is not the one it signed")
        return roster

    def _checked_sum(self, total: Manifest, roster: Roster) -> Sum:
        """The sum must be of this roster, list each member once and our update as we sealed it."""
        me, where = self.mailbox.me, self.theirs("sum").manifest
        updates = total.named_digests("updates")
        if total.text("roster") != roster.digest:
            raise Equivocation(f"{where}: sums another roster than the one we were shown")
        check_summed(updates, roster, where)
        if me in roster.members:
            if not self.mailbox.has(self.mine("update")):
                raise Equivocation(f"{where}: lists an update of {me}, which sealed none for this attempt")
            payload = self.mailbox.own(self.mine("update")).payload
            if payload is None or updates[me] != payload.sha256:
                raise Equivocation(f"{where}: lists an update of {me} that is not the one it sealed")
        return Sum(roster, total)

    def _checked_void(self, void: Manifest, roster: Roster) -> Void:
        """The void must be of this roster and miss members of it."""
        missing, where = void.names("missing"), self.theirs("void").manifest
        if void.text("roster") != roster.digest:
            raise Equivocation(f"{where}: voids another roster than the one we were shown")
        if not set(missing) <= set(roster.members):
            raise Equivocation(f"{where}: misses {', '.join(missing)}, the roster is {', '.join(roster.members)}")
        return Void(roster, tuple(missing))

    def _has_delivered(self, member: str, roster: str) -> bool:
        try:
            update = self.mailbox.receive(MessageName("update", self.round_no, self.number, member))
        except SecureError:  # whatever it is, it is not the update that is missing
            return False
        return update is not None and update.text("roster") == roster

    def _check_allowed(self) -> None:
        """Raise AttemptsUsedUp beyond the plan's last attempt: each void may give away more of an update."""
        most = self.mailbox.plan.rounds.max_attempts
        if self.number > most:
            place, me = round_name(self.round_no), self.mailbox.me
            error = AttemptsUsedUp(f"{place}: {most} attempts are void, {me} joins in no other")
            error.add_note("ask those who did not deliver; more (rounds.max_attempts) need a plan that all agree on")
            raise error

    @contextmanager
    def _or_left_behind(self) -> Iterator[None]:
        """What a void or sum goes with was there before it: where a later round has its sum, no wait brings it back."""
        try:
            yield
        except NotYet as wait:
            later = self._later_sum()
            if later is not None:
                raise self._left_behind(str(wait), later) from wait
            raise

    def _left_behind(self, wait: str, later: MessageName) -> LeftBehind:
        url, folder = self.mailbox.exchange.url, self.theirs("sum").folder
        error = LeftBehind(f"{wait}, but round {later.round_no} has its sum: what is missing was removed from {url}")
        error.add_note(f"put {folder} and what followed back there from a copy, then start again: every sum is needed")
        return error

    def _later_sum(self) -> MessageName | None:
        """A signed sum of a later round."""
        plan = self.mailbox.plan
        found = (_ROUND.fullmatch(folder) for folder in self.mailbox.exchange.list_folders())
        ahead = sorted(
            {int(match[1]) for match in found if match} & set(range(self.round_no + 1, plan.rounds.n_rounds + 1))
        )
        attempts = range(1, plan.rounds.max_attempts + 1)
        sums = (MessageName("sum", later, attempt, plan.aggregator_name) for later in ahead for attempt in attempts)
        return next((name for name in sums if self.mailbox.receive(name) is not None), None)
