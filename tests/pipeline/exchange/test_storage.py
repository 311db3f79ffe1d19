"""The exchange on a folder and on fsspec's memory store: files appear whole, once, and are never replaced."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.exchange.storage
from pipeline.errors import ExchangeConflict, ExchangeError, ExitCode
from pipeline.exchange.storage import Exchange, exchange_at, open_exchange
from secure.errors import BadManifest, PayloadMismatch

PATH = "round-0001/attempt-01/update.P01.arrow"
KINDS = ("folder", "memory")
CONTENTS = st.one_of(st.binary(max_size=200), st.integers(0, 255).map(lambda byte: bytes([byte]) * ((1 << 20) + byte)))


def url(kind: str, folder: Path) -> str:
    """A new empty place of that kind."""
    return f"file://{folder}/exchange" if kind == "folder" else f"memory://{uuid4().hex}"


@pytest.fixture(params=KINDS)
def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> Exchange:
    """An empty exchange of each kind."""
    return open_exchange(url(request.param, tmp_path))


def written(folder: Path, content: bytes, name: str = "source") -> Path:
    """A local file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path


# -------------------------------------------------------------------------------------------------- send and read


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30)
@given(content=CONTENTS)
def test_what_is_sent_is_read_and_fetched(kind: str, content: bytes):
    """Bytes come out as they went in, and sending them again changes nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exchange = open_exchange(url(kind, folder))
        source, target = written(folder, content), folder / "deep" / "target"
        exchange.send(source, PATH)
        exchange.send(source, PATH)
        assert exchange.fetch(PATH, target)
        assert target.read_bytes() == content
        assert exchange.read(PATH) == content[: 1 << 20]  # read is for manifests and never takes in more
        assert exchange.list_files() == [PATH]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30)
@given(posted=CONTENTS, other=CONTENTS)
def test_another_content_is_a_conflict(kind: str, posted: bytes, other: bytes):
    """A posted file is never replaced; the error names it, and equal contents are no conflict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exchange = open_exchange(url(kind, folder))
        exchange.send(written(folder, posted), PATH)
        if posted == other:
            exchange.send(written(folder, other), PATH)
            return
        with pytest.raises(ExchangeConflict) as caught:
            exchange.send(written(folder, other), PATH)
        assert PATH in str(caught.value)
        assert caught.value.exit_code == ExitCode.SECURITY
        assert exchange.fetch(PATH, folder / "target")
        assert (folder / "target").read_bytes() == posted


@pytest.mark.parametrize("longer", [b"posted and more", b"posted" + bytes(1 << 20)])
def test_a_longer_file_with_the_same_start_is_a_conflict(exchange: Exchange, tmp_path: Path, longer: bytes):
    """A shorter file is a conflict too."""
    exchange.send(written(tmp_path, b"posted"), PATH)
    exchange.send(written(tmp_path, longer), "enrol/longer")
    with pytest.raises(ExchangeConflict):
        exchange.send(written(tmp_path, longer), PATH)
    with pytest.raises(ExchangeConflict):
        exchange.send(written(tmp_path, b"posted"), "enrol/longer")


def test_a_conflict_says_what_to_do(exchange: Exchange, tmp_path: Path):
    """A changed file is a conflict: someone changed it, or two homes run as one member."""
    exchange.send(written(tmp_path, b"a"), PATH)
    with pytest.raises(ExchangeConflict) as caught:
        exchange.send(written(tmp_path, b"b"), PATH)
    assert any("stop both" in note for note in caught.value.__notes__)


def test_what_is_missing_is_none(exchange: Exchange, tmp_path: Path):
    """A missing file is no error, and leaves no file."""
    assert exchange.read(PATH) is None
    assert exchange.fetch(PATH, tmp_path / "in" / "target") is False
    assert list((tmp_path / "in").iterdir()) == []
    assert exchange.list_files() == []


def test_fetch_replaces_an_older_copy(exchange: Exchange, tmp_path: Path):
    """The target is whole at every moment."""
    target = written(tmp_path, b"old", "target")
    exchange.send(written(tmp_path, b"new"), PATH)
    assert exchange.fetch(PATH, target)
    assert target.read_bytes() == b"new"


