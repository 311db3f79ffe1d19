"""An exchange in a folder: links, folders that may not be read and deep folders mislead nobody."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import ExchangeConflict, ExchangeError, ExchangeUnreachable
from pipeline.exchange.local_folder import LocalFolder
from pipeline.exchange.storage import Exchange, open_exchange
from secure.errors import BadManifest, PayloadMismatch

ROUND = "round-0001"
PATH = f"{ROUND}/attempt-01/update.P01.json"
NOBODY = 65534


@contextmanager
def another_user() -> Iterator[None]:
    """Do as a user without rights; who runs the tests already is one unless it is root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user may read, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def exchange_in(folder: Path) -> Exchange:
    """An exchange with one message."""
    exchange = Exchange(f"file://{folder}/exchange")
    (folder / "own").write_bytes(b"message")
    exchange.send(folder / "own", PATH)
    return exchange


def linked_away(folder: Path) -> Path:
    """Put a link to a private folder in the place of a round's folder; returns the private folder."""
    exchange, private = folder / "exchange", folder / "private"
    private.mkdir()
    exchange.mkdir()
    (exchange / ROUND).symlink_to(private)
    return private


@contextmanager
def deep_folders(top: Path, n: int) -> Iterator[None]:
    """Make n folders called d inside one another; no path reaches the lowest, it would be too long."""
    folder = os.open(top, os.O_RDONLY)
    for _ in range(n):
        os.mkdir("d", dir_fd=folder)
        above, folder = folder, os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(above)
    try:
        yield
    finally:
        for _ in range(n):
            above, folder = folder, os.open("..", os.O_RDONLY, dir_fd=folder)
            os.close(above)
            os.rmdir("d", dir_fd=folder)
        os.close(folder)


def test_a_folder_that_may_not_be_read_is_an_error(open_to_all: Path) -> None:
    """Whoever owns a folder of the exchange cannot hide the messages in it, or after it, from an auditor."""
    exchange = exchange_in(open_to_all)
    (open_to_all / "exchange" / ROUND).chmod(0o000)
    try:
        with (
            another_user(),
            pytest.raises(ExchangeError, match=f"{ROUND}.*[Pp]ermission|[Pp]ermission.*{ROUND}") as refused,
        ):
            exchange.list_files()
    finally:
        (open_to_all / "exchange" / ROUND).chmod(0o700)
    assert not isinstance(refused.value, ExchangeUnreachable)  # no retry would help


def test_the_file_systems_own_folder_is_passed_over(open_to_all: Path) -> None:
    """The folder lost+found at the top of a mounted disk is closed to users, and holds no message."""
    exchange = exchange_in(open_to_all)
    (open_to_all / "exchange" / "lost+found").mkdir(mode=0o000)
    with another_user():
        assert exchange.list_files() == [PATH]


def test_deep_folders_are_listed_as_what_does_not_belong(tmp_path: Path) -> None:
    """Folders that are deeper than any message are no messages, however deep they are."""
    exchange = exchange_in(tmp_path)
    with deep_folders(tmp_path / "exchange", 1500):
        listed = exchange.list_files()
    assert [path for path in listed if path != PATH] == ["/".join("d" * 9)]


def test_nothing_is_posted_through_a_link(tmp_path: Path) -> None:
    """A member posts nothing into a folder to which somebody has linked a folder of the exchange."""
    private = linked_away(tmp_path)
    (tmp_path / "own").write_bytes(b"message")
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    with pytest.raises(ExchangeConflict, match="link"):
        exchange.send(tmp_path / "own", PATH)
    with pytest.raises(ExchangeError, match="link"):
        exchange.replace(b"sign", PATH)
    assert list(private.iterdir()) == []


def test_a_revisions_folder_is_no_link_either(tmp_path: Path) -> None:
    """The folder of a revision, which is an exchange of its own, is not followed elsewhere."""
    private = linked_away(tmp_path)
    (private / "signs").mkdir()
    revision = open_exchange(f"file://{tmp_path}/exchange").below(ROUND)
    with pytest.raises(ExchangeError, match="link"):
        revision.list_files()
    with pytest.raises(ExchangeError, match="link"):
        revision.replace(b"sign", "signs/alive.P01.json")
    assert list((private / "signs").iterdir()) == []


def test_nothing_is_read_through_a_link(tmp_path: Path) -> None:
    """A link in the place of a folder or of a file is refused, although what it names could be read."""
    private = linked_away(tmp_path)
    (private / "attempt-01").mkdir()
    (private / "attempt-01" / Path(PATH).name).write_bytes(b"secret")
    exchange = open_exchange(f"file://{tmp_path}/exchange")
    (tmp_path / "exchange" / "enrol").mkdir()
    (tmp_path / "exchange" / "enrol" / "deal.P01.json").symlink_to(private / "attempt-01" / Path(PATH).name)
    for path in (PATH, "enrol/deal.P01.json"):
        with pytest.raises(BadManifest, match="link"):
            exchange.read(path)
        with pytest.raises(PayloadMismatch, match="link"):
            exchange.fetch(path, tmp_path / "copy")
    assert not exchange.has("enrol/deal.P01.json")
    assert exchange.list_files() == ["enrol/deal.P01.json", ROUND]  # both are refused by who reads all messages
    assert not (tmp_path / "copy").exists()


def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path: Path) -> None:
    """Posting replaces a planted link, and leaves what it names as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place = tmp_path / "exchange" / PATH
    place.parent.mkdir(parents=True)
    place.symlink_to(victim)
    exchange = exchange_in(tmp_path)
    assert exchange.read(PATH) == b"message"
    assert victim.read_bytes() == b"precious"


def test_the_exchange_itself_may_be_a_link(tmp_path: Path) -> None:
    """The path in a configuration is its owner's own, and followed."""
    exchange_in(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "exchange")
    assert open_exchange(f"file://{tmp_path}/link").read(PATH) == b"message"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither what succeeds nor what is refused leaves a file or folder open."""
    linked_away(tmp_path)
    folder = LocalFolder(f"{tmp_path}/exchange")
    with folder.replace("enrol/a") as file:
        file.write(b"x")
    before = sorted(Path("/proc/self/fd").iterdir())
    for path in ("enrol/a", PATH, "enrol/missing/a", "enrol/a/a"):
        for look in (folder.is_file, folder.exists, folder.open):
            try:
                found = look(path)
            except OSError:
                continue
            if not isinstance(found, bool):
                found.close()
    folder.files()
    assert sorted(Path("/proc/self/fd").iterdir()) == before
