"""`hocket doctor`: its findings in a sound and in a broken set-up, its advice, and that it leaves no trace."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

import pipeline.setup.doctor_machine as machine
from data_prep.errors import TableError
from partners.errors import DeviceMissing
from pipeline.errors import ConfigError, ExchangeError, ExitCode, NotYet
from pipeline.exchange.storage import Exchange
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig, read_member_config, role_in
from pipeline.plan.plan import read_plan
from pipeline.setup.checked_tables import checked_tables
from pipeline.setup.doctor import examine
from pipeline.setup.doctor_exchange import probe_exchange
from pipeline.setup.findings import Finding, examined, exit_code, note, refused, wrong
from pipeline.setup.keys import change_passphrase, deal
from secure.errors import WrongPlan
from tests.support.cli_runner import hocket
from tests.support.federation import AGGREGATOR, Federation, until_waiting


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries take seconds to load; one test loads them."""
    monkeypatch.setattr(machine, "_LOADED", {"partner": (("json",),), "aggregator": (("json",),)})


def findings(config: Path) -> list[Finding]:
    """All findings of the doctor."""
    return list(examine(read_member_config(config, role_in(config))))


def wrong_ones(config: Path) -> list[Finding]:
    """The findings at which a run would fail."""
    return [finding for finding in findings(config) if finding.level == "wrong"]


def the(found: list[Finding], text: str) -> Finding:
    """The only finding with this text."""
    matching = [finding for finding in found if text in finding.text]
    assert len(matching) == 1, found
    return matching[0]


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


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))


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


# ------------------------------------------------------------------------------------------------ machine, versions


def about(config: Path, topic: str) -> list[Finding]:
    """The findings about one topic."""
    return [finding for finding in findings(config) if finding.about == topic]


@pytest.mark.parametrize(("total", "free", "level"), [(64, 32, "ok"), (64, 0.01, "note"), (0.01, 0.01, "wrong")])
def test_memory_is_compared_with_the_trunk(
    enrolled: Federation, monkeypatch: pytest.MonkeyPatch, total: float, free: float, level: str
):
    """What there is must do; what others use of it may become free."""
    monkeypatch.setattr(machine, "memory", lambda: (total * 2**30, free * 2**30))
    assert [finding.level for finding in about(enrolled.config("P01"), "memory")] == [level]


def test_a_larger_trunk_takes_more_memory_of_partners_only(fresh: Federation, monkeypatch: pytest.MonkeyPatch):
    """The aggregator adds chunk by chunk."""
    edit(fresh.plan_file, "hidden = [16]", "hidden = [400000]")  # 205 million parameters
    monkeypatch.setattr(machine, "memory", lambda: (4 * 2**30, 4 * 2**30))
    assert about(fresh.config("P01"), "memory")[0].level == "wrong"
    assert about(fresh.config(AGGREGATOR), "memory")[0].level == "ok"


