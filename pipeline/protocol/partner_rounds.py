"""A partner's part in the rounds: train, seal for the roster, open the sum, take the server step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.audit.incoming import MOST_COMPOUNDS
from partners.files.round_checkpoint import Provenance, RoundStart
from partners.network.kept_heads import keep_heads
from partners.network.state import PartnerState
from partners.network.trunk import initial_trunk
from partners.training.local_round import LocalRound, RoundSettings, step_server, train_locally, validation_scores
from partners.training.partner_data import PartnerData
from partners.training_data.task_keys import TaskKeys
from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.catalogue_counts import Holders, counted_digest
from pipeline.home.round_files import RoundFiles
from pipeline.home.round_metrics import RoundRecord, write_record
from pipeline.home.round_state import stored_start
from pipeline.home.trunk_history import TrunkHistory
from pipeline.plan.plan import COUNTING_ROUND
from pipeline.protocol.closing import closing_ready, not_confirmed, post_last_trunk
from pipeline.protocol.counted_keys import named_in_ready, with_counts
from pipeline.protocol.enrolment import Enrolment
from pipeline.protocol.privacy_budget import PrivacyBudget
from pipeline.protocol.round_measures import RoundMeasures, roster_measures, shown_scores, upload_measures
from pipeline.protocol.round_seal import RoundSeal, update_weight
from pipeline.protocol.sealed_round import Openable, SealedRound
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.roster import Roster
from secure.sealing.fixed_point import next_bounds
from secure.sealing.open_sum import CheckedSum, OpenedSum
from secure.sealing.release import ReleaseSeed


class PartnerRounds:
    """The step machine of the rounds; its state is the home's round folders, inbox and outbox."""

    def __init__(
        self,
        mailbox: Mailbox,
        enrolment: Enrolment,
        own: PartnerData,
        reporter: ProgressReporter,
        clock: Callable[[], float],
        history: TrunkHistory,
        budget: PrivacyBudget | None = None,
    ) -> None:
        self.plan = plan = mailbox.plan
        self.mailbox = mailbox
        self.home = mailbox.home
        self._own = own
        self._reporter = reporter
        self._clock = clock
        self._history = history
        self._budget = budget
        self._holders = Holders(own.counts, own.columns.counts)
        self._layout = self._holders.layout(plan)
        self._agreed = RoundSettings(self._layout, plan.trunk, plan.server, plan.rounds.local_steps)
        self._slices = [tensor.place for tensor in self._layout.tensors]
        self._preparation = own.preparation_digest  # as `ready` names it
        if plan.has_counts:
            counted = counted_digest(plan, self._holders)
            self._preparation = named_in_ready(own.preparation_digest, enrolment.group, counted)
            enrolment = with_counts(enrolment, counted)
        self._seal = RoundSeal(mailbox.me, enrolment, seal_parameters(plan.seal), self._slices, own.workers)
        self._rows = own.shared_rows(self._layout)
        self._begin(max(self.home.rounds_started(), default=1))
        self._sweep_finished_rounds()

    def final(self) -> RoundStart:
        """The federated model after the last round; raises ConfigError for heads of other tables than today's."""
        start = RoundStart.read(self._start.path, self._layout, to_predict=True)
        if start.private is not None and start.tasks not in (None, self._own.tasks):
            error = ConfigError(f"{self._start.path}: its heads are of other tasks than today's tables have")
            error.add_note("give the tables of the last round back, or go on under a revision with more rounds")
            raise error
        return start

    def advance(self) -> bool:
        """Do the next step; False after the last round.

        Raises NotYet while others are awaited, and what SealedRound raises.
        """
        if self._round_no > self.plan.rounds.n_rounds:
            return self._train_missing_heads() or self._close()
        self._reporter.set_round(self._round_no, self._sealed.attempt_no)
        openable = self._sealed.advance(self)
        if openable is not None:
            roster, opened = openable.roster, self._open(openable)
            del openable  # as large as the trunk, as many things below are
            mean, bounds = self._mean_and_bounds(opened)
            del opened
            self._finish(roster, self._next_start(roster, mean, bounds))
        return True

    def _close(self) -> bool:
        """Sign the last trunk, once; False if nothing is left to do. Raises Diverged if another partner's differs."""
        trunk, enrolment = self._start.digest, self._seal.enrolment
        is_signed = self.mailbox.has(closing_ready(self.plan, self.mailbox.me))
        post_last_trunk(self.mailbox, enrolment, trunk=trunk, preparation=self._preparation)
        not_confirmed(self.plan, self.mailbox.exchange, trunk)
        return not is_signed

    def _begin(self, round_no: int) -> None:
        self._round_no = round_no
        self._start = stored_start(self.plan, self.home, round_no, self._holders)
        self._measures = RoundMeasures()
        self._sealed = SealedRound(
            self.mailbox,
            self._seal,
            round_no,
            trunk=self._start.digest,
            preparation=self._preparation,
            reporter=self._reporter,
        )

    @property
    def _files(self) -> RoundFiles:
        return RoundFiles(self.home.training(self._round_no), self._layout)

    @property
    def _seed(self) -> tuple[int, ...]:
        """The same in all attempts at a round: a void one changes neither training nor rounding."""
        return self._own.seed(self._round_no, revision=self.plan.revision)

    def prepare(self) -> None:
        """Train, once in a round."""
        if not self._files.is_trained:
            self._train_for_roster()
        if self._budget:
            self._budget.forget_noise(self._round_no)

    def _train_for_roster(self) -> None:
        self._reporter.step = "training"
        # training takes hours, and would be for nothing
        self._sealed.attempt.check_not_left_behind(f"round {self._round_no}: waiting for the roster")
        self._look_at_trunk()
        with self._measures.timed("train"):
            trained = self._train()
        self._files.write_trained(trained.change, trained.private, trained.loss, self._own.tasks)

    def _look_at_trunk(self) -> None:
        """Warn, before training on it, of a trunk with sizes far outside those of the rounds before."""
        data, shared = self._own.training_set, self._own.columns.shared
        x = data.x[data.training_rows[:MOST_COMPOUNDS]]
        x = x if shared is None else x[:, shared]
        vector = self._start.vector()
        by_others = self.plan.trunk.start or self.mailbox.me in self.plan.joiners
        untrained = initial_trunk(self._layout, self.plan.federation.seed, shared) if by_others else None
        for text in self._history.warnings(self._round_no, vector, self._layout, self.plan.trunk, x, untrained):
            self._reporter.warn(f"round {self._round_no}: the trunk has sizes unlike earlier rounds: {text}")

    def _train(self) -> LocalRound:
        vector, private = self._start.vector(), self._private()
        self._report_other_tasks()
        noise = self._budget.noise(self._round_no) if self._budget else None
        with self._reporter.progress(f"round {self._round_no}: training") as progress:
            return train_locally(
                self._own, self._agreed, vector, self._start.pieces(), private, self._seed, progress, noise
            )

    def _private(self) -> PartnerState | None:
        """Heads and optimiser of the round before, with fresh heads of tasks that the tables did not have then."""
        return self._for_todays_tables(self._start.private(), self._start.tasks)

    def _for_todays_tables(self, private: PartnerState | None, before: TaskKeys | None) -> PartnerState | None:
        """Heads and optimiser for today's tasks; before: the tasks that they were trained on."""
        if private is None or before is None or before == self._own.tasks:
            return private
        fresh = self._own.first_state(self._layout, self._start.vector(), self._seed)
        return keep_heads(private, before, self._own.tasks, fresh)

    def _report_other_tasks(self) -> None:
        before, now = self._start.tasks, self._own.tasks
        if before is not None and before != now:
            new, gone = now.n_not_in(before), before.n_not_in(now)
            self._reporter.report(
                f"other tables: {new} of {now.n_tasks} tasks are new and begin with fresh heads, {gone} are gone"
            )

    def _train_missing_heads(self) -> bool:
        """Train the heads once at the end, for a partner that was on no roster and so has only the trunk."""
        if self._start.private() is not None:
            return False
        trained, start = self._train(), RoundStart.read(self._start.path, self._layout)
        private = self._rows.from_vector(start.vector, trained.private)
        replace(start, private=private, tasks=self._own.tasks).write(self._start.path)
        if self._budget:
            self._budget.forget_noise(self._round_no)
        return True

    def seal(self, roster: Roster, release: ReleaseSeed) -> Path:
        """Seal the update for a roster: in every attempt the same integers, but for rows that are held back."""
        self._reporter.step = "sealing"
        change, residual = self._files.read_change(), self._start.residual()
        for vector in (change, residual):
            if vector is not None:
                self._own.hold_back(vector, self._layout, roster.members)
        doing = f"round {self._round_no}: sealing for {', '.join(roster.members)}"
        with self._measures.timed("seal"), self._reporter.progress(doing) as progress:
            report = self._seal.seal(
                change,
                roster,
                self._files.unposted,
                release=release,
                bounds=self._start.bounds,
                rng=np.random.default_rng((*self._seed, *self.mailbox.me.encode())),
                weight=update_weight(self.plan.seal, self._own.training_set.n_training_labels, self._reporter),
                residual=residual,
                progress=progress,
            )
        self._files.write_residual(report.residual, report.clipped_share)  # before the update can be posted
        return self._files.unposted

    def check(self, sum_file: Path, roster: Roster) -> CheckedSum:
        """Decrypt a sum and check its tag."""
        doing = f"round {self._round_no}: opening the sum"
        with self._measures.timed("open"), self._reporter.progress(doing) as progress:
            checked = self._seal.check(sum_file, roster, progress)
        self._measures.add({"download_bytes": sum_file.stat().st_size})
        return checked

    def _finish(self, roster: Roster, next_start: RoundStart) -> None:
        """Store the start of the next round, which commits this one."""
        self._record(roster, next_start)
        self._history.keep(self._round_no + 1, next_start.vector)
        next_start.write(self.home.start_file(self._round_no + 1))
        self._tidy()
        self._begin(self._round_no + 1)

    def _open(self, openable: Openable) -> OpenedSum:
        self._reporter.step = "opening"
        with self._measures.timed("open"):
            return self._seal.open(openable.checked, openable.seeds, self._start.bounds)

    def _mean_and_bounds(self, opened: OpenedSum) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Mean change over the roster (n_params,), and the bounds of the next round (n_tensors,)."""
        sent, n_members = opened.sent_mean, opened.n_members
        return opened.mean, next_bounds(sent, self._slices, self._start.bounds, self.plan.seal, n_members)

    def _next_start(self, roster: Roster, mean: NDArray[np.float32], bounds: NDArray[np.float64]) -> RoundStart:
        """The next round's start by the server step; heads and residual advance only if this partner is in the sum."""
        self._own.columns.hold_back(mean, self._layout, roster.members)
        factors = self._own.counts.factors(roster.members)
        stepped = step_server(self._agreed, self._start.vector(), self._start.server(), mean, factors)
        self._measures.add({"mean_change_norm": stepped.change_norm})
        private, residual = self._private_and_residual(roster)
        if private is not None:
            private = self._rows.from_vector(stepped.vector, private)
        under = Provenance(self.mailbox.plan.digest, self._own.preparation_digest)
        return RoundStart(
            self._layout, stepped.vector, stepped.server, bounds, private, residual, under, self._own.tasks
        )

    def _private_and_residual(self, roster: Roster) -> tuple[PartnerState | None, NDArray[np.float32] | None]:
        if self.mailbox.me not in roster.members:
            if self._budget:
                self._files.remove()  # a training without an entry in the ledger would be taken for a lost ledger
                self._budget.drop(self._round_no)
            return self._private(), self._start.residual()
        trained, loss = self._files.read_private()
        private = self._for_todays_tables(trained, self._files.read_tasks())
        residual, clipped_share = self._files.read_residual()
        change_norm = float(np.linalg.norm(self._files.read_change()))
        self._measures.add({"loss_train": loss, "clipped_share": clipped_share, "update_norm": change_norm})
        return private, residual

    def _record(self, roster: Roster, next_start: RoundStart) -> None:
        measures = self._measures
        if next_start.private is not None and self._own.is_validated(self._round_no, self.plan.rounds.n_rounds):
            with measures.timed("validate"):
                measures.add(validation_scores(self._own, self._agreed, next_start.vector, next_start.private))
        measures.add({"attempt": self._sealed.attempt_no} | roster_measures(self.plan, self._own, roster.members))
        measures.add(upload_measures(self.mailbox, self._sealed.attempt.mine("update"), self._layout.n_params))
        if self._budget:
            measures.add({"epsilon": self._budget.spent()})
        facts = {"trunk": next_start.digest, "roster": list(roster.members)}
        record = RoundRecord(self._round_no, self._clock(), measures.finished(), facts)
        write_record(self.home.metrics, record)
        self._reporter.report(f"round {self._round_no} of {self.plan.rounds.n_rounds} done: {shown_scores(record)}")

    def _tidy(self) -> None:
        """Remove a finished round's files except messages: the next start has its state, the exchange its payloads."""
        self._sealed.attempt.update_file.unlink(missing_ok=True)
        self.home.inbox(self._sealed.attempt.theirs("sum").payload).unlink(missing_ok=True)
        self._files.remove()
        self.home.start_file(self._round_no).unlink(missing_ok=True)
        self.home.remove_round(self._round_no)

    def _sweep_finished_rounds(self) -> None:
        """Remove what a kill between `_finish` and `_tidy` left, above all the update in the clear."""
        for round_no in range(COUNTING_ROUND, self._round_no):
            self.home.remove_round(round_no)
            self.home.remove_payloads(round_no)
