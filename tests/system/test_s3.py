"""The exchange in a bucket, against moto's S3 server, and on a storage that shows everything late."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import ExchangeConflict, ExchangeError, ExchangeUnreachable, NotYet
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.report.report import report_file
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import RetryPolicy
from secure.messages.message_name import MessageName
from tests.support.exchange.lagging_storage import LaggingFileSystem
from tests.support.exchange.s3_servers import BUCKET, FaultyServer, client, environment, moto_server, use
from tests.support.federation import AGGREGATOR, Federation, step
from tests.support.ports import free_port
from tests.support.running_members import Running
from tests.support.waiting import wait_until

PLACE = f"s3://{BUCKET}/federation"
MANY = 500  # looks
PATH = "round-0001/attempt-01/update.P01.arrow"


@pytest.fixture(scope="module")
def _server() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.stop()


@pytest.fixture
def server(_server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    """A server with an empty bucket and no fault, in this process's environment."""
    _server.fault = None
    s3 = client(_server.endpoint)
    if BUCKET in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            s3.delete_object(Bucket=BUCKET, Key=found["Key"])
    else:
        s3.create_bucket(Bucket=BUCKET)
    use(monkeypatch, _server.endpoint)
    return _server


def own(folder: Path, content: bytes) -> Path:
    """A file with that content."""
    file = folder / "own"
    file.write_bytes(content)
    return file


