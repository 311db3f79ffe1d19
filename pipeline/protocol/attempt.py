"""One attempt at a round as a partner sees it: the aggregator's word, refused where it contradicts what we hold."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import AttemptsUsedUp, Diverged, Equivocation, LeftBehind, NotYet
from pipeline.exchange.mailbox import Mailbox
from pipeline.plan.plan import spoken
from secure.encoding.roster import Roster, check_roster, check_summed
from secure.errors import SecureError
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest

_ROUND = re.compile(r"round-(\d{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where a partner is, and what it has been told there."""

    mailbox: Mailbox
    round_no: int
    number: int

    def mine(self, kind: str) -> MessageName:
        """This partner's own message."""
        return MessageName(kind, self.round_no, self.number, self.mailbox.me)

    def theirs(self, kind: str) -> MessageName:
        """The aggregator's message."""
        return MessageName(kind, self.round_no, self.number, self.mailbox.plan.aggregator_name)

    def outcome(self) -> Manifest | None:
        """The sum or the void, if it has come; raises Equivocation where there are both."""
        total, void = (self.mailbox.receive(self.theirs(kind)) for kind in ("sum", "void"))
        if total is not None and void is not None:
            where = self.theirs("void").manifest
            raise Equivocation(f"{where}: the aggregator signed a void and a sum for the same attempt")
        return total or void

    def proceed(
        self, *, contribute: Callable[[], None], abandon: Callable[[Manifest], None], finish: Callable[[Manifest], None]
    ) -> None:
        """Do our part, or what follows from the aggregator's void or sum.

        Raises NotYet while others are awaited, LeftBehind where that would be in vain, AttemptsUsedUp.
        """
        outcome = self.outcome()
        try:
            if outcome is None:
                self.check_allowed()
                contribute()
            elif outcome.kind == "void":
                abandon(outcome)
            else:
                finish(outcome)
        except NotYet as wait:
            self.check_not_left_behind(str(wait), outcome)
            raise

    def deliver(self, roster: Roster, seal: Callable[[Roster], None]) -> None:
        """Seal for exactly this roster, once, and post; a sealed file that exists is sent again byte for byte."""
        name = self.mine("update")
        if not self.mailbox.has(name) and not self.mailbox.home.outbox(name.payload).exists():
            self.mailbox.check_not_posted(name)  # a restored home would seal the very same update once more
            seal(roster)
        self.mailbox.post(name, {"roster": roster.digest})

    def shown_roster(self, trunk: str) -> Roster:
        """The roster that this partner, holding this trunk, has been shown."""
        return self.roster(self.mailbox.expect(self.theirs("roster")), trunk)

    def roster(self, manifest: Manifest, trunk: str) -> Roster:
        """The roster of this manifest, refused unless this partner, holding this trunk, may seal for it.

        Raises Diverged where the roster's trunk is not ours, Equivocation where it lists us without our ready,
        secure.errors.SecureError for a roster too small or with strangers.
        """
        me, plan, where = self.mailbox.me, self.mailbox.plan, self.theirs("roster").manifest
        theirs = manifest.text("trunk")
        if theirs != trunk:
            raise Diverged(f"{where}: trunk {theirs[:12]}..., ours is {trunk[:12]}...")
        roster = manifest.as_roster(self.mailbox.digest_of(self.theirs("roster")))
        check_roster(roster, None, plan.partner_names, plan.min_roster(self.round_no))
        listed = manifest.named_digests("members").get(me)
        if listed is not None:
            if not self.mailbox.has(self.mine("ready")):
                raise Equivocation(f"{where}: lists {me}, which never said ready for this attempt")
            if listed != self.mailbox.digest_of(self.mine("ready")):
                raise Equivocation(f"{where}: lists a ready of {me} that is not the one it signed")
        return roster

    def check_sum(self, total: Manifest, roster: Roster) -> None:
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

    def check_void(self, void: Manifest, roster: Roster) -> None:
        """The void must be of this roster and miss members of it."""
        missing, where = void.names("missing"), self.theirs("void").manifest
        if void.text("roster") != roster.digest:
            raise Equivocation(f"{where}: voids another roster than the one we were shown")
        if not set(missing) <= set(roster.members):
            raise Equivocation(f"{where}: misses {', '.join(missing)}, the roster is {', '.join(roster.members)}")

    def delivered(self, void: Manifest) -> list[str]:
        """Members that a void misses though their signed update for its roster is on the exchange."""
        return [name for name in void.names("missing") if self._has_delivered(name, void.text("roster"))]

    def _has_delivered(self, member: str, roster: str) -> bool:
        try:
            update = self.mailbox.receive(MessageName("update", self.round_no, self.number, member))
        except SecureError:  # whatever it is, it is not the update that is missing
            return False
        return update is not None and update.text("roster") == roster

    def check_allowed(self) -> None:
        """Raise AttemptsUsedUp beyond the plan's last attempt: each void may give away more of an update."""
        most = self.mailbox.plan.rounds.max_attempts
        if self.number > most:
            place, me = spoken(self.round_no), self.mailbox.me
            error = AttemptsUsedUp(f"{place}: {most} attempts are void, {me} joins in no other")
            error.add_note("ask those who did not deliver; more (rounds.max_attempts) need a plan that all agree on")
            raise error

    def check_not_left_behind(self, wait: str, outcome: Manifest | None = None) -> None:
        """Raise LeftBehind where a wait is in vain: a later round has its sum, so what is missing here was removed.

        outcome : this attempt's sum or void, if it is not that what is awaited
        """
        later = self._later_sum()
        if later is None or (outcome is None and self.outcome() is not None):  # it came while this partner worked
            return
        url, folder = self.mailbox.exchange.url, self.theirs("sum").folder
        error = LeftBehind(f"{wait}, but round {later.round_no} has its sum: what is missing was removed from {url}")
        error.add_note(f"put {folder} and what followed back there from a copy, then start again: every sum is needed")
        raise error

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
