"""Predictions of a model for all tasks: the network's heads, and the models of single assays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.descriptors.scaling import quantile_scale
from partners.assay_models.fitted import AssayModel, AssayModels, KnownProcess
from partners.assay_models.inputs import BLOCK, Inputs, KnownInputs, compound_blocks
from partners.assay_models.threads import open_threads
from partners.errors import BadFeatures, CheckpointDamaged
from partners.network.inference import Outputs, Predictor

Floats = NDArray[np.float32]


class ValuePredictor:
    """Models of assays with the compounds that they know, loaded once for many predictions."""

    def __init__(self, models: Sequence[AssayModel], known: Inputs, n_descriptors: int, workers: int = 1) -> None:
        """`known`: inputs of the compounds that the Gaussian processes are for; their descriptors are not needed.

        workers : threads; the predictions do not depend on their number
        Raises CheckpointDamaged for forests of other inputs.
        """
        self._models, self._workers = models, workers
        processes = [(i, model.process) for i, model in enumerate(models) if model.process]
        self._with_process = [i for i, _ in processes]
        self._weight = _side_by_side([process for _, process in processes], known.n_compounds)
        self._mean = np.array([process.process.mean for _, process in processes], np.float32)
        self._known = KnownInputs.of(known if processes else known[:0])
        n_inputs = known.bits.shape[1] + known.hidden.shape[1] + n_descriptors
        forests = [model.forest for model in models if model.forest]
        if any(forest.feature.max() >= n_inputs for forest in forests):
            raise CheckpointDamaged(f"forest: asks for an input that is not there, expected {n_inputs} inputs")

    def __call__(self, inputs: Inputs) -> Floats:
        """Values of each model's assay, (n, n_models), units of the assays."""
        values = np.empty((inputs.n_compounds, len(self._models)), np.float32)

        def fill(part: slice) -> None:
            values[part] = self._of_block(_filled(inputs[part]))[: part.stop - part.start]

        # with other numbers of threads numpy adds up in another order
        with open_threads(self._workers) as pool:
            for _ in pool.map(fill, compound_blocks(inputs.n_compounds)):
                pass
        return values

    def _of_block(self, inputs: Inputs) -> Floats:
        total = np.zeros((BLOCK, len(self._models)), np.float32)
        count = np.zeros(len(self._models), np.float32)
        if self._with_process:
            total[:, self._with_process] += (self._weight @ self._known.kernel(inputs).T).T + self._mean
            count[self._with_process] += 1
        dense = None
        for i, model in enumerate(self._models):
            if model.forest:
                dense = inputs.dense() if dense is None else dense
                total[:, i] += model.forest.predict(dense).astype(np.float32)
                count[i] += 1
        return total / count


class AssayPredictor:
    """A network with the assay models that stand on it, loaded once for many predictions."""

    def __init__(self, network: Predictor, models: AssayModels, known: sparse.csr_matrix, workers: int = 1) -> None:
        """`known`: (n_known, n_bits) fingerprints of the training folds' compounds.

        workers : threads of the assay models; the predictions do not depend on their number
        Raises CheckpointDamaged for forests of other inputs, and what the network raises.
        """
        self._network, self._models = network, models
        hidden = self.hidden(known) if models.uses_trunk else None
        self._values = ValuePredictor(models.models, Inputs.of(known, hidden), models.quantiles.shape[1], workers)

    def __call__(self, x: sparse.csr_matrix, descriptors: Floats | None = None) -> Outputs:
        """Predict every task for every row of x, (n, n_bits), in the group's order of bits.

        descriptors : (n, n_descriptors) as RDKit gives them, needed if the models use them
        Raises BadFeatures or FeatureCountMismatch.
        """
        outputs = self._network(x)
        if not self._models.models:
            return self._mixed(outputs, np.zeros((x.shape[0], 0), np.float32))
        return self._mixed(outputs, self.values(x, descriptors))

    def values(self, x: sparse.csr_matrix, descriptors: Floats | None = None) -> Floats:
        """Values of each model's assay, (n, n_models), units of the assays."""
        return self._values(self.inputs(x, descriptors, on_trunk=self._models.uses_trunk))

    def hidden(self, x: sparse.csr_matrix) -> Floats:
        """The trunk's hidden layer after ReLU, (n, n_units)."""
        hidden = self._network.hidden(x)
        return np.maximum(hidden, np.float32(0), out=hidden)

    def inputs(self, x: sparse.csr_matrix, descriptors: Floats | None = None, *, on_trunk: bool) -> Inputs:
        """Inputs of assay models: fingerprints, scaled descriptors if the models use them, and the hidden layer.

        on_trunk : whether the hidden layer is wanted
        Raises BadFeatures without the descriptors that the models use.
        """
        return Inputs.of(x, self.hidden(x) if on_trunk else None, self._scaled(descriptors, x.shape[0]))

    def _scaled(self, descriptors: Floats | None, n_compounds: int) -> Floats | None:
        if not self._models.uses_descriptors:
            return None
        found = "none" if descriptors is None else descriptors.shape
        expected = (n_compounds, self._models.quantiles.shape[1])
        if descriptors is None or found != expected:
            raise BadFeatures(f"descriptors: found {found}, expected {expected}, as the models use them")
        return quantile_scale(descriptors, self._models.quantiles)

    def _mixed(self, network: Outputs, values: Floats) -> Outputs:
        models, mixing = self._models, self._models.mixing
        logits = network.logits * mixing.by_network + mixing.offset
        own = np.flatnonzero(models.of_task >= 0)
        logits[:, own] += values[:, models.of_task[own]] * mixing.by_value[own]
        predicted = network.values.copy()
        own = np.flatnonzero(models.of_regression >= 0)
        predicted[:, own] = values[:, models.of_regression[own]]
        return Outputs(logits, predicted)


def _side_by_side(processes: Sequence[KnownProcess], n_known: int) -> sparse.csr_matrix:
    """Weights of all processes, (n_processes, n_known); most are 0, as an assay has measured few of the compounds."""
    row = np.repeat(np.arange(len(processes)), [known.compounds.size for known in processes])
    column = np.concatenate([np.zeros(0, np.int64), *(known.compounds for known in processes)])
    weight = np.concatenate([np.zeros(0, np.float32), *(known.process.weight for known in processes)])
    return sparse.csr_matrix((weight, (row, column)), shape=(len(processes), n_known))


def _filled(inputs: Inputs) -> Inputs:
    """Pad the inputs to a whole block, so that results do not depend on the batch.

    Products of one shape are computed in one way.
    """
    missing = BLOCK - inputs.n_compounds
    if not missing:
        return inputs
    starts = np.concatenate([inputs.bits.indptr, np.full(missing, inputs.bits.indptr[-1], inputs.bits.indptr.dtype)])
    shape = (BLOCK, inputs.bits.shape[1])
    hidden, descriptors = (
        np.vstack([part, np.zeros((missing, part.shape[1]), np.float32)])
        for part in (inputs.hidden, inputs.descriptors)
    )
    return Inputs(sparse.csr_matrix((inputs.bits.data, inputs.bits.indices, starts), shape=shape), hidden, descriptors)
