"""`hocket doctor`: its findings in a sound and in a broken set-up, its advice, and that it leaves no trace."""

import base64
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.setup.doctor_machine as machine
from data_prep.errors import TableError
from partners.errors import DeviceMissing
from pipeline.errors import ConfigError, ExitCode, NotYet
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig, read_member_config, role_in
from pipeline.plan.plan import read_plan
from pipeline.setup.checked_tables import checked_tables
from pipeline.setup.findings import Finding, examined, exit_code, note, refused, wrong
from pipeline.setup.keys import change_passphrase, deal
from secure.errors import WrongPlan
from tests.support.cli_runner import hocket
from tests.support.federation import AGGREGATOR, Federation, until_waiting
from tests.support.setup.doctor_findings import about, edit, findings, the, wrong_ones

# ------------------------------------------------------------------------------------------------------ sound set-ups


@pytest.mark.parametrize("name", ["P01", "P02", AGGREGATOR])
def test_a_sound_set_up(enrolled: Federation, name: str):
    """Nothing wrong before the first run, for the custodian, another partner and the aggregator."""
    found = findings(enrolled.config(name))
    assert [finding for finding in found if finding.level == "wrong"] == []
    assert exit_code(found) == ExitCode.DONE
    assert f"digest {read_plan(enrolled.plan_file).digest}" in the(found, "digest").text
    assert read_plan(enrolled.plan_file).cards[name].fingerprint in the(found, "fingerprint of").text
    assert the(found, "0 of 3 partners").text.endswith("P01, P02, P03")


def test_every_topic_is_looked_at(enrolled: Federation):
    """Tables only at a partner."""
    topics = {"machine", "memory", "disk", "versions", "plan", "home", "keys", "exchange", "enrolment", "tracking"}
    assert {finding.about for finding in findings(enrolled.config(AGGREGATOR))} == topics
    assert {finding.about for finding in findings(enrolled.config("P01"))} == topics | {"tables"}


def test_what_a_catalogue_covers(tmp_path: Path):
    """Tasks with an id of the catalogue at its threshold, and the rows that they hold; the aggregator has no tasks."""
    listed = (
        '[catalogue]\ntasks = [{id = "A", threshold = 6.0}, {id = "B", threshold = 7.0}, {id = "C", threshold = 6.0}]'
    )
    holders = {"A": ["P01", "P01"], "B": ["P01", "P02"]}
    federation = Federation(tmp_path / "f", extra=listed, holders=holders)
    covers = [[one for one in findings(federation.config(name)) if one.about == "catalogue"] for name in ("P01", "P02")]
    assert [(one.level, one.text) for (one,) in covers] == [
        ("ok", "covers 2 of 3 tasks with a catalog_assay_id, by 1 of 3 rows"),
        ("note", "covers 0 of 1 tasks with a catalog_assay_id, by 0 of 3 rows"),
    ]
    assert "T0's ids and thresholds" in covers[1][0].advice
    assert "catalogue" not in {one.about for one in findings(federation.config(AGGREGATOR))}


def test_the_deal_is_awaited_then_taken(fresh: Federation):
    """A partner learns who has to act."""
    awaited = the(findings(fresh.config("P02")), "deal of P01")
    assert (awaited.level, "hocket key deal" in awaited.advice) == ("note", True)
    until_waiting(fresh, ["P01"])
    found = findings(fresh.config("P02"))
    assert the(found, "P01 has dealt").level == "ok"
    assert the(found, "1 of 3 partners").text.endswith(": P02, P03")


def test_a_finished_federation(finished: Federation):
    """All have enrolled, the group secret opens, the clock of the exchange agrees."""
    for name in ("P01", "P03", AGGREGATOR):
        found = findings(finished.config(name))
        assert exit_code(found) == ExitCode.DONE
        assert the(found, "all 3 partners").level == "ok"
        assert the(found, "is finished").about == "home"
        assert [one.level for one in found if one.about == "clock"] == ["ok"]
    assert re.search(r"\b[0-9a-f]{16}\b", the(findings(finished.config("P02")), "group secret").text)


