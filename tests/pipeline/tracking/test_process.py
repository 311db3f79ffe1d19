"""The tracking process and its member: pokes, one warning, and no delay by a store."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import ConfigError, ExitCode
from pipeline.home.json_files import write_json
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.tracking import process as tracking_process
from pipeline.tracking import sync as tracking_store
from pipeline.tracking import tracker as tracking
from pipeline.tracking.process import Store, follow
from pipeline.tracking.tracker import UNREACHABLE, note_all_sent
from secure.files import PART
from tests.support.cli_runner import hocket
from tests.support.federation import Federation
from tests.support.ports import free_port
from tests.support.tracking.tracking_reader import (
    client_of,
    member_of,
    runs_of,
    use_store,
)
from tests.support.tracking.tracking_servers import failing_server, half_hanging_server, hanging_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quiet")


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
