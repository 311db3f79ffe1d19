"""The catalogue round: how many partners hold each task of the catalogue, as a sealed sum of flags.

It is a round like the others, with number 0: ready, roster, update, sum, release; or void, and another attempt. A
partner seals 1 for every row of the catalogue that it holds, else 0. The roster is always all partners, so that later
counts have the same holders, and a missing partner holds up the federation.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from pipeline.exchange.mailbox import Mailbox
from pipeline.home.catalogue_counts import keep_counts
from pipeline.home.round_files import RoundFiles
from pipeline.plan.plan import CATALOGUE_ROUND
from pipeline.protocol.enrolment import Enrolment
from pipeline.protocol.round_seal import RoundSeal
from pipeline.protocol.sealed_round import Openable, SealedRound
from pipeline.runtime.progress import ProgressReporter
from secure.encoding.roster import Roster
from secure.errors import UpdateOutOfRange
from secure.sealing.open_sum import CheckedSum
from secure.sealing.release import ReleaseSeed


class CatalogueRound:
    """The step machine of the catalogue round: its state is the inbox and the outbox, its result a file in the home."""

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
        self._flags = np.zeros(len(self._plan.catalogue.tasks), dtype=np.float32)
        self._flags[list(held)] = 1
        self._reporter = reporter
        self._trunk = self._plan.first_digest(self._plan.layout)  # no rows yet
        parameters = self._plan.seal_parameters(CATALOGUE_ROUND)
        self._seal = RoundSeal(mailbox.me, enrolment, parameters, [slice(0, self._flags.size)])
        self._bounds = np.array([parameters.limit], dtype=np.float64)  # a step of 1: flags are sent exactly
        self._sealed = SealedRound(
            mailbox, self._seal, CATALOGUE_ROUND, trunk=self._trunk, preparation=preparation_digest, reporter=reporter
        )

    def advance(self) -> None:
        """Do the next step. Raises NotYet while others are awaited, and what SealedRound raises."""
        self._reporter.set_round(CATALOGUE_ROUND, self._sealed.attempt_no)
        self._reporter.step = "counting"
        openable = self._sealed.advance(self)
        if openable is not None:
            self._finish(openable)

    def prepare(self) -> None:
        """The flags are there."""

    def seal(self, roster: Roster, release: ReleaseSeed) -> Path:
        """Seal the flags for a roster; the same ones in every attempt."""
        unposted = RoundFiles(self._home.training(CATALOGUE_ROUND), self._plan.layout).unposted
        flags, exactly = self._flags.copy(), np.random.default_rng(0)  # nothing is rounded
        self._seal.seal(flags, roster, unposted, release=release, bounds=self._bounds, rng=exactly)
        return unposted

    def check(self, sum_file: Path, roster: Roster) -> CheckedSum:
        """Decrypt the sum of flags and check its tag."""
        return self._seal.check(sum_file, roster)

    def _finish(self, openable: Openable) -> None:
        counts = self._seal.open(openable.checked, openable.seeds, self._bounds).total
        self._check_counts(counts, len(openable.roster.members))
        keep_counts(self._plan, self._home, counts.tolist())
        n_shared = int(np.count_nonzero(counts >= self._plan.catalogue.min_partners))
        self._reporter.report(f"catalogue: {n_shared} of {counts.size} head rows are shared")
        self._home.remove_payloads(CATALOGUE_ROUND)
        self._home.remove_round(CATALOGUE_ROUND)

    def _check_counts(self, counts: np.ndarray, n_members: int) -> None:
        """Raise UpdateOutOfRange for a count that flags of 0 and 1 cannot give."""
        others = counts - self._flags
        wrong = np.flatnonzero((others < 0) | (others > n_members - 1))
        if wrong.size:
            raise UpdateOutOfRange(
                f"catalogue round: {counts[wrong[0]]} of {n_members} partners hold row {wrong[0]} of the catalogue, "
                "which is impossible: a partner sent other numbers than 0 and 1"
            )
