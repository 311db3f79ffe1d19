"""A hostile aggregator around the release: what a partner that has released accepts, and when it releases at all."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import Equivocation
from secure.errors import (
    TagMismatch,
    WrongRelease,
)
from tests.support.federation import AGGREGATOR, Federation, age, step
from tests.support.hostile.aggregator import (
    ALL,
    ROSTER,
    SUM,
    VOID,
    add,
    drive,
    has_sealed,
    post_sum,
    refuses,
    release_of,
)
from tests.support.hostile_members import OTHER, call_roster, ready_digests
from tests.support.signed_transcripts import body_of, digest_of, say, update_of


@pytest.fixture(scope="module")
def summed(sealed: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """The sum of round 1 is posted; P01 has released, nobody else has looked. For reading only."""
    federation = sealed.moved(tmp_path_factory.mktemp("summed") / "federation")
    step(federation.aggregator())
    drive(federation, "P01")
    return federation


@pytest.fixture
def released_by_one(summed: Federation, tmp_path: Path) -> Federation:
    """A copy in which anything may happen."""
    return summed.moved(tmp_path / "federation")


def refuses_release(federation: Federation, name: str, said: str, note: str = "") -> None:
    """Equivocation at this partner, with this in its notes; it signs no further release."""
    before = sorted(federation.home(name).outbox("").rglob("release.*.json"))
    refuses(federation, name, Equivocation, said)
    with pytest.raises(Equivocation) as caught:
        drive(federation, name)
    assert note in " ".join(getattr(caught.value, "__notes__", []))
    assert sorted(federation.home(name).outbox("").rglob("release.*.json")) == before


def remove_sum(federation: Federation, *seen_by: str) -> None:
    """The aggregator takes its sum away, also from the inboxes of these partners."""
    inboxes = [federation.home(name).inbox(SUM.manifest) for name in seen_by]
    for path in (federation.posted(SUM), federation.payload(SUM), *inboxes):
        path.unlink(missing_ok=True)


def test_a_void_after_a_release_is_refused(released_by_one: Federation):
    """Equivocation at who has released, and at everybody who sees the release: the aggregator signed a sum."""
    federation = released_by_one
    remove_sum(federation, "P01")
    say(federation, VOID, {"roster": digest_of(federation, ROSTER), "missing": ["P02"]})
    refuses_release(federation, "P01", "void, but P01 has released")
    refuses_release(federation, "P02", "void, but P01 has released", "ask P01 for the aggregator's signed sum")


def test_two_rosters_after_a_release_are_refused(released_by_one: Federation):
    """Equivocation that names both rosters: at who has released, and at who was shown a void and the next roster."""
    federation = released_by_one
    first = digest_of(federation, ROSTER)
    kept = {path: path.read_bytes() for path in map(federation.posted, (SUM, release_of("P01")))}
    for path in kept:
        path.unlink()
    say(federation, VOID, {"roster": first, "missing": ["P01"]})
    for name in ("P02", "P03", "P04"):
        drive(federation, name)
    second = call_roster(federation, ready_digests(federation, "P02", "P03", "P04", attempt=2), attempt=2)
    federation.posted(VOID).unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    refuses_release(
        federation, "P01", rf"roster {second} after a sum, expected roster {first}", "the aggregator signed"
    )
    federation.posted(SUM).unlink()
    say(federation, VOID, {"roster": first, "missing": ["P01"]})
    refuses_release(federation, "P02", "void, but P01 has released")
    assert not has_sealed(federation, "P02", attempt=2)


def test_a_release_for_another_roster_is_refused(released_by_one: Federation):
    """Equivocation that names both rosters, though the release is rightly signed."""
    at = digest_of(released_by_one, ROSTER)
    say(released_by_one, release_of("P01"), body_of(released_by_one, release_of("P01")) | {"roster": OTHER})
    refuses(released_by_one, "P02", Equivocation, f"P01 has roster {OTHER}, expected roster {at}")


def test_a_wrong_seed_is_refused_and_its_sender_named(released_by_one: Federation):
    """WrongRelease at all others, the aggregator too: the update commits to another seed; nobody opens the sum."""
    body = body_of(released_by_one, release_of("P01")) | {"seed": "A" * 43 + "="}
    say(released_by_one, release_of("P01"), body)
    refuses(released_by_one, "P02", WrongRelease, r"release\.P01\.json.*P01 commits")
    with pytest.raises(WrongRelease, match=r"release\.P01\.json.*P01 commits"):
        step(released_by_one.aggregator())


def test_a_home_restored_from_before_its_release_refuses(released_by_one: Federation, sealed: Federation):
    """Equivocation: the exchange is the witness that it has released, whatever it is shown now."""
    federation = released_by_one
    shutil.rmtree(federation.home("P01").folder)
    shutil.copytree(sealed.home("P01").folder, federation.home("P01").folder)
    refuses_release(federation, "P01", "release.* lacks its own")
    remove_sum(federation, "P01")
    say(federation, VOID, {"roster": digest_of(federation, ROSTER), "missing": ["P02"]})
    refuses_release(federation, "P01", "release.* lacks its own")


def test_a_sum_without_every_updates_manifest_releases_nothing(delivered: Federation):
    """A partner waits while a member's signed update is withheld: it may be for another roster."""
    step(delivered.aggregator())
    held = delivered.posted(update_of("P03"))
    data = held.read_bytes()
    held.unlink()
    drive(delivered, "P01")
    assert not delivered.posted(release_of("P01")).exists()
    held.write_bytes(data)
    drive(delivered, "P01")
    assert delivered.posted(release_of("P01")).exists()