def test_files_are_listed_sorted_without_hidden_ones(tmp_path: Path):
    """Half-written files and hidden files are not listed."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    names = ["round-0002/attempt-01/b", "enrol/a", "round-0001/attempt-10/c", "round-0001/attempt-02/d"]
    for name in names:
        exchange.send(written(tmp_path, b"x"), name)
    written(tmp_path / "exchange" / "enrol", b"", ".a.part")
    assert exchange.list_files() == sorted(names)


def test_folders_are_listed(exchange: Exchange, tmp_path: Path):
    """The folders directly in an exchange are listed; a missing exchange has none."""
    assert exchange.list_folders() == []
    for name in ("round-0002/attempt-01/b", "enrol/a", "c"):
        exchange.send(written(tmp_path, b"x"), name)
    assert exchange.list_folders() == ["enrol", "round-0002"]


def test_a_folder_of_an_exchange_is_an_exchange(exchange: Exchange, tmp_path: Path):
    """A folder as an exchange has only its own files; "" is the exchange itself."""
    (tmp_path / "own").write_bytes(b"content")
    lower = exchange.below("revision-02")
    lower.send(tmp_path / "own", "enrol/deal.P01.json")
    exchange.send(tmp_path / "own", "enrol/deal.P02.json")
    assert lower.list_files() == ["enrol/deal.P01.json"]
    assert exchange.read("revision-02/enrol/deal.P01.json") == lower.read("enrol/deal.P01.json") == b"content"
    assert lower.where("x") == exchange.where("revision-02/x")
    assert exchange.below("").list_files() == ["enrol/deal.P02.json", "revision-02/enrol/deal.P01.json"]


def test_a_file_is_named_as_a_person_would(tmp_path: Path):
    """No file:// in front of a local path, the URL of anything else."""
    assert Exchange(f"file://{tmp_path}/e/").where("enrol/x") == f"{tmp_path}/e/enrol/x"
    assert Exchange("memory://room").where("enrol/x") == "memory://room/enrol/x"


def test_a_relative_place_is_below_the_folder(tmp_path: Path):
    """A path of a command line or a configuration, or a URL."""
    assert exchange_at("e", tmp_path).url == f"file://{tmp_path}/e"
    assert exchange_at("memory://e", tmp_path).url == "memory://e"


def test_readers_see_a_new_file_at_once(tmp_path: Path):
    """Listings are not cached: two members with the exchange open see each other's files."""
    reader, writer = (open_exchange(f"file://{tmp_path}/e") for _ in range(2))
    assert reader.read(PATH) is None
    writer.send(written(tmp_path, b"x"), PATH)
    assert reader.read(PATH) == b"x"
    assert reader.list_files() == [PATH]


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("place", ["nosuch://x", "s3nosuch://bucket/x"])
def test_an_unknown_protocol_is_refused(place: str):
    """The URL is in the message."""
    with pytest.raises(ExchangeError, match=place):
        open_exchange(place)


def test_a_file_is_no_exchange(tmp_path: Path):
    """A path that cannot be a folder is refused when it is opened."""
    written(tmp_path, b"x", "exchange")
    with pytest.raises(ExchangeError, match="exchange"):
        open_exchange(f"file://{tmp_path}/exchange")


def test_what_cannot_be_read_is_an_error(tmp_path: Path):
    """A folder where a file should be, and a file where a folder should be."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    (tmp_path / "exchange" / PATH).mkdir(parents=True)
    with pytest.raises(BadManifest, match=PATH):
        exchange.read(PATH)
    with pytest.raises(ExchangeConflict, match=PATH):
        exchange.send(written(tmp_path, b"x"), PATH)
    with pytest.raises(ExchangeError, match=f"{PATH}/deeper"):
        exchange.send(written(tmp_path, b"x"), f"{written(tmp_path / 'exchange', b'', 'file').name}/{PATH}/deeper")


def test_a_folder_is_never_fetched(tmp_path: Path):
    """A folder at a payload's path is an error, and leaves nothing in the home."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    (tmp_path / "exchange" / PATH).mkdir(parents=True)
    with pytest.raises(PayloadMismatch, match=PATH):
        exchange.fetch(PATH, tmp_path / "home" / "target")
    assert list((tmp_path / "home").iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path):
    """A read-only storage is an error; not even root can write into /proc."""
    exchange = open_exchange("file:///proc/hocket-exchange")
    with pytest.raises(ExchangeError, match="/proc/hocket-exchange"):
        exchange.send(written(tmp_path, b"x"), PATH)


