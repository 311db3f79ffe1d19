"""A member's home: whole files, one process, and where messages lie."""

import errno
import json
import math
import os
import signal
import stat
import tempfile
from pathlib import Path
from typing import IO, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.atomic import write_atomically
from pipeline.errors import ConfigError, ExchangeConflict, ExitCode, HomeInUse
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import message_of
from pipeline.home.paths import Home, MessageName, write_json
from secure.messages.message_schemas import BODIES, ENROLMENT, WITH_PAYLOAD
from tests.support.held_home import holder

EXCHANGE = Exchange("memory://paths")


# --------------------------------------------------------------------------------------------------- atomic files


def test_a_file_is_written_with_its_folders(tmp_path: Path):
    """Old content is replaced, nothing else is left."""
    path = tmp_path / "a" / "b"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


class FullDisk:
    """A file that takes some bytes and then none."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        """Write half of it."""
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Half of the new content is on disk under no name."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: FullDisk(real_open(self, *args)))
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new content")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_sync_or_rename_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str):
    """The same for the later steps."""
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if function == "fsync" else (Path, "replace", fail)))
        with pytest.raises(OSError, match="Input/output"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_it_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """File synced, then renamed, then the folder synced."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_sync(handle: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        fsync(handle)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_atomically(tmp_path / "file", b"content")
    assert steps == ["sync file", "rename", "sync folder"]


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_comes_back(value: object):
    """Any JSON value, one file."""
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "file", value)
        assert json.loads((Path(folder) / "file").read_text()) == value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_has_no_nan(tmp_path: Path, value: float):
    """What no other program could read is refused before a file is touched."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"x": [value]})
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- the lock


def test_a_home_has_one_process_and_a_killed_one_frees_it(tmp_path: Path):
    """A second process is refused while the first lives; SIGKILL gives the home back at once."""
    home = Home(tmp_path / "home")
    with holder(home.folder) as process:
        with pytest.raises(HomeInUse, match=str(home.folder)) as caught, home.alone():
            pytest.fail("two processes in one home")
        assert caught.value.exit_code == ExitCode.NOT_YET
        process.send_signal(signal.SIGKILL)
        process.wait()
        with home.alone():
            pass


def test_the_lock_is_free_after_an_error(tmp_path: Path):
    """However the holder's block ends; and not before."""
    home = Home(tmp_path)
    with pytest.raises(ZeroDivisionError), home.alone():
        raise ZeroDivisionError
    with home.alone(), pytest.raises(HomeInUse), home.alone():
        pytest.fail("locked twice")
    with home.alone():
        pass


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path):
    """A file where the home should be."""
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError, match="the home cannot be used"), Home(tmp_path / "home").alone():
        pytest.fail("a file is no home")


# ----------------------------------------------------------------------------------------------------- leftovers

LEFTOVERS = [
    ".finished.json.part",
    "outbox/enrol/.deal.P01.envelopes.part",
    "inbox/round-0001/attempt-01/.sum.agg.arrow.unchecked",
    "inbox/round-0001/attempt-01/..sum.agg.arrow.unchecked.part",
    "rounds/round-0002/start.safetensors.tmp",
    ".group.secret.0123456789abcdef.tmp",
]
KEPT = [
    "finished.json",
    "lock",
    "group.secret",
    "pair.seeds",
    "keys/private.key",
    "outbox/enrol/deal.P01.envelopes",
    "inbox/round-0001/attempt-01/sum.agg.arrow",
    "rounds/round-0001/attempt-01/update.unposted",
    "rounds/round-0002/start.safetensors",
    "mlflow.db",
    "part",
    "notes.part",
    ".hidden",
]


