"""A partner's part in the rounds: train, say ready, seal for exactly the roster, open the sum, step the server."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.network.shared_head_rows import SharedHeadRows, scale_rows
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout, trunk_digest
from partners.scores import regression_scores, scores
from partners.settings import Training
from partners.training.evaluation import evaluate
from partners.training.server_step import ServerState, server_step
from partners.training.training import round_seed, seeded_state, train_in_place
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError, NotYet
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.catalogue_counts import Counts
from pipeline.home.round_metrics import RoundRecord, write_record
from pipeline.home.round_state import (
    Provenance,
    RoundStart,
    SealResidual,
    StoredStart,
    Trained,
    read_change,
    read_private,
)
from pipeline.plan.plan import PRESENCE
from pipeline.protocol.attempt import Attempt
from pipeline.protocol.enrolment import Enrolment
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.roster import Roster
from secure.messages.messages import Manifest
from secure.sealing.fixed_point import next_bounds
from secure.sealing.open_sum import OpenedSum, open_sum
from secure.sealing.seal import seal_update

_TOLD = ("loss_train", "validation_loss", "validation_roc_auc", "validation_r2")  # on the line that ends a round


@dataclass(frozen=True, slots=True)
class PartnerData:
    """What a partner brings: nothing of it leaves but sealed updates and digests."""

    training_set: TrainingSet
    training: Training
    preparation_digest: str
    workers: int = 1  # most processes for sealing and opening
    validate_every: int = 1  # rounds
    held: Mapping[int, int] = field(default_factory=dict)  # row of the catalogue to task
    counts: Counts = field(default_factory=Counts)  # of the catalogue's rows

    def first_state(self, layout: TrunkLayout, vector: NDArray[np.float32], seed: tuple[int, ...]) -> PartnerState:
        """Heads before any training: drawn from the seed, rows that travel as in the vector (n_params,)."""
        drawn = seeded_state(self.training_set, layout.trunk, self.training, seed)
        return self.travelling(layout).from_vector(vector, drawn)

    def travelling(self, layout: TrunkLayout) -> SharedHeadRows:
        """The head rows of this partner that travel."""
        return SharedHeadRows.of(layout, dict(self.held), self.counts.travelling)


@dataclass(frozen=True, slots=True, eq=False)
class ServerStep:
    """What every partner makes of a sum, to the same bits."""

    vector: NDArray[np.float32]  # (n_params,)
    server: ServerState
    bounds: NDArray[np.float64]  # (n_tensors,)
    change_norm: float  # of the mean


class PartnerRounds:
    """The step machine of the rounds; its state is the home's round folders, inbox and outbox."""

    def __init__(
        self,
        mailbox: Mailbox,
        enrolment: Enrolment,
        own: PartnerData,
        reporter: ProgressReporter,
        clock: Callable[[], float],
    ) -> None:
        self.plan = mailbox.plan
        self.mailbox = mailbox
        self.home = mailbox.home
        self._enrolment = enrolment
        self._own = own
        self._reporter = reporter
        self._clock = clock
        self._parameters = seal_parameters(self.plan.seal)
        self._layout = self.plan.layout
        self._slices = [tensor.place for tensor in self._layout.tensors]
        self._rows = own.travelling(self._layout)
        self._round_no = max(self.home.rounds_started(), default=1)
        self._attempt = 1
        self._sweep_finished_rounds()
        self._seconds: dict[str, float] = {}
        self._began = time.monotonic()  # of the round, as far as this process saw it
        self._start = StoredStart(self.plan, self.home.start_file(self._round_no))

    def final(self) -> RoundStart:
        """After the last round: the model."""
        return RoundStart.read(self._start.path, self._layout, to_predict=True)

    def advance(self) -> bool:
        """Do the next step; False after the last round.

        Raises NotYet while others are awaited, LeftBehind where that would be in vain, AttemptsUsedUp.
        """
        if self._round_no > self.plan.rounds.n_rounds:
            return self._give_heads()
        self._reporter.at(self._round_no, self._attempt)
        self._at.proceed(contribute=self._contribute, abandon=self._abandon, finish=self._finish)
        return True

    @property
    def _at(self) -> Attempt:
        return Attempt(self.mailbox, self._round_no, self._attempt)

    @property
    def _seed(self) -> tuple[int, ...]:
        """All chance of this attempt; a later attempt, or revision of the plan, is trained with fresh chance."""
        return round_seed(self._own.training.seed, self._round_no - 1, self._attempt - 1, self.plan.revision)

    @property
    def _trained_file(self) -> Path:
        return self.home.attempt(self._round_no, self._attempt) / "trained.safetensors"

    @property
    def _leftover_file(self) -> Path:
        return self._trained_file.with_name("leftover.safetensors")

    @property
    def _unposted_file(self) -> Path:
        return self._trained_file.with_name("update.unposted")

    def _contribute(self) -> None:
        """Do what this attempt asks for; ends in NotYet, because the others' part follows."""
        manifest = self.mailbox.receive(self._at.theirs("roster"))
        if manifest is None:
            wait = f"round {self._round_no}: waiting for the roster"
            self._be_ready(wait)
            raise NotYet(wait)
        roster = self._at.roster(manifest, self._start.digest)
        if self.mailbox.me in roster.members:
            self._at.deliver(roster, self._seal)
        raise NotYet(f"round {self._round_no}: waiting for the sum of {', '.join(roster.members)}")

    def _be_ready(self, wait: str) -> None:
        """Train, then say so; nothing of the update leaves yet."""
        if not self._trained_file.exists():
            self._at.check_not_left_behind(wait)  # before hours of training for nothing
            self._train()
        trunk = self._start.digest
        self.mailbox.post(self._at.mine("ready"), {"trunk": trunk, "preparation": self._own.preparation_digest})

    def _give_heads(self) -> bool:
        """A partner that only followed the rounds has the trunk but no heads: train them at the end, once."""
        if self._start.private() is not None:
            return False
        trained, start = self._trained(), RoundStart.read(self._start.path, self._layout)
        replace(start, private=self._rows.from_vector(start.vector, trained.private)).write(self._start.path)
        return True

    def _train(self) -> None:
        started = time.monotonic()
        trained = self._trained()
        self._seconds["seconds_train"] = time.monotonic() - started
        trained.write(self._trained_file)

    def _trained(self) -> Trained:
        vector, layout = self._start.vector(), self._layout.trunk
        private = self._start.private() or self._own.first_state(self._layout, vector, self._seed)
        with self._reporter.progress(f"round {self._round_no}: training") as progress:
            result = train_in_place(
                self._own.training_set,
                vector[: layout.n_params],
                private,
                layout,
                self.plan.trunk,
                self._own.training,
                seed=self._seed,
                n_steps=self.plan.rounds.local_steps,
                progress=progress,
            )
        self._rows.to_vector(result.state, vector)
        for place, before in self._start.pieces():
            vector[place] -= before
        return Trained(vector, result.state, float(result.losses.mean()))

    def _needed(self, file: Path) -> Path:
        if not file.exists():
            error = ConfigError(f"{file}: is missing, but the outbox holds what was said of it")
            error.add_note("a home is restored whole, and goes on under a revision of the plan: see secure/KEYS.md")
            raise error
        return file

    def _seal(self, roster: Roster) -> None:
        change, residual = read_change(self._needed(self._trained_file), self._layout), self._start.residual()
        for vector in (change, residual):
            self._keep_back(roster, vector)
        payload_file = self.home.outbox(self._at.mine("update").payload)
        unposted = self._unposted_file  # moved to the outbox only when its residual is on disk
        unposted.unlink(missing_ok=True)
        started = time.monotonic()
        with self._reporter.progress(f"round {self._round_no}: sealing for {', '.join(roster.members)}") as progress:
            report = seal_update(
                change,
                weight=self._weight(),
                bounds=self._start.bounds,
                slices=self._slices,
                residual=residual,
                roster=roster,
                me=self.mailbox.me,
                pair_keys=self._enrolment.pair_keys,
                group=self._enrolment.group,
                parameters=self._parameters,
                rng=np.random.default_rng((*self._seed, *self.mailbox.me.encode())),
                path=unposted,
                residual_out=change,
                workers=self._own.workers,
                progress=progress,
            )
        self._seconds["seconds_seal"] = time.monotonic() - started
        SealResidual(report.residual, report.clipped_share).write(self._leftover_file)
        payload_file.parent.mkdir(parents=True, exist_ok=True)
        unposted.replace(payload_file)

    def _keep_back(self, roster: Roster, vector: NDArray[np.float32] | None) -> None:
        """Zero the catalogue's rows of a vector (n_params,) of which the roster may have too few holders, in place."""
        sent = self._own.counts.factors(roster.members) > 0
        if vector is not None and not sent[self._own.counts.travelling].all():  # in all other rows it is zero
            scale_rows(vector, self._layout, sent.astype(np.float64))

    def _weight(self) -> int:
        """1, or the number of labels in the training folds where the plan weighs by size."""
        if self.plan.seal.weights == "equal":
            return 1
        n_labels, most = self._own.training_set.n_training_labels, self.plan.seal.max_weight
        if n_labels > most:
            self._reporter.report(f"weight {n_labels} cut to the plan's seal.max_weight {most}: agree on a larger one")
        return max(1, min(n_labels, most))

    def _abandon(self, void: Manifest) -> None:
        """Throw the attempt's update away and go on to the next attempt: an update is never sealed for two rosters."""
        self._at.check_void(void, self._at.shown_roster(self._start.digest))
        missing = ", ".join(void.names("missing"))
        self._reporter.report(f"round {self._round_no}, attempt {self._attempt}: void, the aggregator misses {missing}")
        for name in self._at.delivered(void):  # no proof against either: it can have come a moment too late
            self._reporter.warn(f"the aggregator misses {name}, whose signed update is on the exchange: ask both")
        self.home.outbox(self._at.mine("update").payload).unlink(missing_ok=True)
        self._forget_attempt()
        self._attempt += 1

    def _finish(self, total: Manifest) -> None:
        """Open the sum, step the server, store the next round's start: the commit of the round."""
        roster = self._at.shown_roster(self._start.digest)
        self._at.check_sum(total, roster)
        sum_file = self.mailbox.fetch_payload(self._at.theirs("sum"), total)
        stepped = self._step_server(sum_file, roster)
        following = self._follow(stepped, roster)
        self._record(stepped.change_norm, roster, following)
        following.write(self.home.start_file(self._round_no + 1))
        del following  # it is several times as large as the trunk
        self._tidy()
        self._round_no, self._attempt = self._round_no + 1, 1
        self._start = StoredStart(self.plan, self.home.start_file(self._round_no))
        self._seconds, self._began = {}, time.monotonic()

    def _step_server(self, sum_file: Path, roster: Roster) -> ServerStep:
        opened = self._open(sum_file, roster)
        mean, sent = opened.mean, opened.sent_mean
        del opened  # each of these is as large as the trunk
        bounds = next_bounds(sent, self._slices, self._start.bounds, self.plan.seal, len(roster.members))
        del sent
        scale_rows(mean, self._layout, self._own.counts.factors(roster.members))
        vector, server = server_step(self._start.vector(), mean, self.plan.server, self._start.server())
        return ServerStep(vector, server, bounds, float(np.linalg.norm(mean)))

    def _open(self, sum_file: Path, roster: Roster) -> OpenedSum:
        started = time.monotonic()
        with self._reporter.progress(f"round {self._round_no}: opening the sum") as progress:
            opened = open_sum(
                sum_file,
                roster=roster,
                group=self._enrolment.group,
                parameters=self._parameters,
                slices=self._slices,
                bounds=self._start.bounds,
                workers=self._own.workers,
                progress=progress,
            )
        self._seconds |= {"seconds_open": time.monotonic() - started, "download_bytes": sum_file.stat().st_size}
        return opened

    def _follow(self, stepped: ServerStep, roster: Roster) -> RoundStart:
        """The next round's start; heads and residual advance only where our update is part of the sum."""
        private, residual = self._carried(roster)
        if private is not None:
            private = self._rows.from_vector(stepped.vector, private)
        under = Provenance(self.mailbox.plan_digest, self._own.preparation_digest)
        return RoundStart(self._layout, stepped.vector, stepped.server, stepped.bounds, private, residual, under)

    def _carried(self, roster: Roster) -> tuple[PartnerState | None, NDArray[np.float32] | None]:
        """Private state and residual."""
        if self.mailbox.me not in roster.members:
            return self._start.private(), self._start.residual()
        private, loss = read_private(self._needed(self._trained_file), self._layout)
        leftover = SealResidual.read(self._needed(self._leftover_file), self._layout)
        self._seconds |= {"loss_train": loss, "clipped_share": leftover.clipped_share}
        self._seconds["update_norm"] = float(np.linalg.norm(read_change(self._trained_file, self._layout)))
        return private, leftover.residual

    def _record(self, change_norm: float, roster: Roster, following: RoundStart) -> None:
        metrics = dict(self._seconds)
        if following.private is not None and self._is_validated:
            started = time.monotonic()
            metrics |= self._validation(following.trunk, following.private)
            metrics["seconds_validate"] = time.monotonic() - started
        metrics["seconds_round"] = time.monotonic() - self._began
        busy = sum(metrics.get(f"seconds_{part}", 0.0) for part in ("train", "seal", "open", "validate"))
        metrics["seconds_wait"] = metrics["seconds_round"] - busy
        metrics["attempt"] = self._attempt
        metrics["n_members"] = len(roster.members)
        metrics["mean_change_norm"] = change_norm
        if self._layout.n_rows:
            metrics["catalogue_rows"] = int(np.count_nonzero(self._own.counts.factors(roster.members)))
        if self.mailbox.has(self._at.mine("update")):
            size = self.mailbox.own(self._at.mine("update")).payload
            metrics["upload_bytes"] = size.size if size else 0
            metrics["upload_bytes_per_parameter"] = metrics["upload_bytes"] / self._layout.n_params
        metrics = {key: value for key, value in metrics.items() if math.isfinite(value)}
        facts = {"trunk": trunk_digest(following.vector), "roster": list(roster.members)}
        write_record(self.home.metrics, RoundRecord(self._round_no, self._clock(), metrics, facts))
        seen = ", ".join(f"{key} {metrics[key]:.4f}" for key in _TOLD if key in metrics)
        self._reporter.report(f"round {self._round_no} of {self.plan.rounds.n_rounds} done: {seen}")

    @property
    def _is_validated(self) -> bool:
        """Whether this round ends with scores."""
        return self._round_no == self.plan.rounds.n_rounds or self._round_no % self._own.validate_every == 0

    def _validation(self, trunk: NDArray[np.float32], private: PartnerState) -> dict[str, float]:
        """Loss and mean scores on the validation fold, with the new trunk and the heads trained in this round."""
        found = evaluate(
            self._own.training_set,
            self._own.training_set.validation_fold,
            trunk,
            private,
            self._layout.trunk,
            self.plan.trunk,
            self._own.training,
        )
        means = {name: getattr(found.mean, name) for name in scores.METRICS}
        if self._own.training_set.n_regressions:
            means |= {name: getattr(found.regression_mean, name).value for name in regression_scores.METRICS}
        return {"validation_loss": found.loss, **{f"validation_{name}": value for name, value in means.items()}}

    def _tidy(self) -> None:
        """A finished round leaves its messages; its payloads lie in the exchange, its state is in the next start."""
        self.home.outbox(self._at.mine("update").payload).unlink(missing_ok=True)
        self.home.inbox(self._at.theirs("sum").payload).unlink(missing_ok=True)
        self._forget_attempt()
        self.home.start_file(self._round_no).unlink(missing_ok=True)
        self.home.remove_round(self._round_no)

    def _sweep_finished_rounds(self) -> None:
        """What a kill between a round's commit and its tidying left behind: the update in the clear, above all."""
        for round_no in range(PRESENCE, self._round_no):
            self.home.remove_round(round_no)
            self.home.remove_payloads(round_no)

    def _forget_attempt(self) -> None:
        for file in (self._trained_file, self._leftover_file, self._unposted_file):
            file.unlink(missing_ok=True)
