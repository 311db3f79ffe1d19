"""Models of assays as arrays: every kind comes back as it was, and arrays that fit nothing are refused."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.assay_models.fitted import AssayModel, AssayModels, KnownProcess, Mixing
from partners.assay_models.forest import Forest, fit_forest
from partners.assay_models.gaussian_process import GaussianProcess
from partners.errors import CheckpointDamaged
from tests.support.partners.made_up_assays import random_inputs

N_KNOWN = 12
KINDS = ("process", "forest", "both")
_INPUTS = random_inputs(0, N_KNOWN, 2)
_FORESTS = [fit_forest(_INPUTS, np.random.default_rng(seed).normal(size=N_KNOWN), seed) for seed in range(2)]


def models(kinds: list[str], seed: int = 0, *, uses_trunk: bool = True, n_descriptors: int = 3) -> AssayModels:
    """A model of each of these kinds, the first of them for the first task and the first regression task."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(rng.random(N_KNOWN) < 0.5) for _ in kinds]
    weights = [rng.normal(size=part.size).astype(np.float32) for part in rows]
    n_tasks = len(kinds) + 2
    numbers = rng.integers(-1, len(kinds), n_tasks) if kinds else np.full(n_tasks, -1)
    return AssayModels(
        uses_trunk=uses_trunk,
        quantiles=rng.random((5, n_descriptors)).astype(np.float32),
        models=tuple(
            AssayModel(
                KnownProcess(rows[i], GaussianProcess(float(rng.normal()), weights[i])) if kind != "forest" else None,
                _FORESTS[i % 2] if kind != "process" else None,
            )
            for i, kind in enumerate(kinds)
        ),
        of_task=numbers,
        of_regression=np.arange(-1, len(kinds)),
        mixing=Mixing(*(rng.normal(size=n_tasks).astype(np.float32) for _ in fields(Mixing))),
    )


def assert_equal(one: AssayModels, other: AssayModels) -> None:
    """Every number is the same, to the bit."""
    assert (one.uses_trunk, one.uses_descriptors) == (other.uses_trunk, other.uses_descriptors)
    for name in ("quantiles", "of_task", "of_regression"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for part in fields(Mixing):
        np.testing.assert_array_equal(getattr(one.mixing, part.name), getattr(other.mixing, part.name))
    assert len(one.models) == len(other.models)
    for mine, theirs in zip(one.models, other.models, strict=True):
        assert (mine.process is None, mine.forest is None) == (theirs.process is None, theirs.forest is None)
        if mine.process and theirs.process:
            assert mine.process.process.mean == theirs.process.process.mean
            np.testing.assert_array_equal(mine.process.process.weight, theirs.process.process.weight)
            np.testing.assert_array_equal(mine.process.compounds, theirs.process.compounds)
        if mine.forest and theirs.forest:
            for part in fields(Forest):
                np.testing.assert_array_equal(getattr(mine.forest, part.name), getattr(theirs.forest, part.name))


@given(st.lists(st.sampled_from(KINDS), max_size=5), st.integers(0, 99), st.booleans(), st.sampled_from([0, 3]))
def test_models_come_back_as_they_were(kinds: list[str], seed: int, uses_trunk: bool, n_descriptors: int):  # noqa: FBT001 -- drawn
    """Processes, forests, both and none, in any order; and again they give the same arrays."""
    before = models(kinds, seed, uses_trunk=uses_trunk, n_descriptors=n_descriptors)
    arrays = before.arrays()
    after = AssayModels.from_arrays(arrays, N_KNOWN)
    assert_equal(before, after)
    again = after.arrays()
    assert {name: (array.dtype, array.tobytes()) for name, array in arrays.items()} == {
        name: (array.dtype, array.tobytes()) for name, array in again.items()
    }


def test_without_models_the_network_is_alone():
    """No model, no descriptor, every logit as the network has it; and it comes back as such."""
    none = AssayModels.none(4, 2)
    assert not none.uses_trunk
    assert not none.uses_descriptors
    np.testing.assert_array_equal(none.mixing.by_network, np.ones(4))
    assert not none.mixing.by_value.any()
    assert not none.mixing.offset.any()
    assert_equal(AssayModels.from_arrays(none.arrays(), N_KNOWN), none)


def test_only_numbers_that_a_file_may_hold_are_given():
    """Arrays of the types that a checkpoint knows; a process keeps its own compounds alone."""
    arrays = models(["both", "process"]).arrays()
    assert {array.dtype.str for array in arrays.values()} <= {"<f4", "<f8", "<i4", "<i8"}
    assert arrays["process.weight"].size < 2 * N_KNOWN


def test_a_missing_array_is_refused():
    """Whichever it is."""
    arrays = models(list(KINDS)).arrays()
    for name in arrays:
        with pytest.raises(CheckpointDamaged):
            AssayModels.from_arrays({other: array for other, array in arrays.items() if other != name}, N_KNOWN)


def _without_last(array: np.ndarray) -> np.ndarray:
    return array[:-1]


def _one_more(array: np.ndarray) -> np.ndarray:
    return np.append(array, array[-1:])


SIZES = [name for name in models(list(KINDS)).arrays() if name not in {"quantiles", "of_task", "of_regression"}]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("change", [_without_last, _one_more])
def test_an_array_of_another_length_is_refused(name: str, change: Any):  # noqa: ANN401 -- a function of an array
    """One number more or less of any array that others must fit."""
    arrays = models(list(KINDS)).arrays()
    with pytest.raises(CheckpointDamaged):
        AssayModels.from_arrays(arrays | {name: change(arrays[name])}, N_KNOWN)


@pytest.mark.parametrize(
    ("name", "place", "number"),
    [
        ("inputs", 1, 2),
        ("inputs", 1, 4),
        ("of_task", 0, 3),
        ("of_regression", 0, 3),
        ("of_task", 0, -2),
        ("process.model", 0, 1),
        ("process.model", 0, 2),
        ("process.model", 0, -1),
        ("process.compound", 0, N_KNOWN),
        ("process.compound", 0, -1),
        ("process.ends", 0, -1),
        ("process.ends", 0, 10_000),
        ("forest.model", 0, 0),
        ("forest.model", 1, 1),
        ("forest.trees", 0, 0),
        ("forest.trees", 0, 10_000),
        ("forest.ends", 0, 3),
        ("forest.right", 0, -1),
        ("forest.roots", 0, -1),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, place: int, number: int):
    """Models that are not there or twice, compounds that are not known, ends that do not rise, nodes of no tree."""
    arrays = models(list(KINDS)).arrays()
    changed = arrays[name].copy()
    changed[place] = number
    with pytest.raises(CheckpointDamaged):
        AssayModels.from_arrays(arrays | {name: changed}, N_KNOWN)


def test_quantiles_are_a_table():
    """Another number of dimensions is refused."""
    arrays = models(list(KINDS)).arrays()
    with pytest.raises(CheckpointDamaged):
        AssayModels.from_arrays(arrays | {"quantiles": np.zeros(3, np.float32)}, N_KNOWN)


def test_fewer_known_compounds_are_refused():
    """A weight of a compound that is not among them."""
    with pytest.raises(CheckpointDamaged):
        AssayModels.from_arrays(models(list(KINDS)).arrays(), N_KNOWN // 2)
