"""What partners with the group secret can learn from stolen sealed updates, alone or together."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from secure.ciphertexts.packing import blocks
from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.sealing.masks import make_masks, released
from tests.support.secure.ciphertexts import decrypt, exact_bounds, packed, read_polynomials, seal_integers
from tests.support.secure.consortium import Consortium, make_consortium

N = 60_000  # four chunks, one block
# Masks are new in every run, so each check may fail for nothing: there are fewer than 1000, so once in 10^6 runs.
SMALLEST_P = 1e-9


def p_values(numbers: np.ndarray, t: int) -> dict[str, float]:
    """Return the p-values of several tests that the numbers are uniform mod t."""
    bins = 128
    counts = {
        "high bits": np.bincount((numbers * np.uint64(bins) // np.uint64(t)).astype(int), minlength=bins),
        "low bits": np.bincount((numbers % np.uint64(bins)).astype(int), minlength=bins),
        "middle bits": np.bincount((numbers >> np.uint64(20)).astype(int) % bins, minlength=bins),
        "mod 3": np.bincount((numbers % np.uint64(3)).astype(int), minlength=3),
    }
    p_value_of = {name: float(stats.chisquare(count).pvalue) for name, count in counts.items()}
    return p_value_of | {"distribution": float(stats.kstest(numbers / t, "uniform").pvalue)}


def assert_uniform(numbers: np.ndarray, t: int) -> None:
    """Fail if the numbers are not uniform mod t by any of the checks."""
    p_value_of = p_values(numbers, t)
    assert min(p_value_of.values()) > SMALLEST_P, p_value_of


def assert_independent(numbers: np.ndarray, known: np.ndarray) -> None:
    """Fail if the numbers depend on known ones: rank correlation, and chi-square over a table of 8 x 8 parts."""
    assert stats.spearmanr(numbers, known).pvalue > SMALLEST_P
    table = np.histogram2d(stats.rankdata(numbers), stats.rankdata(known), bins=8)[0]
    assert stats.chi2_contingency(table).pvalue > SMALLEST_P


@dataclass(frozen=True)
class Stolen:
    """The slots that a partner with the group secret decrypts from all sealed updates of one attempt."""

    c: Consortium
    roster: Roster
    files: dict[str, Path]
    integers: dict[str, np.ndarray]  # what is in them

    def sum_of(self, members: Iterable[str], seeds_of: Iterable[str] | None = None) -> np.ndarray:
        """Decrypt the sum of some updates; the slots without the tag.

        seeds_of : members whose release seeds are known, by default all of them, so that masks alone hide the rest
        """
        members = list(members)
        parts = [read_polynomials(self.files[name], self.c.parameters) for name in members]
        total = parts[0]
        for part in parts[1:]:
            total = (total + part) % np.uint64(self.c.parameters.q)
        slots = decrypt(total, self.c)
        known = [self.c.release(name, self.roster) for name in (members if seeds_of is None else seeds_of)]
        released(known, self.c.parameters.t).add_to(slots, 0)
        return slots[:-1]


def steal(c: Consortium, folder: Path, integers: dict[str, np.ndarray], roster: Roster) -> Stolen:
    """Seal and steal all updates of a roster."""
    files = {
        name: seal_integers(c, name, integers[name], folder / f"{name}-{roster.attempt}", roster)
        for name in roster.members
    }
    return Stolen(c, roster, files, integers)


@pytest.fixture(scope="module")
def stolen(tmp_path_factory) -> Stolen:
    """Updates of four partners: zeros, the largest, the smallest and random integers."""
    c, rng = make_consortium(4), np.random.default_rng(4)
    limit = c.parameters.limit
    kinds = [np.zeros(N), np.full(N, limit), np.full(N, -limit), rng.integers(-limit, limit + 1, N)]
    return steal(c, tmp_path_factory.mktemp("stolen"), dict(zip(c.partners, kinds, strict=True)), c.roster())


def test_the_checks_would_notice(stolen):
    """The checks of this file fail for unmasked numbers, and for masks that are slightly uneven."""
    p, rng = stolen.c.parameters, np.random.default_rng(0)
    full = stolen.sum_of(stolen.c.partners)
    assert max(p_values(full, p.t).values()) < SMALLEST_P
    biased = rng.integers(0, 1 << p.t.bit_length() + 1, full.size, dtype=np.uint64) % np.uint64(p.t // 8 * 7)
    assert p_values(biased, p.t)["high bits"] < SMALLEST_P
    with pytest.raises(AssertionError):
        assert_independent(full[:20_000], packed(stolen.integers["date"], p)[:20_000])


@pytest.mark.parametrize("n_members", [1, 2, 3])
def test_stolen_updates_are_noise(stolen, n_members):
    """Any update, and any sum of fewer than all, is uniform mod t in all its slots, whatever the updates are: masks."""
    for members in combinations(stolen.c.partners, n_members):
        assert_uniform(stolen.sum_of(members), stolen.c.parameters.t)


def test_stolen_updates_are_alike(stolen):
    """Decrypted updates of zeros, of the largest and of the smallest numbers have one distribution."""
    alone = {name: stolen.sum_of([name]) for name in stolen.c.partners}
    for one, other in combinations(alone.values(), 2):
        assert stats.ks_2samp(one, other).pvalue > SMALLEST_P
        assert_independent(one, other)


def test_stolen_updates_tell_nothing_of_the_update(stolen):
    """A decrypted update is independent of the update itself."""
    slots = packed(stolen.integers["date"], stolen.c.parameters)[: N // 2]
    assert_independent(stolen.sum_of(["date"])[: N // 2], slots)
    assert_independent(stolen.sum_of(["ash", "date"])[: N // 2], slots)


def test_full_sum_is_the_lawful_one(stolen):
    """The sum of all stolen updates is the sum that every partner opens."""
    slots = packed(sum(stolen.integers.values()), stolen.c.parameters, n_members=4)
    slots[-2] = 4  # the weights
    np.testing.assert_array_equal(stolen.sum_of(stolen.c.partners), slots[:-1])


@pytest.mark.parametrize("n_released", [0, 1, 3])
def test_the_full_sum_is_noise_until_all_have_released(stolen, n_released):
    """Three seeds of four: the roster's own sum is uniform, and independent of what is in it."""
    slots = stolen.sum_of(stolen.c.partners, stolen.c.partners[:n_released])
    assert_uniform(slots, stolen.c.parameters.t)
    right = packed(sum(stolen.integers.values()), stolen.c.parameters, n_members=4)
    assert_independent(slots[: N // 2], right[: N // 2])


@pytest.mark.parametrize(
    "change", [{"attempt": 1}, {"round_no": 2}, {"digest": digest(b"x")}], ids=lambda change: next(iter(change))
)
def test_two_updates_of_one_partner(stolen, tmp_path, change):
    """The same update in another attempt, round or roster: the difference of the two is uniform, for masks are new."""
    later = dataclasses.replace(stolen.roster, **change)
    seal_integers(stolen.c, "date", stolen.integers["date"], tmp_path / "later", later)
    other = dataclasses.replace(stolen, files={"date": tmp_path / "later"}, roster=later)
    t = np.uint64(stolen.c.parameters.t)
    assert_uniform((stolen.sum_of(["date"]) + t - other.sum_of(["date"])) % t, int(t))


def test_weights_are_hidden(tmp_path):
    """In stolen updates the weight is uniform too: it shows in the sum alone (Kolmogorov-Smirnov over 40 attempts)."""
    c, weights = make_consortium(3, weights="size", max_weight=1000), []
    for attempt in range(40):
        roster = c.roster(attempt=attempt)
        path = seal_integers(c, "ash", np.zeros(1), tmp_path / str(attempt), roster, weight=617)
        weights.append(decrypt(read_polynomials(path, c.parameters), c)[-2] / c.parameters.t)
    assert stats.kstest(weights, "uniform").pvalue > SMALLEST_P


def test_colluders_learn_the_sum_of_the_others_only(tmp_path):
    """Three of five pool their keys with the aggregator: they get the sum of the other two, and each as noise."""
    c, rng = make_consortium(5, max_partners=5), np.random.default_rng(1)
    p, pool, victims = c.parameters, c.partners[:3], c.partners[3:]
    integers = {name: rng.integers(-p.limit, p.limit + 1, N) for name in c.partners}
    stolen = steal(c, tmp_path, integers, c.roster())

    def without_known_masks(name: str) -> np.ndarray:
        """A stolen update, decrypted, less every mask that one of the pool shares."""
        (block,) = blocks(N, p)
        masks = np.zeros(block.n_slots, dtype=np.uint64)
        known = dataclasses.replace(c.roster(), members=tuple(sorted((*pool, name))))
        make_masks(name, known, {other: c.pair_keys[other][name] for other in pool}, p.t).add_to(masks, block.number)
        t = np.uint64(p.t)
        return (stolen.sum_of([name]) + t - masks[:-1]) % t

    alone = {name: without_known_masks(name) for name in victims}
    for name, numbers in alone.items():
        assert_uniform(numbers, p.t)
        assert_independent(numbers[: N // p.fields], packed(integers[name], p)[: N // p.fields])
    both = sum(integers[name] for name in victims)
    slots = packed(both, p, n_members=2)
    slots[-2] = 2
    np.testing.assert_array_equal(sum(alone.values()) % np.uint64(p.t), slots[:-1])
    c.add(list(stolen.files.values()), tmp_path / "sum")
    opened = c.open(tmp_path / "sum", N, bounds=exact_bounds(p))
    np.testing.assert_array_equal(opened.total - sum(integers[name] for name in pool), both)
