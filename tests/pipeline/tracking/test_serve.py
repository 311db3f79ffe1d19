"""`hocket serve`: the model that the gate keeps answers who has the token, and nobody else."""

import json
import shlex
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import polars as pl
import psutil
import pytest

from pipeline.errors import ConfigError, NotYet
from pipeline.tracking import local_server, serve
from pipeline.tracking.bearer_door import REFUSED
from pipeline.tracking.serve import serve_model
from pipeline.tracking.tracker import note_all_sent, report_digest
from tests.support.cli_runner import hocket
from tests.support.federation import AGGREGATOR, Federation
from tests.support.other_account import asked_as_another, needs_root
from tests.support.partner_tables import SMILES
from tests.support.ports import free_port, port_in_use
from tests.support.tracking import ui_stranger
from tests.support.tracking.served_command import ServedCommand, serving_command
from tests.support.tracking.tracking_reader import use_store

# ------------------------------------------------------------------------------------------------------ refusals


def test_an_aggregator_has_no_model(finished: Federation):
    """Its configuration is refused."""
    with pytest.raises(ConfigError, match="aggregator"):
        serve_model(finished.config(AGGREGATOR), free_port())


def test_before_the_end_there_is_no_model(fresh: Federation):
    """Exit code 6, as of others are awaited; nothing is left in the home."""
    before = set(fresh.home("P01").folder.rglob("*"))
    with pytest.raises(NotYet, match="not finished") as refused:
        serve_model(fresh.config("P01"), free_port())
    assert "hocket partner run" in refused.value.__notes__[0]
    assert set(fresh.home("P01").folder.rglob("*")) == before


def test_a_port_in_use_is_refused(finished: Federation):
    """Before a token is written."""
    with port_in_use() as port, pytest.raises(ConfigError, match=f"port {port}: ") as refused:
        serve_model(finished.config("P01"), port)
    assert "--port" in refused.value.__notes__[0]
    assert list(finished.home("P01").folder.glob("serve*")) == []


