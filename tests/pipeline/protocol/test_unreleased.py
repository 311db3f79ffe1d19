"""A revision that holds a round again for which somebody has released; pair keys are confirmed before sealing."""

import contextlib
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, Equivocation, NotYet
from pipeline.plan.plan import read_plan
from secure.errors import WrongKey
from secure.keys.keys import load_private_keys
from secure.keys.pairing import PairSeeds
from tests.support.federation import Federation, step
from tests.support.signed_transcripts import update_of


def drive(federation: Federation, name: str) -> None:
    """Let a newly opened partner advance until it waits."""
    partner = federation.partner(name)
    while step(partner) == "on":
        pass


@pytest.fixture
def released(sealed: Federation, tmp_path: Path) -> Federation:
    """The sum of round 1 is posted, P01 and P02 have released for it; P03 and P04 have not."""
    federation = sealed.moved(tmp_path / "f")
    step(federation.aggregator())
    drive(federation, "P01")
    drive(federation, "P02")
    return federation


def revise(federation: Federation, unreleased: str) -> None:
    """Hold round 1 again without P04, which the revision lists as unreleased, or does not."""
    federation.partners = ["P01", "P02", "P03"]
    federation.revise(1)
    federation.partners.append("P04")
    federation.use_plan(federation.plan_file)
    federation.partners.remove("P04")
    text = federation.plan_file.read_text()
    federation.plan_file.write_text(text.replace("revision = 2\n", f"revision = 2\nunreleased = {unreleased}\n"))


def test_a_round_with_a_release_is_held_again_only_without_who_has_not(released: Federation):
    """Equivocation at who has released, and at who finds a release in the exchange, unless somebody is listed."""
    revise(released, "[]")
    for name in ("P01", "P03"):
        with pytest.raises(Equivocation, match="released for round 1 under the plan before"):
            released.partner(name)
    assert released.home("P03").release_seed(1, 1).exists()
    revise(released, '["P09"]')
    with pytest.raises(Equivocation, match="who of its roster has not"):
        released.partner("P01")


def test_going_on_deletes_unreleased_seeds_first(released: Federation):
    """With P04 listed all go on; P03's seed is gone, so the sum of the plan before can never be opened."""
    revise(released, '["P04"]')
    for name in released.partners:
        released.partner(name)
    assert not list(released.home("P03").folder.rglob("release.seed"))


def test_a_release_of_who_is_listed_as_unreleased_is_refused(released: Federation):
    """Equivocation at everybody who finds it, and at P04 itself."""
    drive(released, "P04")
    revise(released, '["P04"]')
    for name in released.partners:
        with pytest.raises(Equivocation, match=r"P04 released .*unreleased lists it"):
            released.partner(name)
    with pytest.raises(Equivocation, match=r"P04 has released"):
        released.partner("P04")


def test_who_left_without_a_release_is_no_partner(released: Federation):
    """ConfigError: the revision goes on without it."""
    revise(released, '["P04"]')
    with pytest.raises(ConfigError, match="P04 is not one of the partners"):
        released.partner("P04")


def test_a_member_with_a_card_is_not_unreleased(released: Federation):
    """ConfigError: who did not release leaves, so that it can open the sum before to nobody."""
    revise(released, '["P03"]')
    with pytest.raises(ConfigError, match="unreleased lists P03"):
        read_plan(released.plan_file)


# ------------------------------------------------------------------------------------------------ key confirmation


def test_a_wrong_pair_seed_is_named_before_anything_is_sealed(tmp_path: Path):
    """WrongKey at both ends, which names the two partners; an aggregator that calls them gets no update of either."""
    federation = Federation(tmp_path / "f")
    for name in (*federation.partners, *federation.partners):
        with contextlib.suppress(NotYet):
            federation.partner(name).advance()  # enrols
    home = federation.home("P02")
    home.pair_seeds.unlink()
    PairSeeds.generate("P02", ["P01", "P03"]).save(home.pair_seeds, load_private_keys(home.keys))
    for name in federation.partners:
        drive(federation, name)
    step(federation.aggregator())
    for name, other in (("P01", "P02"), ("P02", "P01"), ("P03", "P02")):
        with pytest.raises(WrongKey, match=rf"{other} and {name} hold different pair keys"):
            drive(federation, name)
        assert not federation.payload(update_of(name)).exists()
