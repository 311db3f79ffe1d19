"""What the doctor finds about the exchange and the tracking store."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import ExchangeError
from pipeline.exchange.storage import Exchange
from pipeline.setup.doctor_exchange import probe_exchange
from pipeline.setup.findings import Finding
from tests.support.federation import Federation
from tests.support.setup.doctor_findings import about


@pytest.fixture
def bucket() -> Iterator[str]:
    """An object store in memory."""
    MemoryFileSystem.store.clear()
    yield "memory://bucket/example"
    MemoryFileSystem.store.clear()


def test_an_object_store(bucket: str):
    """Listed, written, read; nothing is left."""
    found = list(probe_exchange(bucket))
    assert [one.level for one in found] == ["ok", "ok"][: len(found)]
    assert "0 files" in found[0].text
    assert MemoryFileSystem.store == {}


def test_a_file_that_cannot_be_removed(bucket: str, monkeypatch: pytest.MonkeyPatch):
    """No run removes anything there, so it is no failure; the members overlook the file."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "append only")

    monkeypatch.setattr(MemoryFileSystem, "rm_file", refuse)
    assert [finding.level for finding in probe_exchange(bucket)][-1] == "note"
    assert len(MemoryFileSystem.store) == 1
    assert Exchange(bucket).list_files() == []


@pytest.mark.parametrize(("read", "said"), [(None, "read no file"), (b"old", "read other bytes")])
def test_a_storage_that_does_not_show_what_was_written(
    bucket: str, monkeypatch: pytest.MonkeyPatch, read: bytes | None, said: str
):
    """A cache in between; the probe is removed all the same."""
    monkeypatch.setattr(Exchange, "read", lambda *_: read)
    with pytest.raises(ExchangeError, match=said):
        list(probe_exchange(bucket))
    assert MemoryFileSystem.store == {}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock(tmp_path: Path, hours: float):
    """Compared with the time that the storage gives the probe."""
    import time  # noqa: PLC0415

    (tmp_path / "exchange").mkdir()
    found = list(probe_exchange(f"file://{tmp_path}/exchange", lambda: time.time() + 3600 * hours))
    assert [one.level for one in found if one.about == "clock"] == ["wrong"]


def test_an_exchange_that_is_not_there_is_not_made(tmp_path: Path):
    """A folder with a typing error in its name must not come into being."""
    assert [finding.level for finding in probe_exchange(f"file://{tmp_path}/exchnage")] == ["note"]
    assert list(tmp_path.iterdir()) == []


def tracking(federation: Federation, uri: str) -> Finding:
    """What is found of a tracking store."""
    with federation.config("P01").open("a") as file:
        file.write(f'[tracking]\nuri = "{uri}"\n')
    (found,) = about(federation.config("P01"), "tracking")
    return found


def test_a_tracking_server_that_is_down(fresh: Federation):
    """Never stops a run, so it is a note; its password is not shown."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else answers there
        found = tracking(fresh, f"http://user:hunter2@127.0.0.1:{taken.getsockname()[1]}")
    assert found.level == "note"
    assert "hunter2" not in str(found)


def test_a_tracking_file(fresh: Federation, finished: Federation):
    """No file yet, and a file that is no database."""
    assert about(finished.config("P01"), "tracking")[0].level == "ok"
    (fresh.folder / "no.db").write_text("this is no database, but long enough for a header" * 10)
    assert tracking(fresh, f"sqlite:///{fresh.folder / 'no.db'}").level == "note"


def test_another_store_is_left_alone(fresh: Federation):
    """A database needs its driver."""
    found = tracking(fresh, "postgresql://user:hunter2@db/mlflow")
    assert (found.level, "hunter2" in str(found)) == ("note", False)
