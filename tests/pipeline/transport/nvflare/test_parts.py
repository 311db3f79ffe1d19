"""Controller and executor alone: what they refuse before any message, wake-up, and file transfer."""

import errno
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply

from pipeline.errors import BadTransfer, TransferFailed
from pipeline.runtime.printable import printable
from pipeline.transport.nvflare import wakeup as wakeup_module
from pipeline.transport.nvflare.controller import FederationController
from pipeline.transport.nvflare.executor import PartnerExecutor
from pipeline.transport.nvflare.file_transfer import FileTransfer, _Writer
from pipeline.transport.nvflare.names import AGGREGATOR_FILE, CONTENT, PARTNER_FILE, TASK
from pipeline.transport.nvflare.wakeup import Wakeup
from secure.files import PART, atomic_path
from tests.support.federation import AGGREGATOR, Federation


class Context:
    """The part of NVFlare's context that is used before any message."""

    def __init__(self, startup: Path) -> None:
        self._startup = startup

    def get_workspace(self) -> Any:  # noqa: ANN401 -- NVFlare's
        """Where the startup kit is."""
        return SimpleNamespace(get_startup_kit_dir=lambda: str(self._startup))


def answer_and_log(monkeypatch: pytest.MonkeyPatch, startup: Path) -> tuple[str, str]:
    """The two texts of a site that refuses to begin: its answer to the server, and its own log."""
    executor, logged = PartnerExecutor(), list[str]()
    monkeypatch.setattr(executor, "log_error", lambda _, text: logged.append(text))
    question = Shareable({CONTENT: {"hello": "00"}})
    found = executor.execute(TASK, question, Context(startup), Signal())[CONTENT]
    assert set(found) == {"refused"}
    return str(found["refused"]), logged[0]


OWN = "ConfigError; see this site's own log"


def test_a_site_without_its_variable_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site whose environment names no configuration logs the variable it needs, and starts nothing."""
    monkeypatch.delenv(PARTNER_FILE, raising=False)
    answer, logged = answer_and_log(monkeypatch, tmp_path)
    assert answer == OWN
    assert PARTNER_FILE in logged


def test_a_site_without_a_kit_says_so(enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without certificate, key and root nothing begins."""
    monkeypatch.setenv(PARTNER_FILE, str(enrolled.config("P01")))
    answer, logged = answer_and_log(monkeypatch, tmp_path)
    assert answer == OWN
    assert "client.crt: is missing" in logged


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"P01"', '"P09"'), "P09 is not"),
        (lambda text: f'passphrase = "a secret"\n{text}', "passphrase: unknown"),
        (lambda text: text.replace("[data]", '[data]\nnot_a_setting = "of a secret project"'), "not_a_setting:"),
    ],
)
def test_what_a_site_s_settings_say_stays_there(
    enrolled: Federation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[str], str],
    said: str,
) -> None:
    """A wrong configuration is answer in full in the site's own log; the server hears that there is one."""
    federation = enrolled.moved(tmp_path / "federation")
    config = federation.config("P01")
    config.write_text(change(config.read_text()))
    monkeypatch.setenv(PARTNER_FILE, str(config))
    answer, logged = answer_and_log(monkeypatch, tmp_path)
    assert answer == OWN
    assert said in logged


def test_a_peer_s_text_is_one_line() -> None:
    """Nobody forges a line of another's log, or moves its cursor."""
    assert printable("P02: é\n2026 - P03 has proved\x1b[2K\r", keep="") == r"P02: é\n2026 - P03 has proved\x1b[2K\r"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"agg"', '"hub"'), "found hub, expected agg"),
        (lambda text: text, r"server.crt: is missing"),
        (lambda _: "name = 3", "problem"),
    ],
)
def test_a_server_that_cannot_begin_ends_the_job(
    enrolled: Federation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[str], str],
    said: str,
) -> None:
    """Another's configuration, a missing kit or a wrong file panics the job with the reason; no run is started."""
    federation = enrolled.moved(tmp_path / "federation")
    config = federation.config(AGGREGATOR)
    config.write_text(change(config.read_text()))
    monkeypatch.setenv(AGGREGATOR_FILE, str(config))
    controller, panics = FederationController(), []
    monkeypatch.setattr(controller, "system_panic", lambda reason, _: panics.append(reason))
    controller.start_controller(Context(tmp_path))
    assert said in panics[0]
    controller.control_flow(Signal(), Context(tmp_path))
    assert not config.with_name("run.log").exists()


def test_a_file_is_gathered_up_to_its_size() -> None:
    """Chunks are written in order; a byte more than announced ends the download, and what came is not more."""
    file = io.BytesIO()
    gather = _Writer(file, 5, "x")
    assert gather.consume("r", {}, b"abc") == {"received_bytes": 3}
    assert gather.consume("r", {}, b"de") == {"received_bytes": 5}
    with pytest.raises(BadTransfer, match="more bytes"):
        gather.consume("r", {}, b"f")
    assert file.getvalue() == b"abcde"


