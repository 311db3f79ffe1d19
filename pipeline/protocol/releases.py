"""The release of one attempt at a partner: when it may post its seed, and whose seeds have arrived.

A partner releases for one roster in a round, ever. This is what keeps any second sum of the round closed, so everything
that could lead to a second release is refused, and the exchange is the witness for a home that was restored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ConfigError, Equivocation, NotYet
from pipeline.protocol.attempt import Attempt, Sum, Void
from secure.encoding.roster import Roster
from secure.files import remove_for_good
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest
from secure.sealing.release import ReleaseSeed, released_seed


@dataclass(frozen=True, slots=True)
class Releases:
    """The release seeds of one attempt, this partner's own and the others'."""

    attempt: Attempt

    @property
    def has_released(self) -> bool:
        """Whether this partner has signed its release for this attempt."""
        return self.attempt.mailbox.has(self.attempt.mine("release"))

    def draw(self, roster: Roster) -> ReleaseSeed:
        """Draw and keep the seed for a roster, after deleting those of earlier attempts at the round.

        Raises what `check_one_roster` raises.
        """
        self.check_one_roster(roster)
        mailbox = self.attempt.mailbox
        mailbox.home.remove_release_seeds(self.attempt.round_no)
        seed = ReleaseSeed.generate(roster, mailbox.me)
        seed.save(self.attempt.seed_file, mailbox.keys)
        return seed

    def held(self, roster: Roster) -> ReleaseSeed:
        """The seed under which the update in the outbox was sealed; raises ConfigError if it is missing."""
        if not self.attempt.seed_file.exists():
            error = ConfigError(f"{self.attempt.seed_file}: is missing, but the outbox has the update sealed with it")
            error.add_note("restore the whole home, then go on under a revision of the plan: see secure/KEYS.md")
            raise error
        return ReleaseSeed.load(self.attempt.seed_file, roster, self.attempt.mailbox.keys)

    def check_one_roster(self, roster: Roster) -> None:
        """Raise Equivocation if this partner has released for another roster of the round, or another partner has.

        Also if only the exchange has a release of this partner: its home was restored from before that.
        """
        attempt, mailbox = self.attempt, self.attempt.mailbox
        for number in range(1, mailbox.plan.rounds.max_attempts + 1):
            mine = MessageName("release", attempt.round_no, number, mailbox.me)
            mailbox.check_not_posted(mine)
            if mailbox.has(mine):
                self._check_same(mine, mailbox.own(mine), roster)
        for number in range(1, attempt.number):
            for name in mailbox.plan.partner_names:
                theirs = MessageName("release", attempt.round_no, number, name)
                if name != mailbox.me and (release := mailbox.receive(theirs)) is not None:
                    self._check_same(theirs, release, roster)

    def check_void(self, void: Void) -> None:
        """Raise Equivocation for a void of an attempt for which a member has released, so has seen a sum."""
        attempt, mailbox = self.attempt, self.attempt.mailbox
        mailbox.check_not_posted(attempt.mine("release"))
        for member in void.roster.members:
            name = attempt.of("release", member)
            found = mailbox.own(name) if mailbox.has(name) else mailbox.receive(name)
            if found is not None:
                where = attempt.theirs("void").manifest
                error = Equivocation(
                    f"{where}: roster {void.roster.digest} is void, but {member} has released for roster "
                    f"{found.text('roster')}: it says that there is a sum"
                )
                error.add_note(f"keep this file and {name.manifest}; ask {member} for the aggregator's signed sum:")
                error.add_note("with the void it is proof against the aggregator, and without it there is none")
                raise error

    def expect_updates(self, total: Sum) -> dict[str, Manifest]:
        """The `update` manifest of every member, each of this roster and with the payload that the sum lists.

        Raises NotYet while one is awaited, LeftBehind if it was removed, Equivocation for one that does not fit.
        """
        attempt, updates = self.attempt, dict[str, Manifest]()
        listed = total.manifest.named_digests("updates")
        with attempt.or_left_behind():
            for member in total.roster.members:
                updates[member] = attempt.received("update", member)
        for member, update in updates.items():
            self._check_same(attempt.of("update", member), update, total.roster)
            if update.payload is None or update.payload.sha256 != listed[member]:
                where = attempt.theirs("sum").manifest
                raise Equivocation(f"{where}: lists an update of {member} that is not the one it sealed")
        return updates

    def post(self, roster: Roster) -> None:
        """Sign and post this partner's release for a roster; from now on it accepts no other and no void.

        The caller has seen sum and updates and found the tag right. Raises what `check_one_roster` raises.
        """
        self.check_one_roster(roster)
        self.attempt.check_last_roster(roster)
        seed, mailbox = self.held(roster), self.attempt.mailbox
        mailbox.post(self.attempt.mine("release"), {"roster": roster.digest, "seed": seed.to_text()})
        remove_for_good(self.attempt.seed_file)  # the outbox has it

    def collect(self, roster: Roster, updates: Mapping[str, Manifest]) -> list[ReleaseSeed]:
        """The seeds of all members, each the one to which the member's update commits.

        updates : by member, from `expect_updates`
        Raises NotYet while a member's is awaited, LeftBehind if one was removed, Equivocation for one of another
        roster, secure.errors.WrongRelease for a wrong seed.
        """
        attempt, mailbox = self.attempt, self.attempt.mailbox
        if self.has_released:
            mailbox.repost(attempt.mine("release"))
        seeds, awaited = [], []
        for member in roster.members:
            name = attempt.of("release", member)
            release = mailbox.own(name) if mailbox.has(name) else mailbox.receive(name)
            if release is None:
                awaited.append(member)
                continue
            self._check_same(name, release, roster)
            seeds.append(released_seed(release, updates[member], roster, mailbox.exchange.where(name.manifest)))
        if awaited:
            attempt.check_last_roster(roster)
            with attempt.or_left_behind():
                raise NotYet(f"{attempt.round_text}: waiting for the release of {', '.join(awaited)}")
        return seeds

    def _check_same(self, name: MessageName, manifest: Manifest, roster: Roster) -> None:
        """Raise Equivocation, naming both rosters, for an update or release that is for another roster."""
        theirs = manifest.text("roster")
        if theirs != roster.digest:
            raise self.attempt.two_rosters(f"{name.manifest}: {name.sender} has roster {theirs}", roster, name.sender)
