"""`hocket demo` with real processes: its files, that it repeats, that it resumes."""

import json
import os
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.demo.benchmark_data import ensure_wheel
from pipeline.errors import ConfigError, ExitCode
from pipeline.runtime.signals import ABANDONED, STOPPED
from tests.support.cli_runner import hocket_command, hocket_process
from tests.support.marked_process import marked
from tests.support.partner_tables import write_tables

PARTNERS = ["P01", "P02", "P03"]
_END_S = 240.0  # for a stopped demo to end


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small partner folders."""
    folder = tmp_path_factory.mktemp("tables")
    for number, name in enumerate(("a", "b", "c")):
        write_tables(folder / name, name, seed=number, n_compounds=280)
    return folder


@pytest.fixture(scope="module")
def finished(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo over the small tables."""
    folder = tmp_path_factory.mktemp("demo") / "one"
    done = hocket_process("demo", folder, "--data", tables, "--rounds", "2")
    assert done.returncode == 0, done.stderr
    assert "federated" in done.stdout
    assert all(name in done.stdout for name in PARTNERS)
    return folder


@pytest.mark.slow
def test_each_partner_has_a_report(finished: Path) -> None:
    """report.json holds both models' means, the summary and a row per task."""
    for name in PARTNERS:
        report = json.loads((finished / name / "home/report/report.json").read_text())
        assert {"local", "federated", "tasks", "summary"} <= report.keys()
        for side in ("local", "federated"):
            assert 0 <= report[side]["average_precision"] <= 1
            assert 0 <= report[side]["roc_auc"] <= 1
            assert report[side]["n_tasks"] == len(report["tasks"]) > 0
        judged = [row for row in report["tasks"] if row["local"]["average_precision"] is not None]
        mean = sum(row["local"]["average_precision"] for row in judged) / len(judged)
        assert report["local"]["average_precision"] == pytest.approx(mean)


@pytest.mark.slow
def test_a_second_start_prints_the_report_without_starting_anyone(finished: Path, tables: Path) -> None:
    """Run again in its folder, the demo is done."""
    log = (finished / "P01" / "run.log").read_bytes()
    again = hocket_process("demo", finished, "--data", tables, "--rounds", "2")
    assert again.returncode == 0
    assert "federated" in again.stdout
    assert (finished / "P01" / "run.log").read_bytes() == log


@pytest.mark.slow
def test_other_options_in_the_same_folder_are_refused(finished: Path, tables: Path) -> None:
    """A folder holds one demo."""
    refused = hocket_process("demo", finished, "--data", tables, "--rounds", "3")
    assert refused.returncode == ExitCode.CONFIGURATION
    assert "with options" in refused.stderr


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    """A folder that is not empty is no place for a demo."""
    (tmp_path / "thesis.tex").write_text("please keep")
    refused = hocket_process("demo", tmp_path)
    assert refused.returncode == ExitCode.CONFIGURATION
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_the_aggregator_holds_no_key_that_opens(finished: Path) -> None:
    """Beside its MLflow store, its home holds a signing key and nothing else that is secret."""
    home = finished / "aggregator" / "home"
    private = [path for path in home.rglob("*") if path.is_file() and path.stat().st_mode & 0o077 == 0]
    others = {path.relative_to(home).parts[0] for path in private if path.name != "private.key"}
    assert others <= {"lock", "tracking.lock", "mlflow.db", "mlartifacts", "sent.json", "tracked.json"}
    assert not list(home.rglob("*.secret")) + list(home.rglob("*.seeds"))


@pytest.mark.slow
def test_the_log_says_how_many_bytes_a_parameter_costs(finished: Path) -> None:
    """At most 4.0 bytes per parameter and round at 16 bits, in the aggregator's log, after those of round 0."""
    _, *found = re.findall(r"upload (\d+\.\d+) bytes per parameter", (finished / "aggregator" / "run.log").read_text())
    assert len(found) == 2
    assert all(float(value) <= 4.0 for value in found)


@pytest.mark.slow
def test_a_stopped_demo_stops_its_members_and_says_only_json(tables: Path, tmp_path: Path) -> None:
    """SIGTERM while the members are at work: code 6, no process left, and every line of all of them is JSON."""
    command = hocket_command("demo", tmp_path / "d", "--data", tables)
    process = marked([*command, "--rounds", "2", "--log-format", "json"])
    assert process.popen.stderr is not None
    lines = []
    for line in process.popen.stderr:
        lines.append(json.loads(line))
        if {one["member"] for one in lines} == {*PARTNERS, "aggregator"}:
            break
    process.popen.terminate()
    assert process.end(10.0) == ExitCode.NOT_YET
    rest = process.popen.stderr.read()
    assert process.alive() == []
    lines += [json.loads(line) for line in rest.splitlines()]
    assert lines[-1]["message"] in {STOPPED, ABANDONED}  # as busy as the machine is


def test_damaged_benchmark_data_is_refused(tmp_path: Path) -> None:
    """A wheel in the cache with another SHA-256 is not used."""
    (tmp_path / "MoleculeACE-3.0.0-py3-none-any.whl").write_bytes(b"not it")
    with pytest.raises(ConfigError, match="SHA-256"):
        ensure_wheel(tmp_path)


def test_without_a_network_the_demo_says_what_to_do(tmp_path: Path) -> None:
    """If pip cannot download the wheel, the error names the option for a local copy."""
    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    refused = hocket_process("demo", tmp_path / "d", environment=environment)
    assert refused.returncode == ExitCode.CONFIGURATION
    assert "--data" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc to look into a running process")
def test_the_real_demo_gains_and_its_aggregator_loads_no_torch(tmp_path: Path) -> None:
    """On the ChEMBL data all partners end with one trunk, and each with a better model than its own alone.

    While it runs, the aggregator's process maps neither torch nor rdkit. That it repeats: test_nvflare.
    """
    command = hocket_command("demo", tmp_path / "demo")
    seen: set[str] = set()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            while running.poll() is None:
                seen |= _aggregators_libraries(tmp_path / "demo")
                time.sleep(0.5)  # between two looks; the loop ends with the process
        finally:
            running.terminate()  # it ends its members, which would outlive a kill
            with suppress(subprocess.TimeoutExpired):
                running.wait(_END_S)
            running.kill()
    assert running.returncode == 0
    assert "sealapi" in seen
    assert not seen & {"torch", "rdkit", "polars", "sklearn"}
    reports = [json.loads((tmp_path / "demo" / name / "home/report/report.json").read_text()) for name in PARTNERS]
    assert len({report["trunk"] for report in reports}) == 1
    assert all(report["summary"]["average_precision"]["change"] > 0 for report in reports)


def _aggregators_libraries(folder: Path) -> set[str]:
    """The partners' libraries that the demo's aggregator process has loaded now."""
    wanted = ("sealapi", "torch", "rdkit", "polars", "sklearn")
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"aggregator" in words and str(folder).encode() in b" ".join(words) and b"run" in words:
                mapped = (process / "maps").read_text().splitlines()
                libraries = {
                    line.split("site-packages/")[1].split("/")[0] for line in mapped if "site-packages/" in line
                }
                found |= {name for name in wanted for library in libraries if name in library}
        except OSError:  # it ended while we looked
            continue
    return found
