"""One attempt at a round at a partner: the aggregator's messages, checked against the partner's own."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import AttemptsUsedUp, Diverged, Equivocation, LeftBehind, NotYet
from pipeline.exchange.mailbox import Mailbox
from pipeline.plan.plan import round_name
from secure.encoding.roster import Roster, check_roster, check_summed
from secure.errors import SecureError
from secure.keys.pairing import PairKey
from secure.messages.confirmations import check_confirmation
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest

_ROUND = re.compile(r"round-(\d{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Void:
    """The end of an attempt without a sum, because updates of its roster are missing."""

    roster: Roster
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """The aggregator's signed sum of the updates of a roster."""

    roster: Roster
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Attempt:
    """The messages of one attempt at a round, as one partner sends and receives them."""

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

    def of(self, kind: str, member: str) -> MessageName:
        """A partner's message."""
        return MessageName(kind, self.round_no, self.number, member)

    @property
    def round_text(self) -> str:
        """The round as shown to people."""
        return round_name(self.round_no)

    @property
    def seed_file(self) -> Path:
        """This partner's release seed of this attempt, until it is released."""
        return self.mailbox.home.release_seed(self.round_no, self.number)

    @property
    def update_file(self) -> Path:
        """This partner's sealed update in its outbox."""
        return self.mailbox.home.outbox(self.mine("update").payload)

    def stage(self) -> Roster | Void | Sum | None:
        """The aggregator's latest message: None before the roster, then the roster, then the void or the sum.

        Each is checked against this partner's own messages and trunk. Raises AttemptsUsedUp beyond the plan's last
        attempt, NotYet if the roster of a void or sum has not come, LeftBehind if it was removed, Equivocation for a
        contradiction, Diverged for another trunk, secure.errors.SecureError for a roster that is not allowed.
        """
        outcome = self._outcome()
        if outcome is None:
            self._check_allowed()
            called = self.mailbox.receive(self.theirs("roster"))
            return None if called is None else self._checked_roster(called)
        with self.or_left_behind():
            roster = self._checked_roster(self.mailbox.expect(self.theirs("roster")))
        return self._checked_void(outcome, roster) if outcome.kind == "void" else self._checked_sum(outcome, roster)

    def not_yet(self, wait: str) -> NotYet:
        """The error of a step that waits for others; raises LeftBehind if the message can no longer come."""
        self.check_not_left_behind(wait)
        return NotYet(wait)

    def check_not_left_behind(self, wait: str) -> None:
        """Raise LeftBehind if this attempt has neither void nor sum though a later round has its sum."""
        later = self._later_sum()
        if later is not None and self._outcome() is None:  # it can have come while this partner worked
            raise self._left_behind(wait, later)

    def is_sealed(self) -> bool:
        """Whether the update is sealed: then it is posted again byte for byte, never sealed a second time.

        Raises Equivocation if only the exchange has it: a home restored from a backup would seal it a second time.
        """
        if self.mailbox.has(self.mine("update")) or self.update_file.exists():
            return True
        self.mailbox.check_not_posted(self.mine("update"))
        return False

    def keep_sealed(self, sealed: Path) -> None:
        """Move a sealed update to the outbox; no other is sealed in this attempt after that."""
        self.update_file.parent.mkdir(parents=True, exist_ok=True)
        sealed.replace(self.update_file)

    def post_update(self, roster: Roster, commitment: str) -> None:
        """Sign and post the update that was sealed for this roster, with the commitment to its release seed."""
        self.mailbox.post(self.mine("update"), {"roster": roster.digest, "release_commitment": commitment})

    def received(self, kind: str, member: str) -> Manifest:
        """A partner's message, this one's own too; raises NotYet if it has not come."""
        name = self.of(kind, member)
        return self.mailbox.own(name) if self.mailbox.has(name) else self.mailbox.expect(name)

    def check_readies(self, roster: Roster, pair_keys: Mapping[str, PairKey]) -> None:
        """Check that the roster lists the members' `ready` messages, and that these confirm this partner's pair keys.

        Raises NotYet while one is awaited, Equivocation if the roster lists another, Diverged for one with another
        trunk, secure.errors.WrongKey for a wrong pair seed.
        """
        listed = self.mailbox.expect(self.theirs("roster")).named_digests("members")
        for member in roster.members:
            if member == self.mailbox.me:
                continue
            name = self.of("ready", member)
            ready, where = self.mailbox.expect(name), self.mailbox.exchange.where(name.manifest)
            if self.mailbox.digest_of(name) != listed[member]:
                raise Equivocation(f"{where}: is not the ready of {member} that the roster lists")
            if (theirs := ready.text("trunk")) != self.trunk:
                raise Diverged(f"{where}: {member} has trunk {theirs[:12]}..., expected {self.trunk[:12]}... as here")
            check_confirmation(ready, self.mailbox.me, pair_keys[member], where)

    def is_left_out(self, roster: Roster) -> bool:
        """Whether a roster lacks this partner although its `ready` was signed before, by both members' clocks."""
        if self.mailbox.me in roster.members or not self.mailbox.has(self.mine("ready")):
            return False
        return self.mailbox.own(self.mine("ready")).time <= self.mailbox.expect(self.theirs("roster")).time

    def check_last_roster(self, roster: Roster) -> None:
        """Raise Equivocation if the aggregator has called another roster after it signed the sum of this one."""
        following = MessageName("roster", self.round_no, self.number + 1, self.mailbox.plan.aggregator_name)
        if self.mailbox.receive(following) is not None:
            digest = self.mailbox.digest_of(following)
            error = self._two_rosters(f"{following.manifest}: roster {digest} after a sum", roster)
            error.add_note(
                "the aggregator signed this sum and a later roster: keep both, do not go on, tell the others"
            )
            raise error

    def two_rosters(self, found: str, roster: Roster, name: str) -> Equivocation:
        """The error if a partner names another roster than the one here; no proof against it or the aggregator."""
        error = self._two_rosters(found, roster)
        error.add_note(f"ask {name} and the aggregator: only two rosters that it signed are proof that it called two")
        return error

    def _two_rosters(self, found: str, roster: Roster) -> Equivocation:
        return Equivocation(f"{found}, expected roster {roster.digest} of {self.round_text}, attempt {self.number}")

    def fetch_sum(self, total: Sum) -> Path:
        """The sealed sum's file; raises NotYet while the exchange does not show it, LeftBehind if it was removed."""
        with self.or_left_behind():
            return self.mailbox.fetch_payload(self.theirs("sum"), total.manifest)

    def delivered(self, void: Void) -> list[str]:
        """Members that a void calls missing though their signed update for its roster is on the exchange."""
        return [name for name in void.missing if self._has_delivered(name, void.roster.digest)]

    def _outcome(self) -> Manifest | None:
        """The sum or the void, if it has come; raises Equivocation if there are both."""
        total, void = (self.mailbox.receive(self.theirs(kind)) for kind in ("sum", "void"))
        if total is not None and void is not None:
            where = self.theirs("void").manifest
            raise Equivocation(f"{where}: the aggregator signed a void and a sum for the same attempt")
        return total or void

    def _checked_roster(self, manifest: Manifest) -> Roster:
        """The roster of this manifest; raises unless it has this partner's trunk and `ready`, and is allowed."""
        me, plan, where = self.mailbox.me, self.mailbox.plan, self.theirs("roster").manifest
        theirs = manifest.text("trunk")
        if theirs != self.trunk:
            raise Diverged(f"{where}: trunk {theirs[:12]}..., expected {self.trunk[:12]}... as in this home")
        roster = manifest.as_roster(self.mailbox.digest_of(self.theirs("roster")))
        check_roster(roster, None, plan.partner_names, plan.min_roster(self.round_no))
        listed = manifest.named_digests("members").get(me)
        if listed is not None:
            if not self.mailbox.has(self.mine("ready")):
                raise Equivocation(f"{where}: lists {me}, which posted no ready for this attempt")
            if listed != self.mailbox.digest_of(self.mine("ready")):
                raise Equivocation(f"{where}: lists a ready of {me} that is not the one it signed")
        return roster

    def _checked_sum(self, total: Manifest, roster: Roster) -> Sum:
        """The sum; raises Equivocation unless it is of this roster and has this partner's update as it was sealed."""
        me, where = self.mailbox.me, self.theirs("sum").manifest
        updates = total.named_digests("updates")
        if total.text("roster") != roster.digest:
            raise Equivocation(f"{where}: is the sum of another roster than this attempt's")
        check_summed(updates, roster, where)
        if me in roster.members:
            if not self.mailbox.has(self.mine("update")):
                raise Equivocation(f"{where}: lists an update of {me}, which sealed none for this attempt")
            update = self.mailbox.own(self.mine("update"))
            payload, sealed_for = update.payload, update.text("roster")
            if sealed_for != roster.digest:
                raise self.two_rosters(f"{where}: {me} sealed for roster {sealed_for}", roster, me)
            if payload is None or updates[me] != payload.sha256:
                raise Equivocation(f"{where}: lists an update of {me} that is not the one it sealed")
        return Sum(roster, total)

    def _checked_void(self, void: Manifest, roster: Roster) -> Void:
        """The void; raises Equivocation unless it is of this roster and misses only its members."""
        missing, where = void.names("missing"), self.theirs("void").manifest
        if void.text("roster") != roster.digest:
            raise Equivocation(f"{where}: is the void of another roster than this attempt's")
        if not set(missing) <= set(roster.members):
            raise Equivocation(f"{where}: misses {', '.join(missing)}, the roster is {', '.join(roster.members)}")
        return Void(roster, tuple(missing))

    def _has_delivered(self, member: str, roster: str) -> bool:
        try:
            update = self.mailbox.receive(MessageName("update", self.round_no, self.number, member))
        except SecureError:  # a wrong message is not the missing update
            return False
        return update is not None and update.text("roster") == roster

    def _check_allowed(self) -> None:
        """Raise AttemptsUsedUp beyond the plan's last attempt."""
        most = self.mailbox.plan.rounds.max_attempts
        if self.number > most:
            place, me = round_name(self.round_no), self.mailbox.me
            error = AttemptsUsedUp(f"{place}: {most} attempts are void, {me} takes part in no other")
            error.add_note("ask those who did not deliver; a larger rounds.max_attempts needs a revision of the plan")
            raise error

    @contextmanager
    def or_left_behind(self) -> Iterator[None]:
        """Raise LeftBehind instead of NotYet if a later round has its sum: the missing message was there once."""
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
        error.add_note(f"restore {folder} and all later folders there from a copy, then start again")
        return error

    def _later_sum(self) -> MessageName | None:
        """Name of a signed sum of a later round, None if there is none."""
        plan = self.mailbox.plan
        matches = (_ROUND.fullmatch(folder) for folder in self.mailbox.exchange.list_folders())
        ahead = sorted(
            {int(match[1]) for match in matches if match} & set(range(self.round_no + 1, plan.rounds.n_rounds + 1))
        )
        attempts = range(1, plan.rounds.max_attempts + 1)
        sums = (MessageName("sum", later, attempt, plan.aggregator_name) for later in ahead for attempt in attempts)
        return next((name for name in sums if self.mailbox.receive(name) is not None), None)
