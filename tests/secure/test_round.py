"""The laws of a round, through the real classes, and an aggregator that does not keep to them."""

import dataclasses
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from secure.add import add_updates
from secure.bfv import Cipher, Ring
from secure.canonical import digest
from secure.coefficients import pack_coefficients, unpack_coefficients
from secure.container import SUM, make_header, read_chunks, write_chunks
from secure.errors import (
    AlreadySealed,
    BadContainer,
    BadRoster,
    ParameterMismatch,
    RosterTooSmall,
    SumIncomplete,
    TagMismatch,
    UpdateOutOfRange,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRoster,
    WrongRound,
)
from secure.fixed_point import make_grid, next_bounds, quantise
from secure.group import GroupSecret
from secure.masks import make_masks
from secure.messages import payload_digest
from secure.packing import blocks
from secure.parameters import N_SLOTS
from tests.secure.consortium import Consortium, make_consortium

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


def test_largest_roster_decrypts_exactly():
    """A sum of sixteen random plaintexts, the most there may be, decrypts exactly in every slot."""
    c = make_consortium(3, bits=16, max_partners=16)
    ring = Ring(c.parameters)
    cipher = Cipher(ring, c.group.bfv_key)
    rng = np.random.default_rng(0)
    slots = [rng.integers(0, c.parameters.t, N_SLOTS, dtype=np.uint64) for _ in range(16)]
    total = ring.add([cipher.encrypt(s) for s in slots])
    np.testing.assert_array_equal(cipher.decrypt(total), sum(s.astype(object) for s in slots) % c.parameters.t)


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
    for weight in (0, 501, -1):
        with pytest.raises(UpdateOutOfRange):
            c.seal("ash", changes["ash"], tmp_path / "x", weight=weight)


def test_bounds_adapt_to_small_weights(tmp_path):
    """With weights far below max_weight the bounds follow what is sent; the mean is precise after a few rounds."""
    c = make_consortium(3, weights="size")
    weights, rng = {"ash": 100, "birch": 70, "cedar": 40}, np.random.default_rng(0)
    assert max(weights.values()) * 1000 <= c.parameters.max_weight
    bounds, residuals, errors = np.array([c.settings.first_bound]), dict.fromkeys(c.partners), []
    for round_no in range(1, 11):
        roster, files = c.roster(round_no=round_no), []
        changes = {name: rng.uniform(-0.01, 0.01, N).astype(np.float32) for name in c.partners}
        for name in c.partners:
            files.append(tmp_path / f"{name}{round_no}")
            more = {"weight": weights[name], "bounds": bounds, "residual": residuals[name], "rng": rng}
            residuals[name] = c.seal(name, changes[name], files[-1], roster, **more).residual
        c.add(files, tmp_path / f"sum{round_no}")
        opened = c.open(tmp_path / f"sum{round_no}", N, roster, bounds=bounds)
        wanted = sum(weights[name] * changes[name] for name in c.partners) / 210
        errors.append(np.linalg.norm(opened.mean - wanted) / np.linalg.norm(wanted))
        bounds = next_bounds(opened.sent_mean, [slice(0, N)], bounds, c.settings)
    assert errors[0] > 0.1
    assert errors[-1] < 0.01
    assert bounds[0] < 1e-4


def test_sent_mean(trio, sealed, tmp_path):
    """What was sent is the mean itself without weights, and the mean of weight / max_weight x change with them."""
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


def test_residual_goes_into_the_next_round(trio, tmp_path):
    """Error feedback: what three rounds sent plus what is left is what three rounds wanted to send."""
    rng, residuals, sent, wanted = np.random.default_rng(0), dict.fromkeys(trio.partners), 0, 0
    for round_no in (1, 2, 3):
        roster, files = trio.roster(round_no=round_no), []
        for name in trio.partners:
            change = (rng.standard_normal(N) * 0.08).astype(np.float32)
            files.append(tmp_path / f"{name}{round_no}")
            report = trio.seal(name, change, files[-1], roster, residual=residuals[name], rng=rng)
            residuals[name], wanted = report.residual, wanted + change.astype(np.float64)
            assert report.clipped_share > 0
        trio.add(files, tmp_path / f"sum{round_no}")
        sent = sent + 3 * trio.open(tmp_path / f"sum{round_no}", N, roster).mean.astype(np.float64)
    np.testing.assert_allclose(sent + sum(residuals.values()), wanted, atol=1e-6)


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
    """A file that exists is not made anew."""
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