def test_a_sum_that_lists_another_update_of_another_is_refused(delivered: Federation):
    """Equivocation at every partner, though the sum itself is the roster's; nothing is released."""
    total = add(delivered, ROSTER, {name: delivered.payload(update_of(name)) for name in ALL})
    post_sum(delivered, total, P02=OTHER)
    refuses_release(delivered, "P01", "update of P02 that is not the one it sealed")
    assert not delivered.posted(release_of("P01")).exists()


def test_after_a_wrong_tag_nothing_is_released(delivered: Federation):
    """TagMismatch before the release: the seed would open whatever the aggregator keeps."""
    post_sum(delivered, add(delivered, ROSTER, {name: delivered.payload(update_of(name)) for name in ALL}))
    total = delivered.payload(SUM)
    data = bytearray(total.read_bytes())
    for position in range(len(data) // 4, len(data) // 4 + 64):
        data[position] ^= 64  # also in high bytes of coefficients, beyond the noise
    total.write_bytes(data)
    post_sum(delivered, total)
    refuses(delivered, "P01", TagMismatch)
    assert not delivered.posted(release_of("P01")).exists()


def test_an_aggregator_that_signed_a_sum_declares_no_void(sealed: Federation, released_by_one: Federation):
    """Equivocation at a restored aggregator that would void what it has added."""
    federation = released_by_one
    shutil.rmtree(federation.home(AGGREGATOR).folder)
    shutil.copytree(sealed.home(AGGREGATOR).folder, federation.home(AGGREGATOR).folder)
    for path in (federation.posted(update_of("P02")), federation.home(AGGREGATOR).inbox(update_of("P02").manifest)):
        path.unlink(missing_ok=True)
    age(federation, ROSTER, 3601)
    with pytest.raises(Equivocation, match=r"sum\.agg.* lacks its own"):
        step(federation.aggregator())
    assert not federation.posted(VOID).exists()


def test_an_aggregator_that_signed_a_void_adds_nothing(delivered: Federation):
    """Equivocation at a restored aggregator that would add what it has declared void."""
    say(delivered, VOID, {"roster": digest_of(delivered, ROSTER), "missing": ["P02"]})
    with pytest.raises(Equivocation, match=r"void\.agg.* lacks its own"):
        step(delivered.aggregator())
    assert not delivered.posted(SUM).exists()