def test_only_what_was_half_written_is_swept(tmp_path: Path):
    """Leftovers of a killed process go when the lock is taken, everything else stays."""
    for name in (*LEFTOVERS, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with Home(tmp_path).alone():
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(KEPT)


def test_every_temporary_name_of_a_writer_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process that dies just before the rename leaves a name that the sweep knows."""
    monkeypatch.setattr(Path, "replace", lambda *_: None)  # the rename never happens
    write_atomically(tmp_path / "file", b"x")
    assert len(list(tmp_path.iterdir())) == 1
    with Home(tmp_path).alone():
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_nobody_sweeps_without_the_lock(tmp_path: Path):
    """What looks like a leftover may be the holder's work."""
    home = Home(tmp_path)
    with home.alone():
        (tmp_path / ".file.part").write_bytes(b"x")
        with pytest.raises(HomeInUse), home.alone():
            pytest.fail("locked twice")
        assert (tmp_path / ".file.part").exists()


# ------------------------------------------------------------------------------------------------- message names

NAMES = st.builds(
    MessageName,
    st.sampled_from(sorted(set(BODIES) - ENROLMENT)),
    st.integers(1, 9999),
    st.integers(1, 2000),
    st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
) | st.builds(
    MessageName,
    st.sampled_from(sorted(ENROLMENT)),
    st.just(0),
    st.just(0),
    st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
)


@given(NAMES)
def test_a_message_is_found_again_by_its_paths(name: MessageName):
    """The auditor reads back from a path exactly the message that was named."""
    assert message_of(name.manifest, EXCHANGE) == (name, True)
    if name.kind in WITH_PAYLOAD:
        assert message_of(name.payload, EXCHANGE) == (name, False)


@settings(max_examples=50)
@given(st.lists(NAMES, min_size=2, max_size=20, unique=True))
def test_no_two_messages_share_a_path(names: list[MessageName]):
    """Manifest or payload, each path belongs to one message."""
    paths = [path for name in names for path in (name.manifest, name.payload)]
    assert len(set(paths)) == len(paths)


@settings(max_examples=50)
@given(st.lists(NAMES, max_size=20))
def test_messages_list_in_their_order(names: list[MessageName]):
    """A folder listing shows enrolment first, then the rounds in order; attempts up to 99 too."""
    names = [name for name in names if name.attempt < 100]
    folders = [name.folder for name in sorted(names, key=lambda name: (name.round_no, name.attempt))]
    assert folders == sorted(folders)


@pytest.mark.parametrize(
    "path",
    [
        "README",
        "enrol/deal.P01",
        "enrol/deal.P01.arrow",
        "enrol/deal.P01.json/x",
        "enrol/DEAL.P01.json",
        "round-1/attempt-01/ready.P01.json",
        "round-0001/attempt-1/ready.P01.json",
        "round-0001/attempt-001/ready.P01.json",
        "round-0001/ready.P01.json",
        "round-0001/attempt-01/update.P01.arrow.bak",
        "round-0001/attempt-01/update.P 1.json",
        "../enrol/deal.P01.json",
    ],
)
def test_a_path_of_no_message_is_refused(path: str):
    """Nothing else belongs into an exchange; each path has one spelling."""
    with pytest.raises(ExchangeConflict, match="is no message"):
        message_of(path, EXCHANGE)


def test_each_revision_has_its_own_messages_secrets_and_attempts(tmp_path: Path):
    """Only the start of a round is of all of them; the first plan has no folder of its own."""
    first, second = Home(tmp_path), Home(tmp_path, "revision-02")
    for home in (first, second):
        for path in (home.group_secret, home.inbox("a"), home.outbox("a"), home.pair_seeds, home.attempt(3, 1) / "a"):
            write_atomically(path, home.revision.encode())
        assert home.group_secret.read_bytes() == home.attempt(3, 1).joinpath("a").read_bytes() == home.revision.encode()
    assert first.start_file(3) == second.start_file(3)
    assert second.attempt(3, 1).is_relative_to(first.round(3))
    assert [home.revision for home in second.of_every_plan()] == ["", "revision-02"]


def test_leftovers_are_the_payloads_of_earlier_plans(tmp_path: Path):
    """Neither a later or the same revision's, nor manifests."""
    name = MessageName("update", 3, 1, "P01")
    homes = [Home(tmp_path, revision) for revision in ("", "revision-02", "revision-03")]
    for home in homes:
        write_atomically(home.outbox(name.payload), b"x")
        write_atomically(home.outbox(name.manifest), b"x")
    homes[1].remove_leftovers()
    assert [home.outbox(name.payload).exists() for home in homes] == [False, True, True]
    assert all(home.outbox(name.manifest).exists() for home in homes)


def test_rounds_started_are_those_with_a_start(tmp_path: Path):
    """A round's folder alone is no start."""
    home = Home(tmp_path)
    write_atomically(home.start_file(3), b"x")
    home.attempt(4, 1).mkdir(parents=True)
    assert home.rounds_started() == [3]
    assert home.start_file(3).parent == home.round(3)
    assert home.attempt(4, 1).parent == home.round(4)
