"""What the doctor finds about memory, disk, processors and versions."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import pipeline.setup.doctor_machine as machine
from pipeline.errors import ExitCode
from pipeline.plan.member_configs import read_member_config
from pipeline.plan.plan import read_plan
from pipeline.setup.doctor import examine
from tests.support.cli_runner import hocket
from tests.support.federation import AGGREGATOR, Federation
from tests.support.setup.doctor_findings import about, edit, findings, the


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
    edit(fresh.config("P01"), 'device = "cuda"', 'device = "auto"')
    found = about(fresh.config("P01"), "machine")
    assert not any(finding.code for finding in found)
    assert any(finding.text.endswith(": cuda" if torch.cuda.is_available() else ": cpu") for finding in found)


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