@pytest.mark.parametrize("name", ["P02", AGGREGATOR])
def test_it_leaves_no_trace(finished: Federation, name: str):
    """Neither in the home nor in the exchange."""
    before = {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}
    findings(finished.config(name))
    assert {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()} == before


def test_the_command(enrolled: Federation):
    """A line for each finding with what to do below it, or JSON; the exit code is in both."""
    shown = hocket("doctor", enrolled.config("P02"))
    assert shown.exit_code == 0
    assert re.search(r"^note   enrolment  0 of 3 .*\n {18}do: .*`hocket partner run`", shown.stdout, re.MULTILINE)
    as_json = json.loads(hocket("doctor", enrolled.config("P02"), "--json").stdout)
    assert (as_json["member"], as_json["exit_code"]) == ("P02", 0)
    assert len(as_json["findings"]) == len(re.findall(r"^(ok|note|wrong) ", shown.stdout, re.MULTILINE))
    assert {"about", "level", "text", "advice", "code"} == as_json["findings"][0].keys()


def test_the_aggregators_doctor_needs_no_torch_rdkit_or_polars(enrolled: Federation):
    """With these libraries unimportable, in a real process, with the libraries that it does need really loaded."""
    code = (
        "import sys\nfor name in ('torch', 'rdkit', 'polars', 'sklearn', 'safetensors'): sys.modules[name] = None\n"
        "from pipeline.cli import main\nmain(sys.argv[1:])"
    )
    done = machine.subprocess.run(
        [sys.executable, "-P", "-c", code, "doctor", str(enrolled.config(AGGREGATOR))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"^ok +versions +tenseal, pyarrow, cryptography, mlflow ", done.stdout, re.MULTILINE)


# ----------------------------------------------------------------------------------------------------- broken set-ups


def open_home(at: Federation) -> None:
    at.home("P01").folder.chmod(0o755)


def readable_keys(at: Federation) -> None:
    (at.home("P01").keys / "private.key").chmod(0o640)


def readable_group_secret(at: Federation) -> None:
    at.home("P01").group_secret.chmod(0o604)


def no_home(at: Federation) -> None:
    at.home("P01").folder.rename(at.folder / "elsewhere")


def no_keys(at: Federation) -> None:
    (at.home("P01").keys / "private.key").unlink()


def anothers_home(at: Federation) -> None:
    edit(at.config("P01"), 'plan = "../plan.toml"', 'plan = "../plan.toml"\nhome = "../P02/home"')


def other_keys(at: Federation) -> None:
    at.renew_keys("P01")


def locked_keys(at: Federation) -> None:
    secret = at.folder / "secret"
    secret.touch(0o600)
    secret.write_text("correct horse\n")
    change_passphrase(at.home("P01").folder, None, secret)


def wrong_setting(at: Federation) -> None:
    edit(at.plan_file, "n_rounds = 2", "n_rounds = 0")


def forged_card(at: Federation) -> None:
    edit(at.plan_file, 'signature = "', 'signature = "A')


def not_in_the_plan(at: Federation) -> None:
    edit(at.config("P01"), 'name = "P01"', 'name = "P09"')


def no_plan(at: Federation) -> None:
    at.plan_file.unlink()


def file_as_exchange(at: Federation) -> None:
    at.exchange.write_text("")


def unknown_exchange(at: Federation) -> None:
    edit(at.config("P01"), 'exchange = "../exchange"', 'exchange = "nosuch://bucket"')


def not_dealt(at: Federation) -> None:
    at.home("P01").group_secret.unlink()
    shutil.rmtree(at.home("P01").outbox(""))


def another_group(at: Federation) -> None:
    until_waiting(at, ["P01"])
    at.home("P01").group_secret.unlink()
    shutil.rmtree(at.home("P01").outbox(""))
    deal(at.plan_file, at.home("P01").folder, None)


def others_have_another_plan(at: Federation) -> None:
    until_waiting(at, ["P02", "P01", "P02"])
    edit(at.plan_file, "local_steps = 4", "local_steps = 5")


def changed_since_the_deal(at: Federation) -> None:
    edit(at.plan_file, "local_steps = 4", "local_steps = 5")


def no_table(at: Federation) -> None:
    (at.folder / "P01" / "T2.csv").unlink()


def not_a_table(at: Federation) -> None:
    (at.folder / "P01" / "T0.csv").write_text("nothing,of,this\n1,2,3\n")


@pytest.mark.parametrize(
    ("fault", "code", "about", "named", "advised"),
    [
        (open_home, ExitCode.CONFIGURATION, "home", "0755", "chmod 700"),
        (readable_keys, ExitCode.SECURITY, "keys", "0640", "chmod 600"),
        (readable_group_secret, ExitCode.SECURITY, "enrolment", "0604", "chmod 600"),
        (no_home, ExitCode.CONFIGURATION, "home", "P01/home", "hocket key new P01 --home"),
        (no_keys, ExitCode.CONFIGURATION, "keys", "private.key", "hocket key new P01 --home"),
        (anothers_home, ExitCode.CONFIGURATION, "keys", "keys of P02", ""),
        (other_keys, ExitCode.SECURITY, "keys", "card of P01", "plan"),
        (locked_keys, ExitCode.SECURITY, "keys", "private.key", ""),
        (wrong_setting, ExitCode.CONFIGURATION, "plan", "rounds.n_rounds", "agreed on"),
        (forged_card, ExitCode.SECURITY, "plan", "card of P01", "agreed on"),
        (not_in_the_plan, ExitCode.CONFIGURATION, "plan", "P09", ""),
        (no_plan, ExitCode.CONFIGURATION, "plan", "plan.toml", "plan = PATH"),
        (file_as_exchange, ExitCode.CONFIGURATION, "exchange", "a file", ""),
        (unknown_exchange, ExitCode.CONFIGURATION, "exchange", "nosuch://bucket", ""),
        (not_dealt, ExitCode.CONFIGURATION, "enrolment", "group secret", "hocket key deal"),
        (another_group, ExitCode.SECURITY, "enrolment", "group secret", ""),
        (others_have_another_plan, ExitCode.SECURITY, "enrolment", "plan", "deal again"),
        (changed_since_the_deal, ExitCode.SECURITY, "enrolment", "deal.P01.json", "deal"),
        (no_table, ExitCode.DATA, "tables", "T2.csv", "[data]"),
        (not_a_table, ExitCode.DATA, "tables", "T0", "--check"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_fault_is_found(
    fresh: Federation, fault: Callable[[Federation], None], code: ExitCode, about: str, named: str, advised: str
):
    """With what is wrong, what to do, and the exit code; the other examinations go on."""
    fault(fresh)
    found = findings(fresh.config("P01"))
    ours = [one for one in found if one.level == "wrong" and one.about == about and named in one.text]
    assert ours, [(one.about, one.text) for one in found]
    assert {one.code for one in ours} == {code}
    assert advised in ours[0].advice
    assert exit_code(found) == code
    assert {"machine", "versions", "exchange", "tables", "tracking"} <= {finding.about for finding in found}


def test_everybody_learns_what_to_do_about_a_plan_that_changed_after_the_deal(fresh: Federation):
    """Run and doctor say what `key deal` says, for the custodian, a partner that enrolled and one that did not."""
    until_waiting(fresh, ["P01", "P02"])
    edit(fresh.plan_file, "local_steps = 4", "local_steps = 5")
    keys = hocket("key", "deal", fresh.plan_file, "--home", fresh.home("P01").folder)
    members = (("P01", "outbox", "deal again"), ("P02", "inbox", "P01 deals again"), ("P03", "", "P01 deals again"))
    for name, received, deals in members:
        run = hocket("partner", "run", "--once", fresh.config(name))
        found = the(wrong_ones(fresh.config(name)), "made for plan")
        assert (run.exit_code, found.code) == (ExitCode.SECURITY, ExitCode.SECURITY)
        advice = [line.strip() for line in run.stderr.splitlines() if line.startswith("  ")]
        assert found.advice == "; ".join(advice)
        assert advice[0].startswith("the plan was changed after the deal; if nobody has enrolled yet: ")
        assert "secure/KEYS.md" in advice[1]
        assert deals in advice[0]
        assert (f"rm -r {fresh.home(name).folder}/{received}" in advice[0]) == bool(received)
        assert name != "P01" or all(line in keys.stderr for line in advice)


def test_rows_that_are_left_out_stop_no_run(fresh: Federation):
    """Real tables have some: the first findings are notes, the others are counted."""
    table = fresh.folder / "P01" / "T1.csv"
    lines = table.read_text().splitlines()
    swaps = ((",=,", ",≈,"), ("P01-A1", "nosuch"), ("P01-C", "nosuch"), (",=,", ",=,9"), (",=,", ",=,-"))
    for row, (old, new) in enumerate(swaps, start=1):
        assert old in lines[row]
        lines[row] = lines[row].replace(old, new)
    table.write_text("\n".join(lines))
    found = about(fresh.config("P01"), "tables")
    assert exit_code(found) == ExitCode.DONE
    *rows, more, readable, forecast = found
    assert {finding.level for finding in (*rows, more)} == {"note"}
    assert all(re.match(r"T1: (1 row \(\d\) |standard_qualifier: )", finding.text) for finding in rows)
    config = PartnerConfig.read(fresh.config("P01"))
    n_all = len(checked_tables(config, read_plan(config.plan_file)).tables.findings)
    assert (len(rows), more.text.split()[0], readable.level, forecast.level) == (3, str(n_all - 3), "ok", "ok")


def test_a_passphrase_file_unlocks(fresh: Federation):
    """And is itself for nobody else; what it says is shown nowhere."""
    locked_keys(fresh)
    edit(fresh.config("P02"), 'name = "P02"', 'name = "P02"\npassphrase_file = "../secret"')
    change_passphrase(fresh.home("P02").folder, None, fresh.folder / "secret")
    found = findings(fresh.config("P02"))
    assert the(found, "passphrase file").level == "ok"
    (fresh.folder / "secret").chmod(0o644)
    assert the(wrong_ones(fresh.config("P02")), "0644").code == ExitCode.SECURITY
    assert "correct horse" not in str(found)


def test_no_private_key_is_shown(fresh: Federation):
    """Neither as hexadecimal nor as base64, in no part that matters."""
    until_waiting(fresh, ["P01", "P02"])
    text = json.dumps([finding.to_json() for name in ("P01", "P02") for finding in findings(fresh.config(name))])
    for file in (fresh.home("P01").keys / "private.key", fresh.home("P01").group_secret, fresh.home("P02").pair_seeds):
        secret = file.read_bytes()
        for start in range(0, len(secret) - 24, 8):
            piece = secret[start : start + 24]
            assert piece.hex() not in text
            assert base64.b64encode(piece).decode()[:30] not in text
            assert piece.decode("latin-1") not in text


def test_the_aggregator_holds_no_group_secret(fresh: Federation):
    """It could open what it adds: exit code 4."""
    shutil.copy(fresh.home("P01").group_secret, fresh.home(AGGREGATOR).group_secret)
    found = wrong_ones(fresh.config(AGGREGATOR))
    assert [(one.code, "group.secret" in one.text) for one in found] == [(ExitCode.SECURITY, True)]


def test_an_aggregator_that_is_a_partner(fresh: Federation):
    """The plan says who is what."""
    edit(fresh.config(AGGREGATOR), f'name = "{AGGREGATOR}"', 'name = "P02"')
    wrong_plan = the([one for one in wrong_ones(fresh.config(AGGREGATOR)) if one.about == "plan"], "P02")
    assert "aggregator" in wrong_plan.text


def test_a_wrong_configuration_is_refused(fresh: Federation):
    """There is nothing to look at: exit code 2, the key named."""
    edit(fresh.config("P01"), 'name = "P01"', 'nosuch = 3\nname = "P01"')
    done = hocket("doctor", fresh.config("P01"))
    assert (done.exit_code, done.stdout) == (ExitCode.CONFIGURATION, "")
    assert "nosuch" in done.stderr
    fresh.config("P01").write_text("= no TOML")
    with pytest.raises(ConfigError, match="TOML"):
        role_in(fresh.config("P01"))


@pytest.mark.parametrize("kind", [PartnerConfig, AggregatorConfig])
def test_the_configuration_says_what_the_member_is(enrolled: Federation, kind: type):
    """A partner has tables."""
    config = enrolled.config("P01" if kind is PartnerConfig else AGGREGATOR)
    assert type(read_member_config(config, role_in(config))) is kind


# --------------------------------------------------------------------------------------------------------- findings


@given(st.lists(st.sampled_from([0, 2, 3, 4])))
def test_the_gravest_decides(codes: list[int]):
    """The exit code is the highest, 0 without any."""
    assert exit_code(wrong("x", "y", code=ExitCode(code)) for code in codes) == max([0, *codes])


@pytest.mark.parametrize(
    ("error", "level", "code"),
    [
        (ConfigError("a"), "wrong", ExitCode.CONFIGURATION),
        (NotYet("a"), "note", ExitCode.DONE),
        (WrongPlan("a"), "wrong", ExitCode.SECURITY),
        (TableError("a"), "wrong", ExitCode.DATA),
        (DeviceMissing("a"), "wrong", ExitCode.TRAINING),
        (PermissionError(13, "no"), "wrong", ExitCode.CONFIGURATION),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_becomes_a_finding(error: Exception, level: str, code: ExitCode):
    """Its message, its notes as advice, its family's exit code; what was found before is kept."""
    error.add_note("do this")

    def steps() -> Iterator[Finding]:
        yield note("x", "before")
        raise error

    before, found = examined("x", steps)
    assert before.text == "before"
    assert (found.text, found.advice, found.level, found.code) == (str(error), "do this", level, code)
    assert refused("x", error) == found


def test_a_bug_stays_a_bug():
    """What is no typed refusal is not dressed up as a finding."""

    def steps() -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        examined("x", steps)


def test_differential_privacy_is_shown_and_settings_that_break_it_are_wrong(fresh: Federation):
    """Every member sees the bound; a partner whose chance others could repeat is told so, exit code 2."""
    text = fresh.plan_file.read_text()
    private = '[seal]\nweights = "equal"\n[privacy]\nepsilon = 4.0\ndelta = 1e-4\n[[card]]'
    fresh.plan_file.write_text(text.replace("[[card]]", private, 1))
    for name in ("P01", AGGREGATOR):
        shown = the(findings(fresh.config(name)), "epsilon 4 at delta 0.0001")
        assert (shown.about, shown.level) == ("privacy", "ok")
    (broken,) = [finding for finding in wrong_ones(fresh.config("P01")) if finding.about == "privacy"]
    assert "keyed_chance" in broken.text
    assert broken.code == ExitCode.CONFIGURATION
    assert not [finding for finding in wrong_ones(fresh.config(AGGREGATOR)) if finding.about == "privacy"]


def private_plan(federation: Federation, settings: str) -> None:
    """Write [privacy] with these settings into the plan of a federation whose partners fit it."""
    text = federation.plan_file.read_text()
    private = f'[seal]\nweights = "equal"\n[privacy]\ndelta = 1e-4\n{settings}\n[[card]]'
    federation.plan_file.write_text(text.replace("[[card]]", private, 1))
    for name in federation.partners:
        edit(federation.config(name), "keyed_chance = false\n", "")


def test_the_smallest_epsilon_in_reach_is_in_reach(fresh: Federation):
    """By this partner's tables and rounds: named beside the plan's, asked for it is kept, a smaller one is refused."""
    private_plan(fresh, "epsilon = 4.0\nmost_noise = 3.0")
    shown = the(findings(fresh.config("P01")), "is in reach")
    assert (shown.about, shown.level) == ("privacy", "ok")
    smallest = float(shown.text.rpartition(" ")[2])
    assert 0 < smallest < 4
    edit(fresh.plan_file, "epsilon = 4.0", f"epsilon = {smallest}")
    assert the(findings(fresh.config("P01")), "is in reach").text.endswith(f" {smallest:g}")
    edit(fresh.plan_file, f"epsilon = {smallest}", f"epsilon = {0.9 * smallest}")
    (refusal,) = [finding for finding in wrong_ones(fresh.config("P01")) if finding.about == "privacy"]
    assert f"at least {smallest:g}:" in refusal.text
    assert "batch_size" in refusal.advice
    assert refusal.code == ExitCode.CONFIGURATION
