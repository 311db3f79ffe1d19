"""A member beside its tracking process: one that dies, hangs or ends, and whole federations beside a server."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.home.paths import Home
from pipeline.tracking import tracker as tracking
from pipeline.tracking.tracker import QUIET, UNREACHABLE, TrackedMember, Tracker, send_rest
from tests.support.federation import Federation, step
from tests.support.ports import free_port
from tests.support.running_members import Running
from tests.support.tracking.tracking_reader import (
    artifacts,
    curves,
    expected_curves,
    member_of,
    runs_of,
    use_store,
)
from tests.support.tracking.tracking_servers import hanging_server, mlflow_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quiet")


GUARD = """\
import os, socket
_log = os.environ["GUARD_LOG"]
def _note(what):
    with open(_log, "a") as file:
        file.write(what + "\\n")
_note("guarded")
_connect, _look_up = socket.socket.connect, socket.getaddrinfo
def _guarded(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        _note(f"connect {address[0]}")
        raise OSError("only this machine")
    return _connect(self, address)
def _guarded_look_up(host, *given, **named):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        _note(f"look up {host}")
        raise socket.gaierror("only this machine")
    return _look_up(host, *given, **named)
socket.socket.connect, socket.getaddrinfo = _guarded, _guarded_look_up
"""


class FakeProcess:
    """Replace the tracking process by one without MLflow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        self.given: dict[str, Any] = {}
        start = subprocess.Popen

        def popen(command: list[str], **given: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401 -- handed on
            self.given = given | {"command": command}
            return start([sys.executable, "-c", code], **given)

        monkeypatch.setattr(subprocess, "Popen", popen)


def test_the_member_pokes_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every poke is a line, the end of the input is the end; the process is started without telemetry."""
    fake = FakeProcess(monkeypatch, "import sys; print(len(sys.stdin.readlines()), file=sys.stderr)")
    log, said = tmp_path / "home" / "tracking.log", []
    with Tracker(tmp_path / "partner.toml", "partner", Home(log.parent), said.append, said.append) as tracker:
        tracker.start()
        tracker.poke()
        tracker.poke()
    assert log.read_text() == "2\n"
    assert not tracker.failed
    assert said == []
    assert fake.given["command"][-2:] == [str(tmp_path / "partner.toml"), "partner"]
    assert QUIET.items() <= fake.given["env"].items()


def test_a_tracking_process_that_dies_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If the process has ended, pokes do nothing, the end is no error, and there is one warning."""
    FakeProcess(monkeypatch, "import sys; sys.exit('no such module')")
    log, said = tmp_path / "tracking.log", []
    with Tracker(tmp_path / "partner.toml", "partner", Home(log.parent), said.append, said.append) as tracker:
        tracker.start()
        for _ in range(200):
            tracker.poke()
    assert tracker.failed
    assert "no such module" in log.read_text()
    assert len(said) == 1
    assert "cannot be reached" in said[0]
    assert str(log) in said[0]


def test_a_tracking_process_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a full pipe no poke waits, and the end kills the process after the timeout."""
    FakeProcess(monkeypatch, "import time; time.sleep(3600)")
    monkeypatch.setattr(tracking, "_LONGEST_WAIT_S", 0.1)
    said: list[str] = []
    with Tracker(tmp_path / "partner.toml", "partner", Home(tmp_path), said.append, said.append) as tracker:
        tracker.start()
        for _ in range(70_000):
            tracker.poke()
    assert tracker.failed
    assert len(said) == 1


def test_a_stop_ends_the_tracking_process_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stopped run does not wait for a slow store, leaves no process and reports nothing wrong."""
    FakeProcess(monkeypatch, "import time; time.sleep(3600)")
    monkeypatch.setattr(tracking, "_LONGEST_WAIT_STOPPED_S", 0.1)
    said: list[str] = []
    tracker = Tracker(tmp_path / "partner.toml", "partner", Home(tmp_path), said.append, said.append)
    tracker.start()
    with pytest.raises(KeyboardInterrupt), tracker:
        raise KeyboardInterrupt
    assert tracker.failed  # it was killed
    assert said == []


def test_a_warning_comes_at_once_and_its_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The warning comes as soon as the process reports the failure; the end reports that nothing is missing."""
    FakeProcess(monkeypatch, f"import sys; print({UNREACHABLE.decode()!r}, end='', flush=True); sys.stdin.read()")
    said: list[str] = []
    with Tracker(tmp_path / "partner.toml", "partner", Home(tmp_path), said.append, said.append) as tracker:
        tracker.start()
        _wait_and_poke(lambda: said, tracker)
        tracker.poke()
        assert len(said) == 1
    (again,) = said[1:]
    assert "reached again" in again


def _log_of(federation: Federation, name: str) -> str:
    return (federation.folder / name / "run.log").read_text()


@pytest.mark.slow
def test_a_federation_does_not_notice_a_server_that_hangs(fresh: Federation, tmp_path: Path):
    """The partner ends well, with one warning; the next start sends everything to the server, once."""
    with hanging_server() as port, Running(fresh) as running:
        member = use_store(fresh, "P01", f"http://127.0.0.1:{port}")
        others = itertools.cycle((fresh.partner("P02"), fresh.partner("P03"), fresh.aggregator()))
        running.start("P01")
        while not running.ends_within("P01", 0.01):  # the others go on in this process
            step(next(others))
        said: list[str] = []
        with Tracker(member.config_file, "partner", Home(tmp_path), said.append, said.append) as tracker:
            tracker.start()
            _wait_and_poke(lambda: said, tracker)
        assert tracker._process is not None
        assert tracker._process.returncode == 1  # it gave up by itself, long before it would have been killed
    assert _log_of(fresh, "P01").count("cannot be reached") == 1
    assert not member.home.tracked.exists()
    with mlflow_server(tmp_path / "server", port):
        for _ in range(2):
            done = fresh.hocket("partner", "run", str(fresh.config("P01")))
            assert done.returncode == 0, done.stderr
        assert member.home.tracked.exists()
        _check_complete(member)


@pytest.mark.slow
def test_a_server_that_comes_midway_gets_everything_once(done: Federation, tmp_path: Path):
    """A store that fails and comes back has all records; there is one warning, and a message at the end."""
    port = free_port()
    member = use_store(done, "P01", f"http://127.0.0.1:{port}")
    later = [member.home.finished, member.home.metrics / "step-0002.json"]
    for path in later:
        path.rename(path.with_suffix(".later"))
    said: list[str] = []
    with Tracker(member.config_file, "partner", Home(tmp_path), said.append, said.append) as tracker:
        tracker.start()
        _wait_and_poke(lambda: said, tracker)
        with mlflow_server(tmp_path / "server", port):
            _wait_and_poke(lambda: _steps(member), tracker)
            for path in later:
                path.with_suffix(".later").rename(path)
            tracker.poke()
            tracker.__exit__(None, None, None)
            assert not tracker.failed
            _check_complete(member)
            before = _everything(member)
            assert send_rest(member)
            assert _everything(member) == before
    assert [line for line in said if "cannot be reached" in line] == said[:1]
    assert "reached again" in said[1]


def _wait_and_poke(condition: Callable[[], object], tracker: Tracker) -> None:
    def holds() -> object:
        tracker.poke()
        return condition()

    wait_until(holds)


def _steps(member: TrackedMember) -> set[int]:
    found = runs_of(member)
    return {step for curve in curves(member, found[0]).values() for step, _ in curve} if found else set()


def _check_complete(member: TrackedMember) -> None:
    (run,) = runs_of(member)
    assert run.info.status == "FINISHED"
    assert curves(member, run) == expected_curves(member)
    assert {"settings/plan.toml", "report/report.json", "rounds/round-0001.json"} <= artifacts(member, run)


def _everything(member: TrackedMember) -> object:
    (run,) = runs_of(member)
    return run.to_dictionary(), curves(member, run), artifacts(member, run)


@pytest.mark.slow
def test_page_and_figures_are_artifacts_at_the_end_of_a_run(done: Federation):
    """A run whose last steps are the page and its sending: every file of the report is in the store, byte by byte."""
    member = member_of(done, "P01")
    member.home.finished.unlink()  # all rounds are done, the page is not there
    ended = done.hocket("partner", "run", str(member.config_file))
    assert ended.returncode == 0, ended.stderr
    (run,) = runs_of(member)
    report = member.home.report
    expected = {f"report/{path.relative_to(report)}" for path in report.rglob("*") if path.is_file()}
    assert {"report/report.html", "report/report.json", "report/summary.json"} <= expected
    assert {"report/figures/changes.png", "report/figures/changes.svg"} <= expected
    assert {name for name in artifacts(member, run) if name.startswith("report/")} == expected
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    for name in expected:
        assert (folder / name).read_bytes() == (report / name.removeprefix("report/")).read_bytes()
    assert member.all_sent


@pytest.mark.slow
def test_nothing_goes_out_but_to_the_store(done: Federation, tmp_path: Path):
    """No other machine is contacted, and nothing is written into the working folder."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "elsewhere").mkdir()
    member = member_of(done, "P01")
    root = Path(tracking.__file__).parents[2]
    # a machine that MLflow does not take for a test machine, where it would keep quiet by itself
    env = {key: value for key, value in tracking.environment().items() if key not in ("CI", "PYTEST_CURRENT_TEST")}
    env |= {"PYTHONPATH": f"{tmp_path / 'guard'}{os.pathsep}{root}", "GUARD_LOG": str(tmp_path / "ways")}

    def run(*arguments: str, **more: str) -> list[str]:
        (tmp_path / "ways").unlink(missing_ok=True)
        ended = subprocess.run(
            [sys.executable, "-P", *arguments],
            env=env | more,
            cwd=tmp_path / "elsewhere",
            capture_output=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr.decode()
        return (tmp_path / "ways").read_text().splitlines()

    found = run("-m", "pipeline.tracking.process", str(member.config_file), "partner", "once")
    assert set(found) == {"guarded"}
    assert json.loads(member.home.tracked.read_text())["run"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    ask = "import mlflow.telemetry.client as c; c.set_telemetry_client(); c.get_telemetry_client()._get_config()"
    told = run("-c", ask, MLFLOW_DISABLE_TELEMETRY="false", DO_NOT_TRACK="false", HOME=str(tmp_path))
    assert any(line.startswith(("look up", "connect")) for line in told)  # the guard sees what MLflow would do
