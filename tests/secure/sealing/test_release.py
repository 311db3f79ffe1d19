"""Release seeds: bound to one member and one roster, kept locked, and without any one of them no sum opens."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.errors import BadKeyFile, UpdateOutOfRange, WrongKey, WrongRelease
from secure.keys.keys import PrivateKeys
from secure.sealing.release import ReleaseSeed
from tests.support.secure.consortium import Consortium, make_consortium

ROSTER = Roster(digest(b"plan"), 1, 1, ("ash", "birch", "cedar"), digest(b"roster"))
OTHERS = (
    {"plan": digest(b"other")},
    {"round_no": 2},
    {"attempt": 2},
    {"digest": digest(b"another")},
)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_commitment_and_a_stream_are_of_one_seed(one: bytes, other: bytes):
    """Two seeds have the same commitment, or the same stream, only if they are the same."""
    a, b = ReleaseSeed(one, ROSTER, "ash"), ReleaseSeed(other, ROSTER, "ash")
    assert (a.commitment == b.commitment) == (a.stream_key == b.stream_key) == (one == other)


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: next(iter(change)))
def test_a_seed_is_bound_to_its_attempt_and_member(change: dict[str, object]):
    """The same 32 bytes for another plan, round, attempt, roster or member commit to, and give, something else."""
    seeds = [
        ReleaseSeed(bytes(32), ROSTER, "ash"),
        ReleaseSeed(bytes(32), dataclasses.replace(ROSTER, **change), "ash"),
        ReleaseSeed(bytes(32), ROSTER, "birch"),
    ]
    assert len({seed.commitment for seed in seeds}) == len({seed.stream_key for seed in seeds}) == 3


def test_a_seed_is_kept_locked(tmp_path: Path):
    """It comes back with its member's keys and for its roster only, in a file of mode 0600, and is never shown."""
    keys, seed = PrivateKeys.generate("ash", "partner"), ReleaseSeed.generate(ROSTER, "ash")
    seed.save(tmp_path / "release.seed", keys)
    assert ReleaseSeed.load(tmp_path / "release.seed", ROSTER, keys).to_text() == seed.to_text()
    assert (tmp_path / "release.seed").stat().st_mode & 0o777 == 0o600
    assert seed.to_text().encode() not in (tmp_path / "release.seed").read_bytes()
    assert repr(seed) == "ReleaseSeed(ash, hidden)"
    for change in OTHERS:
        with pytest.raises(BadKeyFile, match="not the release seed"):
            ReleaseSeed.load(tmp_path / "release.seed", dataclasses.replace(ROSTER, **change), keys)
    with pytest.raises(WrongKey):
        ReleaseSeed.load(tmp_path / "release.seed", ROSTER, PrivateKeys.generate("ash", "partner"))
    with pytest.raises(BadKeyFile, match="16 bytes"):
        ReleaseSeed(bytes(16), ROSTER, "ash")


@pytest.fixture(scope="module")
def c() -> Consortium:
    return make_consortium(3)


@pytest.fixture(scope="module")
def total(c: Consortium, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    files = c.seal_all(folder, {name: np.full(9, 0.01, np.float32) for name in c.partners})
    c.add(files, folder / "sum")
    return folder / "sum"


def test_a_sum_opens_with_every_members_seed_only(c: Consortium, total: Path):
    """Fewer seeds, or a seed twice, are refused; with another seed in place of one, what comes out is noise."""
    seeds = [c.release(name) for name in c.partners]
    np.testing.assert_allclose(c.open(total, 9).mean, 0.01, atol=1e-5)
    for wrong in (seeds[:2], [*seeds[:2], seeds[0]], []):
        with pytest.raises(WrongRelease, match="expected those of ash, birch, cedar"):
            c.open(total, 9, seeds=wrong)
    with pytest.raises(UpdateOutOfRange):
        c.open(total, 9, seeds=[*seeds[:2], ReleaseSeed(bytes(32), c.roster(), "cedar")])
