"""Attacks of an aggregator that may send any bytes as the sum: the check that stops each, and how surely."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from secure.ciphertexts.bfv import Cipher, Ring
from secure.ciphertexts.parameters import N_SLOTS
from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.errors import (
    BadContainer,
    SumIncomplete,
    TagMismatch,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRoster,
    WrongRound,
)
from secure.keys.group import GroupSecret
from secure.sealing.open_sum import OpenedSum
from tests.support.secure.ciphertexts import (
    decrypt,
    exact_bounds,
    from_chunks,
    read_polynomials,
    relabel,
    seal_integers,
    times,
    trivial,
    write_sum,
)
from tests.support.secure.consortium import Consortium, make_consortium

N = 70_000  # five chunks in two blocks, some slots between the last value and the weight
SMALLEST_P = 1e-6


@dataclass(frozen=True)
class Heard:
    """The ciphertexts that the aggregator has seen, as numbers, and methods to send and open forged sums."""

    c: Consortium
    folder: Path
    now: Roster
    files: dict[str, Path]  # this attempt's updates
    updates: dict[str, np.ndarray]  # the same
    updates_before: dict[str, np.ndarray]
    integers: np.ndarray  # the true sum

    @property
    def q(self) -> int:
        """Ciphertext modulus."""
        return self.c.parameters.q

    @property
    def total(self) -> np.ndarray:
        """The honest sum."""
        return self.add(*self.updates.values())

    def add(self, *terms: np.ndarray) -> np.ndarray:
        """Sum mod q."""
        total = np.zeros_like(terms[0])
        for term in terms:
            total = (total + term) % np.uint64(self.q)
        return total

    def open(self, polynomials: np.ndarray, roster: Roster | None = None) -> OpenedSum:
        """Send ciphertexts under a valid header, and let a partner open them."""
        roster = roster or self.now
        path = write_sum(self.folder / "forged", polynomials, roster, N, self.c.parameters)
        return self.open_file(path, roster)

    def open_file(self, path: Path, roster: Roster | None = None) -> OpenedSum:
        """Let a partner open a file."""
        return self.c.open(path, N, roster or self.now, bounds=exact_bounds(self.c.parameters))

    def refuses(self, polynomials: np.ndarray, roster: Roster | None = None) -> None:
        """Assert that opening raises TagMismatch."""
        with pytest.raises(TagMismatch):
            self.open(polynomials, roster)

    def trivial_at(self, *numbers: tuple[int, int]) -> np.ndarray:
        """Encrypt numbers without a key at the given slots, zero elsewhere."""
        slots = np.zeros(len(self.total) * N_SLOTS, dtype=np.uint64)
        for slot, number in numbers:
            slots[slot] = number
        return trivial(slots, self.c.parameters)


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> Heard:
    """Two rounds of three members of four."""
    c, folder = make_consortium(4, weights="size", max_weight=1000), tmp_path_factory.mktemp("heard")
    members, rng = c.partners[:3], np.random.default_rng(3)
    integers = {name: rng.integers(-30_000, 30_001, N) for name in members}
    rosters = {r: c.roster(*members, round_no=r) for r in (1, 2)}
    files = {  # weight 1000 of 1000: changes are sent as they are
        (name, r): seal_integers(c, name, integers[name], folder / f"{name}{r}", roster, weight=1000)
        for name in members
        for r, roster in rosters.items()
    }
    return Heard(
        c=c,
        folder=folder,
        now=rosters[2],
        files={name: files[name, 2] for name in members},
        updates={name: read_polynomials(files[name, 2], c.parameters) for name in members},
        updates_before={name: read_polynomials(files[name, 1], c.parameters) for name in members},
        integers=sum(integers.values()),
    )


def test_an_honest_sum_made_this_way_opens(heard):
    """The honest sum opens when written this way, so the attacks are refused for their content only."""
    opened = heard.open(heard.total)
    np.testing.assert_array_equal(opened.total, heard.integers)
    assert opened.weight_total == 3000


@pytest.mark.parametrize("which", ["a", "ab", "abb", "abcc", "aaa", "aabbcc", "aabbc", ""])
def test_dropped_and_doubled_updates(heard, which):
    """A sum of anything but each update once: the tags' shifts u_i do not add up, nor do the masks cancel."""
    by_letter = {name[0]: polynomials for name, polynomials in heard.updates.items()}
    heard.refuses(heard.add(np.zeros_like(heard.total), *(by_letter[letter] for letter in which)))


