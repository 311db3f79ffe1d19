"""A partner's part of the sums by which common targets get one ridge over the compounds of all partners.

The ridge of a target is the w that makes |y - F w|^2 + penalty |w|^2 least, over the compounds that all measured: F
are their features, y their values. Each assay has an offset of its own, so the means of an assay are taken from both,
and partners whose assays differ by a constant do not disturb each other. w solves

    (sum F'CF + penalty) w = sum F'Cy        sums over partners; C takes from each assay its mean

and a step of conjugate gradients needs of a partner F'CF v for a vector v that all know. Nothing else is in the sums.
What these tell is measured in partners/README.md, Target models: no round makes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.assays import Assay
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values
from partners.assay_models.inputs import Inputs, kernel
from partners.target_models.min_hash import MinHashes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TargetValues:
    """A partner's measurements of one target, one assay after the other."""

    compounds: NDArray[np.int64]  # (n,) rows of the partner's compounds
    values: Floats  # (n,) log units; higher is more active
    starts: NDArray[np.int64]  # (n_assays,) where each assay begins

    @classmethod
    def of(cls, assays: Iterable[Assay], inputs: Inputs) -> Self:
        """The measurements of some assays, of which each has one; bounds become the values expected beyond them.

        inputs : of all of the partner's compounds
        """
        parts = [assay for assay in assays if assay.rows.size]
        sizes = [0, *(assay.rows.size for assay in parts)]
        compounds = np.concatenate([np.zeros(0, np.int64), *(assay.rows for assay in parts)])
        values = np.concatenate([np.zeros(0), *(_active_high(assay, inputs) for assay in parts)])
        return cls(compounds, values, np.cumsum(sizes, dtype=np.int64)[:-1])

    def centred(self, numbers: Floats) -> Floats:
        """The numbers, (n,), minus the mean of those of the same assay."""
        if not numbers.size:
            return numbers
        count = np.diff([*self.starts, numbers.size])
        centred: Floats = numbers - np.repeat(np.add.reduceat(numbers, self.starts) / count, count)
        return centred


def _active_high(assay: Assay, inputs: Inputs) -> Floats:
    sign = assay.signs[0] if assay.signs else 1
    if not assay.marks.any() or assay.rows.size > MOST_ROWS:
        return sign * assay.values
    mine = inputs[assay.rows].without_hidden()
    return sign * expected_values(kernel(mine, mine), assay.values, assay.marks)


@dataclass(frozen=True, slots=True, eq=False)
class OwnPart:
    """A partner's compounds and its values of those common targets that it measured."""

    hashes: MinHashes
    buckets: NDArray[np.uint8]  # (n_compounds, n_hashes)
    held: Mapping[int, TargetValues]  # by number of the target

    def values_part(self, target: int) -> Floats:
        """F'Cy, (n_features,); zeros for a target that the partner does not hold."""
        mine = self.held.get(target)
        if mine is None:
            return np.zeros(self.hashes.n_features)
        return _transposed(self._features(mine), mine.centred(mine.values))

    def product_part(self, target: int, vector: NDArray[np.floating]) -> Floats:
        """F'CF v, (n_features,); zeros for a target that the partner does not hold."""
        mine = self.held.get(target)
        if mine is None:
            return np.zeros(self.hashes.n_features)
        features = self._features(mine)
        return _transposed(features, mine.centred(features @ vector))

    def _features(self, mine: TargetValues) -> sparse.csr_matrix:
        return features_of(self.hashes, self.buckets[mine.compounds])


def features_of(hashes: MinHashes, buckets: NDArray[np.uint8]) -> sparse.csr_matrix:
    """Features of compounds, (n, n_features) float64: one bucket of each hash; each compound's have length 1.

    buckets : (n, n_hashes)
    """
    first = np.arange(hashes.n_hashes, dtype=np.int32) * np.int32(hashes.n_buckets)
    columns = (buckets + first).ravel()
    starts = np.arange(buckets.shape[0] + 1, dtype=np.int64) * hashes.n_hashes
    each = np.full(columns.size, 1 / np.sqrt(hashes.n_hashes))
    return sparse.csr_matrix((each, columns, starts), shape=(buckets.shape[0], hashes.n_features))


def predict_targets(
    hashes: MinHashes, buckets: NDArray[np.uint8], weights: Sequence[NDArray[np.floating]] | NDArray[np.floating]
) -> Floats:
    """F w of every target, (n, n_targets), log units: differences between compounds; each assay has another offset.

    buckets : (n, n_hashes); weights : (n_targets, n_features)
    """
    product: Floats = features_of(hashes, buckets) @ np.asarray(weights, np.float64).T
    return product


def _transposed(features: sparse.csr_matrix, values: Floats) -> Floats:
    product: Floats = features.T @ values
    return product
