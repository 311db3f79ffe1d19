"""`hocket ui`: MLflow's own pages in a real browser, and a server that goes when it is told to."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

from pipeline import ui
from pipeline.errors import ConfigError
from pipeline.ui import serve_ui
from tests.pipeline.federation import AGGREGATOR, Federation
from tests.pipeline.marked import is_killed
from tests.pipeline.servers import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_GROUP = "experiment-view-compare-runs-section-header"  # MLflow's mark of a group of charts
_PATIENCE_S = 300.0
_LOOK_MS = 90_000  # a page of MLflow on a busy machine


# ------------------------------------------------------------------------------------------------------ refusals


def test_a_port_in_use_is_refused(finished: Federation):
    """Before anything is started, and with the way out."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: cannot be used: Address already in use") as refused:
            serve_ui(finished.config("P01"), port)
    assert refused.value.__notes__ == ["give another one: --port"]


def test_a_home_that_is_not_there_is_refused(fresh: Federation):
    """Nothing is made by looking."""
    config = fresh.config("P02")
    config.write_text(f'home = "nowhere"\n{config.read_text()}')
    with pytest.raises(ConfigError, match=r"nowhere: no such folder, expected the home of P02") as refused:
        serve_ui(config, free_port())
    assert "hocket partner run" in refused.value.__notes__[0]
    assert not (config.parent / "nowhere").exists()


def test_a_server_that_does_not_start_is_an_error(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """With the last lines of its log, and no process left."""
    monkeypatch.setattr(ui, "send_rest", lambda _member: True)
    monkeypatch.setattr(ui, "_SERVER", ("--no-such-option",))
    with pytest.raises(ConfigError, match="MLflow's server ended with exit code 2") as refused:
        serve_ui(done.config("P01"), free_port())
    assert any("no-such-option" in note for note in refused.value.__notes__)


# ------------------------------------------------------------------------------------------------- a real server


@dataclass(frozen=True)
class Served:
    """A store that is served."""

    url: str  # of the experiment, as the command printed it
    port: int
    process: "subprocess.Popen[bytes]"


@contextmanager
def serving(federation: Federation, name: str) -> Iterator[Served]:
    """`hocket ui` as a user starts it."""
    port, folder = free_port(), federation.folder / name
    with (folder / "ui.out").open("wb") as out, (folder / "ui.err").open("wb") as err:
        process = subprocess.Popen(
            federation.command("ui", str(federation.config(name)), "--port", str(port)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    until = time.monotonic() + _PATIENCE_S
    try:
        while not (printed := (folder / "ui.out").read_text()).endswith("\n"):
            assert process.poll() is None, (folder / "ui.err").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Served(printed.split()[-1], port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def processes_about(word: str) -> list[str]:
    """Command lines of the running processes that hold a word; one that was killed runs no more."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            ends = is_killed(path.parent)
        except OSError:  # it ended
            continue
        if word in line and not ends and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def listens(port: int) -> set[str]:
    """Addresses on which a port is open, in the kernel's words."""
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
        assert served.url.startswith(f"http://127.0.0.1:{served.port}/#/experiments/1/runs")
        opener = build_opener(ProxyHandler({}))
        with pytest.raises(HTTPError, match="404"):
            opener.open(f"http://127.0.0.1:{served.port}/ajax-api/3.0/mlflow/assistant/config", timeout=60)
        served.process.send_signal(how)
        assert served.process.wait(timeout=60) == 0
        assert processes_about(str(done.folder)) == []
    assert (done.folder / name / "ui.err").read_text() == "MLflow serves this until Ctrl-C\n"


@pytest.mark.slow
@pytest.mark.skipif(_CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on this machine")
def test_a_person_finds_curves_and_report_in_a_browser(done: Federation, tmp_path: Path):
    """From the printed address to the run, its description, its groups of curves and the report; all of it local."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with serving(done, "P01") as served, playwright.sync_playwright() as engine:
        browser = engine.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=_CHROMIUM,
            headless=True,
            args=_SWITCHES,
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
    for group in ("bytes", "seconds", "train", "update", "validation"):
        page.get_by_test_id(_GROUP).filter(has_text=group).first.scroll_into_view_if_needed()
    page.get_by_text("average_precision", exact=True).first.scroll_into_view_if_needed()
    page.locator(".plotly .main-svg").last.wait_for()  # charts are drawn
    page.get_by_text("P01 (validation/average_precision)").first.wait_for()
    _shoot(page, "curves")


def _look_at_the_report(page: "Page") -> None:
    page.get_by_role("tab", name="Artifacts").click()
    for folder in ("report", "rounds", "settings"):
        page.get_by_text(folder, exact=True).first.wait_for()
    page.get_by_text("report", exact=True).first.click()
    page.get_by_text("report.json", exact=True).first.click()
    page.get_by_text("average_precision").first.wait_for()  # its content is shown
    _shoot(page, "report")
