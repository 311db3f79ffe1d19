"""A partner's run from enrolment to report, as a step machine whose state is the files of its home."""

import time
from collections.abc import Callable
from dataclasses import replace

from data_prep.prepared import Prepared
from partners.baseline import Baseline, Budget, train_baseline
from partners.training import round_seed
from partners.trunk import initial_trunk
from pipeline.catalogue import held_rows, known_counts
from pipeline.configs import PartnerConfig
from pipeline.console import Narrator
from pipeline.dataset_facts import dataset_facts
from pipeline.enrolment import Enrolment, enrol
from pipeline.final_model import write_final_model
from pipeline.full_report import full_report
from pipeline.home import Home
from pipeline.mail import Mail
from pipeline.preparation import preparation_digest, prepared_matrices, training_set
from pipeline.presence import Presence
from pipeline.records import Record, write_record
from pipeline.reporting import report_file
from pipeline.revision import check_place, check_preparation, check_vector
from pipeline.rounds import Own, Rounds
from secure.parameters import seal_parameters


class PartnerRun:
    """Enrol, prepare, take part in every round, train the local-only baseline, report."""

    def __init__(
        self, config: PartnerConfig, mail: Mail, narrator: Narrator, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        check_place(mail.plan, mail.home)
        check_vector(mail.plan, mail.home)
        known_counts(mail.plan, mail.home)  # what does not go together is said before anything is done
        mail.home.remove_leftovers()
        self._mail = mail
        self._tell = narrator
        self._clock = clock
        self._enrolment: Enrolment | None = None
        self._presence: Presence | None = None
        self._rounds: Rounds | None = None
        self._matrices: Prepared | None = None
        self._own: Own | None = None

    @property
    def home(self) -> Home:
        """Where this partner's state is."""
        return self._mail.home

    def advance(self) -> bool:
        """Do the next step; False when the report is written. Raises NotYet while others are awaited."""
        if self._enrolment is None:
            self._enrolment = enrol(self._mail, seal_parameters(self._mail.plan.seal))
            self._tell.say("enrolled: group secret and pair keys with all partners are here")
        elif self._own is None:
            self._own = self._prepare(self._enrolment)
        elif self._rounds is None:
            self._begin(self._enrolment, self._own)
        elif not self._rounds.advance():
            return self._conclude(self._rounds)
        return True

    def _begin(self, enrolment: Enrolment, own: Own) -> None:
        """The rounds, once it is known how many partners hold each task of the catalogue."""
        counts = known_counts(self._mail.plan, self.home)
        if counts is not None:
            self._own = replace(own, counts=counts)
            self._rounds = Rounds(self._mail, enrolment, self._own, self._tell, self._clock)
            return
        if self._presence is None:
            self._presence = Presence(self._mail, enrolment, own.held, own.preparation_digest, self._tell)
        self._presence.advance()

    def _prepare(self, enrolment: Enrolment) -> Own:
        started = time.monotonic()
        plan, config = self._mail.plan, self._config
        preparation = preparation_digest(plan, enrolment.group)
        check_preparation(self.home, preparation)
        self._matrices = prepared_matrices(config, plan, enrolment.group, self._tell)
        held = held_rows(plan.catalogue, self._matrices.tasks)
        data = training_set(self._matrices, plan, config.training)
        own = Own(
            data,
            config.training,
            preparation,
            config.n_workers,
            held=held,
            validate_every=config.tracking.validate_every,
        )
        metrics = {
            "seconds_prepare": time.monotonic() - started,
            "n_compounds": own.training_set.n_compounds,
            "n_tasks": own.training_set.n_tasks,
            "n_regression_tasks": own.training_set.n_regressions,
            "n_training_labels": own.training_set.n_training_labels,
        }
        facts = {"datasets": dataset_facts(self._mail.me, data)}
        write_record(self.home.metrics, Record(0, self._clock(), metrics, facts))
        made = f"{own.training_set.n_compounds} compounds, {own.training_set.n_tasks} tasks"
        self._tell.say(f"prepared {made}; consistency digest, equal for all partners: {preparation}")
        return own

    def _conclude(self, rounds: Rounds) -> bool:
        """After the last round: the local-only baseline with the same number of steps, then the report."""
        if report_file(self.home).exists() or not (self._enrolment and self._matrices and self._own):
            return False
        baseline, final = self._local_only(self._own), rounds.final()
        report = full_report(self._mail, self._matrices, self._own, self._config.gate, local=baseline, federated=final)
        self._tell.say(report["gate"]["sentence"])
        write_final_model(
            self.home.model,
            self._mail.plan,
            self._matrices,
            self._own.training_set,
            self._enrolment.group.structure_seed,
            partner=self._mail.me,
            training=self._own.training,
            local=baseline,
            federated=final,
            kept=report["gate"]["kept"],
            compound_timeout_s=self._config.data.compound_timeout_s,
        )
        from pipeline.report_files import write_report  # noqa: PLC0415 -- matplotlib, for the end of a run alone

        write_report(self.home, report)
        return True

    def _local_only(self, own: Own) -> Baseline:
        plan, layout = self._mail.plan, self._mail.plan.layout
        first = initial_trunk(layout, plan.federation.seed)
        self.home.baseline.mkdir(parents=True, exist_ok=True)
        with self._tell.progress("training the local-only baseline") as progress:
            return train_baseline(
                own.training_set,
                first[: layout.trunk.n_params],
                layout.trunk,
                plan.trunk,
                own.training,
                Budget(n_rounds=plan.rounds.n_rounds, n_steps=plan.rounds.local_steps),
                self.home.baseline / "local.safetensors",
                first_state=own.first_state(layout, first, round_seed(own.training.seed, 0)) if layout.n_rows else None,
                progress=progress,
            )
