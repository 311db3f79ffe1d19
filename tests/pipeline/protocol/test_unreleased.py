"""A revision that holds a round again for which somebody has released; pair keys are confirmed before sealing."""

import contextlib
import shutil
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, Equivocation, NotYet
from pipeline.home.paths import Home
from pipeline.plan.plan import read_plan
from pipeline.setup.keys import deal
from secure.errors import BadManifest, WrongKey, WrongKind, WrongSender
from secure.keys.keys import load_private_keys
from secure.keys.pairing import PairSeeds
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting
from tests.support.signed_transcripts import update_of

ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
SUM = MessageName("sum", 1, 1, AGGREGATOR)


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
        with pytest.raises(Equivocation, match=r"P0[12] released for round 1 under a plan before"):
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
    drive(released, "P01")  # receives it, which checks its signature
    revise(released, '["P04"]')
    for name, said in {"P01": ": P04", "P03": ": a file says that P04"}.items():
        with pytest.raises(Equivocation, match=rf"{said} released .*unreleased lists it"):
            released.partner(name)
    with pytest.raises(Equivocation, match=r"P04 has released"):
        released.partner("P04")


def test_a_roster_that_the_release_does_not_name_counts_for_nothing(released: Federation):
    """An unsigned roster with another member beside the signed one does not switch the check off."""
    genuine = released.posted(ROSTER)
    genuine.with_name("roster.AAA.json").write_text(genuine.read_text().replace('"P04":', '"P09":'))
    revise(released, '["P09"]')
    for name in ("P01", "P03"):
        with pytest.raises(Equivocation, match="who of its roster has not"):
            released.partner(name)


def test_another_message_for_the_roster_counts_for_nothing(released: Federation):
    """A sum under the name of a roster is passed over: its digest is not the release's."""
    genuine = released.posted(ROSTER)
    shutil.copyfile(released.posted(SUM), genuine.with_name("roster.AAA.json"))
    revise(released, '["P04"]')
    released.partner("P03")


def test_a_file_that_is_no_release_accuses_nobody(released: Federation):
    """BadManifest, WrongKind or WrongSender name the file."""
    revise(released, '["P04"]')
    forged = released.posted(MessageName("release", 1, 1, "P04"))
    others = {WrongKind: SUM, WrongSender: MessageName("release", 1, 1, "P01")}
    contents = {BadManifest: b""} | {error: released.posted(name).read_bytes() for error, name in others.items()}
    for error, content in contents.items():
        forged.write_bytes(content)
        with pytest.raises(error, match=r"release\.P04\.json"):
            released.partner("P03")


def test_who_left_without_a_release_is_no_partner(released: Federation):
    """ConfigError: the revision goes on without it."""
    revise(released, '["P04"]')
    with pytest.raises(ConfigError, match="P04 is not one"):
        released.partner("P04")


def test_a_member_with_a_card_is_not_unreleased(released: Federation):
    """ConfigError: who did not release leaves, so that it can open the sum before to nobody."""
    revise(released, '["P03"]')
    with pytest.raises(ConfigError, match="unreleased lists P03"):
        read_plan(released.plan_file)


# ---------------------------------------------------------------------------------------------- back to another plan


@pytest.fixture(scope="module")
def released_later(sealed: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """All sealed under plan 1, then revision 2 held round 1 again; under it only P01 has released. For reading only."""
    federation = sealed.moved(tmp_path_factory.mktemp("later") / "f")
    shutil.copytree(federation.home("P01").folder, federation.folder / "P01.backup")
    federation.revise(1)
    deal(federation.plan_file, federation.home("P01").folder, None)
    until_waiting(federation, federation.partners)
    step(federation.aggregator())
    until_waiting(federation, federation.partners)
    step(federation.aggregator())
    drive(federation, "P01")
    return federation


@pytest.fixture
def back(released_later: Federation, tmp_path: Path) -> Federation:
    """The same, with every configuration at plan 1 again."""
    federation = released_later.moved(tmp_path / "f")
    federation.use_plan(federation.folder / "plan.toml")
    return federation


def restore(federation: Federation) -> None:
    """Set P01's home back to before its release under revision 2."""
    shutil.rmtree(federation.home("P01").folder)
    shutil.copytree(federation.folder / "P01.backup", federation.home("P01").folder)


@pytest.mark.parametrize("is_restored", [False, True], ids=["its outbox", "the exchange alone"])
def test_who_released_under_a_later_plan_does_not_go_back(back: Federation, *, is_restored: bool):
    """Equivocation: under plan 1 it would release a second time for the round."""
    if is_restored:
        restore(back)
    with pytest.raises(
        Equivocation, match=r"release\.P01\.json: (a file says that )?P01 released for round 1 under revision-02"
    ):
        back.partner("P01")


def test_who_did_not_release_goes_back_and_never_releases_there(back: Federation):
    """P02 goes back to plan 1 and its seed under revision 2 is gone, so that sum stays closed."""
    later = Home(back.home("P02").folder, "revision-02").release_seed(1, 1)
    assert later.exists()
    back.partner("P02")
    assert not later.exists()


def test_a_restored_home_finds_releases_under_plans_that_it_never_saw(released_later: Federation, tmp_path: Path):
    """Equivocation under revision 3: the home has nothing of revision 2, but the exchange has its release there."""
    federation = released_later.moved(tmp_path / "f")
    restore(federation)
    federation.use_plan(federation.folder / "plan-2.toml")
    federation.revise(1, revision=3)
    for name in ("P01", "P02"):
        with pytest.raises(Equivocation, match=r"revision-02/.*P01 released .*who of its roster has not"):
            federation.partner(name)


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
