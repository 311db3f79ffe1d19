"""The tracking process and its member: pokes, one warning, and no delay by a store."""

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import ConfigError, ExitCode
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.tracking import process as tracking_process
from pipeline.tracking import sync as tracking_store
from pipeline.tracking import tracker as tracking
from pipeline.tracking.process import Store, follow
from pipeline.tracking.tracker import QUIET, UNREACHABLE, TrackedMember, Tracker, note_all_sent, send_rest
from secure.files import PART
from tests.support.cli_runner import hocket
from tests.support.federation import Federation, step
from tests.support.ports import free_port
from tests.support.running_members import Running
from tests.support.tracking.tracking_reader import (
    artifacts,
    client_of,
    curves,
    expected_curves,
    member_of,
    runs_of,
    use_store,
)
from tests.support.tracking.tracking_servers import failing_server, half_hanging_server, hanging_server, mlflow_server
from tests.support.waiting import wait_until

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


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the tracking process."""
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time in which a server must answer to a second."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(tracking_process, "_ANSWER_S", 1)


# ------------------------------------------------------------------------------------------ stores out of reach


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["absent", "failing", "hanging", "half"])
def test_a_server_out_of_reach_is_said_once(done: Federation, capfd: pytest.CaptureFixture[str], kind: str):
    """After three failed tries there is one message to the member and one in the log, and no record is lost."""
    servers: dict[str, Callable[[], Any]] = {
        "failing": failing_server,
        "hanging": hanging_server,
        "half": half_hanging_server,
    }
    if kind == "absent":
        _check_out_of_reach(done, free_port(), capfd)
    else:
        with servers[kind]() as port:
            _check_out_of_reach(done, port, capfd)


def _check_out_of_reach(federation: Federation, port: int, capfd: pytest.CaptureFixture[str]) -> None:
    member = use_store(federation, "P01", f"http://somebody:secret@127.0.0.1:{port}")
    before = {path.name: path.read_bytes() for path in member.home.metrics.iterdir()}
    news = io.BytesIO()
    store = Store(member, news, client_of(member))
    for _ in range(3):
        store.update()
        assert store.failed
        assert store.failed_just_now
    assert news.getvalue() == UNREACHABLE
    log = capfd.readouterr().err
    assert log.count("cannot be reached") == 1
    assert f"http://***@127.0.0.1:{port} cannot be reached" in log
    assert "secret" not in log
    assert {path.name: path.read_bytes() for path in member.home.metrics.iterdir()} == before
    assert not member.home.tracked.exists()


class Storage:
    """A stand-in for the store's synchronisation that fails when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = True
        self.n_tries = 0
        monkeypatch.setattr(tracking_store, "sync", self.sync)

    def sync(self, *_: object) -> str:
        """As pipeline.tracking.sync.sync."""
        self.n_tries += 1
        if self.fails:
            raise OSError("no route")
        return "run"


