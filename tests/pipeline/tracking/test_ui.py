"""`hocket ui`: MLflow's pages in a real browser, and a server that ends at a signal."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import psutil
import pytest

from pipeline.errors import ConfigError
from pipeline.tracking import local_server, ui
from pipeline.tracking.token_door import REFUSED
from pipeline.tracking.ui import serve_ui
from tests.support.browser import CHROMIUM, SWITCHES, needs_chromium
from tests.support.federation import AGGREGATOR, Federation
from tests.support.other_account import asked_as_another, needs_root
from tests.support.ports import free_port, port_in_use
from tests.support.tracking import ui_stranger
from tests.support.tracking.served_command import ServedCommand, serving_command

if TYPE_CHECKING:
    from playwright.sync_api import Page

_GROUP = "experiment-view-compare-runs-section-header"  # MLflow's mark of a group of charts
_LOOK_MS = 90_000  # a page of MLflow on a busy machine


# ------------------------------------------------------------------------------------------------------ refusals


def test_a_port_in_use_is_refused(finished: Federation):
    """A port in use is refused before anything is started, with a note on --port."""
    with port_in_use() as port, pytest.raises(ConfigError, match=f"port {port}: ") as refused:
        serve_ui(finished.config("P01"), port)
    assert "--port" in refused.value.__notes__[0]


def test_the_port_is_taken_before_anything_else(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """The port is bound before MLflow starts: another account on it would receive the token."""
    port, found = free_port(), list[int]()

    def take(_: object) -> bool:
        with socket.socket() as other:
            found.append(other.connect_ex(("127.0.0.1", port)))
        raise KeyboardInterrupt

    monkeypatch.setattr(local_server, "send_rest", take)
    serve_ui(done.config("P01"), port)
    assert found == [0]


def test_a_home_that_is_not_there_is_refused(fresh: Federation):
    """`hocket ui` without a home makes no files."""
    config = fresh.config("P02")
    config.write_text(f'home = "nowhere"\n{config.read_text()}')
    with pytest.raises(ConfigError, match=r"nowhere: .*P02") as refused:
        serve_ui(config, free_port())
    assert "hocket partner run" in refused.value.__notes__[0]
    assert not (config.parent / "nowhere").exists()


def test_a_server_that_does_not_start_is_an_error(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """A server that ends is an error with the last lines of its log, and no process is left."""
    monkeypatch.setattr(local_server, "send_rest", lambda _member: True)
    monkeypatch.setattr(ui, "_SERVER", ("--no-such-option",))
    with pytest.raises(ConfigError, match="exit code 2") as refused:
        serve_ui(done.config("P01"), free_port())
    assert any("no-such-option" in note for note in refused.value.__notes__)


def test_a_store_that_cannot_be_read_is_an_error(done: Federation):
    """A damaged store is an error, not an empty page."""
    (done.home("P01").folder / "mlflow.db").write_bytes(b"no store" * 1000)
    with pytest.raises(ConfigError, match=r"mlflow\.db: .*not a database"):
        serve_ui(done.config("P01"), free_port())


# ------------------------------------------------------------------------------------------------- a real server


@dataclass(frozen=True)
class Served:
    """A store that is served."""

    command: ServedCommand

    @property
    def url(self) -> str:
        """The address of the experiment, as the command printed it."""
        return self.command.printed.split()[-1]

    @property
    def port(self) -> int:
        """Its port."""
        return self.command.port

    @property
    def token(self) -> str:
        """The token."""
        return parse_qs(urlsplit(self.url).query)["token"][0]

    def status(self, path: str, **headers: str) -> int:
        """The answer to a request with the token."""
        cookie = {"Cookie": f"hocket-ui-{self.port}={self.token}"}
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers=cookie | headers)
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=240) as answer:
                return int(answer.status)
        except HTTPError as refused:
            return refused.code


@contextmanager
def serving(federation: Federation, name: str) -> Iterator[Served]:
    """`hocket ui` as a user starts it."""
    with serving_command(federation, name, "ui", n_lines=1) as command:
        yield Served(command)


def listens(port: int) -> set[str]:
    """Addresses on which a port is open, from /proc."""
    tables = [
        Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6") if Path(f"/proc/net/{table}").exists()
    ]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].split(":")[1] == f"{port:04X}"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), [("P01", signal.SIGINT), (AGGREGATOR, signal.SIGTERM)])
def test_it_serves_this_machine_alone_and_ends_cleanly(done: Federation, name: str, how: signal.Signals):
    """Partner and aggregator: bound to 127.0.0.1, no assistant, exit code 0 at a signal, no process left."""
    with serving(done, name) as served:
        assert listens(served.port) == {"0100007F"}
        start, _, page = served.url.partition("#")
        assert start == f"http://127.0.0.1:{served.port}/?token={served.token}"
        assert page.startswith("/experiments/1/runs")
        assert served.status("/") == 200
        assert served.status("/ajax-api/3.0/mlflow/assistant/config") == 404
        assert served.status("/", Host="elsewhere.example") == 403
        members = served.command.members()
        assert len(members) >= 3
        served.command.process.send_signal(how)
        assert served.command.process.wait(timeout=240) == 0
        assert psutil.wait_procs(members, timeout=240)[1] == []  # what was killed may take a moment to be gone
    (hint,) = (done.folder / name / "ui.err").read_text().splitlines()
    assert "Ctrl-C" in hint


@pytest.mark.slow
@needs_root
def test_another_account_gets_nothing(done: Federation):
    """Of the pages, the records, the files and the token: not without it, with a wrong one, or from the processes."""
    asked_for = [
        ("GET", "/"),
        ("GET", "/?token=wrong"),
        ("GET", "/health"),
        ("GET", "/version"),
        ("GET", "/get-artifact?run_uuid=1&path=report.json"),
        ("GET", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=1"),
        ("GET", "/api/2.0/mlflow/experiments/search?max_results=5"),
        ("POST", "/api/2.0/mlflow/experiments/create"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=1&path=a"),
        ("GET", "/static-files/lib/a.js"),
    ]
    with serving(done, "P01") as served:
        cookie = f"hocket-ui-{served.port}"
        requests = [
            (method, f"http://127.0.0.1:{served.port}{path}", tried)
            for method, path in asked_for
            for tried in ("", f"{cookie}=wrong", f"{cookie}={served.token[:-1]}", f"ui={served.token}")
        ]
        question = {"requests": requests, "pids": [one.pid for one in served.command.members()]}
        found = asked_as_another(ui_stranger.__name__, question)
        assert served.status("/api/2.0/mlflow/experiments/get?experiment_id=1") == 200  # it was there to be had
        assert served.token not in str(found["processes"])
    assert found["answers"] == [[403, REFUSED.decode()]] * len(requests)
    assert all(one["cmdline"] and not one["environ"] for one in found["processes"])
    assert served.token not in (done.home("P01").folder / "ui.log").read_text()


@pytest.mark.slow
@needs_chromium
def test_a_person_finds_curves_and_report_in_a_browser(done: Federation, tmp_path: Path):
    """From the printed address to the run, its description, its groups of curves and the report; all of it local."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with serving(done, "P01") as served, sync_playwright() as engine:
        browser = engine.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            headless=True,
            args=SWITCHES,
            viewport={"width": 1500, "height": 1000},
        )
        page = browser.new_page()
        page.set_default_timeout(_LOOK_MS)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        _look_at_the_experiment(page, served)
        _look_at_the_curves(page)
        _look_at_the_report(page)
        browser.close()
    assert len(asked) > 10
    others = [url for url in asked if not url.startswith((f"http://127.0.0.1:{served.port}/", "data:", "blob:"))]
    assert others == []


