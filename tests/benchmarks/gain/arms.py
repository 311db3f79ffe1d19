"""The arms of the comparison: each gives every partner a trunk and heads after the same number of optimiser steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.network.state import CLASSIFICATION, REGRESSION, Arrays, PartnerState
from partners.network.trunk import initial_trunk
from partners.training.training import round_seed, train_round
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.gain.partners import permuted
from tests.support.clear_rounds import Agreed, Member, State, clear_rounds

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
    """Each partner alone, as in `partners.training.baseline`."""
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


def federated(
    members: Members, agreed: Agreed, tell: Tell, regression_rows: Sequence[Mapping[str, Sequence[int]]] = ()
) -> None:
    """The rounds of the protocol.

    regression_rows : holders' tasks, for each row of the regression heads that is shared. The protocol shares none:
        here all holders get the mean of their rows after every round
    """

    def after(round_no: int, state: State) -> None:
        for row in regression_rows:
            _share_row(state.private, row)
        for name in members:
            clipped = state.clipped[name]
            trunk = state.trunk(name, members[name])
            tell(round_no, name, Model(trunk, state.private[name], state.seconds, state.cosine, clipped))

    clear_rounds(members, agreed, after)


def _share_row(private: Mapping[str, PartnerState], row: Mapping[str, Sequence[int]]) -> None:
    for part in ("weight", "bias"):
        heads = {name: private[name].heads[f"{REGRESSION}.{part}"] for name in row}
        mean = np.mean([heads[name][task] for name, tasks in row.items() for task in tasks], axis=0)
        for name, tasks in row.items():
            heads[name][list(tasks)] = mean


def shuffled(members: Members, agreed: Agreed, tell: Tell, honest: Sequence[str]) -> None:
    """For each honest partner a federation in which all others' training labels are permuted; only it is reported."""
    for name in honest:
        rng = np.random.default_rng([agreed.trunk_seed, *name.encode()])
        mixed = {
            other: member if other == name else replace(member, training_set=permuted(member.training_set, rng))
            for other, member in members.items()
        }
        federated(mixed, agreed, lambda n, who, model, name=name: tell(n, who, model) if who == name else None)


@dataclass(frozen=True)
class Columns:
    """Common task of each of a partner's tasks, for training as one network."""

    classes: NDArray[np.int64]  # (n_tasks,)
    regressions: NDArray[np.int64]  # (n_regressions,)


def together(members: Members, columns: Mapping[str, Columns], agreed: Agreed, tell: Tell) -> None:
    """One network trained in one process, with batches that hold a batch of every partner.

    columns : by partner; private heads where no two tasks are the same
    """
    first = next(iter(members.values())).training
    sizes = [min(m.training.batch_size, m.training_set.training_rows.size) for m in members.values()]
    everyone = Member(stacked(members, columns), replace(first, batch_size=sum(sizes)))

    def tell_all(n_done: int, _: str, model: Model) -> None:
        for name, column in columns.items():
            tell(n_done, name, replace(model, state=_rows_of(model.state, column)))

    local({"everyone": everyone}, agreed, tell_all)


def stacked(members: Members, columns: Mapping[str, Columns]) -> TrainingSet:
    """All partners' training compounds as one set; small partners' are repeated, so that all have equally many.

    A batch then holds as many compounds of each partner, up to chance. The held-out folds stay out.
    """
    n_rows = max(member.training_set.training_rows.size for member in members.values())
    sets = {name: member.training_set for name, member in members.items()}
    rows = {name: np.resize(one.training_rows, n_rows) for name, one in sets.items()}
    classes = {name: columns[name].classes for name in sets}
    regressions = {name: columns[name].regressions for name in sets}

    def side_by_side(matrix: str, column: Mapping[str, NDArray[np.int64]]) -> sparse.csr_matrix:
        n_tasks, parts = _n_common(column), []
        for name, one in sets.items():
            parts.append(_moved(getattr(one, matrix)[rows[name]], column[name], n_tasks))
        return sparse.vstack(parts, format="csr")

    def mean_over_partners(weight: str, column: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        number = np.concatenate([column[name] for name in sets])
        total = np.bincount(number, np.concatenate([getattr(one, weight) for one in sets.values()]), _n_common(column))
        return (total / np.bincount(number, minlength=total.size)).astype(np.float32)

    return TrainingSet(
        x=sparse.vstack([one.x[rows[name]] for name, one in sets.items()], format="csr"),
        y=side_by_side("y", classes),
        folding=np.full(n_rows * len(members), 2),
        training_weight=mean_over_partners("training_weight", classes),
        y_regr=side_by_side("y_regr", regressions),
        y_censor=side_by_side("y_censor", regressions),
        regr_weight=mean_over_partners("regr_weight", regressions),
        censored_weight=mean_over_partners("censored_weight", regressions),
    )


def _n_common(column: Mapping[str, NDArray[np.int64]]) -> int:
    return 1 + max(int(numbers.max(initial=-1)) for numbers in column.values())


def private_columns(members: Members) -> dict[str, Columns]:
    """Common tasks of *joint*: every partner's tasks are its own."""

    def own(n_tasks: Mapping[str, int]) -> dict[str, list[str]]:
        return {name: [f"{name} {task}" for task in range(n)] for name, n in n_tasks.items()}

    sets = {name: member.training_set for name, member in members.items()}
    return pooled_columns(
        own({name: one.n_tasks for name, one in sets.items()}),
        own({name: one.n_regressions for name, one in sets.items()}),
    )


def pooled_columns(
    classes: Mapping[str, Sequence[str]], regressions: Mapping[str, Sequence[str]]
) -> dict[str, Columns]:
    """Common tasks of *pooled*: tasks with equal keys (target, endpoint and, of a class, threshold) are one."""
    by_class, by_value = _numbered(classes), _numbered(regressions)
    return {name: Columns(by_class[name], by_value[name]) for name in classes}


def _numbered(keys: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int64]]:
    number: dict[str, int] = {}
    return {
        name: np.array([number.setdefault(key, len(number)) for key in of_partner], dtype=np.int64)
        for name, of_partner in keys.items()
    }


def _moved(y: sparse.csr_matrix, column: NDArray[np.int64], n_tasks: int) -> sparse.csr_matrix:
    """A partner's labels in the columns of the common tasks."""
    if np.unique(column).size < column.size:
        raise ValueError("two tasks of one partner are the same task: their labels would be added up")
    return sparse.csr_matrix((y.data, column[y.indices], y.indptr), shape=(y.shape[0], n_tasks))


def _rows_of(state: PartnerState, columns: Columns) -> PartnerState:
    """A partner's rows of the common heads, for evaluation only."""
    of_kind = {CLASSIFICATION: columns.classes, REGRESSION: columns.regressions}

    def rows(arrays: Arrays) -> Arrays:
        kinds = {name: name.split(".")[0] for name in arrays}
        return {
            name: array[of_kind[kinds[name]]] if kinds[name] in of_kind else array for name, array in arrays.items()
        }

    return replace(
        state,
        heads=rows(state.heads),
        first_moment=rows(state.first_moment),
        second_moment=rows(state.second_moment),
        normalisation={name: array[columns.regressions] for name, array in state.normalisation.items()},
    )