def test_sizes_count_every_row_that_may_travel(tmp_path: Path):
    """With a long catalogue memory, home and exchange are those of the longest vector that it allows."""
    rows = ", ".join(f'{{id = "C{i}", threshold = 6.0}}' for i in range(9_000))
    federation = Federation(tmp_path / "f", extra=f"[catalogue]\ntasks = [{rows}]")
    longest = read_plan(federation.plan_file).layout.n_params + 16_384 * 17
    found = findings(federation.config("P01"))
    assert f"at most {longest:,} parameters with the catalogue takes" in the(found, "GiB in all").text
    home, exchange = the(found, "home ").text, the(found, "MB each").text
    assert float(re.findall(r"about ([\d.]+) needed", home)[0]) * 2**30 > 30 * longest
    assert float(re.findall(r"([\d,.]+) MB each", exchange)[0].replace(",", "")) * 1e6 > 4 * 3 * longest


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", (8000.0, 6000.0)), ("4096000", (4000.0, 3000.0)), ("99999999999", (8000.0, 6000.0))]
)
def test_memory_within_a_control_group(tmp_path: Path, limit: str, expected: tuple[float, float]):
    """A container's or Slurm's limit counts where it is lower (here in kB)."""
    (tmp_path / "meminfo").write_text("MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable:   6000 kB\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("1024000\n")
    found = machine.memory(tmp_path / "meminfo", tmp_path)
    assert (found[0] / 1024, found[1] / 1024) == expected


def test_without_control_groups(tmp_path: Path):
    """The machine's own figures, which are what Python sees too."""
    assert machine.memory(cgroup=tmp_path)[0] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_full_disk(enrolled: Federation, monkeypatch: pytest.MonkeyPatch):
    """Home and temporary folder, with how much is needed."""
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: machine.shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    found = [finding for finding in about(enrolled.config("P01"), "disk") if finding.level == "wrong"]
    assert len(found) == 2
    assert all(one.advice for one in found)


def test_more_threads_than_cores(fresh: Federation):
    """Slower, but no failure."""
    edit(fresh.config("P01"), 'name = "P01"', 'name = "P01"\nworkers = 1000')
    assert the(about(fresh.config("P01"), "machine"), "1000").level == "note"


def test_a_device_that_is_not_there(fresh: Federation):
    """Asked of torch itself."""
    import torch  # noqa: PLC0415

    edit(fresh.config("P01"), "batch_size = 40", 'batch_size = 40\ndevice = "cuda"')
    found = about(fresh.config("P01"), "machine")
    assert any(finding.code == ExitCode.TRAINING for finding in found) != torch.cuda.is_available()


def test_a_library_that_is_too_old_or_absent(enrolled: Federation, monkeypatch: pytest.MonkeyPatch):
    """Against what the installed hocket declares."""
    monkeypatch.setattr(machine, "installed", {"polars": "0.1", "numpy": "99.0"}.get)
    found = [one for one in about(enrolled.config("P01"), "versions") if one.level == "wrong"]
    texts = [one.text for one in found]
    assert any(re.match(r"polars 0\.1, .*>=", text) for text in texts)
    assert any(text.startswith("torch ") for text in texts)
    assert not any(text.startswith("numpy") for text in texts)
    on_aggregator = str(about(enrolled.config(AGGREGATOR), "versions"))
    assert "cryptography" in on_aggregator
    assert "torch" not in on_aggregator


def test_every_declared_library_of_the_repository_is_known():
    """What the aggregator does without is declared, so a renamed library is noticed."""
    declared = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[>\[]", line)[0] for line in declared} >= machine._NOT_THE_AGGREGATORS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import nosuchlibrary", "ModuleNotFoundError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", f"signal {int(signal.SIGILL)}"),
    ],
)
def test_a_library_that_does_not_load(
    enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str
):
    """One with a missing part, and one built for another processor, which would end any process."""
    (tmp_path / "broken.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(machine, "_LOADED", {"partner": (("json", "broken"), ("csv",))})
    assert the(
        [finding for finding in about(enrolled.config("P01"), "versions") if finding.level == "wrong"], said
    ).advice


def test_libraries_that_take_for_ever(enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A busy machine is no failure."""
    (tmp_path / "endless.py").write_text("import signal; signal.pause()")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(machine, "_LOADED", {"partner": (("endless",), ("json",))})
    monkeypatch.setattr(machine, "_LOAD_S", 0.5)
    assert [one.level for one in about(enrolled.config("P01"), "versions")][-2:] == ["note", "ok"]


def test_no_process_outlives_a_doctor_that_is_stopped(
    enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Libraries still load while the first findings are read, and nobody reads on."""
    (tmp_path / "endless.py").write_text("import signal; signal.pause()")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(machine, "_LOADED", {"partner": (("endless",), ("endless",))})
    started: list[subprocess.Popen[str]] = []
    plain = machine._start_loading

    def start(modules: tuple[str, ...]) -> "subprocess.Popen[str]":
        started.append(plain(modules))
        return started[-1]

    monkeypatch.setattr(machine, "_start_loading", start)
    examination = examine(read_member_config(enrolled.config("P01"), "partner"))
    next(examination)
    assert [process.poll() for process in started] == [None, None]
    examination.close()
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


def test_it_says_what_it_is_doing_while_that_may_take_long(enrolled: Federation):
    """A line on stderr before each check that waits for storage, tables, a server or libraries; stdout has none."""
    done = hocket("doctor", enrolled.config("P01"), "--json")
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(r"checking .* \.\.\.", line) for line in lines)
    assert json.loads(done.stdout)["exit_code"] == done.exit_code


# ----------------------------------------------------------------------------------------------- exchange, tracking


@pytest.fixture
def bucket() -> Iterator[str]:
    """An object store in memory."""
    MemoryFileSystem.store.clear()
    yield "memory://bucket/example"
    MemoryFileSystem.store.clear()


def test_an_object_store(bucket: str):
    """Listed, written, read; nothing is left."""
    found = list(probe_exchange(bucket))
    assert [one.level for one in found] == ["ok", "ok"][: len(found)]
    assert "0 files" in found[0].text
    assert MemoryFileSystem.store == {}


def test_a_file_that_cannot_be_removed(bucket: str, monkeypatch: pytest.MonkeyPatch):
    """No run removes anything there, so it is no failure; the members overlook the file."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "append only")

    monkeypatch.setattr(MemoryFileSystem, "rm_file", refuse)
    assert [finding.level for finding in probe_exchange(bucket)][-1] == "note"
    assert len(MemoryFileSystem.store) == 1
    assert Exchange(bucket).list_files() == []


@pytest.mark.parametrize(("read", "said"), [(None, "read no file"), (b"old", "read other bytes")])
def test_a_storage_that_does_not_show_what_was_written(
    bucket: str, monkeypatch: pytest.MonkeyPatch, read: bytes | None, said: str
):
    """A cache in between; the probe is removed all the same."""
    monkeypatch.setattr(Exchange, "read", lambda *_: read)
    with pytest.raises(ExchangeError, match=said):
        list(probe_exchange(bucket))
    assert MemoryFileSystem.store == {}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock(tmp_path: Path, hours: float):
    """Compared with the time that the storage gives the probe."""
    import time  # noqa: PLC0415

    (tmp_path / "exchange").mkdir()
    found = list(probe_exchange(f"file://{tmp_path}/exchange", lambda: time.time() + 3600 * hours))
    assert [one.level for one in found if one.about == "clock"] == ["wrong"]


def test_an_exchange_that_is_not_there_is_not_made(tmp_path: Path):
    """A folder with a typing error in its name must not come into being."""
    assert [finding.level for finding in probe_exchange(f"file://{tmp_path}/exchnage")] == ["note"]
    assert list(tmp_path.iterdir()) == []


def tracking(federation: Federation, uri: str) -> Finding:
    """What is found of a tracking store."""
    with federation.config("P01").open("a") as file:
        file.write(f'[tracking]\nuri = "{uri}"\n')
    (found,) = about(federation.config("P01"), "tracking")
    return found


def test_a_tracking_server_that_is_down(fresh: Federation):
    """Never stops a run, so it is a note; its password is not shown."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else answers there
        found = tracking(fresh, f"http://user:hunter2@127.0.0.1:{taken.getsockname()[1]}")
    assert found.level == "note"
    assert "hunter2" not in str(found)


def test_a_tracking_file(fresh: Federation, finished: Federation):
    """No file yet, and a file that is no database."""
    assert about(finished.config("P01"), "tracking")[0].level == "ok"
    (fresh.folder / "no.db").write_text("this is no database, but long enough for a header" * 10)
    assert tracking(fresh, f"sqlite:///{fresh.folder / 'no.db'}").level == "note"


def test_another_store_is_left_alone(fresh: Federation):
    """A database needs its driver."""
    found = tracking(fresh, "postgresql://user:hunter2@db/mlflow")
    assert (found.level, "hunter2" in str(found)) == ("note", False)


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
