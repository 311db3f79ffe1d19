"""Sparse arithmetic of training: only set bits on the input side, only observed labels on the output side.

With an equal number of threads every function returns the same bits: all operands are torch's own memory (64-byte
aligned, so that vectorised loops split alike) and every sum runs in a fixed order.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse

# above this share of observed labels one dense product is faster than a dot product for every label (measured)
_DENSE_HEAD_ABOVE = 0.15


def _has_mkl() -> bool:
    return bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]  # torch declares no types here


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Rows of a sparse matrix as torch tensors; `values` is None if all stored values are 1."""

    indptr: torch.Tensor  # (n_rows + 1,) int32
    indices: torch.Tensor  # (n_stored,) int32
    values: torch.Tensor | None  # (n_stored,) float32
    shape: tuple[int, int]


def sparse_rows(matrix: sparse.csr_matrix, device: str = "cpu") -> SparseRows:
    """Copy a CSR matrix to torch."""
    binary = bool((matrix.data == 1).all())
    return SparseRows(
        indptr=torch.tensor(matrix.indptr, dtype=torch.int32, device=device),
        indices=torch.tensor(matrix.indices, dtype=torch.int32, device=device),
        values=None if binary else torch.tensor(matrix.data, dtype=torch.float32, device=device),
        shape=(int(matrix.shape[0]), int(matrix.shape[1])),
    )


def sparse_times_dense(rows: SparseRows, dense: torch.Tensor) -> torch.Tensor:
    """Product of sparse rows (n, m) and a dense matrix (m, k): (n, k)."""
    return torch.nn.functional.embedding_bag(
        rows.indices, dense, rows.indptr, mode="sum", per_sample_weights=rows.values, include_last_offset=True
    )


def _csr_tensor(rows: SparseRows) -> torch.Tensor:
    values = torch.ones(rows.indices.shape[0], device=rows.indices.device) if rows.values is None else rows.values
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(rows.indptr, rows.indices, values, size=rows.shape, check_invariants=False)


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Positions of a batch's observed labels, in row order and in task order."""

    indptr: torch.Tensor  # (n_rows + 1,) int32
    tasks: torch.Tensor  # (n_labels,) int32 column of each label
    rows: torch.Tensor  # (n_labels,) int64 row of each label
    by_task: torch.Tensor  # (n_labels,) int64 positions of the labels sorted by task
    task_indptr: torch.Tensor  # (n_tasks + 1,) int32
    shape: tuple[int, int]
    dense: bool  # one dense product instead of a dot product for every label


def observed(y: sparse.csr_matrix, *, dense: bool | None = None, device: str = "cpu") -> Observed:
    """Pattern of the stored labels of y (n_rows, n_tasks); `dense` None: chosen by the share of observed labels."""
    n_rows, n_tasks = y.shape
    by_task = np.argsort(y.indices, kind="stable")
    counts = np.bincount(y.indices, minlength=n_tasks)
    if dense is None:
        dense = y.nnz == 0 or y.nnz > _DENSE_HEAD_ABOVE * n_rows * n_tasks or not _has_mkl()
    return Observed(
        indptr=torch.tensor(y.indptr, dtype=torch.int32, device=device),
        tasks=torch.tensor(y.indices, dtype=torch.int32, device=device),
        rows=torch.tensor(np.repeat(np.arange(n_rows), np.diff(y.indptr)), device=device),
        by_task=torch.tensor(by_task, device=device),
        task_indptr=torch.tensor(np.concatenate([[0], np.cumsum(counts)]), dtype=torch.int32, device=device),
        shape=(int(n_rows), int(n_tasks)),
        dense=dense,
    )


class ObservedOutputs(torch.autograd.Function):
    """A head's last layer for the observed labels only.

    hidden (n_rows, h), weight (n_tasks, h), bias (n_tasks,) -> (n_labels,) in row order
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch gives it no type
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        labels: Observed,
    ) -> torch.Tensor:
        """Compute the outputs in row order."""
        ctx.save_for_backward(hidden, weight)
        ctx.labels = labels
        if labels.dense:
            return torch.addmm(bias, hidden, weight.T)[labels.rows, labels.tasks]
        pattern = _csr_tensor(SparseRows(labels.indptr, labels.tasks, None, labels.shape))
        dots: torch.Tensor = torch.sparse.sampled_addmm(pattern, hidden, weight.T, beta=0.0).values()
        return dots + bias[labels.tasks]

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 -- torch gives it no type
        slope: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, None]:
        """Compute the gradients of hidden, and of weight and bias if wanted, from the outputs' gradient (n_labels,)."""
        hidden, weight = ctx.saved_tensors
        labels: Observed = ctx.labels
        if not ctx.needs_input_grad[1]:
            return _hidden_gradient(slope, weight, labels), None, None, None
        return _hidden_gradient(slope, weight, labels), *head_gradients(slope, hidden, labels), None


def _hidden_gradient(slope: torch.Tensor, weight: torch.Tensor, labels: Observed) -> torch.Tensor:
    if labels.dense:
        return _dense_slopes(slope, labels) @ weight
    by_row = SparseRows(labels.indptr, labels.tasks, slope.contiguous(), labels.shape)
    return sparse_times_dense(by_row, weight)


def head_gradients(slope: torch.Tensor, hidden: torch.Tensor, labels: Observed) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of a head's weight (n_tasks, h) and bias (n_tasks,) from the outputs' gradient.

    slope : (n_labels,) in row order; hidden : (n_rows, h), the layer's input
    """
    if labels.dense:
        full = _dense_slopes(slope, labels)
        return full.T @ hidden, full.sum(dim=0)
    n_rows, n_tasks = labels.shape
    task_rows, task_slope = labels.rows[labels.by_task].int(), slope.contiguous()[labels.by_task]
    by_task = SparseRows(labels.task_indptr, task_rows, task_slope, (n_tasks, n_rows))
    bias_slope = sparse_times_dense(by_task, torch.ones(n_rows, 1, device=slope.device)).squeeze(1)
    return sparse_times_dense(by_task, hidden), bias_slope


def _dense_slopes(slope: torch.Tensor, labels: Observed) -> torch.Tensor:
    full = torch.zeros(labels.shape, device=slope.device)
    full[labels.rows, labels.tasks] = slope
    return full


class MaskedRelu(torch.autograd.Function):
    """relu, mask and factor in one: positive values where the mask is true, times a factor; 0 elsewhere.

    Only the result is kept for the gradient: it is above 0 exactly where the gradient passes.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch gives it no type
        values: torch.Tensor,
        mask: torch.Tensor,
        factor: float,
    ) -> torch.Tensor:
        """Clip, mask (bool) and scale the values; both of one shape, factor above 0."""
        out = values.clamp(min=0).mul_(mask).mul_(factor)
        ctx.save_for_backward(out)
        ctx.factor = factor
        return out

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 -- torch gives it no type
        slope: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None]:
        """Gradient of the values."""
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(slope, out, 0).mul_(ctx.factor), None, None


class Masked(torch.autograd.Function):
    """Mask and factor in one: values where the mask is true, times a factor; 0 elsewhere.

    Only the mask is kept for the gradient, a byte for each value.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch gives it no type
        values: torch.Tensor,
        mask: torch.Tensor,
        factor: float,
    ) -> torch.Tensor:
        """Mask (bool) and scale the values; both of one shape."""
        ctx.mask, ctx.factor = mask, factor
        return mask.to(values.dtype).mul_(factor).mul_(values)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 -- torch gives it no type
        slope: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None]:
        """Gradient of the values."""
        return ctx.mask.to(slope.dtype).mul_(ctx.factor).mul_(slope), None, None
