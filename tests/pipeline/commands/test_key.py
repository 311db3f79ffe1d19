"""`hocket key`: new, deal, show and passphrase, and the life of keys through real processes."""

import json
import re
import shutil
import stat
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report
from secure.errors import WrongPassphrase
from secure.keys.keys import KEY_FILE, PrivateKeys, load_private_keys, parse_card
from tests.support.cli_runner import hocket, printed, refused
from tests.support.federation import AGGREGATOR, Federation
from tests.support.running_members import Running


def passphrase_file(folder: Path, passphrase: str) -> Path:
    """A file for its owner only."""
    path = folder / passphrase
    path.touch(0o600)
    path.write_text(passphrase)
    return path


# ---------------------------------------------------------------------------------------------------- new and deal


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("role", ["partner", "aggregator"])
def test_key_new_prints_the_card(tmp_path: Path, role: str):
    """A genuine card on stdout, the same in the home; the private file for its owner only."""
    home = tmp_path / "home"
    done = hocket("key", "new", "acme", "--home", home, "--role", role)
    card = parse_card(done.stdout, "stdout")
    assert done.exit_code == ExitCode.DONE
    assert card.fingerprint in done.stderr
    assert (card.name, card.role) == ("acme", role)
    assert (card.agreement is None) == (role == "aggregator")
    assert (home / "keys" / "card.toml").read_text() == done.stdout
    load_private_keys(home / "keys", None, card)
    assert mode(home / "keys" / "private.key") == 0o600
    assert mode(home / "keys") == mode(home) == 0o700
    assert sorted(path.name for path in (home / "keys").iterdir()) == ["card.toml", "private.key"]


def test_key_new_never_overwrites(tmp_path: Path):
    """Neither the private keys nor the card, not even for another name or role."""
    hocket("key", "new", "acme", "--home", tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    for arguments in (["acme"], ["other"], ["acme", "--role", "aggregator"]):
        assert "private.key" in refused(ExitCode.SECURITY, "key", "new", *arguments, "--home", tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


@pytest.mark.parametrize("name", ["a b", "../x", "", "x" * 33, "Zürich"])
def test_key_new_refuses_names_that_are_no_names(tmp_path: Path, name: str):
    """They become parts of file names; nothing is made."""
    done = hocket("key", "new", name, "--home", tmp_path / "home")
    assert done.exit_code in (ExitCode.CONFIGURATION, ExitCode.SECURITY)
    assert "name" in done.stderr
    assert "32" in done.stderr
    assert list(tmp_path.rglob("*.key")) == []


def test_a_passphrase_locks_the_keys(tmp_path: Path):
    """The right one opens, another or none is refused, and no file holds it."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("correct horse\r\nsecond line")
    assert hocket("key", "new", "acme", "--home", tmp_path, "--passphrase-file", secret).exit_code == ExitCode.DONE
    assert load_private_keys(tmp_path / "keys", "correct horse").name == "acme"
    for wrong in ("correct hors", None):
        with pytest.raises(WrongPassphrase):
            load_private_keys(tmp_path / "keys", wrong)
    assert all(b"correct horse" not in path.read_bytes() for path in (tmp_path / "keys").iterdir())


def test_an_empty_passphrase_makes_no_keys(tmp_path: Path):
    """An empty file is a mistake, not a wish for unlocked keys."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("")
    message = refused(
        ExitCode.CONFIGURATION, "key", "new", "acme", "--home", tmp_path, "--passphrase-file", tmp_path / "secret"
    )
    assert str(tmp_path / "secret") in message
    assert not (tmp_path / "keys" / "private.key").exists()


def test_the_custodian_deals_once(fresh: Federation):
    """A group secret for its owner only, a deal for all partners; dealing again changes nothing."""
    home = fresh.home("P01")
    for path in (home.group_secret, *home.outbox("enrol").iterdir()):
        path.unlink()
    first = hocket("key", "deal", fresh.plan_file, "--home", home.folder)
    assert first.exit_code == ExitCode.DONE
    assert re.search(r"\b[0-9a-f]{16}\b", first.stdout)
    assert all(name in first.stdout for name in fresh.partners)
    assert mode(home.group_secret) == 0o600
    before = {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())}
    assert {path.name for path in before} == {"group.secret", "deal.P01.envelopes", "deal.P01.json"}
    assert hocket("key", "deal", fresh.plan_file, "--home", home.folder).stdout == first.stdout
    assert {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())} == before