def test_a_store_that_comes_back_is_used(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """The next poke tries again; at the end it has everything."""
    storage = Storage(monkeypatch)
    store = Store(member_of(done, "P01"), io.BytesIO())
    answers: list[float | None] = []

    def poked(again_s: float | None) -> bool:
        answers.append(again_s)
        storage.fails = len(answers) < 2
        return len(answers) < 4

    monkeypatch.setattr(tracking_process, "_poked", poked)
    assert follow(store) == 0
    assert storage.n_tries == 5  # at the start, three pokes, the end
    assert answers == [30.0, 30.0, None, None]  # with nothing to send it waits for pokes alone


def test_the_end_is_no_reason_to_wait_for_a_dead_store_again(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """After a failure a moment ago the end of the input causes no other try."""
    storage = Storage(monkeypatch)
    store = Store(member_of(done, "P01"), io.BytesIO())
    monkeypatch.setattr(tracking_process, "_poked", lambda _again_s: False)
    assert follow(store) == 1
    assert storage.n_tries == 1
    monkeypatch.setattr(tracking_process, "_SOON_S", 0.0)  # as if it had failed long ago
    storage.fails = False
    assert follow(store) == 0


def test_as_long_as_there_is_nothing_to_log_mlflow_is_not_loaded(
    fresh: Federation, finished: Federation, monkeypatch: pytest.MonkeyPatch
):
    """MLflow is loaded at the first record, not while a run waits for others."""
    storage, member = Storage(monkeypatch), member_of(fresh, "P01")
    storage.fails = False
    pokes = iter([True, True, False])

    def poked(_again_s: float | None) -> bool:
        tries.append(storage.n_tries)
        if len(tries) == 2:
            shutil.copytree(finished.home("P01").metrics, member.home.metrics)
        return next(pokes)

    tries: list[int] = []
    monkeypatch.setattr(tracking_process, "_poked", poked)
    assert follow(Store(member, io.BytesIO())) == 0
    assert tries == [0, 0, 1]
    assert storage.n_tries == 2  # and at the end
    waiting = fresh.hocket("aggregator", "run", "--once", str(fresh.config("agg")))
    assert waiting.returncode == ExitCode.NOT_YET, waiting.stderr
    assert not member_of(fresh, "agg").store_file.exists()


def test_a_wait_ends_at_a_poke_at_its_time_and_at_the_end(monkeypatch: pytest.MonkeyPatch):
    """Many pokes cause one update; the end of the input ends the process."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        monkeypatch.setattr(sys, "stdin", source)
        assert tracking_process._poked(0.01)  # nobody poked, time for another try
        sink.write(b"\n\n\n")
        assert tracking_process._poked(None)
        sink.close()
        assert not tracking_process._poked(None)


# ---------------------------------------------------------------------------------------------- the member's side


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


def test_a_store_is_made_whole(fresh: Federation):
    """MLflow cannot take up a database that it was killed in making, so it is made under another name."""
    member = member_of(fresh, "P01")
    unfinished = member.store_file.with_name(f".mlflow.db{PART}")
    unfinished.mkdir()
    for leftover in ("mlflow.db", "mlflow.db-journal"):
        (unfinished / leftover).write_bytes(b"killed in the middle")
    tracking_process._make_store(member)
    assert [path.name for path in member.home.folder.iterdir() if "mlflow.db" in path.name] == ["mlflow.db"]
    made = member.store_file.stat()
    tracking_process._make_store(member)
    assert member.store_file.stat() == made
    assert runs_of(member) == []


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


def test_a_report_made_later_goes_to_the_store(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """`hocket report` sends what it wrote where the run is in the store already; else the next start does."""
    member, sent, code = member_of(done, "P01"), [], 0

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[bytes]":
        sent.append(command[-3:])
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(tracking.subprocess, "run", run)
    report = ("report", member.config_file, "--json")
    assert hocket(*report).exit_code == 0
    assert sent == []
    write_json(member.home.tracked, {"run": "1", "report": "of an earlier one"})
    assert hocket(*report).stderr == ""
    assert sent == [[str(member.config_file), "partner", "once"]]
    code = 1
    unsent = hocket(*report)
    assert unsent.exit_code == 0
    assert "not in MLflow" in unsent.stderr
    member.store_file.touch()
    note_all_sent(member.home, "1", report=tracking.report_digest(member.home), model="")
    assert hocket(*report).stderr == ""
    assert len(sent) == 2


def test_a_home_of_the_version_before_is_sent_again(done: Federation):
    """Its note has no format: that version sent neither model card nor alias."""
    member = member_of(done, "P01")
    member.store_file.touch()
    digest = tracking.report_digest(member.home)
    write_json(member.home.tracked, {"run": "1", "report": digest, "model": ""})
    assert not member.all_sent
    note_all_sent(member.home, "1", report=digest, model="")
    assert member.all_sent


# ------------------------------------------------------------------------------------------------- settings


def test_system_metrics_need_psutil(fresh: Federation, monkeypatch: pytest.MonkeyPatch):
    """Without psutil both roles are refused before the run; if metrics are off, it is not needed."""
    monkeypatch.setattr("pipeline.plan.member_configs.find_spec", lambda _name: None)
    for name, kind in (("P01", PartnerConfig), ("agg", AggregatorConfig)):
        config = fresh.config(name)
        assert not kind.read(config).tracking.system_metrics
        config.write_text(f"{config.read_text()}[tracking]\nsystem_metrics = true\n")
        with pytest.raises(ConfigError, match=r"tracking: system_metrics: .*\bpsutil\b"):
            kind.read(config)


class Machine(ModuleType):
    """Stands in for psutil: a machine whose figures are known."""

    def __init__(self) -> None:
        super().__init__("psutil")
        self.__spec__ = ModuleSpec("psutil", None)

    def cpu_percent(self) -> float:
        """A third."""
        return 33.0

    def virtual_memory(self) -> SimpleNamespace:
        """A tenth of 10 GB."""
        return SimpleNamespace(used=1e9, total=1e10, available=9e9, percent=10.0)

    def disk_usage(self, _path: str) -> SimpleNamespace:
        """Half of 100 GB."""
        return SimpleNamespace(used=5e10, free=5e10, total=1e11, percent=50.0)

    def net_io_counters(self) -> SimpleNamespace:
        """None yet."""
        return SimpleNamespace(bytes_recv=0, bytes_sent=0)


def test_system_metrics_are_logged_where_wanted(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """System metrics are in MLflow's own group, stop with the run, and do not delay its end."""
    monkeypatch.setitem(sys.modules, "psutil", Machine())
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    done.home("P01").finished.rename(done.folder / "later")
    member = use_store(done, "P01", "", "system_metrics = true\n")
    client = client_of(member)
    store = Store(member, io.BytesIO(), client)
    store.update()
    (run,) = runs_of(member)
    wait_until(lambda: "system/cpu_utilization_percentage" in client.get_run(run.info.run_id).data.metrics)
    (done.folder / "later").rename(member.home.finished)
    store.close()
    store.update()
    (ended,) = runs_of(member)
    assert ended.info.status == "FINISHED"
    assert ended.data.metrics["system/cpu_utilization_percentage"] == 33.0
    assert ended.data.metrics["system/disk_usage_percentage"] == 50.0


@pytest.mark.parametrize("every", ["-1", "0", "1.5", '"often"'])
def test_validation_is_every_so_many_rounds(fresh: Federation, every: str):
    """A whole number; the aggregator validates nothing and has no such setting."""
    config = fresh.config("P01")
    config.write_text(f"{config.read_text()}[tracking]\nvalidate_every = {every}\n")
    with pytest.raises(ConfigError, match=r"tracking\.validate_every"):
        PartnerConfig.read(config)
    other = fresh.config("agg")
    other.write_text(f"{other.read_text()}[tracking]\nvalidate_every = 2\n")
    with pytest.raises(ConfigError, match=r"tracking\.validate_every"):
        AggregatorConfig.read(other)


# ------------------------------------------------------------------------------------- real processes and servers


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
