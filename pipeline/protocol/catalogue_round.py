"""The presence round: how many partners hold each task of the catalogue, as a sealed sum of flags.

It is a round like the others, with number 0: ready, roster, update, sum; or void, and another attempt. What is sealed
is 1 for every row of the catalogue that the partner holds, else 0. The flags are the same in every attempt, so no two
rosters may differ: it is always that of all partners, and whoever is missing holds up the federation.
"""

from collections.abc import Collection

import numpy as np

from partners.network.trunk import initial_trunk, trunk_digest
from pipeline.errors import NotYet
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.catalogue_counts import keep_counts
from pipeline.plan.plan import PRESENCE
from pipeline.protocol.attempt import Attempt
from pipeline.protocol.enrolment import Enrolment
from pipeline.runtime.progress import ProgressReporter
from secure.encoding.roster import Roster
from secure.errors import UpdateOutOfRange
from secure.messages.messages import Manifest
from secure.sealing.open_sum import open_sum
from secure.sealing.seal import seal_update


class Presence:
    """The step machine of the presence round; its state is the inbox and the outbox, its end the counts in the home."""

    def __init__(
        self,
        mailbox: Mailbox,
        enrolment: Enrolment,
        held: Collection[int],
        preparation_digest: str,
        reporter: ProgressReporter,
    ) -> None:
        self.mailbox = mailbox
        self._plan, self._home = mailbox.plan, mailbox.home
        self._enrolment = enrolment
        self._flags = np.zeros(len(self._plan.catalogue.tasks), dtype=np.float32)
        self._flags[list(held)] = 1
        self._preparation = preparation_digest
        self._reporter = reporter
        self._trunk = trunk_digest(initial_trunk(self._plan.layout, self._plan.federation.seed))
        self._parameters = self._plan.seal_parameters(PRESENCE)
        self._slices = [slice(0, self._flags.size)]
        self._bounds = np.array([self._parameters.limit], dtype=np.float64)  # a step of 1: flags are sent exactly
        self._attempt = 1

    def advance(self) -> None:
        """Do the next step. Raises NotYet while others are awaited, LeftBehind where in vain, AttemptsUsedUp."""
        self._reporter.at(PRESENCE, self._attempt)
        self._at.proceed(contribute=self._contribute, abandon=self._abandon, finish=self._finish)

    @property
    def _at(self) -> Attempt:
        return Attempt(self.mailbox, PRESENCE, self._attempt)

    def _contribute(self) -> None:
        manifest = self.mailbox.receive(self._at.theirs("roster"))
        if manifest is None:
            self.mailbox.post(self._at.mine("ready"), {"trunk": self._trunk, "preparation": self._preparation})
            raise NotYet("presence round: waiting for the roster of all partners")
        roster = self._at.roster(manifest, self._trunk)
        self._at.deliver(roster, self._seal)
        raise NotYet(f"presence round: waiting for the sum of {', '.join(roster.members)}")

    def _seal(self, roster: Roster) -> None:
        payload_file = self._home.outbox(self._at.mine("update").payload)
        unposted = self._home.attempt(PRESENCE, self._attempt) / "update.unposted"
        for file in (payload_file, unposted):
            file.parent.mkdir(parents=True, exist_ok=True)
        unposted.unlink(missing_ok=True)
        seal_update(
            self._flags,
            weight=1,
            bounds=self._bounds,
            slices=self._slices,
            residual=None,
            roster=roster,
            me=self.mailbox.me,
            pair_keys=self._enrolment.pair_keys,
            group=self._enrolment.group,
            parameters=self._parameters,
            rng=np.random.default_rng(0),  # nothing is rounded
            path=unposted,
        )
        unposted.replace(payload_file)

    def _abandon(self, void: Manifest) -> None:
        """Go on to the next attempt: the same flags for the same partners, whose sum tells nothing new."""
        self._at.check_void(void, self._at.shown_roster(self._trunk))
        missing = ", ".join(void.names("missing"))
        self._reporter.report(f"presence round, attempt {self._attempt}: void, the aggregator misses {missing}")
        self._home.outbox(self._at.mine("update").payload).unlink(missing_ok=True)
        self._attempt += 1

    def _finish(self, total: Manifest) -> None:
        roster = self._at.shown_roster(self._trunk)
        self._at.check_sum(total, roster)
        sum_file = self.mailbox.fetch_payload(self._at.theirs("sum"), total)
        counts = open_sum(
            sum_file,
            roster=roster,
            group=self._enrolment.group,
            parameters=self._parameters,
            slices=self._slices,
            bounds=self._bounds,
        ).total
        self._check(counts, len(roster.members))
        keep_counts(self._plan, self._home, counts.tolist())
        n_travelling = int(np.count_nonzero(counts >= self._plan.catalogue.min_partners))
        self._reporter.report(f"catalogue: {n_travelling} of {counts.size} rows travel")
        self._home.remove_payloads(PRESENCE)
        self._home.remove_round(PRESENCE)

    def _check(self, counts: np.ndarray, n_members: int) -> None:
        """Every flag is 0 or 1, so a count is at least ours and at most that of all others more."""
        others = counts - self._flags
        wrong = np.flatnonzero((others < 0) | (others > n_members - 1))
        if wrong.size:
            raise UpdateOutOfRange(
                f"presence round: {counts[wrong[0]]} of {n_members} partners hold row {wrong[0]} of the catalogue, "
                "which cannot be: a partner sent something else than flags"
            )