def test_group_secret_opens_noise_only(trio, sealed):
    """Who holds the group secret and steals an update decrypts uniform numbers, whatever the update is."""
    files, _, _ = sealed
    cipher = Cipher(Ring(trio.parameters), trio.group.bfv_key)
    with read_chunks(files[0]) as reader:
        reader.expect_shape(trio.parameters)
        for _, chunks in reader:
            padded = np.zeros((len(chunks), trio.parameters.sum_chunk_bytes), np.uint8)
            ring = Ring(trio.parameters)
            zeros = [np.zeros_like(chunks) + cipher.encrypt(np.zeros(N_SLOTS * len(chunks), np.uint64))]
            padded[:] = ring.add([chunks, *zeros])
            numbers = cipher.decrypt(padded)
            assert stats.kstest(numbers / trio.parameters.t, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_leaves_no_file(trio, tmp_path, bad):
    """A bad update is refused and nothing is left in the folder, not even when the last block is bad."""
    change = np.zeros(100_000, np.float32)
    change[-1] = bad
    with pytest.raises(UpdateOutOfRange):
        trio.seal("ash", change, tmp_path / "u")
    assert list(tmp_path.iterdir()) == []


def test_wrong_vectors_and_rosters_are_refused(trio, tmp_path):
    """Type, shape, residual, and a roster without me."""
    good = np.zeros(N, np.float32)
    for change, more in (
        (good.astype(np.float64), {}),
        (good[:-1], {"slices": [slice(0, N)]}),
        (good.reshape(2, -1), {"slices": [slice(0, N)]}),
        (good, {"residual": good[1:]}),
        (good, {"residual": good + np.float32(np.nan)}),
    ):
        with pytest.raises(UpdateOutOfRange):
            trio.seal("ash", change, tmp_path / "u", **more)
    with pytest.raises(BadRoster):
        trio.seal("ash", good, tmp_path / "u", trio.roster("birch", "cedar", "date"))
    assert list(tmp_path.iterdir()) == []


def test_fewer_than_three_or_doubled_updates_are_not_added(trio, sealed, tmp_path):
    """The honest aggregator refuses two updates, an update twice, and updates of another roster."""
    files, _, changes = sealed
    with pytest.raises(RosterTooSmall):
        trio.add(files[:2], tmp_path / "sum")
    with pytest.raises(SumIncomplete):
        trio.add([files[0], *files[:2]], tmp_path / "sum")
    with pytest.raises(SumIncomplete):
        add_updates(
            files, trio.parameters, tmp_path / "sum", roster=dataclasses.replace(trio.roster(), members=("a", "b", "c"))
        )
    later = trio.roster(attempt=1)
    trio.seal("ash", changes["ash"], tmp_path / "later", later)
    with pytest.raises(WrongAttempt):
        trio.add([*files[1:], tmp_path / "later"], tmp_path / "sum")
    trio.seal("ash", changes["ash"][:100], tmp_path / "short")
    with pytest.raises(BadContainer):
        trio.add([*files[1:], tmp_path / "short"], tmp_path / "sum")
    with pytest.raises(WrongKind):
        trio.add([*files[1:], sealed[1]], tmp_path / "sum")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["later", "short"]


def test_other_parameters_are_refused(sealed, tmp_path):
    """Updates and sums of another plan's parameters are neither added nor opened."""
    files, sum_file, _ = sealed
    other = make_consortium(3, bits=8)
    with pytest.raises(ParameterMismatch):
        other.add(files, tmp_path / "sum")
    with pytest.raises(ParameterMismatch):
        other.open(sum_file, N)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"plan": digest(b"x")}, WrongPlan),
        ({"round_no": 2}, WrongRound),
        ({"attempt": 1}, WrongAttempt),
        ({"digest": digest(b"x")}, WrongRoster),
        ({"members": ("ash", "birch", "date")}, SumIncomplete),
    ],
)
def test_replayed_sums_are_refused(trio, sealed, change, error):
    """A sum opens only for the plan, round, attempt and roster it was made for."""
    with pytest.raises(error):
        trio.open(sealed[1], N, dataclasses.replace(trio.roster(), **change))


def relabelled(trio, source, path, roster, change=None):
    """Write a sum again under another roster's header, as a hostile aggregator can."""
    with read_chunks(source) as reader:
        reader.expect_shape(trio.parameters)
        all_chunks = [chunks.copy() for _, chunks in reader]
    header = make_header(SUM, roster, roster.members, N, trio.parameters)
    with write_chunks(path, header, trio.parameters.sum_chunk_bytes) as writer:
        for chunks in all_chunks:
            writer.write(change(chunks) if change else chunks)
        writer.close()
    return path


def combine(trio, files, path):
    """Add any list of update files, as a hostile aggregator can, under the honest header."""
    blocks_of = []
    for file in files:
        with read_chunks(file) as reader:
            reader.expect_shape(trio.parameters)
            blocks_of.append([chunks.copy() for _, chunks in reader])
    header = make_header(SUM, trio.roster(), trio.partners, N, trio.parameters)
    with write_chunks(path, header, trio.parameters.sum_chunk_bytes) as writer:
        for step in zip(*blocks_of, strict=True):
            writer.write(Ring(trio.parameters).add(step))
        writer.close()
    return path


@pytest.mark.parametrize("which", [(0, 1), (0, 1, 1), (0, 1, 2, 2), (0, 0, 0), (0, 1, 2, 0, 1, 2)])
def test_dropped_or_doubled_updates_are_caught(trio, sealed, tmp_path, which):
    """A sum of anything but every update once does not open."""
    with pytest.raises(TagMismatch):
        trio.open(combine(trio, [sealed[0][i] for i in which], tmp_path / "sum"), N)


