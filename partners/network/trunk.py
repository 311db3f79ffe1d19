"""The shared part of the network as one flat float32 vector: the trunk, followed by the catalogue's head rows.

If input columns are counted, the vector has those of the trunk's input weight that enough partners hold, and no other.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.errors import TrunkMismatch
from partners.settings import TrunkSettings
from partners.training_data.aligned_arrays import empty, pieces

INPUT_WEIGHT = "trunk.0.weight"  # (n_inputs, hidden[0]): a row for each input column
INPUT_BIAS = "trunk.0.bias"  # (hidden[0],)
CATALOGUE_WEIGHT, CATALOGUE_BIAS = "catalogue.weight", "catalogue.bias"


@dataclass(frozen=True, slots=True)
class TrunkTensor:
    """One weight matrix or bias of the trunk and its place in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def n_params(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def place(self) -> slice:
        """Position of the values in the flat vector, row-major."""
        return slice(self.start, self.start + self.n_params)


@dataclass(frozen=True, slots=True)
class TrunkLayout:
    """Tensors of the trunk in their order in the flat vector, then those of a catalogue."""

    n_inputs: int
    hidden: tuple[int, ...]
    tensors: tuple[TrunkTensor, ...]
    n_rows: int = 0  # places for rows of the catalogue; 0: the vector is the trunk alone
    n_columns: int | None = None  # input columns in the vector; None: all

    @property
    def trunk(self) -> "TrunkLayout":
        """Layout of the whole trunk alone; it is the beginning of a vector that has all input columns."""
        return trunk_layout(self.n_inputs, self.hidden)

    @property
    def n_params(self) -> int:
        """Length of the flat vector."""
        return sum(tensor.n_params for tensor in self.tensors)

    def views(self, trunk: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Every tensor by name, in its shape, as a view into the flat vector."""
        return {tensor.name: trunk[tensor.place].reshape(tensor.shape) for tensor in self.tensors}


def padded_rows(n_travelling: int) -> int:
    """Number of places for head rows, 0 or the next power of two, so that the vector's length reveals little."""
    return 1 << (n_travelling - 1).bit_length() if n_travelling else 0


def trunk_layout(n_inputs: int, hidden: tuple[int, ...], n_rows: int = 0, n_columns: int | None = None) -> TrunkLayout:
    """Layout of a trunk: `trunk.0.weight` (n_inputs, hidden[0]), then `trunk.i.weight` (hidden[i], hidden[i-1]).

    Every weight is followed by its bias `trunk.i.bias` (hidden[i],). The input weight has inputs as rows because a
    sparse compound picks whole rows of it; with `n_columns` it has as many rows only. With a catalogue of `n_rows` head
    rows, `catalogue.weight` (n_rows, hidden[-1]) and `catalogue.bias` (n_rows,) come last.
    """
    if n_inputs < 1 or not hidden or min(hidden) < 1:
        raise TrunkMismatch(f"trunk: found {n_inputs} inputs and layers {hidden}, expected positive numbers")
    if n_columns is not None and not 1 <= n_columns <= n_inputs:
        raise TrunkMismatch(f"trunk: found {n_columns} shared input columns, expected 1 to {n_inputs}")
    tensors = _tensors(n_inputs if n_columns is None else n_columns, hidden, n_rows)
    return TrunkLayout(n_inputs, tuple(hidden), tuple(tensors), n_rows, n_columns)


def _tensors(n_inputs: int, hidden: tuple[int, ...], n_rows: int) -> Iterator[TrunkTensor]:
    start = 0
    for name, shape in _shapes(n_inputs, hidden, n_rows):
        tensor = TrunkTensor(name, shape, start)
        start += tensor.n_params
        yield tensor


def _shapes(n_inputs: int, hidden: tuple[int, ...], n_rows: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for i, n_units in enumerate(hidden):
        yield f"trunk.{i}.weight", (n_inputs, n_units) if i == 0 else (n_units, hidden[i - 1])
        yield f"trunk.{i}.bias", (n_units,)
    if n_rows:
        yield CATALOGUE_WEIGHT, (n_rows, hidden[-1])
        yield CATALOGUE_BIAS, (n_rows,)


def initial_trunk(
    layout: TrunkLayout,
    seed: int,
    columns: NDArray[np.int64] | None = None,
    start: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """First shared vector of a federation: (n_params,) float32, the same on every machine for the same seed.

    Only PCG64's raw output is used, whose stream numpy guarantees; numpy's distributions may change. Weights are
    uniform in +-sqrt(6 / (rows + columns)) (Glorot and Bengio, 2010), rows of a catalogue in +-1/sqrt(columns) as
    other heads are, biases zero. The trunk is the same with and without a catalogue.
    columns : input columns that have a place in the vector, (layout.n_columns,) ascending; None: all. They have the
        values that they have in the whole trunk.
    start : (layout.trunk.n_params,) the whole trunk to begin from; None: drawn from the seed, as rows always are
    """
    trunk = empty((layout.n_params,))
    for place, values in initial_pieces(layout, seed, columns, start):
        trunk[place] = values
    return trunk


def initial_pieces(
    layout: TrunkLayout,
    seed: int,
    columns: NDArray[np.int64] | None = None,
    start: NDArray[np.float32] | None = None,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Positions and values of `initial_trunk`, in order, a piece at a time."""
    whole = trunk_layout(layout.n_inputs, layout.hidden, layout.n_rows)
    drawn = _drawn(whole.tensors, np.random.PCG64(seed))
    if start is not None:
        drawn = ((place, start[place] if place.stop <= start.size else values) for place, values in drawn)
    return drawn if columns is None else _with_columns(drawn, whole, columns)


def _with_columns(
    drawn: Iterator[tuple[slice, NDArray[np.float32]]], whole: TrunkLayout, columns: NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Leave the other columns out of the pieces of a whole vector, and move what follows to its place."""
    is_shared = np.isin(np.arange(whole.n_inputs), columns)
    n_weights, start = whole.tensors[0].n_params, 0
    for place, piece in drawn:
        values = piece
        if place.start < n_weights:
            values = piece[is_shared[np.arange(place.start, place.stop) // whole.hidden[0]]]
        yield slice(start, start + values.size), values
        start += values.size


def initial_digests(layouts: Sequence[TrunkLayout], seed: int) -> Iterator[str]:
    """`trunk_digest` of the first vector of each layout, in order; they have one whole trunk, which is drawn once.

    No vector is held: the aggregator, too, looks for the layout of a digest.
    """
    trunk, bits, hashed = layouts[0].trunk.tensors, np.random.PCG64(seed), hashlib.sha256()
    for _, values in _drawn(trunk, bits):
        hashed.update(values.astype("<f4", copy=False).data)
    after_trunk = bits.state
    for layout in layouts:
        bits.state, whole = after_trunk, hashed.copy()
        for _, values in _drawn(layout.tensors[len(trunk) :], bits):
            whole.update(values.astype("<f4", copy=False).data)
        yield whole.hexdigest()


def _drawn(tensors: Sequence[TrunkTensor], bits: np.random.PCG64) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    for tensor in tensors:
        for part in pieces(tensor.n_params):
            values = np.zeros(part.stop - part.start, dtype=np.float32)
            if tensor.name.endswith(".weight"):
                values[:] = _uniform(values.size, bits, _bound(tensor))
            yield slice(tensor.start + part.start, tensor.start + part.stop), values


def _bound(tensor: TrunkTensor) -> float:
    return 1 / math.sqrt(tensor.shape[1]) if tensor.name == CATALOGUE_WEIGHT else math.sqrt(6 / sum(tensor.shape))


def _uniform(n_values: int, bits: np.random.PCG64, bound: float) -> NDArray[np.float64]:
    unit = (bits.random_raw(n_values) >> np.uint64(11)).astype(np.float64) * 2.0**-53  # [0, 1), exact
    return (unit * 2.0 - 1.0) * bound


def check_trunk(trunk: NDArray[np.float32], layout: TrunkLayout) -> None:
    """Raise TrunkMismatch unless the vector is finite float32 of the layout's length."""
    if trunk.shape != (layout.n_params,) or trunk.dtype != np.float32:
        raise TrunkMismatch(
            f"trunk: found {trunk.dtype} of shape {trunk.shape}, expected float32 of shape ({layout.n_params},)"
        )
    check_finite(trunk)


def check_layers(layout: TrunkLayout, trunk_settings: TrunkSettings) -> None:
    """Raise TrunkMismatch if the layout has other layers than the settings, or is not that of a whole trunk alone."""
    if layout.n_columns is not None:
        raise TrunkMismatch(f"trunk: found {layout.n_columns} of {layout.n_inputs} input columns, expected all")
    if layout.n_rows:
        raise TrunkMismatch(f"trunk: found {layout.n_rows} rows of a catalogue after it, expected the trunk alone")
    if layout.hidden != tuple(trunk_settings.hidden):
        raise TrunkMismatch(f"trunk: found layers {layout.hidden} in the layout, expected {trunk_settings.hidden}")


def check_finite(trunk: NDArray[np.float32]) -> None:
    """Raise TrunkMismatch if any value is NaN or infinite."""
    n_wrong = sum(part.stop - part.start - int(np.isfinite(trunk[part]).sum()) for part in pieces(trunk.size))
    if n_wrong:
        raise TrunkMismatch(f"trunk: {n_wrong} of {trunk.size} values are not finite, expected finite numbers only")


def trunk_digest(trunk: NDArray[np.float32]) -> str:
    """SHA-256, hexadecimal, of the vector's float32 values in little-endian bytes.

    Raises TrunkMismatch for values that are not finite: partners must never agree on a broken trunk.
    """
    check_finite(trunk)
    return hashlib.sha256(np.ascontiguousarray(trunk, dtype="<f4").data).hexdigest()
