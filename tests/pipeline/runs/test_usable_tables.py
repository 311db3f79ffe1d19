"""A run stops before it posts anything if too much of its table is left out."""

import contextlib
import csv
from pathlib import Path

import pytest

import pipeline.runs.jobs
from pipeline.errors import ExitCode, NotYet
from pipeline.setup import doctor_machine
from tests.support.cli_runner import hocket, refused
from tests.support.federation import Federation
from tests.support.tracking.no_tracker import NoTracker


@pytest.fixture(autouse=True)
def _no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.runs.jobs, "Tracker", NoTracker)


def into_nanomolar(table: Path) -> None:
    """Write T1's values in nM, as a screening database has them."""
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    lines = [",".join([*row[:3], f"{10 ** (9 - float(row[3])):.4g}"]) for row in rows]
    table.write_text("\n".join([",".join(header), *lines]))


def add_setting(federation: Federation, name: str, line: str) -> None:
    config = federation.config(name)
    config.write_text(config.read_text().replace("[data]\n", f"[data]\n{line}\n"))


def posted(federation: Federation, name: str) -> list[str]:
    return sorted(path.name for path in federation.exchange.rglob(f"*{name}*") if path.is_file())


@pytest.mark.parametrize("name", ["P01", "P02"])
def test_a_table_in_nanomolar_is_not_even_enrolled(fresh: Federation, name: str) -> None:
    """Exit code 3 for partner and custodian, with assay, share and setting, and nothing of theirs on the exchange."""
    into_nanomolar(fresh.folder / name / "T1.csv")
    said = refused(ExitCode.DATA, "partner", "run", "--once", fresh.config(name))
    assert all(word in said for word in (f"{name}-A1", "100 %", "implausible_assay", "nM", "standard_unit", "accept"))
    assert posted(fresh, name) == []
    assert not fresh.home(name).prepared.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", [["prepare"], ["partner", "run", "--once"]])
@pytest.mark.parametrize("n_rows", [0, 1])
def test_tables_without_a_task_deal_and_enrol_nothing(fresh: Federation, command: list[str], n_rows: int) -> None:
    """Exit code 3 for the custodian, and nothing of it on the exchange."""
    t1 = fresh.folder / "P01" / "T1.csv"
    t1.write_text("".join(t1.read_text().splitlines(keepends=True)[: 1 + n_rows]))
    assert "no task can be trained" in refused(ExitCode.DATA, *command, fresh.config("P01"))
    assert posted(fresh, "P01") == []
    assert hocket("doctor", fresh.config("P01")).exit_code == ExitCode.DATA


def test_a_custodian_with_bad_tables_deals_nothing(fresh: Federation) -> None:
    """`hocket prepare` judges the tables before the secret is dealt; a misspelled direction is such a table."""
    t0 = fresh.folder / "P01" / "T0.csv"
    t0.write_text(t0.read_text().replace("direction", "directions", 1))
    said = refused(ExitCode.DATA, "prepare", fresh.config("P01"))
    assert all(word in said for word in ("T0.csv", "column directions", "[data.columns]"))
    assert posted(fresh, "P01") == []


def test_the_stated_unit_lets_it_go_on(fresh: Federation) -> None:
    """With [data] unit the run enrols and waits for the others, and its matrices are the same."""
    into_nanomolar(fresh.folder / "P01" / "T1.csv")
    assert hocket("prepare", fresh.config("P01")).exit_code == ExitCode.DATA
    add_setting(fresh, "P01", 'unit = "nM"')
    refused(ExitCode.NOT_YET, "partner", "run", "--once", fresh.config("P01"))
    assert posted(fresh, "P01") != []
    assert hocket("prepare", fresh.config("P01")).exit_code == ExitCode.DONE


def test_an_unknown_unit_is_a_wrong_setting(fresh: Federation) -> None:
    """Exit code 2, with the units there are."""
    add_setting(fresh, "P01", 'unit = "ug/ml"')
    said = refused(ExitCode.CONFIGURATION, "prepare", fresh.config("P01"))
    assert all(word in said for word in ("data.unit", "ug/ml", "nM"))


def test_doctor_and_check_refuse_what_the_run_refuses(fresh: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both end with 3; a larger share, or accepting the assays, overrules them."""
    monkeypatch.setattr(doctor_machine, "_LOAD", "")  # they take seconds to load
    into_nanomolar(fresh.folder / "P01" / "T1.csv")
    for command in (["doctor"], ["prepare", "--check"]):
        assert hocket(*command, fresh.config("P01")).exit_code == ExitCode.DATA
    add_setting(fresh, "P01", 'accept = ["P01-A1", "P01-A2"]')
    assert hocket("prepare", "--check", fresh.config("P01")).exit_code == ExitCode.DATA  # 250 nM is out of range
    add_setting(fresh, "P01", "most_rejected = 1.0")
    assert hocket("prepare", "--check", fresh.config("P01")).exit_code == ExitCode.DONE


def test_tables_changed_after_enrolment_post_nothing_more(fresh: Federation, capfd: pytest.CaptureFixture[str]) -> None:
    """The share is in the line that says what was prepared; a worse table then ends the run before it is ready."""
    members = {name: fresh.partner(name) for name in fresh.partners}
    for name in [*fresh.partners, *fresh.partners]:
        with contextlib.suppress(NotYet):
            members[name].advance()
    before = posted(fresh, "P01")
    assert before != []
    members["P02"].advance()
    line = next(line for line in capfd.readouterr().err.splitlines() if "P02: prepared " in line)
    assert "2.5 % of T1's rows rejected" in line
    into_nanomolar(fresh.folder / "P01" / "T1.csv")
    assert "implausible_assay" in refused(ExitCode.DATA, "partner", "run", "--once", fresh.config("P01"))
    assert set(posted(fresh, "P01")) - set(before) == {"trouble.P01.json"}
