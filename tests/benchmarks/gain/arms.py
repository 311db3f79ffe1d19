"""The arms of the comparison: each gives every partner a trunk and heads after the same number of optimiser steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.state import Arrays, PartnerState
from partners.training import round_seed, train_round
from partners.training_set import TrainingSet
from partners.trunk import initial_trunk
from tests.benchmarks.gain.partners import permuted
from tests.pipeline.clear_rounds import Agreed, Member, State, clear_rounds

Members = Mapping[str, Member]


@dataclass(frozen=True, eq=False)
class Model:
    """One partner's trunk and heads, and what the round before cost."""

    trunk: NDArray[np.float32]
    state: PartnerState
    seconds: float  # CPU seconds of the last round, all partners
    cosine: float = float("nan")
    clipped: float = float("nan")


Tell = Callable[[int, str, Model], None]  # (rounds done, partner, its model)


def local(members: Members, agreed: Agreed, tell: Tell) -> None:
    """Each partner alone: what `partners.baseline` does, seed by seed."""
    for name, member in members.items():
        trunk, state = initial_trunk(agreed.layout, agreed.trunk_seed), None
        for round_no in range(agreed.n_rounds):
            before = time.process_time()
            seed = round_seed(member.training.seed, round_no)
            result = train_round(
                member.training_set, trunk, state, agreed.layout, agreed.trunk, member.training, seed,
                agreed.local_steps,
            )  # fmt: skip
            trunk, state = trunk + result.trunk_change, result.state
            tell(round_no + 1, name, Model(trunk, state, time.process_time() - before))


def federated(members: Members, agreed: Agreed, tell: Tell) -> None:
    """The rounds of the protocol."""

    def after(round_no: int, state: State) -> None:
        for name in members:
            clipped = state.clipped[name]
            tell(round_no, name, Model(state.trunk, state.private[name], state.seconds, state.cosine, clipped))

    clear_rounds(members, agreed, after)


def shuffled(members: Members, agreed: Agreed, tell: Tell, honest: Sequence[str]) -> None:
    """For each honest partner a federation in which all others' training labels are permuted; only it is told of."""
    for name in honest:
        rng = np.random.default_rng([agreed.trunk_seed, *name.encode()])
        mixed = {
            other: member if other == name else Member(permuted(member.training_set, rng), member.training)
            for other, member in members.items()
        }
        federated(mixed, agreed, lambda n, who, model, name=name: tell(n, who, model) if who == name else None)


def together(members: Members, columns: Mapping[str, NDArray[np.int64]], agreed: Agreed, tell: Tell) -> None:
    """One network trained in one process, whose batches hold a batch of every partner.

    columns : by partner, (n_tasks,) the common task of each of its tasks; private heads where no two are the same
    """
    first = next(iter(members.values())).training
    sizes = [min(m.training.batch_size, m.training_set.training_rows.size) for m in members.values()]
    everyone = Member(stacked(members, columns), replace(first, batch_size=sum(sizes)))

    def tell_all(n_done: int, _: str, model: Model) -> None:
        for name, column in columns.items():
            tell(n_done, name, replace(model, state=_rows_of(model.state, column)))

    local({"everyone": everyone}, agreed, tell_all)


def stacked(members: Members, columns: Mapping[str, NDArray[np.int64]]) -> TrainingSet:
    """All partners' training compounds as one set; small partners' are repeated, so that all have equally many.

    A batch then holds as many compounds of each partner, up to chance. The held-out folds stay out.
    """
    n_rows = max(member.training_set.training_rows.size for member in members.values())
    n_tasks = 1 + max(int(column.max()) for column in columns.values())
    x, y, every, weights = [], [], [], []
    for name, member in members.items():
        rows = np.resize(member.training_set.training_rows, n_rows)
        x.append(member.training_set.x[rows])
        y.append(_moved(member.training_set.y[rows], columns[name], n_tasks))
        every.append(columns[name])
        weights.append(member.training_set.training_weight)
    number = np.concatenate(every)
    total = np.bincount(number, weights=np.concatenate(weights), minlength=n_tasks)
    return TrainingSet(
        x=sparse.vstack(x, format="csr"),
        y=sparse.vstack(y, format="csr"),
        folding=np.full(n_rows * len(members), 2),
        training_weight=(total / np.bincount(number, minlength=n_tasks)).astype(np.float32),  # mean over its partners
    )


def private_columns(members: Members) -> dict[str, NDArray[np.int64]]:
    """Common tasks of *joint*: every partner's tasks are its own."""
    starts = np.cumsum([0, *(member.training_set.n_tasks for member in members.values())])
    return {
        name: start + np.arange(member.training_set.n_tasks)
        for start, (name, member) in zip(starts[:-1], members.items(), strict=True)
    }


def pooled_columns(keys: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int64]]:
    """Common tasks of *pooled*: tasks with equal keys (target, endpoint, threshold) are one."""
    number: dict[str, int] = {}
    return {
        name: np.array([number.setdefault(key, len(number)) for key in of_partner]) for name, of_partner in keys.items()
    }


def _moved(y: sparse.csr_matrix, column: NDArray[np.int64], n_tasks: int) -> sparse.csr_matrix:
    """The same labels in the columns of the common tasks."""
    if np.unique(column).size < column.size:
        raise ValueError("two tasks of one partner are the same task: their labels would be added up")
    return sparse.csr_matrix((y.data, column[y.indices], y.indptr), shape=(y.shape[0], n_tasks))


def _rows_of(state: PartnerState, column: NDArray[np.int64]) -> PartnerState:
    """A partner's rows of the common heads, to be looked at and never trained on."""
    is_head = set(state.heads)

    def rows(arrays: Arrays) -> Arrays:
        return {name: array[column] if name in is_head else array for name, array in arrays.items()}

    heads, moments = rows(state.heads), (rows(state.first_moment), rows(state.second_moment))
    return replace(state, heads=heads, first_moment=moments[0], second_moment=moments[1])
