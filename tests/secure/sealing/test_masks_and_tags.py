"""Uniform numbers, masks that cancel only in the full sum, and the tag."""

import dataclasses

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from secure.ciphertexts.coefficients import pack_coefficients, unpack_coefficients
from secure.ciphertexts.packing import blocks, pack, unpack
from secure.ciphertexts.parameters import BLOCK_CHUNKS, N_SLOTS, Q_BITS, SealSettings, largest_prime, seal_parameters
from secure.encoding.canonical import digest
from secure.encoding.derive import derive_key, random_words, uniform_numbers
from secure.encoding.roster import Roster
from secure.errors import BadRoster, ParameterMismatch
from secure.keys.pairing import PairKey, pair_key
from secure.sealing.masks import Masks, make_masks
from secure.sealing.tags import Tagger, inner_product

T = largest_prime(1 << 41)
PLAN = digest(b"plan")
NAMES = ("ash", "birch", "cedar", "date", "elm")


def roster_of(*names: str, round_no: int = 1, attempt: int = 0) -> Roster:
    return Roster(PLAN, round_no, attempt, names, digest(f"{names}{round_no}{attempt}".encode()))


def keys_of(names):
    def key(i: str, j: str) -> PairKey:
        return pair_key(digest(i.encode())[:32].encode(), digest(j.encode())[:32].encode(), i, j, PLAN)

    return {i: {j: key(min(i, j), max(i, j)) for j in names if j != i} for i in names}


def masked(me, roster, slots, block=0):
    work = slots.copy()
    make_masks(me, roster, keys_of(NAMES)[me], T).add_to(work, block)
    return work


@pytest.mark.parametrize("modulus", [5, 6, 7, 1000, 3 * 2**20])
def test_rejection_is_uniform(modulus):
    """Numbers are uniform also for moduli where a remainder would be biased (chi-square over the residues)."""
    numbers = uniform_numbers(b"k" * 32, 0, 200_000, modulus)
    assert numbers.max() < modulus
    counts = np.bincount((numbers * np.uint64(5) // np.uint64(modulus)).astype(int), minlength=5)
    sizes = np.diff([-(-modulus * i // 5) for i in range(6)])
    assert stats.chisquare(counts, 200_000 * sizes / modulus).pvalue > 1e-4


@pytest.mark.parametrize("n", [1, 50, 2048, 40_000])
@pytest.mark.parametrize("modulus", [5, 8, T, (1 << 53) - (1 << 47), 1 << 64])
def test_stream_against_its_definition(n, modulus):
    """The stream is AES-256-CTR words with the block number in the counter; words beyond the modulus are skipped."""
    key, low_bits = bytes(range(32)), np.uint64((1 << (modulus - 1).bit_length()) - 1)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(7) + b"\x09" + bytes(8))).encryptor()
    words = np.frombuffer(encryptor.update(bytes(8 * (2 * n + 50))), "<u8") & low_bits
    np.testing.assert_array_equal(uniform_numbers(key, 9, n, modulus), words[words <= np.uint64(modulus - 1)][:n])
    np.testing.assert_array_equal(random_words(key, 9, n), uniform_numbers(key, 9, n, 1 << 64))


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([3, 5, T]))
def test_longer_streams_begin_the_same(n, more, modulus):
    """The requested number of values does not change the first ones."""
    short, long = (uniform_numbers(b"x" * 32, 3, count, modulus) for count in (n, n + more))
    np.testing.assert_array_equal(short, long[:n])


def test_keys_are_separated():
    """Another purpose or any other context gives another key."""
    contexts = [("a", {"x": 1}), ("b", {"x": 1}), ("a", {"x": 2}), ("a", {"y": 1}), ("a", {})]
    assert len({derive_key(bytes(32), *context) for context in contexts}) == len(contexts)


@settings(max_examples=20)
@given(st.integers(3, 5), st.integers(1, 300), st.integers(0, 2**32))
def test_masks_cancel_in_the_full_sum(n_members, n_slots, seed):
    """The sum of all members' masked slots is the sum of their slots."""
    roster = roster_of(*NAMES[:n_members])
    rng = np.random.default_rng(seed)
    slots = {name: rng.integers(0, T, n_slots, dtype=np.uint64) for name in roster.members}
    total = sum(masked(name, roster, slots[name]).astype(object) for name in roster.members) % T
    assert (total == sum(s.astype(object) for s in slots.values()) % T).all()


@pytest.mark.parametrize("n_partners", [3, 16, 128])
@pytest.mark.parametrize("bits", [16, 8])
def test_no_sum_of_streams_overflows(n_partners, bits):
    """With the largest roster's streams, added or subtracted, slots are what exact integers give mod t."""
    t, rng = seal_parameters(SealSettings(bits=bits, max_partners=n_partners)).t, np.random.default_rng(n_partners)
    slots = np.full(40, t - 1, dtype=np.uint64)
    for signs in ([True] * n_partners, [False] * n_partners, rng.integers(0, 2, n_partners).astype(bool).tolist()):
        streams = tuple((rng.bytes(32), is_added) for is_added in signs)
        exact = slots.astype(object)
        for key, is_added in streams:
            exact = exact + (1 if is_added else -1) * uniform_numbers(key, 5, slots.size, t).astype(object)
        work = slots.copy()
        Masks(streams, t).add_to(work, 5)
        assert (work == exact % t).all()


@pytest.mark.parametrize("missing", ["ash", "birch", "cedar"])
def test_partial_sums_are_uniform(missing):
    """With one member missing the sum is uniform noise, also for constant updates."""
    roster, zeros = roster_of("ash", "birch", "cedar"), np.zeros(100_000, np.uint64)
    partial = sum(masked(name, roster, zeros) for name in roster.members if name != missing) % np.uint64(T)
    assert stats.kstest(partial / T, "uniform").pvalue > 1e-4
    assert stats.kstest(masked(missing, roster, zeros) / T, "uniform").pvalue > 1e-4


def test_masks_are_bound_to_everything():
    """Another round, attempt, roster or block has independent masks."""
    zeros = np.zeros(50, np.uint64)
    base = roster_of("ash", "birch", "cedar")
    others = [
        masked("ash", roster_of("ash", "birch", "cedar", round_no=2), zeros),
        masked("ash", roster_of("ash", "birch", "cedar", attempt=1), zeros),
        masked("ash", roster_of("ash", "birch", "date"), zeros),
        masked("ash", dataclasses.replace(base, digest=digest(b"x")), zeros),
        masked("ash", dataclasses.replace(base, plan=digest(b"x")), zeros),
        masked("ash", base, zeros, block=1),
    ]
    for other in others:
        assert not np.isin(other, masked("ash", base, zeros)).any()


def test_missing_or_wrong_pair_keys_are_refused():
    """A missing pair key is an error, so no mask is skipped."""
    keys = keys_of(NAMES)["ash"]
    roster = roster_of("ash", "birch", "cedar")
    for wrong in ({"birch": keys["birch"]}, {"birch": keys["birch"], "cedar": keys["birch"]}):
        with pytest.raises(BadRoster):
            make_masks("ash", roster, wrong, T)


def test_streams_that_overflow_are_refused():
    """A sum that would reach 2^64 before it is reduced is no mask."""
    streams = tuple((bytes([number]) * 32, True) for number in range(16))
    Masks(streams[:15], 1 << 60)
    with pytest.raises(ParameterMismatch):
        Masks(streams, 1 << 60)


@given(st.integers(0, 2**32), st.integers(41, 54), st.sampled_from([1, 513, 2000, 8191, 8193, 20_000]))
def test_inner_product_is_exact(seed, bits, n):
    """The inner product does not overflow for the largest numbers and blocks."""
    t = largest_prime(1 << bits)
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, t, n, dtype=np.uint64) for _ in range(2))
    assert inner_product(a, b) == sum(int(x) * int(y) for x, y in zip(a, b, strict=True))
    worst = np.full(BLOCK_CHUNKS * N_SLOTS, t - 1, dtype=np.uint64)
    assert inner_product(worst, worst) == (t - 1) ** 2 * worst.size
    with pytest.raises(ValueError, match="size"):
        inner_product(a, np.append(b, np.zeros(N_SLOTS, dtype=np.uint64)))