def _shoot(page: "Page", name: str) -> None:
    if shots := os.environ.get("HOCKET_SHOTS"):  # a folder, for a person who wants to look
        page.screenshot(path=f"{shots}/{name}.png")


def _look_at_the_experiment(page: "Page", served: Served) -> None:
    page.goto(served.url)
    assert page.url == served.url.replace(f"?token={served.token}", "")
    page.get_by_text("3 partners (P01, P02, P03) train one shared trunk").wait_for()
    run = page.get_by_role("link", name="P01", exact=True)
    run.wait_for()
    _shoot(page, "experiment")
    run.click()
    page.get_by_text("is a partner of").wait_for()
    page.get_by_text("finished after 2 rounds").wait_for()
    page.get_by_text("P01, training folds").first.wait_for()
    _shoot(page, "run")


def _look_at_the_curves(page: "Page") -> None:
    page.get_by_role("tab", name="Model metrics").click()
    first = page.get_by_test_id(_GROUP).first
    first.wait_for()
    assert "1_validation" in first.inner_text()
    for group in ("2_test", "3_verdict", "4_gate", "5_training", "6_update", "7_seconds", "9_round"):
        page.get_by_test_id(_GROUP).filter(has_text=group).first.scroll_into_view_if_needed()
    page.get_by_test_id(_GROUP).filter(
        has_text="1_validation"
    ).first.scroll_into_view_if_needed()  # MLflow unloads charts
    page.get_by_text("average_precision", exact=True).first.scroll_into_view_if_needed()
    page.locator(".plotly .main-svg").last.wait_for()  # charts are drawn
    page.get_by_text("P01 (1_validation/average_precision)").first.wait_for()
    _shoot(page, "curves")


def _look_at_the_report(page: "Page") -> None:
    page.get_by_role("tab", name="Artifacts").click()
    for folder in ("report", "rounds", "settings"):
        page.get_by_text(folder, exact=True).first.wait_for()
    page.get_by_text("report", exact=True).first.click()
    page.get_by_text("report.json", exact=True).first.click()
    page.get_by_text("average_precision").first.wait_for()  # its content is shown
    _shoot(page, "report")