def keys(server: FaultyServer) -> list[str]:
    """Names of all objects in the bucket."""
    return [found["Key"] for found in client(server.endpoint).list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def patient(folder: Path, timeout_s: float) -> RetryPolicy:
    """Waits for so long."""
    return RetryPolicy(ProgressReporter("P01"), folder, once=False, poll_s=0.01, timeout_s=timeout_s)


# --------------------------------------------------------------------------------------------------- what is the same


def test_a_bucket_is_an_exchange(server: FaultyServer, tmp_path: Path):
    """Posted once under its final name, read, fetched, listed; another content is a conflict."""
    exchange = open_exchange(PLACE)
    exchange.send(own(tmp_path, b"content"), PATH)
    exchange.send(own(tmp_path, b"content"), PATH)
    assert exchange.read(PATH) == b"content"
    assert exchange.fetch(PATH, tmp_path / "copy", 7)
    assert (tmp_path / "copy").read_bytes() == b"content"
    assert exchange.list_files() == [PATH]
    assert exchange.list_folders() == ["round-0001"]
    assert keys(server) == [f"federation/{PATH}"]
    with pytest.raises(ExchangeConflict):
        exchange.send(own(tmp_path, b"Content"), PATH)


def test_nothing_that_was_seen_is_kept(server: FaultyServer):
    """Two members with the bucket open see each other's files: s3fs caches listings by default."""
    reader = open_exchange(PLACE)
    assert (reader.read(PATH), reader.has(PATH), reader.list_files(), reader.list_folders()) == (None, False, [], [])
    client(server.endpoint).put_object(Bucket=BUCKET, Key=f"federation/{PATH}", Body=b"x")
    assert (reader.read(PATH), reader.has(PATH)) == (b"x", True)
    assert (reader.list_files(), reader.list_folders()) == ([PATH], ["round-0001"])
    client(server.endpoint).delete_object(Bucket=BUCKET, Key=f"federation/{PATH}")
    assert (reader.read(PATH), reader.list_files()) == (None, [])
    assert dict(reader._fs.dircache) == {}


def test_no_bucket_is_made(server: FaultyServer, tmp_path: Path):
    """A mistyped name is an error that names it, not a new bucket somewhere."""
    exchange = open_exchange("s3://mistyped/federation")
    with pytest.raises(ExchangeError, match=r"s3://mistyped/federation.*bucket"):
        exchange.send(own(tmp_path, b"x"), PATH)
    assert [bucket["Name"] for bucket in client(server.endpoint).list_buckets()["Buckets"]] == [BUCKET]


# ------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_for_a_while_is_waited_out(server: FaultyServer, tmp_path: Path, status: int):
    """Longer than s3fs tries by itself; then everything goes on, and nothing was posted twice or half."""
    left = [7]

    def fault(_method: str, _path: str) -> int | None:
        left[0] -= 1
        return status if left[0] >= 0 else None

    exchange = open_exchange(PLACE)
    server.fault = fault
    patient(tmp_path, 300.0).call(lambda: exchange.send(own(tmp_path, b"content"), PATH))
    assert left[0] < 0
    assert exchange.read(PATH) == b"content"
    assert keys(server) == [f"federation/{PATH}"]


def test_a_server_that_goes_on_failing_is_given_up(server: FaultyServer, tmp_path: Path):
    """With --timeout the error has the URL, what failed, and that the same command goes on."""
    server.fault = lambda *_: 503
    with pytest.raises(ExchangeUnreachable, match=f"{PLACE}: cannot be listed") as caught:
        patient(tmp_path, 0.01).call(lambda: open_exchange(PLACE))
    assert "0.01 s (--timeout)" in caught.value.__notes__[0]


def test_no_server_at_all(server: FaultyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Without an HTTP answer s3fs raises another type, but the exchange's error is the same."""
    exchange = open_exchange(PLACE)
    with socket.socket() as deaf:  # holds the port and does not listen: else another process could take it now
        deaf.bind(("127.0.0.1", 0))
        use(monkeypatch, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(ExchangeUnreachable, match="Could not connect"):
            open_exchange(PLACE)
    assert exchange.read(PATH) is None  # the server is as it was
    assert list(tmp_path.iterdir()) == []
    assert server.fault is None


def test_no_right_is_not_waited_for(server: FaultyServer, tmp_path: Path):
    """Wrong credentials end the start at once."""
    server.fault = lambda *_: 403
    with pytest.raises(ExchangeError, match=rf"{PLACE}.*Forbidden") as caught:
        patient(tmp_path, 300.0).call(lambda: open_exchange(PLACE))
    assert not isinstance(caught.value, ExchangeUnreachable)


def test_no_credentials_are_not_waited_for(server: FaultyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Missing credentials end the start at once."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    requests = len(server.requests)
    with pytest.raises(ExchangeError, match="credentials") as caught:
        open_exchange(PLACE)
    assert not isinstance(caught.value, ExchangeUnreachable)
    assert len(server.requests) == requests


# ------------------------------------------------------------------------------------------------------ partial writes

SEND = """
import sys, pathlib
from pipeline.exchange.storage import open_exchange
open_exchange(sys.argv[1]).send(pathlib.Path(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.slow
def test_a_sender_killed_in_the_middle_leaves_no_message(server: FaultyServer, tmp_path: Path):
    """A large payload is sent in parts: nobody sees it before the last one, and the next start posts it complete."""
    large = tmp_path / "payload"
    with large.open("wb") as file:
        file.truncate(101 << 20)  # s3fs takes parts from 100 MiB on
    server.fault = lambda method, path: 503 if method == "POST" and _completes(server, path) else None
    sender = subprocess.Popen(
        [sys.executable, "-P", "-c", SEND, PLACE, str(large), PATH], env=os.environ | environment(server.endpoint)
    )
    s3 = client(server.endpoint)

    def is_midway() -> int:
        assert sender.poll() is None
        return _n_parts(s3)

    wait_until(is_midway, pause_s=0)
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    server.fault = None
    exchange = open_exchange(PLACE)
    assert (exchange.has(PATH), exchange.list_files(), exchange.fetch(PATH, tmp_path / "copy")) == (False, [], False)
    assert keys(server) == []
    exchange.send(large, PATH)
    assert s3.head_object(Bucket=BUCKET, Key=f"federation/{PATH}")["ContentLength"] == 101 << 20


def _completes(server: FaultyServer, path: str) -> bool:
    """Whether this POST would end an upload in parts: the first POST begins it."""
    return server.requests.count(("POST", path)) > 1


def _n_parts(s3: object) -> int:
    uploads = s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])  # type: ignore[attr-defined]
    found = [s3.list_parts(Bucket=BUCKET, Key=one["Key"], UploadId=one["UploadId"]) for one in uploads]  # type: ignore[attr-defined]
    return sum(len(one.get("Parts", [])) for one in found)


# ---------------------------------------------------------------------------------------------------- late listings


@pytest.fixture
def lagging() -> Iterator[str]:
    """URL of an empty exchange that shows everything late."""
    fsspec.register_implementation("lagging", LaggingFileSystem, clobber=True)
    LaggingFileSystem.store.clear()
    LaggingFileSystem.looks.clear()
    yield "lagging://room"
    LaggingFileSystem.store.clear()


def test_what_is_late_is_not_there(lagging: str, tmp_path: Path):
    """A file that is shown late is missing for all methods at first, and there after some calls."""
    exchange = open_exchange(lagging)
    exchange.send(own(tmp_path, b"x"), "enrol/deal.P01.json")
    assert exchange.read("enrol/deal.P01.json") is None
    assert exchange.list_files() == []
    while exchange.read("enrol/deal.P01.json") is None:
        assert LaggingFileSystem.looks["/room/enrol/deal.P01.json"] < MANY
    assert exchange.read("enrol/deal.P01.json") == b"x"
    assert exchange.list_files() == ["enrol/deal.P01.json"]


def at(federation: Federation, url: str) -> None:
    """Let all members of a federation use this exchange."""
    for name in (*federation.partners, AGGREGATOR):
        config = federation.config(name)
        config.write_text(config.read_text().replace('exchange = "../exchange"', f'exchange = "{url}"'))


def test_a_manifest_before_its_payload_is_waited_for(lagging: str, fresh: Federation):
    """The sum's payload may be shown after its manifest: NotYet, and then the right file."""
    at(fresh, lagging)
    exchange: Exchange = fresh.partner("P01")._mailbox.exchange
    deal = MessageName("deal", 0, 0, "P01")
    for path in (deal.payload, deal.manifest):
        exchange.send(fresh.home("P01").outbox(path), path)
    mailbox = fresh.partner("P02")._mailbox
    manifest = None
    while manifest is None:
        manifest = mailbox.receive(deal)
    with pytest.raises(NotYet, match="payload of deal"):
        mailbox.fetch_payload(deal, manifest)
    assert not mailbox.home.inbox(deal.payload).exists()
    for _ in range(10):
        try:
            kept = mailbox.fetch_payload(deal, manifest)
        except NotYet:
            continue
        assert kept.read_bytes() == fresh.home("P01").outbox(deal.payload).read_bytes()
        return
    pytest.fail("the payload never came")


@pytest.mark.slow
def test_a_federation_on_a_late_storage_ends_as_on_any(lagging: str, fresh: Federation, finished: Federation):
    """Every file is seen late, payloads later than manifests: the same trunks and reports."""
    at(fresh, lagging)
    members = fresh.members()
    for _ in range(MANY):  # looks, for nobody knows when something comes
        if {step(member) for member in members.values()} == {"done"}:
            break
    for round_no in (1, 2):
        assert fresh.trunks(round_no) == finished.trunks(round_no)
    assert min(LaggingFileSystem.looks.values()) > 1


# ------------------------------------------------------------------------------------------------------ a federation


@pytest.mark.slow
def test_a_federation_in_a_bucket(fresh: Federation, finished: Federation, monkeypatch: pytest.MonkeyPatch):
    """Real processes, `python -m moto.server`, the endpoint from the environment: the same trunks as in a folder."""
    port = free_port()
    with moto_server(port) as endpoint, Running(fresh) as running:
        use(monkeypatch, endpoint)
        at(fresh, PLACE)
        running.start(*fresh.partners, AGGREGATOR)
        running.finish()
        done = fresh.hocket("verify", str(fresh.plan_file), PLACE)
        assert done.returncode == 0, done.stderr
        assert "2 of 2 rounds done" in done.stdout
    for round_no in (1, 2):
        assert fresh.trunks(round_no) == finished.trunks(round_no)
    assert all(report_file(fresh.home(name)).exists() for name in fresh.partners)
    assert not fresh.exchange.exists()


@pytest.mark.slow
def test_a_federation_in_a_bucket_that_fails_now_and_then(
    server: FaultyServer, fresh: Federation, finished: Federation
):
    """With 503 for one request in ten, and for a while for all, the members wait and reach the same trunks."""
    at(fresh, PLACE)
    outage = range(300, 330)  # in requests: longer than s3fs tries by itself
    server.requests.clear()
    server.fault = lambda *_: 503 if len(server.requests) % 10 == 0 or len(server.requests) in outage else None
    with Running(fresh) as running:
        running.start(*fresh.partners, AGGREGATOR)
        running.finish()
    assert len(server.requests) > max(outage)
    for round_no in (1, 2):
        assert fresh.trunks(round_no) == finished.trunks(round_no)