def test_tags_add_up():
    """The sum of the members' tags is the tag of the sum."""
    roster, rng, seed = roster_of("ash", "birch", "cedar"), np.random.default_rng(0), b"s" * 32
    slots = {name: [rng.integers(0, T, 200, dtype=np.uint64) for _ in range(2)] for name in roster.members}

    def tag(parts: list[np.ndarray], *members: str) -> int:
        tagger = Tagger(seed, roster, T)
        for block, part in enumerate(parts):
            tagger.add(tagger.part(part, block))
        return tagger.tag(*members)

    total = [sum(slots[name][block] for name in slots) % np.uint64(T) for block in (0, 1)]
    assert tag(total, *roster.members) == sum(tag(slots[name], name) for name in slots) % T
    assert tag(total[::-1], *roster.members) != tag(total, *roster.members)


SHAPES = [(16, 16), (16, 3), (12, 16), (12, 3), (8, 16), (8, 3)]


@given(st.integers(1, 100_000), st.sampled_from(SHAPES), st.integers(0, 99))
@settings(max_examples=40)
def test_packing_round_trip(n, shape, seed):
    """Every integer is unpacked unchanged, for vectors that do not fill their slots."""
    p = seal_parameters(SealSettings(bits=shape[0], max_partners=shape[1]))
    integers = np.random.default_rng(seed).integers(-p.limit, p.limit + 1, n)
    total, covered, chunks = np.zeros(n, np.int64), 0, 0
    for block in blocks(n, p):
        part = slice(block.start, block.stop)
        slots = pack(integers[part].astype(np.float32), block, p)
        assert block.is_last == (block.number == len(list(blocks(n, p))) - 1)
        assert not block.is_last or not slots[-2:].any()
        total[part] = unpack(slots, block, p, 1)
        covered, chunks = covered + block.stop - block.start, chunks + block.n_chunks
    assert (covered, chunks) == (n, p.n_chunks(n))
    np.testing.assert_array_equal(total, integers)


@given(st.integers(1, 4), st.sampled_from(Q_BITS), st.integers(0, 99))
def test_coefficients_round_trip(n, bits, seed):
    """Numbers of 52, 56 or 60 bits and bytes are one to one."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << bits, (n, N_SLOTS), dtype=np.uint64)
    np.testing.assert_array_equal(unpack_coefficients(pack_coefficients(words, bits), bits), words)
    packed = rng.integers(0, 256, (n, N_SLOTS * bits // 8), dtype=np.uint8)
    np.testing.assert_array_equal(pack_coefficients(unpack_coefficients(packed, bits), bits), packed)
    assert unpack_coefficients(packed, bits).max() < 1 << bits
