"""The two NVFlare parts by themselves: what they refuse before any message, and files over NVFlare's consumer."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from pipeline.engines.file_courier import _Gather
from pipeline.engines.places import AGGREGATOR_FILE, CONTENT, PARTNER_FILE, TASK
from pipeline.engines.server_job import FederationController
from pipeline.engines.site_job import PartnerExecutor
from pipeline.errors import TransferFailed
from tests.pipeline.federation import AGGREGATOR, Federation


class Context:
    """As much of NVFlare's context as is asked for before any message."""

    def __init__(self, startup: Path) -> None:
        self._startup = startup

    def get_workspace(self) -> Any:  # noqa: ANN401 -- NVFlare's
        """Where the startup kit is."""
        return SimpleNamespace(get_startup_kit_dir=lambda: str(self._startup))


def answer(executor: PartnerExecutor, monkeypatch: pytest.MonkeyPatch, startup: Path) -> str:
    """What a site says that refuses to begin."""
    monkeypatch.setattr(executor, "log_error", lambda *_: None)
    question = Shareable({CONTENT: {"hello": "00"}})
    found = executor.execute(TASK, question, Context(startup), Signal())[CONTENT]
    assert set(found) == {"refused"}
    return str(found["refused"])


def test_a_site_without_its_variable_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site whose environment names no configuration answers with the variable it needs, and starts nothing."""
    monkeypatch.delenv(PARTNER_FILE, raising=False)
    assert PARTNER_FILE in answer(PartnerExecutor(), monkeypatch, tmp_path)


def test_a_site_without_a_kit_says_so(enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without certificate, key and root nothing begins."""
    monkeypatch.setenv(PARTNER_FILE, str(enrolled.config("P01")))
    assert "client.crt: is missing" in answer(PartnerExecutor(), monkeypatch, tmp_path)


def test_a_site_that_is_no_partner_says_so(
    enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration of a name that is not in the plan is refused."""
    federation = enrolled.moved(tmp_path / "federation")
    config = federation.config("P01")
    config.write_text(config.read_text().replace('"P01"', '"P09"'))
    monkeypatch.setenv(PARTNER_FILE, str(config))
    assert "P09 is not one of the partners" in answer(PartnerExecutor(), monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"agg"', '"hub"'), "is hub, expected agg"),
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
    gather = _Gather(file, 5)
    assert gather.consume("r", {}, b"abc") == {"received_bytes": 3}
    assert gather.consume("r", {}, b"de") == {"received_bytes": 5}
    with pytest.raises(TransferFailed, match="more bytes"):
        gather.consume("r", {}, b"f")
    assert file.getvalue() == b"abcde"


def test_a_download_has_failed_until_it_is_complete() -> None:
    """Only NVFlare's word that all has come makes it good; its reason is kept otherwise."""
    gather = _Gather(io.BytesIO(), 5)
    assert gather.failure
    gather.download_failed("r", "the peer is gone")
    assert gather.failure == "the peer is gone"
    gather.download_completed("r")
    assert not gather.failure