def test_a_download_has_failed_until_it_is_complete() -> None:
    """Only NVFlare's word that all has come makes it good; its reason is kept otherwise."""
    gather = _Writer(io.BytesIO(), 5, "x")
    assert gather.failure
    gather.download_failed("r", "the peer is gone")
    assert gather.failure == "the peer is gone"
    gather.download_completed("r")
    assert not gather.failure


class PeerCell:
    """As much of NVFlare's cell as a download needs; the peer gives these answers, and the last one for ever."""

    def __init__(self, *answers: object) -> None:
        self._left = list(answers)

    def send_request(self, **_: object) -> Any:  # noqa: ANN401 -- NVFlare's message
        """The next answer."""
        return make_reply(ReturnCode.OK, body=self._left.pop(0) if len(self._left) > 1 else self._left[0])

    def register_request_cb(self, *, cb: Callable[[object], None], **_: object) -> None:
        """Who hears what is sent to this side."""
        self.hear = cb

    def fire_and_forget(self, **_: object) -> None:
        """Nobody listens."""


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still: the longest wait is never over, however busy the machine is."""
    monkeypatch.setattr(wakeup_module, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.mark.usefixtures("still")
def test_a_site_waits_until_it_has_news() -> None:
    """It checks for news again and again, and returns at once when there is some."""
    looks = iter([False, False, True])
    Wakeup(PeerCell(), Signal()).wait_for_news(lambda: next(looks))
    assert list(looks) == []


@pytest.mark.usefixtures("still")
def test_a_site_waits_until_the_server_notifies_it() -> None:
    """A notification before or during the wait ends it, once; after the end of the job nobody waits."""
    cell, stop = PeerCell(), Signal()
    wakeup, looks = Wakeup(cell, stop), []

    def look() -> bool:
        looks.append(len(looks))
        if looks[-1] == 1:
            cell.hear(None)
        if looks[-1] == 3:
            stop.trigger("over")
        return False

    cell.hear(None)
    wakeup.wait_for_news(look)
    assert looks == [0]
    wakeup.wait_for_news(look)
    assert looks == [0, 1]
    wakeup.wait_for_news(look)
    assert looks == [0, 1, 2, 3]


END = {"status": "eof"}


def chunk(data: object, received: object) -> dict[str, object]:
    """A peer's answer that brings something."""
    return {"status": "ok", "data": data, "state": {"received_bytes": received}}


def pull(cell: PeerCell, target: Path, n_bytes: int) -> None:
    """Pull a file as a mirror does."""
    with atomic_path(target) as received:
        FileTransfer(cell, "P01", Signal()).pull("r", received, n_bytes)


def test_a_file_is_pulled_chunk_by_chunk(tmp_path: Path) -> None:
    """What the peer gives in order is what is written."""
    cell = PeerCell(chunk(b"abc", 3), chunk(b"de", 5), END)
    pull(cell, tmp_path / "file", 5)
    assert (tmp_path / "file").read_bytes() == b"abcde"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["no dictionary"], "does not understand"),
        ([{"status": "ok", "data": b"abc", "state": 5}], "does not understand"),
        ([chunk(b"abc", 3), {"status": "ok", "data": b"d"}], "does not understand"),
        ([chunk(5, 3)], "does not understand"),
        ([chunk("abc", 3)], "consuming data"),
        ([chunk(b"abc", 4), END], "state"),
        ([chunk(b"abc", 3), {"status": "error"}], "producer error"),
    ],
)
def test_a_peer_that_answers_something_else(tmp_path: Path, answers: list[object], said: str) -> None:
    """Whatever a peer answers instead of chunks in order ends this transfer, and nothing of it stays."""
    with pytest.raises(TransferFailed, match=said):
        pull(PeerCell(*answers), tmp_path / "file", 5)
    assert not list(tmp_path.iterdir())


def test_a_peer_that_sends_too_much(tmp_path: Path) -> None:
    """It is not tried again: its signed message announced less."""
    with pytest.raises(BadTransfer, match="more bytes"):
        pull(PeerCell(chunk(b"abcdef", 6)), tmp_path / "file", 5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_chunks", [1, 40])
def test_a_disk_that_fills(tmp_path: Path, n_chunks: int) -> None:
    """A write that finds no space is answer as such, whether in the middle or at the end; nothing stays."""
    answers = [chunk(b"a" * 5000, 5000 * (i + 1)) for i in range(n_chunks)]
    (tmp_path / f".file{PART}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as full:
        pull(PeerCell(*answers, END), tmp_path / "file", 5000 * n_chunks)
    assert full.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