def test_a_server_that_does_not_start_is_an_error(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """With the last lines of its log; the token is gone, and its file was the owner's alone."""
    modes = list[int]()

    def send_nothing(_: object) -> bool:
        (file,) = done.home("P01").folder.glob("serve-*.header")
        modes.append(stat.S_IMODE(file.stat().st_mode))
        (done.home("P01").folder / "mlflow.db").touch()
        return True

    monkeypatch.setattr(local_server, "send_rest", send_nothing)
    monkeypatch.setattr(serve, "_SERVER", "pipeline.tracking.no_such_server")
    with pytest.raises(ConfigError, match="exit code 1") as refused:
        serve_model(done.config("P01"), free_port())
    assert any("no_such_server" in note for note in refused.value.__notes__)
    assert modes == [0o600]
    assert list(done.home("P01").folder.glob("serve-*.header")) == []


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_store_that_is_not_there_says_what_to_do(done: Federation, monkeypatch: pytest.MonkeyPatch, *, is_sent: bool):
    """A store that is another one now gets it once the home's note is removed; else the log says why it is not sent.

    No server is started, which would first make an empty database: that takes MLflow minutes on a busy machine.
    """
    home = done.home("P01")
    if is_sent:
        note_all_sent(home, "1", report=report_digest(home), model="")
    monkeypatch.setattr(local_server, "send_rest", lambda _: True)
    monkeypatch.setattr(serve, "_SERVER", "pipeline.tracking.no_such_server")
    member = use_store(done, "P01", f"sqlite:///{home.folder}/empty.db")
    with pytest.raises(ConfigError, match="models:/small-abababab-P01@kept") as refused:
        serve_model(member.config_file, free_port())
    assert ("tracked.json" if is_sent else "tracking.log") in refused.value.__notes__[0]
    assert not (home.folder / "empty.db").exists()


@pytest.mark.slow
def test_a_store_without_the_model_says_what_to_do(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """Of a store that is there only its server can tell; a store of plain files takes no time to make."""
    monkeypatch.setattr(local_server, "send_rest", lambda _: True)
    member = use_store(done, "P01", f"file://{done.home('P01').folder}/empty")
    with pytest.raises(ConfigError, match="models:/small-abababab-P01@kept") as refused:
        serve_model(member.config_file, free_port())
    assert "tracking.log" in refused.value.__notes__[0]


# ------------------------------------------------------------------------------------------------- a real server


@dataclass(frozen=True)
class Served:
    """A model that is served."""

    command: ServedCommand
    header_file: Path

    @property
    def token(self) -> str:
        """The token."""
        return self.header_file.read_text().split()[-1]

    def printed_request(self) -> tuple[str, dict[str, str]]:
        """Address and headers of the printed curl command; `-H @FILE` is a file with headers."""
        words = shlex.split(self.command.printed.splitlines()[1])
        headers = [words[i + 1] for i, word in enumerate(words) if word == "-H"]
        lines = [Path(text[1:]).read_text().strip() if text.startswith("@") else text for text in headers]
        return words[1], dict(line.split(": ", 1) for line in lines)


@contextmanager
def serving(federation: Federation, name: str) -> Iterator[Served]:
    """`hocket serve` as a user starts it."""
    with serving_command(federation, name, "serve", n_lines=2) as command:
        yield Served(command, federation.home(name).folder / f"serve-{command.port}.header")


def posted(model: Served, smiles: list[str]) -> list[dict[str, Any]]:
    """Predictions for structures, asked for as the printed command does, with other content."""
    address, headers = model.printed_request()
    content = json.dumps({"dataframe_records": [{"smiles": text} for text in smiles]}).encode()
    with build_opener(ProxyHandler({})).open(Request(address, content, headers), timeout=240) as answer:  # noqa: S310
        return list(json.loads(answer.read())["predictions"])


@pytest.mark.slow
def test_it_answers_as_predict_does_also_after_a_move(finished: Federation, tmp_path: Path):
    """The printed command gives the numbers of `hocket predict`, before and after the home moved; it ends cleanly."""
    federation = finished.moved(tmp_path / "first")
    (tmp_path / "new.smi").write_text(f"{SMILES[0]} n0\n")
    command = ("predict", federation.config("P01"), tmp_path / "new.smi", "--format", "wide")
    assert hocket(*command, "--output", tmp_path / "out.parquet").exit_code == 0
    expected = pl.read_parquet(tmp_path / "out.parquet").drop("input_row", "input_compound_id").row(0, named=True)
    for place in ("first", "second"):
        if place == "second":
            (tmp_path / "first").rename(tmp_path / place)
            federation.folder = tmp_path / place
        with serving(federation, "P01") as model:
            assert "models:/small-abababab-P01@kept" in model.command.printed
            good, bad = posted(model, [SMILES[0], "C1CC"])
            members = model.command.members()
            model.command.process.send_signal(signal.SIGINT)
            assert model.command.process.wait(timeout=240) == 0
            assert psutil.wait_procs(members, timeout=240)[1] == []
        assert not model.header_file.exists()
        assert bad["reason"] == "unparsable"
        store, artifacts = (federation.home("P01").folder / name for name in ("mlflow.db", "mlartifacts"))
        assert len(list(artifacts.rglob("*"))) > 10
        assert not (store.stat().st_mode | artifacts.stat().st_mode) & 0o077  # nobody else can enter the folder
        for name, value in expected.items():
            same = value if value is None or isinstance(value, bool) else pytest.approx(value, rel=1e-6)
            assert good[name] == same


@pytest.mark.slow
@needs_root
def test_another_account_gets_nothing(done: Federation):
    """Neither predictions nor the token: not without it, with a wrong one, from the processes or from the home."""
    paths = [("GET", "/ping"), ("GET", "/version"), ("GET", "/docs"), ("POST", "/invocations")]
    with serving(done, "P01") as model:
        token = model.token
        requests = [(method, f"http://127.0.0.1:{model.command.port}{path}", "") for method, path in paths]
        question = {
            "requests": requests,
            "pids": [one.pid for one in model.command.members()],
            "files": [str(model.header_file)],
        }
        found = asked_as_another(ui_stranger.__name__, question)
    assert found["answers"] == [[401, REFUSED.decode()]] * len(requests)
    assert found["files"] == ["Permission denied"]
    assert all(one["cmdline"] and not one["environ"] for one in found["processes"])
    assert token not in str(found["processes"])
    assert token not in (done.home("P01").folder / "serve.log").read_text()
