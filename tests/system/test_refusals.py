"""Members that do not belong together are refused with the reason, by the command itself."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.setup.keys import new_keys
from secure.keys.keys import load_private_keys
from tests.support.federation import AGGREGATOR, Federation, step


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """A small federation that has not begun."""
    return Federation(tmp_path / "f", n_partners=3)


def process_refused(federation: Federation, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a command that must fail without a traceback."""
    done = federation.hocket(*command)
    assert done.returncode != ExitCode.DONE
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def run_once(federation: Federation, name: str) -> tuple[int, str]:
    """`run --once` of a member that must be refused."""
    role = "aggregator" if name == AGGREGATOR else "partner"
    return process_refused(federation, role, "run", "--once", str(federation.config(name)))


def test_two_partners_are_no_federation(federation: Federation) -> None:
    """A plan with two partners' cards is refused: they could never hide from each other."""
    text = federation.plan_file.read_text()
    before, *cards = text.split("[[card]]")
    federation.plan_file.write_text("[[card]]".join([before, cards[0], cards[1], cards[3]]))
    code, said = run_once(federation, "P01")
    assert code == ExitCode.CONFIGURATION
    assert "3 partners" in said
    assert "plan.toml" in said


@pytest.mark.slow
def test_a_partner_with_another_plan_is_refused(federation: Federation) -> None:
    """One changed setting makes another plan; the first message of the others gives it away, on both sides."""
    partner = federation.partner("P01")
    while step(partner) == "on":
        pass
    text = federation.plan_file.read_text()
    (federation.folder / "other.toml").write_text(text.replace("local_steps = 4", "local_steps = 5"))
    config = federation.config("P02")
    config.write_text(config.read_text().replace("../plan.toml", "../other.toml"))
    code, said = run_once(federation, "P02")
    assert code == ExitCode.SECURITY
    assert "deal.P01.json" in said
    assert not federation.home("P02").group_secret.exists()


def test_another_partners_card_is_refused(federation: Federation) -> None:
    """A plan that gives P02 the card text of P03 under P02's name is refused: the card is not signed for that name."""
    text = federation.plan_file.read_text()
    before, *cards = text.split("[[card]]")
    stolen = cards[2].replace('name = "P03"', 'name = "P02"')
    federation.plan_file.write_text("[[card]]".join([before, cards[0], stolen, cards[2], cards[3]]))
    code, said = run_once(federation, "P02")
    assert code == ExitCode.SECURITY
    assert "card of P02" in said


def test_a_wrong_key_file_is_refused(federation: Federation) -> None:
    """Another member's keys in the home do not belong to the card in the plan."""
    shutil.copyfile(federation.home("P03").keys / "private.key", federation.home("P02").keys / "private.key")
    code, said = run_once(federation, "P02")
    assert code == ExitCode.SECURITY
    assert "card of P02" in said


def test_fresh_keys_of_the_same_name_are_refused(federation: Federation, tmp_path: Path) -> None:
    """New keys made after the plan was agreed on are not those of the card."""
    new_keys("P02", "partner", tmp_path / "new", None)
    config = federation.config("P02")
    config.write_text(config.read_text().replace("[data]", "", 1).replace("assays", "[data]\nassays", 1))
    config.write_text(f'home = "{tmp_path / "new"}"\n{config.read_text()}')
    code, said = run_once(federation, "P02")
    assert code == ExitCode.SECURITY
    assert "card of P02" in said


@pytest.mark.slow
def test_two_partners_who_swap_their_group_secrets_homes_are_told(tmp_path: Path) -> None:
    """A group secret of another home does not open here; locked for this home, its digest is not the dealt one."""
    one, two = Federation(tmp_path / "one"), Federation(tmp_path / "two", federation_id="cd" * 16)
    for federation in (one, two):
        for name in ("P01", "P02"):
            partner = federation.partner(name)
            while step(partner) == "on":
                pass
    secret = one.home("P02").group_secret
    secret.unlink()
    shutil.copy(two.home("P02").group_secret, secret)
    code, said = run_once(one, "P02")
    assert code == ExitCode.SECURITY
    assert "group.secret: " in said
    ours, theirs = (load_private_keys(federation.home("P02").keys) for federation in (one, two))
    secret.write_bytes(ours.lock(theirs.unlock(secret.read_bytes(), "group secret", "theirs"), "group secret"))
    code, said = run_once(one, "P02")
    assert code == ExitCode.SECURITY
    assert "group secret" in said


def test_a_readable_private_key_is_refused(federation: Federation) -> None:
    """Keys that the group can read are not used."""
    (federation.home("P02").keys / "private.key").chmod(0o640)
    code, said = run_once(federation, "P02")
    assert code == ExitCode.SECURITY
    assert "0640" in said


def test_a_member_that_is_not_in_the_plan_is_refused(federation: Federation) -> None:
    """A stranger's configuration is refused with the list of the partners."""
    config = federation.config("P02")
    config.write_text(config.read_text().replace('name = "P02"', 'name = "P09"'))
    code, said = run_once(federation, "P02")
    assert code == ExitCode.CONFIGURATION
    assert "P09" in said


@pytest.mark.slow
def test_a_custodian_who_has_not_dealt_is_told_how(federation: Federation) -> None:
    """Without the deal the custodian's run says which command is missing."""
    shutil.rmtree(federation.home("P01").folder / "outbox")
    code, said = run_once(federation, "P01")
    assert code == ExitCode.CONFIGURATION
    assert "hocket key deal" in said
