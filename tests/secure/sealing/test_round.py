"""The laws of an honest round, with the real classes."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure.ciphertexts.packing import blocks
from secure.errors import (
    AlreadySealed,
    BadRoster,
    ParameterMismatch,
    RosterTooSmall,
    SumIncomplete,
    TagMismatch,
    WrongAttempt,
)
from secure.keys.group import GroupSecret
from secure.messages.messages import payload_digest
from secure.sealing.add import add_updates
from secure.sealing.container import read_chunks
from secure.sealing.fixed_point import make_grid, quantise
from tests.support.secure.consortium import Consortium, make_consortium
from tests.support.secure.peak_memory import peak_growth

N = 40_000  # three chunks
_SHAPES = [(16, 3), (16, 10), (12, 4), (12, 7), (8, 5), (8, 10)]


@pytest.fixture(scope="module")
def consortia() -> dict[tuple[int, int], Consortium]:
    return {
        (bits, n): make_consortium(n, bits=bits, max_partners=n, weights="size", max_weight=1000) for bits, n in _SHAPES
    }


@pytest.fixture(scope="module")
def sealed(trio, tmp_path_factory) -> tuple[list[Path], Path, dict[str, np.ndarray]]:
    """Updates of three, their sum, and the changes in them."""
    folder = tmp_path_factory.mktemp("sealed")
    rng = np.random.default_rng(5)
    changes = {name: rng.uniform(-0.1, 0.1, N).astype(np.float32) for name in trio.partners}
    files = trio.seal_all(folder, changes)
    trio.add(files, folder / "sum")
    return files, folder / "sum", changes


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_sum_is_exact(consortia, tmp_path_factory, data):
    """The opened sum is the exact integer sum of the members' quantised vectors, and the weights' sum is right."""
    shape = data.draw(st.sampled_from(_SHAPES))
    c, folder = consortia[shape], tmp_path_factory.mktemp("round")
    n, seed = data.draw(st.integers(1, 15_000)), data.draw(st.integers(0, 2**32))
    members = c.partners[: data.draw(st.integers(3, shape[1]))]
    roster, rng = c.roster(*members), np.random.default_rng(seed)
    cut = int(rng.integers(0, n)) if n > 1 else 0
    tensors = [slice(0, cut), slice(cut, n)] if cut else [slice(0, n)]
    bounds = rng.uniform(0.01, 1, len(tensors))
    grid, expected = make_grid(tensors, bounds, c.parameters), np.zeros(n, np.int64)
    weights = {name: int(rng.integers(1, 1001)) for name in members}
    files = []
    for name in members:
        change = rng.standard_normal(n).astype(np.float32)
        shared = {"weight": weights[name], "bounds": bounds, "slices": tensors, "rng": np.random.default_rng(9)}
        report = c.seal(name, change, folder / name, roster, **shared)
        target, chance, clipped = change * np.float32(weights[name] / 1000), np.random.default_rng(9), 0
        for block in blocks(n, c.parameters):
            part = slice(block.start, block.stop)
            integers, left, beyond = quantise(target[part], block.start, grid, chance)
            expected[part] += integers.astype(np.int64)
            np.testing.assert_array_equal(report.residual[part], left)
            clipped += beyond
        assert report.clipped_share == clipped / n
        files.append(folder / name)
    c.add(files, folder / "sum")
    opened = c.open(folder / "sum", n, roster, slices=tensors, bounds=bounds)
    np.testing.assert_array_equal(opened.total, expected)
    assert opened.weight_total == sum(weights.values())
    assert opened.n_members == len(members)


@pytest.mark.parametrize("extreme", [-1e3, 1e3])
def test_extremes_are_exact(tmp_path, extreme):
    """The largest sum that can be, in every field of every slot, of as many members as there may be."""
    c = make_consortium(10, bits=16, max_partners=10)
    changes = {name: np.full(N, extreme, np.float32) for name in c.partners}
    c.add(c.seal_all(tmp_path, changes), tmp_path / "sum")
    opened = c.open(tmp_path / "sum", N)
    assert (opened.total == np.sign(extreme) * 10 * c.parameters.limit).all()
    np.testing.assert_allclose(opened.mean, np.sign(extreme) * 0.1, rtol=1e-6)


def test_mean_is_near_the_mean_change(trio, sealed):
    """Decoding gives the mean change up to a step, computed in float64 and rounded once."""
    _, sum_file, changes = sealed
    opened = trio.open(sum_file, N)
    wanted = np.mean(list(changes.values()), axis=0)
    assert opened.mean.dtype == np.float32
    np.testing.assert_allclose(opened.mean, wanted, atol=0.1 / trio.parameters.limit)
    step = np.float64(opened.grid.steps[0])
    np.testing.assert_array_equal((opened.total * (step / 3)).astype(np.float32), opened.mean)


def test_weighted_mean(tmp_path):
    """With size weights the mean is the weighted mean of the changes."""
    c = make_consortium(3, weights="size", max_weight=500)
    rng, weights = np.random.default_rng(0), {"ash": 500, "birch": 100, "cedar": 3}
    changes = {name: rng.uniform(-0.1, 0.1, N).astype(np.float32) for name in c.partners}
    for name in c.partners:
        c.seal(name, changes[name], tmp_path / name, weight=weights[name])
    c.add([tmp_path / name for name in c.partners], tmp_path / "sum")
    wanted = sum(weights[name] * changes[name] for name in c.partners) / 603
    opened = c.open(tmp_path / "sum", N)
    np.testing.assert_allclose(opened.mean, wanted, atol=500 / 603 * 3 * 0.1 / c.parameters.limit)


def test_sent_mean(trio, sealed, tmp_path):
    """The sent mean is the mean without weights, and the mean of weight / max_weight x change with weights."""
    opened = trio.open(sealed[1], N)
    assert opened.sent_mean is opened.mean
    c = make_consortium(3, weights="size", max_weight=500)
    change = np.random.default_rng(0).uniform(-0.1, 0.1, N).astype(np.float32)
    for name in c.partners:
        c.seal(name, change, tmp_path / name, weight=50)
    c.add([tmp_path / name for name in c.partners], tmp_path / "sum")
    sent = c.open(tmp_path / "sum", N).sent_mean
    assert sent.dtype == np.float32
    np.testing.assert_allclose(sent, change / 10, atol=0.1 / c.parameters.limit)


def test_reports_and_progress(trio, sealed, tmp_path):
    """Digest and size are those of the file; progress ends at the number of chunks; the sum names what it added."""
    files, _, changes = sealed
    seen: list[tuple[int, int]] = []
    report = trio.seal("ash", changes["ash"], tmp_path / "u", progress=lambda *x: seen.append(x))
    found = payload_digest(tmp_path / "u")
    assert (report.digest, report.n_bytes) == (found.sha256, found.size)
    assert seen[-1] == (trio.parameters.n_chunks(N),) * 2
    added = add_updates(files, trio.parameters, tmp_path / "s", lambda *x: seen.append(x), roster=trio.roster())
    assert added.updates == {name: payload_digest(file) for name, file in zip(trio.partners, files, strict=True)}
    assert added.digest == payload_digest(tmp_path / "s").sha256
    trio.open(tmp_path / "s", N, progress=lambda *x: seen.append(x))
    assert seen[-1] == (trio.parameters.n_chunks(N),) * 2


def test_an_update_is_never_sealed_twice(trio, sealed):
    """An existing sealed file is not replaced."""
    files, _, changes = sealed
    before = files[0].read_bytes()
    with pytest.raises(AlreadySealed):
        trio.seal("ash", changes["ash"], files[0])
    assert files[0].read_bytes() == before


def test_ciphertexts_are_fresh(trio, sealed, tmp_path):
    """The same update sealed again (which only a test does) shares no bytes with the first."""
    files, _, changes = sealed
    trio.seal("ash", changes["ash"], tmp_path / "again")
    with read_chunks(files[0]) as one, read_chunks(tmp_path / "again") as two:
        for reader in (one, two):
            reader.expect_shape(trio.parameters)
        for (_, first), (_, second) in zip(one, two, strict=True):
            assert (first == second).mean() < 0.01


def test_only_one_attempts_updates_are_added(trio, sealed, tmp_path):
    """Without a roster, only three or more updates of different members and one attempt are added."""
    files, _, changes = sealed
    with pytest.raises(RosterTooSmall):
        trio.add(files[:2], tmp_path / "sum")
    with pytest.raises(BadRoster):
        trio.add(files[:1] * 17, tmp_path / "sum")
    with pytest.raises(SumIncomplete):
        trio.add([files[0], *files[:2]], tmp_path / "sum")
    trio.seal("ash", changes["ash"], tmp_path / "later", trio.roster(attempt=1))
    with pytest.raises(WrongAttempt):
        trio.add([*files[1:], tmp_path / "later"], tmp_path / "sum")
    assert [file.name for file in tmp_path.iterdir()] == ["later"]


def test_other_parameters_are_refused(sealed):
    """A sum of another plan's parameters is not opened."""
    with pytest.raises(ParameterMismatch):
        make_consortium(3, bits=8).open(sealed[1], N)


def test_other_group_secret_does_not_open(trio, sealed):
    """A sum does not open with another group secret."""
    stranger = dataclasses.replace(trio, group=GroupSecret.generate(trio.parameters))
    with pytest.raises(TagMismatch):
        stranger.open(sealed[1], N)


@pytest.mark.slow
def test_memory_of_adding_does_not_grow_with_the_trunk(trio, tmp_path):
    """Adding four times as much takes no more memory than a few blocks."""
    for n in (400_000, 1_600_000):
        files = [tmp_path / f"{name}{n}" for name in trio.partners]
        for name, file in zip(trio.partners, files, strict=True):
            trio.seal(name, np.zeros(n, np.float32), file)
        held = pa.total_allocated_bytes()
        with peak_growth() as growth_kb:
            trio.add(files, tmp_path / f"sum{n}")
            assert growth_kb() < 40_000
        assert pa.total_allocated_bytes() <= held + (1 << 20)