def test_a_plan_that_was_changed_is_not_dealt_again_in_silence(fresh: Federation):
    """Exit code 4, how to begin anew, and not a byte changed; what the message says to do works."""
    home = fresh.home("P01")
    fresh.plan_file.write_text(fresh.plan_file.read_text().replace("local_steps = 4", "local_steps = 5"))
    before = {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())}
    message = refused(ExitCode.SECURITY, "key", "deal", fresh.plan_file, "--home", home.folder)
    assert "plan was changed" in message
    assert str(home.outbox("enrol/deal.P01.json")) in message
    assert f"rm -r {home.outbox('enrol')} {home.group_secret}" in message
    assert {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())} == before
    shutil.rmtree(home.outbox("enrol"))
    home.group_secret.unlink()
    assert hocket("key", "deal", fresh.plan_file, "--home", home.folder).exit_code == ExitCode.DONE


@pytest.mark.parametrize("name", ["P02", AGGREGATOR])
def test_only_the_custodian_deals(fresh: Federation, name: str):
    """Nobody else makes a group secret."""
    message = refused(ExitCode.CONFIGURATION, "key", "deal", fresh.plan_file, "--home", fresh.home(name).folder)
    assert str(fresh.home(name).keys) in message
    assert "P01" in message
    assert not fresh.home(name).group_secret.exists()
    assert not fresh.home(name).outbox("enrol").exists()


def test_keys_of_another_card_do_not_deal(fresh: Federation, tmp_path: Path):
    """The custodian's name with keys that are not in the plan."""
    hocket("key", "new", "P01", "--home", tmp_path / "other")
    message = refused(ExitCode.SECURITY, "key", "deal", fresh.plan_file, "--home", tmp_path / "other")
    assert str(tmp_path / "other" / "keys") in message
    assert not (tmp_path / "other" / "group.secret").exists()


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_structure_seed_has_32_bytes(fresh: Federation, tmp_path: Path, size: int):
    """A shorter key could be guessed, a longer file is another file; nothing is dealt."""
    home = fresh.home("P01")
    home.group_secret.unlink()
    shutil.rmtree(home.outbox(""))
    (tmp_path / "seed").touch(0o600)
    (tmp_path / "seed").write_bytes(b"s" * size)
    done = hocket("key", "deal", fresh.plan_file, "--home", home.folder, "--structure-seed-file", tmp_path / "seed")
    assert done.exit_code in (ExitCode.CONFIGURATION, ExitCode.SECURITY)
    assert re.findall(r"\b\d+\b", done.stderr) == [str(size), "32"]
    assert not home.group_secret.exists()
    assert not home.outbox("").exists()


# ------------------------------------------------------------------------------------------------------------ show


def test_show_of_a_home(finished: Federation) -> None:
    """Name, role, fingerprint, passphrase and group secret; the private keys are checked; text and JSON agree."""
    home, plan = finished.home("P02"), read_plan(finished.plan_file)
    found = json.loads(hocket("key", "show", home.folder, "--json").stdout)
    assert (found["name"], found["role"], found["passphrase"]) == ("P02", "partner", False)
    assert found["fingerprint"] == plan.cards["P02"].fingerprint
    assert found["private keys"].startswith("belong")
    assert [(held["revision"], held["plan"]) for held in found["group secrets"]] == [(1, plan.digest)]
    dealt = json.loads((finished.exchange / "enrol" / "deal.P01.json").read_bytes())
    assert found["group secrets"][0]["group"] == dealt["body"]["group"]
    text = hocket("key", "show", home.folder).stdout
    assert all(value in text for value in (found["fingerprint"], plan.digest, dealt["body"]["group"]))


def test_show_of_the_aggregators_home_has_no_group_secret(finished: Federation) -> None:
    """It holds no key that opens anything."""
    found = json.loads(hocket("key", "show", finished.home(AGGREGATOR).folder, "--json").stdout)
    assert (found["role"], found["group secrets"]) == ("aggregator", [])


