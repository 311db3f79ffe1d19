"""One process at a time in a home: a second one is told the holder, and a killed one's lock is free."""

import json
import os
import re
import signal
import socket
import threading
from pathlib import Path

import pytest

import pipeline.home.lock
from pipeline.errors import ConfigError, ExitCode, HomeInUse, NotYet
from pipeline.home.lock import Holder, hold
from tests.support.held_home import holder

TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def test_the_holder_is_named(tmp_path: Path):
    """The error has process, host and time, and the exit code for a retry."""
    with holder(tmp_path) as process:
        named = f"process {process.pid} on {re.escape(socket.gethostname())}, since {TIME}"
        with pytest.raises(HomeInUse, match=f"^{tmp_path}: .*{named}") as caught:
            hold(tmp_path / "lock").__enter__()
        assert caught.value.exit_code == ExitCode.NOT_YET
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def test_a_killed_holder_is_told_and_one_that_ended_is_not(tmp_path: Path):
    """The next holder gets the killed holder; after a normal end None."""
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold(tmp_path / "lock") as before:
            assert before is not None
            assert (before.pid, before.host) == (process.pid, socket.gethostname())
    with hold(tmp_path / "lock") as before:
        assert before is None


def test_who_waits_gets_it_when_the_holder_ends(tmp_path: Path):
    """A waiting process gets the killed holder."""
    with holder(tmp_path) as process:
        threading.Timer(0.3, process.kill).start()
        with hold(tmp_path / "lock", waits=True) as before:
            assert before is not None
            assert before.pid == process.pid
            assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("error", [NotYet, ZeroDivisionError, KeyboardInterrupt])
def test_an_error_is_a_proper_end(tmp_path: Path, error: type[BaseException]):
    """After an error the lock is released, so the next start reports nothing."""
    with pytest.raises(error), hold(tmp_path / "lock"):
        raise error
    with hold(tmp_path / "lock") as before:
        assert before is None


@pytest.mark.parametrize("note", [b"", b"{}", b"[1]", b"not JSON", b"\xff" * 100, b'{"pid": 1}'])
def test_a_damaged_note_stops_nobody(tmp_path: Path, note: bytes):
    """A damaged note changes nothing: the system's lock decides."""
    (tmp_path / "lock").write_bytes(note)
    with hold(tmp_path / "lock") as before:
        assert before is None
        with pytest.raises(HomeInUse), hold(tmp_path / "lock"):
            pytest.fail("locked twice")


def test_the_note_is_read_by_its_owner_only(tmp_path: Path):
    """The lock file is readable by its owner only."""
    with hold(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o077 == 0
        found = json.loads((tmp_path / "lock").read_bytes())
        assert Holder(**found).pid == os.getpid()
    assert (tmp_path / "lock").read_bytes() == b""


def test_a_full_disk_takes_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a full disk the lock is held, without a note."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline.home.lock.os, "pwrite", full)
    with hold(tmp_path / "lock"), pytest.raises(HomeInUse, match="it just began"), hold(tmp_path / "lock"):
        pytest.fail("locked twice")


def test_a_lock_that_cannot_be_made_is_refused(tmp_path: Path):
    """A folder where the file should be."""
    (tmp_path / "lock").mkdir()
    with pytest.raises(ConfigError, match=f"^{tmp_path}: "), hold(tmp_path / "lock"):
        pytest.fail("a folder is no lock")


@pytest.mark.parametrize(
    "note",
    [
        b"[" * 4096,
        b'{"pid": 1, "host": "h", "since": 1000000000000000000}',
        b'{"pid": 1, "host": "h", "since": -1}',
        b'{"pid": 1, "host": "h", "since": 1.5}',
        b'{"pid": "1", "host": "h", "since": 1}',
        b'{"pid": 1, "host": ["h"], "since": 1}',
        b'{"pid": 1, "host": "\\u001b[31mh", "since": 1}',
    ],
)
def test_a_damaged_note_is_no_holder(tmp_path: Path, note: bytes):
    """The note is only for people: a damaged one ends no run, and nothing of it is shown."""
    (tmp_path / "lock").write_bytes(note)
    with hold(tmp_path / "lock") as before:
        assert before is None
