"""The input layer, which has most of the weights; its gradient is computed piece by piece, never as a whole.

Two facts make it fast. A few fingerprint bits are set in a large share of the compounds: they are multiplied as one
dense block, the others as a sparse tail. And a gradient of the trunk's size costs more to write to memory and to read
again than to compute: it is computed in pieces that fit the processor's cache, and the optimiser uses each piece before
the next is computed. The sums are those of the plain product, in another order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.network.kernels import SparseRows, sparse_rows, sparse_times_dense

# a dense column of a batch is cheaper than its sparse entries above this share of set bits (measured)
_FREQUENT_ABOVE = 1 / 8
_FREQUENT_MOST = 256
_FREQUENT_LEAST = 8  # a thinner block is not worth its own product
_BLOCK_FROM = 1000  # compounds of a training set; with fewer the block saves nothing
_COUNTED = 1 << 20  # stored values at a time: bincount copies what it counts
_PIECE = 1 << 21  # values of a piece of the gradient, 8 MB

NO_FEATURES = np.empty(0, dtype=np.int64)


def frequent_features(x: sparse.csr_matrix) -> NDArray[np.int64]:
    """Features that more than an eighth of the rows set, ascending: at most 256, the most frequent; none if under 8."""
    counts = np.zeros(x.shape[1], dtype=np.int64)
    for start in range(0, x.nnz, _COUNTED):
        counts += np.bincount(x.indices[start : start + _COUNTED], minlength=x.shape[1])
    order = np.argsort(-counts, kind="stable")[:_FREQUENT_MOST]  # ties by position: the same on every machine
    frequent = order[counts[order] > _FREQUENT_ABOVE * x.shape[0]]
    return np.sort(frequent) if frequent.size >= _FREQUENT_LEAST else NO_FEATURES


def features_for_block(x: sparse.csr_matrix) -> NDArray[np.int64]:
    """Features of a training set's x that become the dense block; none for a small set.

    So a small set keeps the plain product's order of sums. Adam can enlarge their rounding: when the parts of a
    gradient cancelled to about Adam's epsilon, a last bit moved 1 of 16,384 weights by 2e-5 in six steps.
    """
    return frequent_features(x) if x.shape[0] >= _BLOCK_FROM else NO_FEATURES


@dataclass(frozen=True, slots=True, eq=False)
class InputRows:
    """Rows of the input matrix: a dense block of the frequent features, and a sparse tail by row and by feature."""

    frequent: NDArray[np.int64]  # (n_frequent,) ascending
    dense: torch.Tensor  # (n_rows, n_frequent) float32
    tail: SparseRows  # (n_rows, n_inputs)
    by_feature: SparseRows | None  # (n_inputs, n_rows), the tail transposed; None if no gradient is wanted
    feature_starts: NDArray[np.int32]  # (n_inputs + 1,) where each feature's entries start in `by_feature`

    @property
    def n_rows(self) -> int:
        """Number of compounds."""
        return self.tail.shape[0]

    def squared_norms(self) -> torch.Tensor:
        """Squared length of every row, (n_rows,)."""
        starts, values = self.tail.indptr.long(), self.tail.values
        n_stored = starts.diff()
        if values is None:
            return n_stored.float() + self.dense.square().sum(dim=1)
        of_tail = torch.zeros(self.n_rows, device=values.device)
        row = torch.repeat_interleave(torch.arange(self.n_rows, device=values.device), n_stored)
        return of_tail.index_add_(0, row, values.square()) + self.dense.square().sum(dim=1)


def input_rows(
    x: sparse.csr_matrix,
    frequent: NDArray[np.int64] = NO_FEATURES,
    *,
    for_gradient: bool = True,
    device: str = "cpu",
) -> InputRows:
    """Split rows of x (n_rows, n_inputs), canonical CSR, and copy them to torch.

    frequent : the training set's `features_for_block`
    """
    dense, tail = _split(x, frequent)
    transposed = tail.T.tocsr() if for_gradient else None
    return InputRows(
        frequent=frequent,
        dense=torch.tensor(dense, device=device),
        tail=sparse_rows(tail, device),
        by_feature=None if transposed is None else sparse_rows(transposed, device),
        feature_starts=np.empty(0, dtype=np.int32) if transposed is None else transposed.indptr.astype(np.int32),
    )


def _split(x: sparse.csr_matrix, frequent: NDArray[np.int64]) -> tuple[NDArray[np.float32], sparse.csr_matrix]:
    if frequent.size == 0:
        return np.zeros((x.shape[0], 0), dtype=np.float32), x
    column = np.full(x.shape[1], -1, dtype=np.int32)
    column[frequent] = np.arange(frequent.size)
    dense_column = column[x.indices]
    is_dense = dense_column >= 0
    row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    dense = np.zeros((x.shape[0], frequent.size), dtype=np.float32)
    dense[row[is_dense], dense_column[is_dense]] = x.data[is_dense]
    n_before = np.concatenate([[0], np.cumsum(~is_dense)])
    tail = sparse.csr_matrix((x.data[~is_dense], x.indices[~is_dense], n_before[x.indptr]), shape=x.shape)
    return dense, tail


Part = tuple[InputRows, torch.Tensor]  # some rows, and the loss's gradient (n_rows, n_hidden) at the layer's output


class InputLayer:
    """Weight (n_inputs, n_hidden) and bias (n_hidden,) of the first layer, outside autograd.

    pieces : consecutive rows of the weight as tensors that share its memory; the optimiser steps each of them
    places : rows of the weight that each piece holds
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        n_inputs, n_hidden = weight.shape
        n_rows = max(1, _PIECE // n_hidden)
        self.places = [slice(start, min(start + n_rows, n_inputs)) for start in range(0, n_inputs, n_rows)]
        self.pieces = [self._weight[place].requires_grad_() for place in self.places]

    def __call__(self, rows: InputRows) -> torch.Tensor:
        """Compute the layer's output, (n_rows, n_hidden)."""
        with torch.no_grad():
            out = sparse_times_dense(rows.tail, self._weight).add_(self._bias)
            if rows.frequent.size:
                out.addmm_(rows.dense, self._weight[torch.from_numpy(rows.frequent).to(out.device)])
        return out

    def each_gradient(self, parts: Sequence[Part], use: Callable[[torch.Tensor, torch.Tensor], None]) -> None:
        """Call `use` with every piece of the weight and its gradient, summed over the parts of a batch; 0 without any.

        `use` must be done with the gradient when it returns.
        """
        dense = [rows.dense.T @ slope for rows, slope in parts]
        for place, piece in zip(self.places, self.pieces, strict=True):
            use(piece, _summed_gradient(parts, dense, place) if parts else torch.zeros_like(piece, requires_grad=False))


def _summed_gradient(parts: Sequence[Part], dense: Sequence[torch.Tensor], place: slice) -> torch.Tensor:
    total = _piece_gradient(parts[0], dense[0], place)
    for part, frequent in zip(parts[1:], dense[1:], strict=True):
        total += _piece_gradient(part, frequent, place)
    return total


def _piece_gradient(part: Part, dense: torch.Tensor, place: slice) -> torch.Tensor:
    rows, slope = part
    if rows.by_feature is None:
        raise ValueError("input rows: made without for_gradient, expected with it")
    starts = rows.feature_starts[place.start : place.stop + 1]
    inside = slice(int(starts[0]), int(starts[-1]))
    values = rows.by_feature.values
    features = SparseRows(
        indptr=torch.tensor(starts - starts[0], device=slope.device),
        indices=rows.by_feature.indices[inside],
        values=None if values is None else values[inside],
        shape=(place.stop - place.start, rows.n_rows),
    )
    gradient = sparse_times_dense(features, slope)
    first, last = np.searchsorted(rows.frequent, (place.start, place.stop))
    if first < last:
        gradient[torch.from_numpy(rows.frequent[first:last] - place.start).to(slope.device)] = dense[first:last]
    return gradient