def test_show_of_a_plan(enrolled: Federation) -> None:
    """The plan's digest and each member's fingerprint, which is the one its own home shows."""
    found = json.loads(hocket("key", "show", enrolled.plan_file, "--json").stdout)
    assert found["plan"] == read_plan(enrolled.plan_file).digest
    assert [member["name"] for member in found["members"]] == [AGGREGATOR, *enrolled.partners]
    text = hocket("key", "show", enrolled.plan_file).stdout
    for member in found["members"]:
        own = hocket("key", "show", enrolled.home(member["name"]).folder).stdout
        assert f"fingerprint: {member['fingerprint']}\n" in own
        assert f"name {member['name']}, role {member['role']}, fingerprint {member['fingerprint']}\n" in text


def test_show_never_shows_a_secret(finished: Federation) -> None:
    """Nothing of a private file's content is in what is printed."""
    home = finished.home("P01")
    shown = hocket("key", "show", home.folder).stdout.encode()
    for path in (home.keys / KEY_FILE, home.group_secret, home.pair_seeds):
        content = path.read_bytes()
        assert not any(content[i : i + 16] in shown for i in range(64, len(content) - 16, 16))


def test_show_works_without_the_passphrase(tmp_path: Path) -> None:
    """The public part needs none; with it the private keys are checked against the card."""
    secret, home = passphrase_file(tmp_path, "right"), tmp_path / "home"
    hocket("key", "new", "acme", "--home", home, "--passphrase-file", secret)
    assert "belong" not in printed("key", "show", home)
    assert "belong" in printed("key", "show", home, "--passphrase-file", secret)
    wrong = hocket("key", "show", home, "--passphrase-file", passphrase_file(tmp_path, "wrong"))
    assert (wrong.exit_code, wrong.stdout) == (ExitCode.SECURITY, "")


def test_show_finds_a_card_of_other_keys(tmp_path: Path) -> None:
    """A card that was put beside keys it does not belong to is refused."""
    hocket("key", "new", "acme", "--home", tmp_path / "home")
    other = PrivateKeys.generate("acme", "partner").card()
    (tmp_path / "home" / "keys" / "card.toml").write_text(other.to_text())
    done = hocket("key", "show", tmp_path / "home")
    assert done.exit_code == ExitCode.SECURITY
    assert "card of acme" in done.stderr


@pytest.mark.parametrize("missing", [KEY_FILE, "card.toml"])
def test_show_of_a_folder_without_keys(tmp_path: Path, missing: str) -> None:
    """The message names what was expected."""
    hocket("key", "new", "acme", "--home", tmp_path)
    (tmp_path / "keys" / missing).unlink()
    done = hocket("key", "show", tmp_path)
    assert done.exit_code == ExitCode.CONFIGURATION
    assert str(tmp_path / "keys") in done.stderr


# ------------------------------------------------------------------------------------------------------ passphrase


def test_new_keys_are_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    """A name that no message can carry, an empty passphrase: exit code 2, and no home."""
    empty = tmp_path / "empty.pass"
    empty.write_text("\n")
    empty.chmod(0o600)
    for name, options in (("Bayer AG", []), ("a/b", []), ("P01", ["--passphrase-file", empty])):
        assert hocket("key", "new", name, "--home", tmp_path / "home", *options).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["empty.pass"]


