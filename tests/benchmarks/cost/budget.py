"""A budget for a federation: core hours, memory, disk and bytes per partner and in all, from laws of cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partners.assay_models.choice import FEWEST_VALUES
from partners.assay_models.gaussian_process import MOST_ROWS
from secure.ciphertexts.parameters import SealSettings, seal_parameters
from tests.benchmarks.cost.laws import Laws, Size
from tests.benchmarks.cost.rounds import Model, wire

GB = 1e9
HOUR = 3600.0
N_FOLDS = 5  # three to train on
THRESHOLDS = 2.5  # tasks of an assay
# peak of preparation/memory.py --rows 1e7 --compounds 1e6, two workers included: bytes for each compound
PREPARATION_BYTES = 2.7e9 / 1e6
HOME_BYTES = 30  # on disk for each parameter: state of two rounds, see pipeline/setup/doctor_machine.py
PEAK_BYTES = 52  # in memory for each parameter in a round, see there
# folds of compounds that models of assays are asked about: calibration, report, its test on half of the data, files
FOLDS_ALONE, FOLDS_ON_TRUNK = 5, 4
FOLDS_OF_NETWORKS = 8  # folds that the networks are asked about after the last round


@dataclass(frozen=True, slots=True)
class Federation:
    """What a consortium has and agrees on; all partners are equally large."""

    n_partners: int
    n_compounds: int  # of each partner
    n_tasks: int  # of all partners
    n_rounds: int = 20
    n_epochs: float = 20.0  # over all rounds
    batch_size: int = 4000
    values_each: float = 4.0  # measured values of a compound
    n_inputs: int = 32_000
    n_units: int = 2000

    @property
    def steps_per_round(self) -> int:
        """Optimiser steps that use every training compound once in each epoch."""
        n_training = self.n_compounds * (N_FOLDS - 2) / N_FOLDS
        return math.ceil(self.n_epochs * n_training / self.batch_size / self.n_rounds)

    @property
    def n_params(self) -> int:
        """Length of the shared vector: all input columns, no catalogue."""
        return (self.n_inputs + 1) * self.n_units

    def size(self, bits_each: float, spread: Sequence[float]) -> Size:
        """A partner's size.

        bits_each : set bits of a compound
        spread    : rising shares of the mean number of measurements, of real assays
        """
        n, tasks = self.n_compounds, self.n_tasks // self.n_partners
        n_assays = round(tasks / THRESHOLDS)
        shares = np.interp(np.linspace(0, 1, n_assays), np.linspace(0, 1, len(spread)), spread)
        mean = n * self.values_each / n_assays * (N_FOLDS - 2) / N_FOLDS
        sizes = np.round(mean * shares / shares.mean()).astype(int)
        known = tuple(int(size) for size in sizes if size >= FEWEST_VALUES)
        return Size(
            n_compounds=n,
            n_rows=round(n * self.values_each),
            n_bits_set=round(n * bits_each),
            n_labels=round(n * self.values_each * THRESHOLDS),
            n_tasks=tasks,
            n_training=n * (N_FOLDS - 2) // N_FOLDS,
            n_validation=n // N_FOLDS,
            n_test=n // N_FOLDS,
            n_inputs=self.n_inputs,
            n_units=self.n_units,
            assays=known,
            processes=tuple(size for size in known if size <= MOST_ROWS),
            forests=known,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of a partner's run takes over the whole federation."""

    name: str
    core_hours: float
    peak_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What one partner, the aggregator and the exchange need."""

    federation: Federation
    steps: tuple[Step, ...]  # of a partner
    home_gb: float  # disk of a partner
    up_gb: float  # bytes that a partner sends, all rounds
    down_gb: float
    adding_hours: float  # of the aggregator
    adding_mb: float
    exchange_gb: float

    @property
    def core_hours(self) -> float:
        """Of one partner."""
        return sum(step.core_hours for step in self.steps)

    @property
    def peak_gb(self) -> float:
        """Memory of one partner: the largest step."""
        return max(step.peak_gb or 0.0 for step in self.steps)

    @property
    def all_core_hours(self) -> float:
        """Of all partners and the aggregator."""
        return self.federation.n_partners * self.core_hours + self.adding_hours


def budget_of(federation: Federation, size: Size, laws: Laws, sealing: Model) -> Budget:
    """What a federation needs; its rounds are trained twice, as each partner trains the local network too."""
    rounds, params, partners = federation.n_rounds, federation.n_params, federation.n_partners
    seal, opening, add = (sealing.cost(role, params, partners) for role in ("seal", "open", "add"))
    up, down = wire(seal_parameters(SealSettings(max_partners=partners)), params)
    trained = laws.training_peak(size, federation.batch_size)
    outputs = 4.0 * size.n_validation * size.n_tasks  # bytes of a fold's logits
    n_steps, n_validations = 2 * rounds * federation.steps_per_round, 2 * rounds + FOLDS_OF_NETWORKS
    scored = laws.scoring_s(size, FOLDS_ALONE * size.n_validation, FOLDS_ON_TRUNK * size.n_validation)
    peak_of_models = laws.models_peak(size, n_networks=2) + 3 * outputs
    steps = (
        Step("structures and tables", laws.prepare_s(size) / HOUR, PREPARATION_BYTES * size.n_compounds / GB),
        Step(
            "training, with and without the others",
            n_steps * laws.step_s(size, federation.batch_size) / HOUR,
            max(trained, PEAK_BYTES * params) / GB,
        ),
        Step("validation", n_validations * laws.validation_s(size) / HOUR, (trained + outputs) / GB),
        Step(
            "sealing, release, opening",
            rounds * (seal.cpu_s + opening.cpu_s) / HOUR,
            max(seal.peak_mb, opening.peak_mb) * (1 << 20) / GB,
        ),
        Step("models of assays: choosing, fitting", laws.assay_fits_s(size) / HOUR, peak_of_models / GB),
        Step("models of assays: scoring", scored / HOUR, peak_of_models / GB),
    )
    prepared = laws.prepared_bytes[0] + laws.prepared_bytes[1] * size.n_compounds
    models = 2 * 2 * laws.model_bytes * sum(size.forests)  # both sides, in the run's file and in the finished model
    return Budget(
        federation,
        steps,
        home_gb=(prepared + models + HOME_BYTES * params + 2 * (up + down)) / GB,
        up_gb=rounds * up / GB,
        down_gb=rounds * down / GB,
        adding_hours=rounds * add.cpu_s / HOUR,
        adding_mb=add.peak_mb,
        exchange_gb=rounds * (partners * up + down) / GB,
    )
