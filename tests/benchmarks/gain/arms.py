"""The arms of the comparison: each gives every partner a trunk and heads after the same number of optimiser steps."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.model import Dropout, Network, make_batch, use_threads
from partners.state import HEAD_BIAS, HEAD_WEIGHT, PartnerState, initial_heads, parameter_shapes
from partners.training import round_seed, shuffled_rows, train_round
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
    """One network in one process; every step takes a batch of every partner.

    columns : by partner, (n_tasks,) the common task of each of its tasks; private heads where no two are the same
    """
    sets = [member.training_set for member in members.values()]
    where = list(columns.values())
    training = next(iter(members.values())).training
    n_tasks = 1 + max(int(column.max()) for column in where)
    heads_seed, rows_seed, dropout_seed = np.random.SeedSequence(round_seed(training.seed, 0)).spawn(3)
    seeds = [rows_seed, *rows_seed.spawn(len(sets) - 1)]
    rows = [
        shuffled_rows(part.training_rows, member.training.batch_size, np.random.default_rng(seed))
        for part, member, seed in zip(sets, members.values(), seeds, strict=True)
    ]
    weight = _common_weight(sets, where, n_tasks)
    heads = initial_heads(agreed.layout, n_tasks, np.random.default_rng(heads_seed))
    dropout = Dropout.of(agreed.trunk, training, np.random.default_rng(dropout_seed))
    with use_threads(training.n_threads):
        network = Network(agreed.layout, initial_trunk(agreed.layout, agreed.trunk_seed), heads)
        adam = torch.optim.Adam(
            list(network.parameters.values()), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        for round_no in range(agreed.n_rounds):
            before = time.process_time()
            for _ in range(agreed.local_steps):
                network.loss_and_gradients(make_batch(*_stacked(sets, where, rows, n_tasks), weight), dropout)
                adam.step()
            seconds = time.process_time() - before
            for name, column in columns.items():
                tell(round_no + 1, name, Model(network.trunk(), _state_of(network, agreed, column), seconds))


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


def _common_weight(
    sets: Sequence[TrainingSet], where: Sequence[NDArray[np.int64]], n_tasks: int
) -> NDArray[np.float32]:
    """Mean weight of each common task over the partners that have it."""
    every = np.concatenate(where)
    total = np.bincount(every, weights=np.concatenate([part.training_weight for part in sets]), minlength=n_tasks)
    return (total / np.maximum(1, np.bincount(every, minlength=n_tasks))).astype(np.float32)


def _stacked(
    sets: Sequence[TrainingSet],
    where: Sequence[NDArray[np.int64]],
    rows: Sequence[Iterator[NDArray[np.int64]]],
    n_tasks: int,
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """The next batch of every partner, one below the other: x and common y."""
    chosen = [next(of_partner) for of_partner in rows]
    x = sparse.vstack([part.x[r] for part, r in zip(sets, chosen, strict=True)], format="csr")
    y = sparse.vstack(
        [_moved(part.y[r], column, n_tasks) for part, column, r in zip(sets, where, chosen, strict=True)], format="csr"
    )
    y.sort_indices()
    return x, y


def _moved(y: sparse.csr_matrix, column: NDArray[np.int64], n_tasks: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((y.data, column[y.indices], y.indptr), shape=(y.shape[0], n_tasks))


def _state_of(network: Network, agreed: Agreed, column: NDArray[np.int64]) -> PartnerState:
    """The partner's rows of the common heads, with moments of the right shape: nobody trains on from here."""
    heads = {name: network.array(name)[column].copy() for name in (HEAD_WEIGHT, HEAD_BIAS)}
    zeros = {n: np.broadcast_to(np.float32(0), s) for n, s in parameter_shapes(agreed.layout, len(column)).items()}
    return PartnerState(heads, zeros, zeros, n_steps=0)