def test_a_passphrase_is_set_changed_and_removed(tmp_path: Path) -> None:
    """The same keys each time, under the new passphrase only, in one file for its owner."""
    home, one, two = tmp_path / "home", passphrase_file(tmp_path, "one"), passphrase_file(tmp_path, "two")
    card = parse_card(hocket("key", "new", "acme", "--home", home).stdout, "stdout")
    steps: list[tuple[list[object], str | None]] = [
        (["--new-passphrase-file", one], "one"),
        (["--old-passphrase-file", one, "--new-passphrase-file", two], "two"),
        (["--old-passphrase-file", two], None),
    ]
    for options, passphrase in steps:
        assert hocket("key", "passphrase", home, *options).exit_code == ExitCode.DONE
        load_private_keys(home / "keys", passphrase, card)
        for other in {"one", "two", None} - {passphrase}:
            with pytest.raises(WrongPassphrase):
                load_private_keys(home / "keys", other)
        assert sorted(path.name for path in (home / "keys").iterdir()) == ["card.toml", KEY_FILE]
        assert (home / "keys" / KEY_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("options", [["--new-passphrase-file"], ["--old-passphrase-file"], []])
def test_a_passphrase_that_cannot_be_changed_leaves_the_file(tmp_path: Path, options: list[str]) -> None:
    """Without the old one, with a wrong one, or with nothing to do."""
    home, right, wrong = tmp_path / "home", passphrase_file(tmp_path, "right"), passphrase_file(tmp_path, "wrong")
    hocket("key", "new", "acme", "--home", home, "--passphrase-file", right)
    before = (home / "keys" / KEY_FILE).read_bytes()
    done = hocket("key", "passphrase", home, *(part for name in options for part in (name, wrong)))
    assert done.exit_code == (ExitCode.SECURITY if options else ExitCode.CONFIGURATION)
    assert (home / "keys" / KEY_FILE).read_bytes() == before


def test_the_group_secret_opens_under_a_changed_passphrase(fresh: Federation, tmp_path: Path) -> None:
    """It is locked with the keys, not with the passphrase: dealing again finds it and changes nothing."""
    home, secret = fresh.home("P01"), passphrase_file(tmp_path, "new")
    first = hocket("key", "deal", fresh.plan_file, "--home", home.folder).stdout
    hocket("key", "passphrase", home.folder, "--new-passphrase-file", secret)
    assert hocket("key", "deal", fresh.plan_file, "--home", home.folder).exit_code == ExitCode.SECURITY
    again = hocket("key", "deal", fresh.plan_file, "--home", home.folder, "--passphrase-file", secret)
    assert again.stdout == first


# ------------------------------------------------------------------------------------------------- real processes


def until_all_stand_at_one_round(federation: Federation, running: Running) -> int:
    """Stop the aggregator after some round; the round at which all partners wait then."""

    def started() -> list[list[int]]:
        return [federation.home(name).rounds_started() for name in federation.partners]

    running.wait_for(lambda: min(max(rounds, default=1) for rounds in started()) >= 3)
    running.stop(AGGREGATOR)
    n_sums = len(list(federation.exchange.glob("round-*/*/sum.agg.json")))
    running.wait_for(lambda: all(n_sums + 1 in rounds for rounds in started()))
    return n_sums + 1


@pytest.mark.slow
def test_keys_are_lost_and_the_secret_rotated_through_real_processes(tmp_path: Path) -> None:
    """Rounds, new keys of one partner, a revision, a deal and the rest of the rounds, by the commands alone."""
    federation = Federation(tmp_path / "f", n_rounds=500)
    members = [*federation.partners, AGGREGATOR]
    first = federation.plan_file
    with Running(federation) as running:
        running.start(*members)
        round_no = until_all_stand_at_one_round(federation, running)
        running.stop(*federation.partners)
    keys = federation.home("P02").keys
    keys.rename(keys.with_name("keys-lost"))
    assert federation.hocket("key", "new", "P02", "--home", str(keys.parent)).returncode == ExitCode.DONE
    federation.revise(round_no, n_rounds=round_no + 1)
    shown = json.loads(federation.hocket("key", "show", "--json", str(federation.plan_file)).stdout)
    expected = {"plan": read_plan(first).digest, "revision": 2, "round": round_no, "unreleased": []}
    assert shown["continues"] == expected
    dealt = federation.hocket("key", "deal", str(federation.plan_file), "--home", str(federation.home("P01").folder))
    assert (dealt.returncode, all(name in dealt.stdout for name in federation.partners)) == (0, True)
    with Running(federation) as running:
        running.start(*members)
        running.finish()
    assert len({read_report(federation.home(name)).trunk for name in federation.partners}) == 1
    for plan, rounds in ((first, range(1, round_no)), (federation.plan_file, (round_no, round_no + 1))):
        found = json.loads(federation.hocket("verify", "--json", str(plan), str(federation.exchange)).stdout)
        summed = [attempt["round_no"] for attempt in found["attempts"] if attempt["outcome"] == "sum"]
        assert summed == list(rounds)
    held = json.loads(federation.hocket("key", "show", "--json", str(federation.home("P03").folder)).stdout)
    assert [secret["revision"] for secret in held["group secrets"]] == [1, 2]
