"""Laws by which the cost of a partner's local work grows: each a sum of terms times numbers, fitted to runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from partners.assay_models.gaussian_process import MOST_ROWS
from partners.assay_models.inputs import BLOCK

Terms = tuple[float, ...]
BYTES_PER_WEIGHT = 12  # float32: the weight and Adam's two moments


def fit_law(terms: Sequence[Terms], measured: Sequence[float]) -> Terms:
    """Numbers of at least 0, one for each term, with the least squared relative errors."""
    scaled = np.array(terms, dtype=np.float64) / np.array(measured)[:, None]
    scale = scaled.max(axis=0)
    return tuple(nnls(scaled / scale, np.ones(len(measured)))[0] / scale)


def value(numbers: Terms, terms: Terms) -> float:
    """What a law says for some terms."""
    return float(np.dot(numbers, terms))


@dataclass(frozen=True, slots=True)
class Size:
    """What the cost of a partner's local work depends on."""

    n_compounds: int
    n_rows: int  # of T1
    n_bits_set: int  # over all compounds
    n_labels: int  # over all compounds and tasks
    n_tasks: int
    n_training: int  # compounds
    n_validation: int
    n_test: int
    n_inputs: int
    n_units: int  # of the one hidden layer
    assays: tuple[int, ...]  # measurements in the training folds, of each assay with a model of its own
    processes: tuple[int, ...]  # of those with a Gaussian process
    forests: tuple[int, ...]  # of those with a forest

    @property
    def n_weights(self) -> int:
        """Of trunk and heads."""
        return (self.n_inputs + 1) * self.n_units + (self.n_units + 1) * self.n_tasks

    @property
    def n_entries(self) -> float:
        """Set bits and labels of a compound: each costs a row of weights."""
        return (self.n_bits_set + self.n_labels) / self.n_compounds

    def tables(self) -> Terms:
        """Terms of what is done once and for each row of T1 and T2."""
        return 1.0, float(self.n_rows + self.n_compounds)

    def compounds(self) -> Terms:
        """Terms of what is done once and for each compound."""
        return 1.0, float(self.n_compounds)

    def step(self, batch_size: int) -> Terms:
        """Terms of an optimiser step: all weights, and those that the batch's compounds use."""
        batch = min(batch_size, self.n_training)
        return float(self.n_weights), batch * self.n_entries * self.n_units

    def validation(self) -> Terms:
        """Terms of scoring the network on the validation fold: once, bits by units, and tasks by units."""
        bits = self.n_bits_set / self.n_compounds
        return 1.0, self.n_validation * bits * self.n_units, float(self.n_validation * self.n_tasks * self.n_units)

    def stored(self, batch_size: int) -> Terms:
        """Terms of memory but for the weights: once, a batch's units, and each stored bit and label."""
        return 1.0, float(min(batch_size, self.n_training) * self.n_units), float(self.n_bits_set + self.n_labels)

    def scoring(self, *, on_trunk: bool) -> Terms:
        """Terms of predicting a compound with all models of assays.

        Kernels of Gaussian processes are computed with all training compounds, from bits and from hidden units; a tree
        of a forest is as deep as the logarithm of its compounds.
        """
        with_process = self.n_training * bool(self.processes)
        n_forests, depth = np.sum([forest_depth(size) for size in self.forests], axis=0)
        trees = [float(number) * is_side for is_side in (not on_trunk, on_trunk) for number in (n_forests, depth)]
        return float(with_process), float(with_process * self.n_units * on_trunk), *trees


def process_terms(n: float) -> Terms:
    """Terms of a Gaussian process of n measurements: once, kernel, Cholesky factor."""
    return 1.0, n**2, n**3


def forest_terms(n: float) -> Terms:
    """Terms of a forest of n measurements: once, and sorting at each level."""
    return 1.0, n * np.log2(max(n, 2.0))


def forest_depth(n: float) -> Terms:
    """Terms of scoring a compound with a forest of n measurements: once, and each level."""
    return 1.0, float(np.log2(max(n, 2.0)))


@dataclass(frozen=True, slots=True)
class AssayLaws:
    """CPU seconds of the models of one assay; the fits are those of both sides and of half of the data."""

    choose_process: Terms
    choose_forest: Terms
    fit_process: Terms
    fit_forest: Terms

    def choose_s(self, n: int) -> float:
        """Of choosing the kind for n measurements; above 5,000 there is nothing to choose."""
        if n > MOST_ROWS:
            return 0.0
        return value(self.choose_process, process_terms(n)) + value(self.choose_forest, forest_terms(n))

    def seconds(self, n: int) -> float:
        """Of choosing and fitting both kinds; above 5,000 the forest stands alone."""
        process = value(self.fit_process, process_terms(n)) if n <= MOST_ROWS else 0.0
        return self.choose_s(n) + process + value(self.fit_forest, forest_terms(n))


@dataclass(frozen=True, slots=True)
class Laws:
    """All laws: CPU seconds, and bytes."""

    structures: Terms  # of `Size.compounds`, with canonical tautomers
    tables: Terms  # of `Size.tables`, tautomers kept: chemistry without tautomers, tables, folds, matrices
    step: Terms
    validation: Terms  # scores included
    assays: AssayLaws
    scoring: Terms  # of one compound
    training_bytes: Terms  # of `Size.stored`
    prepared_bytes: Terms  # of `Size.compounds`, on disk
    model_bytes: float  # on disk and in memory, for each measurement in the training folds and side
    hidden_bytes: float  # in memory, for each training compound and unit

    def prepare_s(self, size: Size) -> float:
        """Of preparing all tables with canonical tautomers."""
        return value(self.tables, size.tables()) + value(self.structures, size.compounds())

    def step_s(self, size: Size, batch_size: int) -> float:
        """Of an optimiser step."""
        return value(self.step, size.step(batch_size))

    def validation_s(self, size: Size) -> float:
        """Of scoring the network on the validation fold."""
        return value(self.validation, size.validation())

    def assay_fits_s(self, size: Size) -> float:
        """Of choosing and fitting the models of all assays."""
        processes = sum(value(self.assays.fit_process, process_terms(n)) for n in size.processes)
        forests = sum(value(self.assays.fit_forest, forest_terms(n)) for n in size.forests)
        return sum(map(self.assays.choose_s, size.assays)) + processes + forests

    def scoring_s(self, size: Size, n_alone: int, n_on_trunk: int) -> float:
        """Of predicting so many compounds with the strongest local models, and with the take-home models."""
        alone = n_alone * value(self.scoring, size.scoring(on_trunk=False))
        return alone + n_on_trunk * value(self.scoring, size.scoring(on_trunk=True))

    def training_peak(self, size: Size, batch_size: int) -> float:
        """Bytes of a process that trains."""
        return BYTES_PER_WEIGHT * size.n_weights + value(self.training_bytes, size.stored(batch_size))

    def models_peak(self, size: Size, n_networks: int) -> float:
        """Bytes of a process that fits the models of assays: data, networks with moments, hidden layer, all models."""
        networks = n_networks * BYTES_PER_WEIGHT * size.n_weights
        hidden = self.hidden_bytes * size.n_training * size.n_units
        models = 2 * self.model_bytes * sum(size.forests)
        kernels = 3 * 4 * BLOCK * size.n_training
        return value(self.training_bytes, size.stored(0)) + networks + hidden + models + kernels
