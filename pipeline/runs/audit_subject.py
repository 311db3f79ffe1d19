"""What an audit looks at: the finished federation of one partner, read from its home."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.audit.canaries import Canary, canary_rows
from partners.audit.shadows import ShadowTask
from partners.audit.trunk_steps import Candidates
from partners.files.checkpoint import read_facts
from partners.files.round_checkpoint import RoundStart
from partners.network.input_columns import InputColumns
from partners.network.state import PartnerState
from partners.network.trunk import INPUT_WEIGHT, TrunkLayout
from partners.settings import Training
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from pipeline.errors import NotYet
from pipeline.home.canaries import left_out_of, read_canaries
from pipeline.home.catalogue_counts import Holders, known_holders
from pipeline.home.first_trunk import first_vector
from pipeline.home.own_columns import input_columns
from pipeline.home.paths import Home
from pipeline.home.trunk_history import TrunkHistory
from pipeline.model.rebuild import finished_matrices, trained_settings
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan

_MOST_CANDIDATES = 30_000  # of which 12,000 others with default folds: enough for a false positive rate of 0.1 %
_MOST_STEPS = 10  # of the trunk; more rounds are taken together


@dataclass(frozen=True, slots=True)
class AuditSubject:
    """A partner's data, as a whole and as it was trained on, and the trunks and heads of its finished federation."""

    config: PartnerConfig
    plan: Plan
    home: Home
    whole: TrainingSet  # with canaries that were left out
    trained: TrainingSet
    training: Training
    canaries: list[Canary]
    columns: InputColumns  # of which those that are shared are in the vector
    vector_layout: TrunkLayout
    vector: NDArray[np.float32]  # the last, which all partners have
    trunk_digest: str  # of the vector
    own_trunk: NDArray[np.float32]  # the last, with input columns of this partner's own
    heads: PartnerState

    @property
    def layout(self) -> TrunkLayout:
        """Layout of the trunk alone."""
        return self.plan.layout.trunk

    @property
    def first_trunk(self) -> NDArray[np.float32]:
        """The trunk before round 1."""
        return first_vector(self.plan, self.home, self.layout)

    @property
    def trunk(self) -> NDArray[np.float32]:
        """The last trunk as the others know it."""
        return self.released(self.vector)

    def released(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """A trunk as the others know it: columns that are not in the vector are as in the first trunk."""
        shared = self.columns.shared
        if shared is None:
            return vector[: self.layout.n_params]
        trunk, given = self.first_trunk, self.vector_layout.views(vector)
        for name, values in self.layout.views(trunk).items():
            values[shared if name == INPUT_WEIGHT else slice(None)] = given[name]
        return trunk

    def holders(self) -> list[int] | None:
        """Number of partners that hold each shared column, 0 for others; None if they are not counted."""
        shared = self.columns.shared
        if shared is None:
            return None
        counts = np.zeros(self.layout.n_inputs, dtype=np.int64)
        counts[shared] = np.asarray(self.columns.counts.counts)[shared]
        return [int(count) for count in counts]

    @property
    def history(self) -> TrunkHistory:
        """What the home keeps of the trunks of all rounds."""
        return TrunkHistory(self.home, self.plan.rounds.n_rounds, self.config.audit.history_gb)

    @property
    def n_steps(self) -> int:
        """Optimiser steps of the whole federation."""
        return self.plan.rounds.n_rounds * self.plan.rounds.local_steps

    def trunks(self) -> Iterator[NDArray[np.float32]] | None:
        """The first trunk and kept later ones up to the last, at most eleven; None if the home lacks the last."""
        kept = self.history.kept()
        if self.plan.rounds.n_rounds + 1 not in kept:
            return None
        chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), _MOST_STEPS)).round().astype(int))
        return self._after_first([kept[i] for i in chosen])

    def _after_first(self, rounds: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        yield self.first_trunk
        for vector in self.history.vectors(rounds, self.vector_layout):
            yield self.released(vector)

    def candidates(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of the attacked compounds, with all canaries, and whether each was trained on, (n,) each."""
        rows = self._pool
        if rows.size > _MOST_CANDIDATES:
            canaries, _ = canary_rows(self.whole, self.canaries)
            drawn = np.random.default_rng(self.training.seed).permutation(rows)[:_MOST_CANDIDATES]
            rows = np.union1d(drawn, canaries)
        return rows, np.isin(rows, self.trained.training_rows)

    @property
    def _pool(self) -> NDArray[np.int64]:
        """Rows of all labelled or measured compounds, of which each shadow is trained on half."""
        return np.flatnonzero(self.whole.labels_per_row > 0)

    def shadow_task(self, rows: NDArray[np.int64]) -> ShadowTask:
        """What all shadow models have in common; rows: of the candidates."""
        return ShadowTask(
            data=self.whole,
            pool=self._pool,
            rows=rows,
            candidates=Candidates.of(self.whole, rows, self.training.seed),
            first_trunk=self.first_trunk,
            layout=self.layout,
            trunk_settings=self.plan.trunk,
            training=self.training,
            n_steps=self.n_steps,
        )


def read_subject(config_file: Path) -> AuditSubject:
    """Read a finished partner's home. Raises NotYet before the report is written, and the errors of damaged files."""
    config = PartnerConfig.read(config_file)
    plan = read_plan(config.plan_file)
    home = Home(config.home_folder, plan.folder)
    last, local = home.start_file(plan.rounds.n_rounds + 1), home.baseline / "local.safetensors"
    if not (last.exists() and local.exists() and home.assay_models.exists()):
        error = NotYet(f"{home.folder}: the federation is not finished here, so there is nothing to audit yet")
        error.add_note("canaries are drawn before round 1: [audit] canaries in partner.toml")
        raise error
    holders = known_holders(plan, home) or Holders()
    columns = input_columns(plan, home, holders)
    final = RoundStart.read(last, holders.layout(plan), to_predict=True)
    if final.private is None:
        raise NotYet(f"{last}: found no heads, expected those of a partner that took part in a round")
    training, matrices = trained_settings(read_facts(local)), finished_matrices(home)
    own_trunk, heads = final.model(columns)
    folds = plan.preparation.folds
    return AuditSubject(
        config=config,
        plan=plan,
        home=home,
        whole=training_set(matrices, folds, training),
        trained=training_set(matrices, folds, training, left_out_of(home, matrices.x)),
        training=training.on_cpu() if training.device == "cpu" else training,
        canaries=read_canaries(home),
        columns=columns,
        vector_layout=final.layout,
        vector=final.vector,
        trunk_digest=final.digest,
        own_trunk=own_trunk,
        heads=heads,
    )