def failing(half: int) -> Callable[..., Any]:
    """A copy that writes some bytes and then meets a full disk."""

    def copy(source: BinaryIO, target: BinaryIO, _n_bytes: int | None) -> None:
        target.write(source.read()[:half])
        raise OSError(28, "No space left on device")

    return copy


@pytest.mark.parametrize("half", [0, 5])
def test_a_failed_send_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: int):
    """A failed copy leaves neither the file nor a temporary one; the retry succeeds."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    source = written(tmp_path, b"0123456789")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.exchange.storage, "_copy", failing(half))
        with pytest.raises(ExchangeError, match=f"{PATH}.*No space left"):
            exchange.send(source, PATH)
    assert [path for path in (tmp_path / "exchange").rglob("*") if path.is_file()] == []
    exchange.send(source, PATH)
    assert exchange.read(PATH) == b"0123456789"


def test_a_failed_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A failed rename leaves no file either."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(ExchangeError, match="Permission denied"):
            exchange.send(written(tmp_path, b"x"), PATH)
    assert [path for path in (tmp_path / "exchange").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_failed_fetch_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    """A failed fetch leaves no file; the retry succeeds."""
    exchange = open_exchange(url(kind, tmp_path))
    exchange.send(written(tmp_path, b"0123456789"), PATH)

    def half_way(_source: object, target: BinaryIO, _n_bytes: int | None) -> None:
        target.write(b"01234")
        raise OSError(28, "No space left on device")

    target = tmp_path / "in" / "target"
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.exchange.storage, "_copy", half_way)
        with pytest.raises(OSError, match=f"No space left.*{target}") as caught:  # it is not the exchange that is full
            exchange.fetch(PATH, target)
        assert caught.value.errno == errno.ENOSPC
    assert list(target.parent.iterdir()) == []
    assert exchange.fetch(PATH, target)


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While a file is being copied, its final name is not there."""
    exchange, seen = open_exchange(f"file://{tmp_path}/exchange"), []
    copy = pipeline.exchange.storage._copy

    def watched(source: BinaryIO, target: BinaryIO, n_bytes: int | None) -> None:
        copy(source, target, n_bytes)
        seen.extend([exchange.read(PATH), exchange.list_files()])

    monkeypatch.setattr(pipeline.exchange.storage, "_copy", watched)
    exchange.send(written(tmp_path, b"x"), PATH)
    assert seen == [None, []]
    assert exchange.read(PATH) == b"x"


def test_a_planted_link_is_not_followed(tmp_path: Path):
    """A planted link cannot make a sender write elsewhere."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    victim = written(tmp_path, b"precious")
    folder = (tmp_path / "exchange" / PATH).parent
    folder.mkdir(parents=True)
    for name in (f".{Path(PATH).name}.part", f".{Path(PATH).name}.0000000000000000.part"):
        (folder / name).symlink_to(victim)
    source = tmp_path / "own"
    source.write_bytes(b"message")
    exchange.send(source, PATH)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "exchange" / PATH).is_symlink()
    assert exchange.read(PATH) == b"message"


def test_no_more_is_copied_than_was_announced(tmp_path: Path):
    """Of a payload larger than its manifest says only one byte more is copied."""
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    exchange.send(written(tmp_path, b"0123456789" * 1000), PATH)
    assert exchange.fetch(PATH, tmp_path / "copy", 10)
    assert (tmp_path / "copy").stat().st_size == 11


def test_a_password_in_the_url_is_never_shown():
    """Errors name the URL without the login before the @."""
    with pytest.raises(ExchangeError) as refused:
        open_exchange("nosuchprotocol://bob:hunter2@host/folder")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_named_pipe_holds_up_nobody(tmp_path: Path, make: Callable[[Path], None]):
    """Anyone who can write to the exchange can make one: it is a damaged message, as a folder is."""
    exchange = open_exchange(url("folder", tmp_path))
    pipe = tmp_path / "exchange" / PATH
    pipe.parent.mkdir(parents=True)
    make(pipe)
    with pytest.raises(BadManifest, match="expected a file"):
        exchange.read(PATH)
    with pytest.raises(PayloadMismatch, match="expected a file"):
        exchange.fetch(PATH, tmp_path / "target")
    with pytest.raises(ExchangeConflict, match="expected a file"):
        exchange.send(written(tmp_path, b"x"), PATH)
    assert not (tmp_path / "target").exists()
