"""Heads for other tables than they were trained on: tasks that are still there keep theirs, new tasks get new ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from partners.network.state import CLASSIFICATION, REGRESSION, Arrays, PartnerState
from partners.training_data.task_keys import TaskKeys


def keep_heads(state: PartnerState, before: TaskKeys, now: TaskKeys, fresh: PartnerState) -> PartnerState:
    """The state for today's tasks; the state itself if they are those of before.

    before, now : the tasks of the state's heads and of today's tables, in the order of the heads' rows
    fresh       : state before any training on today's tables, whose memory is used

    The optimiser begins anew, as `fresh` has it: a new row among moments of many steps would take steps several times
    too large. Regression tasks keep the mean and deviation that their heads were trained with. Layers of other sizes
    are returned as they were, for `check_state` to refuse.
    """
    if before == now:
        return state
    kinds = {
        CLASSIFICATION: (before.classification, now.classification),
        REGRESSION: (before.regression, now.regression),
    }
    rows = {kind: _rows(*keys) for kind, keys in kinds.items()}
    heads = {name: _kept_rows(name, state.heads, array, rows) for name, array in fresh.heads.items()}
    normalisation = {
        name: _with_rows(array, state.normalisation.get(name), rows[REGRESSION])
        for name, array in fresh.normalisation.items()
    }
    return replace(fresh, heads=heads, normalisation=normalisation, columns=state.columns)


_Rows = tuple[NDArray[np.int64], NDArray[np.int64]]  # of tasks that both have: their rows before, their rows now


def _rows(before: Sequence[str], now: Sequence[str]) -> _Rows:
    place = {key: row for row, key in enumerate(before)}
    pairs = [(place[key], row) for row, key in enumerate(now) if key in place]
    old, new = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return old, new


def _kept_rows(name: str, before: Arrays, fresh: NDArray[np.float32], rows: Mapping[str, _Rows]) -> NDArray[np.float32]:
    """A head tensor: the layer of the tasks row by row, the layers before it whole."""
    old, kind = before.get(name), name.partition(".")[0]
    if old is None:
        return fresh
    is_last = name.count(".") == 1
    return _with_rows(fresh, old, rows[kind]) if is_last and old.shape[1:] == fresh.shape[1:] else old


def _with_rows(fresh: NDArray[np.float32], old: NDArray[np.float32] | None, rows: _Rows) -> NDArray[np.float32]:
    if old is not None:
        fresh[rows[1]] = old[rows[0]]
    return fresh
