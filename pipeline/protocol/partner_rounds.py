"""A partner's part in the rounds: train, post `ready`, seal for the roster, open the sum, take the server step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.audit.incoming import MOST_COMPOUNDS
from partners.files.round_checkpoint import Provenance, RoundStart
from partners.network.state import PartnerState
from partners.training.local_round import LocalRound, RoundSettings, step_server, train_locally, validation_scores
from partners.training.partner_data import PartnerData
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.attempt_files import AttemptFiles
from pipeline.home.catalogue_counts import counted_digest
from pipeline.home.round_metrics import RoundRecord, write_record
from pipeline.home.round_state import stored_start
from pipeline.home.trunk_history import TrunkHistory
from pipeline.plan.plan import CATALOGUE_ROUND
from pipeline.protocol.attempt import Attempt, Sum, Void
from pipeline.protocol.counted_keys import named_in_ready, with_counts
from pipeline.protocol.enrolment import Enrolment
from pipeline.protocol.round_measures import RoundMeasures
from pipeline.protocol.round_seal import RoundSeal
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.roster import Roster
from secure.sealing.fixed_point import next_bounds

# in the log line at the end of a round
_SHOWN = ("loss_train", "validation_loss", "validation_roc_auc", "validation_r2")


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
    ) -> None:
        self.plan = plan = mailbox.plan
        self.mailbox = mailbox
        self.home = mailbox.home
        self._own = own
        self._reporter = reporter
        self._clock = clock
        self._history = history
        self._layout = plan.layout_with(own.counts.n_places)
        self._agreed = RoundSettings(self._layout, plan.trunk, plan.server, plan.rounds.local_steps)
        self._slices = [tensor.place for tensor in self._layout.tensors]
        self._preparation = own.preparation_digest  # as `ready` names it
        if plan.catalogue.tasks:
            counted = counted_digest(plan, own.counts)
            self._preparation = named_in_ready(own.preparation_digest, enrolment.group, counted)
            enrolment = with_counts(enrolment, counted)
        self._seal = RoundSeal(mailbox.me, enrolment, seal_parameters(plan.seal), self._slices, own.workers)
        self._rows = own.shared_rows(self._layout)
        self._begin(max(self.home.rounds_started(), default=1))
        self._sweep_finished_rounds()

    def final(self) -> RoundStart:
        """The federated model after the last round."""
        return RoundStart.read(self._start.path, self._layout, to_predict=True)

    def advance(self) -> bool:
        """Do the next step; False after the last round.

        Raises NotYet while others are awaited, LeftBehind and AttemptsUsedUp as Attempt does.
        """
        if self._round_no > self.plan.rounds.n_rounds:
            return self._train_missing_heads()
        self._reporter.set_round(self._round_no, self._attempt_no)
        match self._attempt.stage():
            case None:
                wait = f"round {self._round_no}: waiting for the roster"
                self._train_and_post_ready(wait)
                raise self._attempt.not_yet(wait)
            case Roster() as roster:
                if self.mailbox.me in roster.members:
                    self._deliver(roster)
                raise self._attempt.not_yet(
                    f"round {self._round_no}: waiting for the sum of {', '.join(roster.members)}"
                )
            case Void() as void:
                self._abandon(void)
            case Sum() as total:
                self._finish(total)
        return True

    def _begin(self, round_no: int) -> None:
        self._round_no, self._attempt_no = round_no, 1
        self._start = stored_start(self.plan, self.home, round_no, self._own.counts.n_places)
        self._measures = RoundMeasures()

    @property
    def _attempt(self) -> Attempt:
        return Attempt(self.mailbox, self._round_no, self._attempt_no, self._start.digest)

    @property
    def _files(self) -> AttemptFiles:
        return AttemptFiles(self.home.attempt(self._round_no, self._attempt_no), self._layout)

    @property
    def _seed(self) -> tuple[int, ...]:
        return self._own.seed(self._round_no, self._attempt_no, self.plan.revision)

    def _train_and_post_ready(self, wait: str) -> None:
        """Train, then post `ready`, which holds nothing of the update."""
        if not self._files.is_trained:
            self._reporter.step = "training"
            self._attempt.check_not_left_behind(wait)  # training takes hours, and would be for nothing
            self._look_at_trunk()
            with self._measures.timed("train"):
                trained = self._train()
            self._files.write_trained(trained.change, trained.private, trained.loss)
            del trained  # it is several times as large as the trunk
        trunk = self._start.digest
        self.mailbox.post(self._attempt.mine("ready"), {"trunk": trunk, "preparation": self._preparation})

    def _look_at_trunk(self) -> None:
        """Warn, before training on it, of a trunk with sizes far outside those of the rounds before."""
        data, vector = self._own.training_set, self._start.vector()
        x = data.x[data.training_rows[:MOST_COMPOUNDS]]
        for text in self._history.warnings(self._round_no, vector, self._layout, self.plan.trunk, x):
            self._reporter.warn(f"round {self._round_no}: the trunk may be a trap for single compounds: {text}")

    def _train(self) -> LocalRound:
        vector, private = self._start.vector(), self._start.private()
        with self._reporter.progress(f"round {self._round_no}: training") as progress:
            return train_locally(self._own, self._agreed, vector, self._start.pieces(), private, self._seed, progress)

    def _train_missing_heads(self) -> bool:
        """Train the heads once at the end, for a partner that was on no roster and so has only the trunk."""
        if self._start.private() is not None:
            return False
        trained, start = self._train(), RoundStart.read(self._start.path, self._layout)
        replace(start, private=self._rows.from_vector(start.vector, trained.private)).write(self._start.path)
        return True

    def _deliver(self, roster: Roster) -> None:
        """Seal for exactly this roster, once, and post."""
        if not self._attempt.is_sealed():
            self._seal_update(roster)
        self._attempt.post_update(roster)

    def _seal_update(self, roster: Roster) -> None:
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
                bounds=self._start.bounds,
                rng=np.random.default_rng((*self._seed, *self.mailbox.me.encode())),
                weight=self._weight(),
                residual=residual,
                progress=progress,
            )
        self._files.write_residual(report.residual, report.clipped_share)  # before the update can be posted
        self._attempt.keep_sealed(self._files.unposted)

    def _weight(self) -> int:
        """1, or the number of labels in the training folds if the plan weighs by size."""
        if self.plan.seal.weights == "equal":
            return 1
        n_labels, most = self._own.training_set.n_training_labels, self.plan.seal.max_weight
        if n_labels > most:
            self._reporter.report(f"{n_labels} training labels count as {most}, the plan's seal.max_weight")
        return max(1, min(n_labels, most))

    def _abandon(self, void: Void) -> None:
        """Remove the attempt's update and go on to the next attempt: an update is never sealed for two rosters."""
        missing = ", ".join(void.missing)
        text = f"round {self._round_no}, attempt {self._attempt_no}: void, the aggregator misses {missing}"
        self._reporter.announce("void", text, missing=list(void.missing))
        for name in self._attempt.delivered(void):  # no proof against either: it may have come just too late
            self._reporter.warn(f"the aggregator misses the update of {name}, but it is on the exchange: ask both")
        self._attempt.update_file.unlink(missing_ok=True)
        self._files.remove()
        self._attempt_no += 1

    def _finish(self, total: Sum) -> None:
        """Open the sum, take the server step, store the start of the next round, which commits this one."""
        self._reporter.step = "opening"
        sum_file, roster = self._attempt.fetch_sum(total), total.roster
        next_start = self._next_start(sum_file, roster)
        self._record(roster, next_start)
        self._history.keep(self._round_no + 1, next_start.vector)
        next_start.write(self.home.start_file(self._round_no + 1))
        del next_start  # it is several times as large as the trunk
        self._tidy()
        self._begin(self._round_no + 1)

    def _open(self, sum_file: Path, roster: Roster) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Mean change over the roster (n_params,), and the bounds of the next round (n_tensors,)."""
        doing = f"round {self._round_no}: opening the sum"
        with self._measures.timed("open"), self._reporter.progress(doing) as progress:
            opened = self._seal.open(sum_file, roster, self._start.bounds, progress)
        self._measures.add({"download_bytes": sum_file.stat().st_size})
        mean, sent = opened.mean, opened.sent_mean
        del opened  # each of these is as large as the trunk
        return mean, next_bounds(sent, self._slices, self._start.bounds, self.plan.seal, len(roster.members))

    def _next_start(self, sum_file: Path, roster: Roster) -> RoundStart:
        """The next round's start; heads and residual advance only if this partner's update is part of the sum."""
        mean, bounds = self._open(sum_file, roster)
        factors = self._own.counts.factors(roster.members)
        stepped = step_server(self._agreed, self._start.vector(), self._start.server(), mean, factors)
        del mean  # as large as the trunk
        self._measures.add({"mean_change_norm": stepped.change_norm})
        private, residual = self._private_and_residual(roster)
        if private is not None:
            private = self._rows.from_vector(stepped.vector, private)
        under = Provenance(self.mailbox.plan.digest, self._own.preparation_digest)
        return RoundStart(self._layout, stepped.vector, stepped.server, bounds, private, residual, under)

    def _private_and_residual(self, roster: Roster) -> tuple[PartnerState | None, NDArray[np.float32] | None]:
        if self.mailbox.me not in roster.members:
            return self._start.private(), self._start.residual()
        private, loss = self._files.read_private()
        residual, clipped_share = self._files.read_residual()
        change_norm = float(np.linalg.norm(self._files.read_change()))
        self._measures.add({"loss_train": loss, "clipped_share": clipped_share, "update_norm": change_norm})
        return private, residual

    def _record(self, roster: Roster, next_start: RoundStart) -> None:
        measures, factors = self._measures, self._own.counts.factors(roster.members)
        if next_start.private is not None and self._own.is_validated(self._round_no, self.plan.rounds.n_rounds):
            with measures.timed("validate"):
                measures.add(validation_scores(self._own, self._agreed, next_start.trunk, next_start.private))
        measures.add({"attempt": self._attempt_no, "n_members": len(roster.members)})
        if self.plan.catalogue.tasks:
            measures.add({"catalogue_rows": int(np.count_nonzero(factors))})
        if self.mailbox.has(self._attempt.mine("update")):
            payload = self.mailbox.own(self._attempt.mine("update")).payload
            n_bytes = payload.size if payload else 0
            measures.add({"upload_bytes": n_bytes, "upload_bytes_per_parameter": n_bytes / self._layout.n_params})
        metrics = measures.finished()
        facts = {"trunk": next_start.digest, "roster": list(roster.members)}
        write_record(self.home.metrics, RoundRecord(self._round_no, self._clock(), metrics, facts))
        scores = ", ".join(f"{key} {metrics[key]:.4f}" for key in _SHOWN if key in metrics)
        self._reporter.report(f"round {self._round_no} of {self.plan.rounds.n_rounds} done: {scores}")

    def _tidy(self) -> None:
        """Remove a finished round's files except messages: the next start has its state, the exchange its payloads."""
        self._attempt.update_file.unlink(missing_ok=True)
        self.home.inbox(self._attempt.theirs("sum").payload).unlink(missing_ok=True)
        self._files.remove()
        self.home.start_file(self._round_no).unlink(missing_ok=True)
        self.home.remove_round(self._round_no)

    def _sweep_finished_rounds(self) -> None:
        """Remove what a kill between `_finish` and `_tidy` left, above all the update in the clear."""
        for round_no in range(CATALOGUE_ROUND, self._round_no):
            self.home.remove_round(round_no)
            self.home.remove_payloads(round_no)
