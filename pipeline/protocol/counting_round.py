"""The counting round: how many partners hold each catalogue task and each input column, as a sealed sum of flags.

It is a round like the others, with number 0: ready, roster, update, sum, release; or void, and another attempt. A
partner seals 1 for every row of the catalogue that it holds, else 0, and then the same for every input column. The
roster is always all partners, so that later counts have the same holders; a missing partner holds up the federation.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.catalogue_counts import keep_counts
from pipeline.home.counted_flags import flagged_under
from pipeline.home.round_files import RoundFiles
from pipeline.plan.plan import COUNTING_ROUND
from pipeline.protocol.enrolment import Enrolment
from pipeline.protocol.round_seal import RoundSeal
from pipeline.protocol.sealed_round import Openable, SealedRound
from pipeline.runtime.progress import ProgressReporter
from secure.encoding.roster import Roster
from secure.errors import UpdateOutOfRange
from secure.sealing.open_sum import CheckedSum
from secure.sealing.release import ReleaseSeed


class CountingRound:
    """The step machine of the counting round: its state is the inbox and the outbox, its result a file in the home."""

    def __init__(
        self,
        mailbox: Mailbox,
        enrolment: Enrolment,
        held: Collection[int],
        flagged: NDArray[np.int64],
        preparation_digest: str,
        reporter: ProgressReporter,
    ) -> None:
        """Begin.

        held : rows of the catalogue; flagged : input columns, none if these are not counted
        """
        self.mailbox = mailbox
        self._plan, self._home = mailbox.plan, mailbox.home
        self._n_tasks = len(self._plan.catalogue.tasks)
        self._flags = np.zeros(self._plan.possible_lengths(COUNTING_ROUND).longest, dtype=np.float32)
        self._flags[list(held)] = 1
        self._flags[self._n_tasks + flagged] = 1
        self._reporter = reporter
        self._trunk = self._plan.first_digest(self._plan.layout)  # all columns, and no rows yet
        parameters = self._plan.seal_parameters(COUNTING_ROUND)
        self._seal = RoundSeal(mailbox.me, enrolment, parameters, [slice(0, self._flags.size)])
        self._bounds = np.array([parameters.limit], dtype=np.float64)  # a step of 1: flags are sent exactly
        self._sealed = SealedRound(
            mailbox, self._seal, COUNTING_ROUND, trunk=self._trunk, preparation=preparation_digest, reporter=reporter
        )

    def advance(self) -> None:
        """Do the next step. Raises NotYet while others are awaited, and what SealedRound raises."""
        self._reporter.set_round(COUNTING_ROUND, self._sealed.attempt_no)
        self._reporter.step = "counting"
        openable = self._sealed.advance(self)
        if openable is not None:
            self._finish(openable)

    def prepare(self) -> None:
        """The flags are there."""

    def seal(self, roster: Roster, release: ReleaseSeed) -> Path:
        """Seal the flags for a roster; the same ones in every attempt."""
        unposted = RoundFiles(self._home.training(COUNTING_ROUND), self._plan.layout).unposted
        flags, exactly = self._flags.copy(), np.random.default_rng(0)  # nothing is rounded
        self._seal.seal(flags, roster, unposted, release=release, bounds=self._bounds, rng=exactly)
        return unposted

    def check(self, sum_file: Path, roster: Roster) -> CheckedSum:
        """Decrypt the sum of flags and check its tag."""
        return self._seal.check(sum_file, roster)

    def _finish(self, openable: Openable) -> None:
        counts = self._seal.open(openable.checked, openable.seeds, self._bounds).total
        self._check_counts(counts, len(openable.roster.members))
        rows, columns = counts[: self._n_tasks], counts[self._n_tasks :]
        self._check_shared(columns)
        keep_counts(self._plan, self._home, counts.tolist(), flagged_under(self._plan, self._home))
        if rows.size:
            n_shared = int(np.count_nonzero(rows >= self._plan.catalogue.min_partners))
            self._reporter.report(f"catalogue: {n_shared} of {rows.size} head rows are shared")
        if columns.size:
            n_shared = int(np.count_nonzero(columns >= self._plan.columns.min_partners))
            self._reporter.report(f"columns: {n_shared} of {columns.size} input columns are shared")
        self._home.remove_payloads(COUNTING_ROUND)
        self._home.remove_round(COUNTING_ROUND)

    def _check_counts(self, counts: np.ndarray, n_members: int) -> None:
        """Raise UpdateOutOfRange for a count that flags of 0 and 1 cannot give."""
        others = counts - self._flags
        wrong = np.flatnonzero((others < 0) | (others > n_members - 1))
        if wrong.size:
            first = int(wrong[0])
            what = f"row {first} of the catalogue" if first < self._n_tasks else f"input column {first - self._n_tasks}"
            raise UpdateOutOfRange(
                f"counting round: {counts[first]} of {n_members} partners hold {what}, "
                "which is impossible: a partner sent other numbers than 0 and 1"
            )

    def _check_shared(self, columns: np.ndarray) -> None:
        """Raise ConfigError if no input column has enough holders: partners would have nothing to learn together."""
        least = self._plan.columns.min_partners
        if columns.size and not (columns >= least).any():
            error = ConfigError(f"columns: no input column has {least} holders, so the vector would have none")
            error.add_note(
                "agree on fewer fingerprint.n_bits, or lower columns.min_partners, min_compounds or withhold,"
            )
            error.add_note("and start a new federation, with a new federation.id, new homes and a new exchange")
            raise error
