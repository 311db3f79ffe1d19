"""A partner's run from enrolment to report: a step machine whose state is the files of its home."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared
from partners.errors import CheckpointMismatch
from partners.models.take_home import FittedModels, TrunkAndHeads, compare_models, fit_models
from partners.network.input_columns import NO_COLUMNS
from partners.network.trunk import initial_trunk
from partners.training.baseline import Baseline, Budget, train_baseline
from partners.training.partner_data import PartnerData
from partners.training_data.column_flags import ColumnFlags, column_flags, compounds_by_column
from partners.training_data.dataset_facts import dataset_facts
from partners.training_data.prepared_data import training_set
from partners.training_data.task_keys import task_keys
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.storage import open_exchange
from pipeline.home.canaries import left_out_of, obtain_canaries
from pipeline.home.catalogue_counts import Holders, held_rows, known_holders, opposite_tasks
from pipeline.home.first_trunk import expect_start, keep_start
from pipeline.home.own_columns import input_columns, obtain_flags
from pipeline.home.own_rows import flagged_rows, obtain_rows
from pipeline.home.paths import Home
from pipeline.home.round_metrics import RoundRecord, write_record
from pipeline.home.trunk_history import TrunkHistory
from pipeline.model.extensions import report_left_out
from pipeline.model.folder import write_final_model
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.privacy import expect_fitting
from pipeline.protocol.counting_round import CountingRound
from pipeline.protocol.enrolment import Enrolment, enrol
from pipeline.protocol.handover import take_part
from pipeline.protocol.partner_rounds import PartnerRounds
from pipeline.protocol.privacy_budget import PrivacyBudget, check_continuity
from pipeline.protocol.revision import check_place, check_preparation, check_releases, check_vector
from pipeline.report.full_report import full_report
from pipeline.report.report import is_of_plan, report_file, write_report
from pipeline.runs.last_trunk import confirm_trunk
from pipeline.runs.preparation import (
    expect_fixed_thresholds,
    expect_usable_tables,
    preparation_digest,
    prepared_matrices,
)
from pipeline.runs.preparation_summary import PreparationSummary
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import seal_parameters
from secure.messages.message_name import MessageName

_NO_HEADS = "there is nothing to report: this partner was on no roster and has no federated heads"


class PartnerRun:
    """A partner's run: enrol, prepare, take part in every round, train the network without federation, report."""

    def __init__(
        self,
        config: PartnerConfig,
        mailbox: Mailbox,
        reporter: ProgressReporter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        check_place(mailbox.plan, mailbox.home, mailbox.me)
        check_vector(mailbox.plan, mailbox.home)  # raises ConfigError if state or counts do not fit, before any work
        check_continuity(mailbox.plan, mailbox.home)
        if mailbox.plan.privacy:
            expect_fitting(config.training, config.name)
        check_releases(mailbox, open_exchange(config.exchange_url) if mailbox.plan.continues else mailbox.exchange)
        mailbox.home.remove_leftovers()
        self._mailbox = mailbox
        self._reporter = reporter
        self._clock = clock
        self._tables_usable = False
        self._enrolment: Enrolment | None = None
        self._is_handed_over = not mailbox.plan.joiners
        self._counting_round: CountingRound | None = None
        self._rounds: PartnerRounds | None = None
        self._matrices: Prepared | None = None
        self._own: PartnerData | None = None
        self._budget: PrivacyBudget | None = None

    @property
    def home(self) -> Home:
        """The partner's home."""
        return self._mailbox.home

    def advance(self) -> bool:
        """Do the next step; False when the report is written. Raises NotYet while others are awaited."""
        self._reporter.set_round()  # no round; each round sets its own
        if self._enrolment is None:
            self._reporter.step = "preparation"
            self._expect_usable_tables()
            self._reporter.step = "enrolment"
            self._enrolment = enrol(self._mailbox, seal_parameters(self._mailbox.plan.seal))
            keep_start(self._config.plan_file, self._mailbox.plan, self.home, self._enrolment.group.structure_seed)
            self._reporter.report("enrolled: received the group secret and a pairing of every partner")
        elif not self._is_handed_over:
            self._reporter.step = "enrolment"
            take_part(self._mailbox)
            self._is_handed_over = True
            plan = self._mailbox.plan
            if self._mailbox.me in plan.joiners:
                self._reporter.report(f"joined: has the federation's state at the start of round {plan.first_round}")
        elif self._own is None:
            self._reporter.step = "preparation"
            self._own = self._prepare(self._enrolment)
        elif self._rounds is None:
            self._begin_rounds(self._enrolment, self._own)
        elif not self._rounds.advance():
            return self._conclude(self._rounds)
        return True

    def _begin_rounds(self, enrolment: Enrolment, own: PartnerData) -> None:
        """Begin the training rounds if the holders are counted, else do a step of the counting round."""
        plan = self._mailbox.plan
        holders = known_holders(plan, self.home)
        if holders is not None:
            self._flag_as_joiner(own, holders)
            held = flagged_rows(plan, self.home, own.held)
            columns = input_columns(plan, self.home, holders)
            self._own = replace(own, held=held, counts=holders.rows, columns=columns)
            history = TrunkHistory(self.home, plan.rounds.n_rounds, self._config.audit.history_gb)
            self._rounds = PartnerRounds(
                self._mailbox, enrolment, self._own, self._reporter, self._clock, history, self._budget
            )
            return
        if self._counting_round is None:
            self._counting_round = CountingRound(
                self._mailbox,
                enrolment,
                obtain_rows(plan, self.home, own.held) if plan.catalogue.tasks else (),
                self._flagged(own),
                own.preparation_digest,
                self._reporter,
            )
        self._counting_round.advance()

    def _flag_as_joiner(self, own: PartnerData, holders: Holders) -> None:
        """Flag, once, the shared columns that a joiner's compounds set: it was not counted, and may send these."""
        plan = self._mailbox.plan
        if not plan.columns.are_counted or self._mailbox.me not in plan.joiners or self.home.columns.exists():
            return
        n_compounds = compounds_by_column(own.training_set)
        shared = np.zeros(n_compounds.size, dtype=bool)
        shared[holders.columns.travelling] = True
        flags = column_flags(
            np.where(shared, n_compounds, 0), plan.columns.min_compounds, 0.0, np.zeros(n_compounds.size)
        )
        obtain_flags(plan, self.home, lambda: ColumnFlags(flags.flagged, NO_COLUMNS))

    def _flagged(self, own: PartnerData) -> NDArray[np.int64]:
        """Input columns that this partner flags; none if they are not counted."""
        plan, settings = self._mailbox.plan, self._mailbox.plan.columns
        if not settings.are_counted:
            return NO_COLUMNS

        def make() -> ColumnFlags:
            # not of the plan: a revision that counts again must not reveal what the first count withheld
            n_compounds = compounds_by_column(own.training_set)
            chance = self._mailbox.keys.uniform_numbers(
                "hocket/withhold/v1", {"federation": plan.federation.id}, n_compounds.size
            )
            return column_flags(n_compounds, settings.min_compounds, settings.withhold, chance)

        return obtain_flags(plan, self.home, make).flagged

    def _expect_usable_tables(self) -> None:
        """Refuse bad tables before this partner enrols, so that the others do not wait for it; once is enough."""
        if self._tables_usable:
            return
        is_enrolled = self._mailbox.has(MessageName("pairing", 0, 0, self._mailbox.me))
        expect = expect_fixed_thresholds if is_enrolled else expect_usable_tables
        expect(self._config, self._mailbox.plan)
        expect_start(self._config.plan_file, self._mailbox.plan, self.home)
        self._tables_usable = True

    def _prepare(self, enrolment: Enrolment) -> PartnerData:
        started = time.monotonic()
        plan, config = self._mailbox.plan, self._config
        preparation = preparation_digest(plan, enrolment.group)
        check_preparation(plan, self.home, preparation)
        self._matrices = prepared_matrices(config, plan, enrolment.group, self._reporter)
        held = held_rows(plan.catalogue, self._matrices.tasks)
        for warning in opposite_tasks(plan.catalogue, self._matrices.tasks):
            self._reporter.warn(warning)
        data = self._without_canaries(self._matrices)
        own = PartnerData(
            data,
            config.training,
            preparation,
            config.n_workers,
            held=held,
            validate_every=config.tracking.validate_every,
            chance=(self._mailbox.keys.chance(plan.federation.id),) if config.training.keyed_chance else (),
            tasks=task_keys(self._matrices, config.training),
        )
        self._budget = PrivacyBudget.of(plan, self.home, own)
        if self._budget:
            self._reporter.report(self._budget.begin())
        metrics = {
            "seconds_prepare": time.monotonic() - started,
            "n_compounds": own.training_set.n_compounds,
            "n_tasks": own.training_set.n_tasks,
            "n_regression_tasks": own.training_set.n_regressions,
            "n_training_labels": own.training_set.n_training_labels,
        }
        facts = {"datasets": dataset_facts(self._mailbox.me, data)}
        write_record(self.home.metrics, RoundRecord(0, self._clock(), metrics, facts))
        share = PreparationSummary.read(self.home.prepared / self._matrices.manifest["digest"]).rejected_share
        counts = f"{own.training_set.n_compounds} compounds, {own.training_set.n_tasks} tasks"
        counts += f", {100 * share:g} % of T1's rows rejected"
        self._reporter.report(f"prepared {counts}; consistency digest, equal for all partners: {preparation}")
        return own

    def _without_canaries(self, matrices: Prepared) -> TrainingSet:
        """The training set, without the canaries that are left out."""
        folds, training = self._mailbox.plan.preparation.folds, self._config.training
        whole, me = training_set(matrices, folds, training), self._mailbox.me
        plan, rounds = self._mailbox.plan, self.home.rounds_started()
        was_handed = me in plan.joiners and max(rounds, default=0) == plan.first_round
        first = MessageName("ready", plan.first_round, 1, me)
        has_begun = bool(rounds and not was_handed) or self._mailbox.has(first)
        wanted = self._config.audit.canaries
        canaries = obtain_canaries(self.home, self._mailbox.keys, whole, wanted, has_begun=has_begun)
        if not canaries:
            return whole
        left_out = left_out_of(self.home, matrices.x)
        self._reporter.report(f"{len(canaries)} canaries: {left_out.size} compounds are left out of the training")
        return training_set(matrices, folds, training, left_out)

    def _conclude(self, rounds: PartnerRounds) -> bool:
        """Train the network without federation with the same number of steps, then write final model and report.

        Raises Diverged if a partner has signed another last trunk.
        """
        if not is_of_plan(self.home, self._mailbox.plan.digest):
            self._write_report(rounds)
        mailbox = self._mailbox
        if missing := confirm_trunk(self.home, mailbox.plan, mailbox.exchange):
            self._reporter.report(f"the last trunk is not yet confirmed by {', '.join(missing)}")
        return False

    def _write_report(self, rounds: PartnerRounds) -> None:
        if not (self._enrolment and self._matrices and self._own):
            return
        self._reporter.step = "reporting"
        baseline, final = self._local_only(self._own), rounds.final()
        if final.private is None:
            raise ConfigError(_NO_HEADS)
        local, federated = TrunkAndHeads(baseline.trunk, baseline.state), TrunkAndHeads(*final.model(self._own.columns))
        fitted = self._fitted(self._matrices, self._own, local, federated)
        plan = self._mailbox.plan
        report = full_report(
            self._mailbox,
            self._matrices,
            self._own,
            self._config.gate,
            compare_models(
                self._matrices,
                self._own,
                plan.preparation,
                fitted,
                local,
                federated,
                plan.layout.trunk,
                plan.trunk,
            ),
            trunk=final.digest,
            history=baseline.history,
            spent_epsilon=self._budget.spent() if self._budget else None,
        )
        self._reporter.report(report.gate.sentence)
        left_out = write_final_model(
            self.home,
            plan,
            self._matrices,
            self._own.training_set,
            self._enrolment.group.structure_seed,
            keys=self._mailbox.keys,
            training=self._own.training,
            local=local,
            federated=federated,
            fitted=fitted,
            kept=report.gate.kept,
            compound_timeout_s=self._config.data.compound_timeout_s,
            trunk=final.digest,
            workers=self._config.n_workers,
        )
        report_left_out(self._reporter, left_out)
        # a run that is killed before it has looked leaves a report in which nobody has confirmed
        write_report(self.home, report.model_copy(update={"unconfirmed": plan.partner_names}))

    def _fitted(
        self, matrices: Prepared, own: PartnerData, local: TrunkAndHeads, federated: TrunkAndHeads
    ) -> FittedModels:
        plan = self._mailbox.plan
        with self._reporter.progress("fitting the models of single assays") as progress:
            return fit_models(
                matrices,
                own,
                local,
                federated,
                plan.layout.trunk,
                plan.trunk,
                self.home.assay_models,
                progress=progress,
            )

    def _local_only(self, own: PartnerData) -> Baseline:
        """The network without federation over all rounds, trained from the beginning if a revision has other tables.

        Raises partners.errors.CheckpointMismatch if there is one of other data or settings, made under this plan.
        """
        file = self.home.baseline / "local.safetensors"
        try:
            return self._trained_baseline(own, file)
        except CheckpointMismatch:
            if not report_file(self.home).exists():
                raise
            file.unlink()  # of the plan before, as the report is: with today's tables or settings it would be another
            self._reporter.report("other tables or settings: the network without federation is trained again")
            return self._trained_baseline(own, file)

    def _trained_baseline(self, own: PartnerData, file: Path) -> Baseline:
        plan, layout = (
            self._mailbox.plan,
            self._mailbox.plan.layout_with(own.counts.n_places),
        )  # all columns are its own
        first = initial_trunk(layout, plan.federation.seed)  # never trunk.start's, which others have trained
        self.home.baseline.mkdir(parents=True, exist_ok=True)
        with self._reporter.progress("training the network without federation") as progress:
            return train_baseline(
                own.training_set,
                first[: layout.trunk.n_params],
                layout.trunk,
                plan.trunk,
                own.training,
                Budget(n_rounds=plan.rounds.n_rounds, n_steps=plan.rounds.local_steps, chance=own.chance),
                file,
                first_state=own.first_state(layout, first, own.seed(1)) if layout.n_rows else None,
                progress=progress,
            )
