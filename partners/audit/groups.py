"""Groups of candidates whose membership may be revealed to different degrees."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from partners.audit.attacks import ShadowScores, vulnerability
from partners.models.similarity import Neighbours
from partners.training_data.training_set import TrainingSet

Flags = NDArray[np.bool_]

_LABELS = ((1, 1), (2, 3), (4, 9), (10, None))  # own labels and values of a compound, first and last


def groups_of(data: TrainingSet, rows: NDArray[np.int64], shadows: ShadowScores | None) -> Iterator[tuple[str, Flags]]:
    """Name and members, flags (n,), of each group of the candidates `rows`.

    By class, by number of own labels, by similarity to the nearest training compound, and with shadows the tenth whose
    confidence training moves most.
    """
    yield from _by_class(data, rows)
    n_labels = data.labels_per_row[rows]
    for first, last in _LABELS:
        name = f"{first} labels or more" if last is None else f"{first} to {last} labels" if last > first else "1 label"
        yield name, (n_labels >= first) & (n_labels <= (last or n_labels.max(initial=0)))
    yield from _thirds("similarity to its nearest", _nearest(data, rows))
    if shadows is not None:
        moved = vulnerability(shadows)
        yield "tenth that training moves most", moved >= np.quantile(moved, 0.9)


def _by_class(data: TrainingSet, rows: NDArray[np.int64]) -> Iterator[tuple[str, Flags]]:
    balance = np.asarray(data.y[rows].sum(axis=1)).ravel()
    yield "mostly active", balance > 0
    yield "mostly inactive", balance < 0


def _thirds(name: str, values: NDArray[np.float32]) -> Iterator[tuple[str, Flags]]:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    yield f"{name}: lowest third", values <= low
    yield f"{name}: middle third", (values > low) & (values <= high)
    yield f"{name}: highest third", values > high


def _nearest(data: TrainingSet, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Tanimoto similarity of each candidate to the nearest of every second candidate, itself never among them, (n,)."""
    similarity = np.zeros(rows.size, dtype=np.float32)
    for known, asked in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        if rows[known].size and rows[asked].size:
            similarity[asked] = Neighbours(data.x[rows[known]]).nearest(data.x[rows[asked]])
    return similarity