def test_update_of_last_round_is_caught(trio, sealed, tmp_path):
    """An update of another attempt in the place of this one's does not open."""
    old = trio.seal_all(tmp_path, sealed[2], trio.roster(attempt=7))[0]
    with pytest.raises(TagMismatch):
        trio.open(combine(trio, [old, *sealed[0][1:]], tmp_path / "sum"), N)


def test_relabelled_old_sum_is_caught(trio, sealed, tmp_path):
    """A sum of another round under this round's header does not open."""
    later = trio.roster(round_no=2)
    with pytest.raises(TagMismatch):
        trio.open(relabelled(trio, sealed[1], tmp_path / "sum", later), N, later)


def scaled(factor, q):
    def change(chunks: np.ndarray) -> np.ndarray:
        bits = q.bit_length()
        words = unpack_coefficients(chunks.reshape(2 * len(chunks), -1), bits)
        times = (words.astype(object) * factor % q).astype(np.uint64)
        return pack_coefficients(times, bits).reshape(len(chunks), -1)

    return change


def flipped(chunks):
    """Change bit 45 of one coefficient of c0: far beyond the noise."""
    changed = chunks.copy()
    changed[0, 4 * N_SLOTS + 1] ^= 0x20
    return changed


@pytest.mark.parametrize("attack", ["double", "negate", "swap", "zero one", "flip", "noise of another key"])
def test_changed_sums_are_caught(trio, sealed, tmp_path, attack):
    """Scaling, swapping chunks, zeroing and adding things to the sum do not pass."""
    q = trio.parameters.q

    def zero_one(chunks: np.ndarray) -> np.ndarray:
        return np.concatenate([chunks[:1] * 0, chunks[1:]])

    def foreign(chunks: np.ndarray) -> np.ndarray:
        key = GroupSecret.generate(trio.parameters)
        cipher = Cipher(Ring(trio.parameters), key.bfv_key)
        ones = [cipher.encrypt(np.ones(N_SLOTS * len(chunks), np.uint64)) for _ in range(3)]
        return Ring(trio.parameters).add(ones)

    attacks = {
        "double": scaled(2, q),
        "negate": scaled(q - 1, q),
        "swap": lambda chunks: chunks[::-1].copy(),
        "zero one": zero_one,
        "flip": flipped,
        "noise of another key": foreign,
    }
    forged = relabelled(trio, sealed[1], tmp_path / "sum", trio.roster(), attacks[attack])
    with pytest.raises((TagMismatch, BadContainer)):
        trio.open(forged, N)


def test_other_group_secret_does_not_open(trio, sealed):
    """Without the right secret nothing opens."""
    stranger = dataclasses.replace(trio, group=GroupSecret.generate(trio.parameters))
    with pytest.raises(TagMismatch):
        stranger.open(sealed[1], N)


def test_colluders_learn_the_sum_of_the_others_only(tmp_path):
    """Two of four partners pool all their keys with the aggregator: the other two's updates apart stay noise."""
    c = make_consortium(4)
    roster, zeros = c.roster(), np.zeros(30_000, np.float32)
    files = c.seal_all(tmp_path, dict.fromkeys(c.partners, zeros))
    cipher, ring = Cipher(Ring(c.parameters), c.group.bfv_key), Ring(c.parameters)

    def stolen(name: str) -> np.ndarray:
        """What the pooled keys make of one stolen update: decrypted, and every mask they know taken off."""
        with read_chunks(files[c.partners.index(name)]) as reader:
            reader.expect_shape(c.parameters)
            chunks = next(iter(reader))[1].copy()
        zero = [cipher.encrypt(np.zeros(N_SLOTS * len(chunks), np.uint64)) for _ in range(2)]
        numbers = cipher.decrypt(ring.add([chunks, *zero]))
        known = dataclasses.replace(roster, members=("ash", "birch", name))
        masks = np.zeros_like(numbers)
        make_masks(name, known, {other: c.pair_keys[other][name] for other in ("ash", "birch")}, c.parameters.t).add_to(
            masks, 0
        )
        return ((numbers.astype(object) - masks) % c.parameters.t)[:-1]  # without the tag

    alone = {name: stolen(name) for name in ("cedar", "date")}
    for numbers in alone.values():
        assert stats.kstest((numbers / c.parameters.t).astype(float), "uniform").pvalue > 1e-4
    both = (alone["cedar"] + alone["date"]) % c.parameters.t
    offsets = (
        2 * c.parameters.limit * sum(c.parameters.radix**field for field in range(c.parameters.fields))
    )  # two changes of zero
    assert (both[:15_000] == offsets).all()


def test_memory_of_adding_does_not_grow_with_the_trunk(trio, tmp_path):
    """Adding four times as much takes no more memory than a few blocks."""
    for n in (400_000, 1_600_000):
        files = [tmp_path / f"{name}{n}" for name in trio.partners]
        for name, file in zip(trio.partners, files, strict=True):
            trio.seal(name, np.zeros(n, np.float32), file)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        held = pa.total_allocated_bytes()
        trio.add(files, tmp_path / f"sum{n}")
        assert pa.total_allocated_bytes() <= held + (1 << 20)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