@pytest.mark.parametrize("which", ["all", "chunk", "update"])
@pytest.mark.parametrize("factor", ["2", "-1", "half", "random"])
def test_scaled_ciphertexts(heard, factor, which):
    """All, a chunk or an update multiplied by a number: the tag's slot holds the sum u of shifts, which is not k u."""
    q = heard.q
    number = {"2": 2, "-1": q - 1, "half": (q + 1) // 2, "random": int(np.random.default_rng(0).integers(2, q - 1))}
    forged, k = heard.total, number[factor]
    if which == "update":
        forged = heard.add(heard.updates["ash"], heard.updates["birch"], times(heard.updates["cedar"], k, q))
    else:
        part = slice(None) if which == "all" else slice(1, 2)
        forged[part] = times(forged[part], k, q)
    heard.refuses(forged)


@pytest.mark.parametrize(
    "numbers",
    [
        ((5, 1),),
        ((N_SLOTS + 7, 12345), (N_SLOTS + 8, 1)),
        ((-3, 1),),  # between the last value and the weight
        ((-2, 1),),
        ((-1, 1),),
        ((-2, 1), (-1, 1)),
        ((5, 1), (-1, 1)),
        ((5, 1), (-2, 7), (-1, 99)),
    ],
    ids=["value", "values", "padding", "weight", "tag", "weight and tag", "value and tag", "value, weight and tag"],
)
def test_added_numbers(heard, numbers):
    """Encryptions that need no key, c1 = 0, added to some slots: <r, d> is unknown without the tag seed."""
    heard.refuses(heard.add(heard.total, heard.trivial_at(*numbers)))


def test_numbers_in_every_slot(heard):
    """A keyless encryption of random numbers added to all slots: <r, d> is unknown without the tag seed."""
    slots = np.random.default_rng(0).integers(0, heard.c.parameters.t, heard.total.size // 2, dtype=np.uint64)
    heard.refuses(heard.add(heard.total, trivial(slots, heard.c.parameters)))


def test_invented_sum(heard):
    """A complete forgery within all limits, weight and tag included, without a key: u is unknown."""
    slots = np.zeros(heard.total.size // 2, dtype=np.uint64)
    slots[-2:] = (3000, 1)
    heard.refuses(trivial(slots, heard.c.parameters))


def test_encryption_under_another_key(heard):
    """An encryption under a key of its own, added or in place of the sum: noise to the partners, and no tag."""
    p = heard.c.parameters
    cipher = Cipher(Ring(p), GroupSecret.generate(p).bfv_key)
    foreign = from_chunks(Ring(p).add([cipher.encrypt(np.ones(heard.total.size // 2, np.uint64))]), p)
    heard.refuses(foreign)
    heard.refuses(heard.add(heard.total, foreign))


@pytest.mark.parametrize("k", [1, 3, "q/t"])
def test_multiples_of_t(heard, k):
    """Multiples of t are no zero in this scheme: added to c0 they change the plaintext, and the tag is wrong."""
    p, forged = heard.c.parameters, heard.total
    step = p.t * (round(p.q / p.t) if k == "q/t" else k) % p.q
    forged[0, 0, 17] = (int(forged[0, 0, 17]) + step) % p.q
    heard.refuses(forged)


def swap_chunks(total):
    return total[[1, 0, 2, 3, 4]]


def swap_across_blocks(total):
    return total[[4, 1, 2, 3, 0]]


def repeat_chunk(total):
    return total[[0, 0, 2, 3, 4]]


def swap_halves(total):
    return total[:, ::-1]


def other_half(total):
    return np.concatenate([total[:, :1], total[[1, 0, 2, 3, 4], 1:]], axis=1)


@pytest.mark.parametrize("move", [swap_chunks, swap_across_blocks, repeat_chunk, swap_halves, other_half])
def test_moved_chunks(heard, move):
    """Chunks, or halves of them, in each other's place: every slot of the update has an r of its own."""
    heard.refuses(move(heard.total))


@pytest.mark.parametrize("who", ["all", "cedar"])
@pytest.mark.parametrize("k", [1, 100, N_SLOTS - 1, N_SLOTS])
def test_rotated_coefficients(heard, k, who):
    """A multiplication by x^k shifts the slots, negating what comes round: r does not shift with them."""
    q, updates = np.uint64(heard.q), dict(heard.updates)
    for name in updates if who == "all" else [who]:
        shifted = np.roll(updates[name], k, axis=-1)
        shifted[..., :k] = (q - shifted[..., :k]) % q
        updates[name] = shifted
    heard.refuses(heard.add(*updates.values()))


def test_swapped_chunk_of_one_update(heard):
    """Two chunks of one update swapped before adding: neither masks nor r fit any more."""
    heard.refuses(heard.add(swap_chunks(heard.updates["ash"]), heard.updates["birch"], heard.updates["cedar"]))


def test_partners_swapped(heard, tmp_path):
    """Two updates under each other's name give the very same sum; who sent what the signed manifests say."""
    p, now = heard.c.parameters, heard.now
    swapped = [
        relabel(heard.files[source], tmp_path / name, name, now, p)
        for name, source in (("ash", "birch"), ("birch", "ash"), ("cedar", "cedar"))
    ]
    heard.c.add(swapped, tmp_path / "sum")
    np.testing.assert_array_equal(heard.open_file(tmp_path / "sum").total, heard.integers)


def test_replayed_sums(heard):
    """Last round's sum under this round's header: r and u are drawn anew for every round."""
    heard.refuses(heard.add(*heard.updates_before.values()))


@pytest.mark.parametrize("which", ["a", "ab", "c"])
def test_replayed_updates(heard, which):
    """Last round's updates in the place of this round's: r, u and the masks are drawn anew for every round."""
    heard.refuses(
        heard.add(*((heard.updates_before if name[0] in which else heard.updates)[name] for name in heard.updates))
    )


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": 1},
        {"round_no": 3},
        {"digest": digest(b"x")},
        {"plan": digest(b"x")},
        {"members": ("ash", "birch", "date")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_relabelled_sums(heard, change):
    """This attempt's sum as another attempt's, round's, roster's or plan's: r and u are bound to all of them."""
    heard.refuses(heard.total, dataclasses.replace(heard.now, **change))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"plan": digest(b"x")}, WrongPlan),
        ({"round_no": 3}, WrongRound),
        ({"attempt": 1}, WrongAttempt),
        ({"digest": digest(b"x")}, WrongRoster),
        ({"members": ("ash", "birch", "date")}, SumIncomplete),
        ({"members": ("ash", "birch", "cedar", "date")}, SumIncomplete),
    ],
    ids=["plan", "round", "attempt", "roster", "stranger", "one more"],
)
def test_sums_for_something_else(heard, change, error):
    """A sum with the header of another plan, round, attempt or roster: refused by that, nothing is decrypted."""
    path = write_sum(heard.folder / "forged", heard.total, heard.now, N, heard.c.parameters)
    with pytest.raises(error):
        heard.open_file(path, dataclasses.replace(heard.now, **change))


def test_update_as_sum(heard):
    """An update in place of the sum, as it is or written as one: by its header, or by its tag."""
    with pytest.raises(WrongKind):
        heard.open_file(heard.files["ash"])
    heard.refuses(heard.updates["ash"])


def test_update_of_another_attempt(heard, tmp_path):
    """An update of this round's first, void attempt in the second: masks and tags are bound to the attempt."""
    again = dataclasses.replace(heard.now, attempt=1, digest=digest(b"again"))
    old = seal_integers(heard.c, "ash", np.zeros(N), tmp_path / "old", again, weight=1000)
    old = read_polynomials(old, heard.c.parameters)
    heard.refuses(heard.add(old, heard.updates["birch"], heard.updates["cedar"]))


def test_update_for_another_roster(heard, tmp_path):
    """Different rosters shown to different partners: masks with another member do not cancel, tags differ."""
    other = heard.c.roster("ash", "birch", "date", round_no=2)
    misled = seal_integers(heard.c, "ash", np.zeros(N), tmp_path / "other", other, weight=1000)
    with pytest.raises(WrongRoster):
        heard.c.add([misled, heard.files["birch"], heard.files["cedar"]], tmp_path / "sum")
    misled = read_polynomials(misled, heard.c.parameters)
    heard.refuses(heard.add(misled, heard.updates["birch"], heard.updates["cedar"]))


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("beyond", ["q", "most"])
def test_coefficients_beyond_q(heard, half, beyond):
    """A number of q or more, a second form of a smaller one, is refused before anything is decrypted."""
    forged, q = heard.total, heard.q
    forged[0, half, 99] = q if beyond == "q" else (1 << q.bit_length()) - 1
    with pytest.raises(BadContainer):
        heard.open(forged)


def test_ciphertext_of_the_key(heard):
    """The ciphertext (0, q / t), which decrypts to the secret key, is refused by its tag and not shown."""
    forged = heard.trivial_at((0, 1))[:, ::-1]
    assert set(decrypt(forged[:1], heard.c).tolist()) == {0, 1, heard.c.parameters.t - 1}
    heard.refuses(forged)
