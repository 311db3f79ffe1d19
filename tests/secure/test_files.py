"""Files and folders that are there completely or not at all."""

import errno
import os
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from secure.errors import BadKeyFile, KeyFileExists
from secure.files import (
    MAX_SECRET_BYTES,
    PART,
    atomic_file,
    atomic_folder,
    atomic_path,
    atomic_path_in_folder,
    make_private_folder,
    read_secret,
    remove_for_good,
    write_atomically,
    write_secret,
)
from secure.keys.keys import PrivateKeys


def test_atomic_file_appears_at_the_end(tmp_path):
    """Until the writer is done nothing is at the path; then the whole file, and nothing else."""
    with atomic_file(tmp_path / "x") as file:
        file.write(b"whole")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_failed_writing_keeps_the_old_file(tmp_path):
    """A failure leaves what was there before."""
    (tmp_path / "x").write_bytes(b"old")

    def fail() -> None:
        with atomic_file(tmp_path / "x") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "x").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_atomic_file_may_be_required_to_be_new(tmp_path):
    """What came in between stays, and nothing else."""

    def write() -> None:
        with atomic_file(tmp_path / "x", is_new=True) as file:
            file.write(b"new")
            (tmp_path / "x").write_bytes(b"in between")

    with pytest.raises(FileExistsError):
        write()
    assert (tmp_path / "x").read_bytes() == b"in between"
    assert len(list(tmp_path.iterdir())) == 1


def test_two_may_write_one_atomic_file(tmp_path):
    """Each has a temporary file of its own; who ends last is read."""
    with atomic_file(tmp_path / "x") as first:
        with atomic_file(tmp_path / "x") as second:
            second.write(b"second")
            first.write(b"first")
        assert (tmp_path / "x").read_bytes() == b"second"
    assert (tmp_path / "x").read_bytes() == b"first"


def test_a_file_is_written_with_its_folders(tmp_path):
    """Old content is replaced, nothing else is left."""
    path = tmp_path / "a" / "b"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_replaced(tmp_path):
    """However large it is: the next writer uses the same name."""
    (tmp_path / f".x{PART}").write_bytes(b"left behind" * 1000)
    write_atomically(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"new")]


def fail(*_: object) -> None:
    """As a full disk does, which does not say where."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("place", "name"), [(Path, "write_bytes"), (os, "fsync"), (Path, "replace")])
def test_a_failed_step_leaves_the_old_content(tmp_path, monkeypatch, place, name):
    """Writing, syncing, renaming; the error names the file."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(place, name, fail)
        with pytest.raises(OSError, match=f"No space left.*{path}") as failed:
            write_atomically(path, b"new")
    assert failed.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_atomically, write_secret])
def test_content_is_on_disk_before_it_has_a_name(tmp_path, monkeypatch, write):
    """File synced, then named, then the folder synced."""
    steps, fsync, replace, link = [], os.fsync, Path.replace, os.link

    def watched_sync(handle: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", lambda *paths: steps.append("name") or replace(*paths))
    monkeypatch.setattr(os, "link", lambda *paths: steps.append("name") or link(*paths))
    write(tmp_path / "file", b"content")
    assert steps == ["sync file", "name", "sync folder"]


@pytest.mark.parametrize(("is_kind", "n_written"), [(stat.S_ISDIR, 1), (stat.S_ISREG, 0)])
def test_a_mount_that_syncs_no_folders_is_written(tmp_path, monkeypatch, is_kind, n_written):
    """What it says of folders is no error; of a file it would be."""
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if is_kind(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    with nullcontext() if n_written else pytest.raises(OSError, match="Invalid argument"):
        write_atomically(tmp_path / "file", b"content")
    assert len(list(tmp_path.iterdir())) == n_written


def test_what_is_refused_under_its_temporary_name_never_gets_its_own(tmp_path):
    """A check at the end of the block comes before the rename."""

    def write() -> None:
        with atomic_path(tmp_path / "x") as temporary:
            temporary.write_bytes(b"forged")
            raise BadKeyFile

    with pytest.raises(BadKeyFile):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_a_program_writes_with_others_is_placed_alone(tmp_path):
    """Its journal, and the folder of a killed writer, are gone."""
    (tmp_path / f".x{PART}").mkdir()
    (tmp_path / f".x{PART}" / "x").write_bytes(b"left behind")
    with atomic_path_in_folder(tmp_path / "x") as path:
        assert not path.exists()
        path.write_bytes(b"whole")
        path.with_name("x-journal").write_bytes(b"journal")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"whole")]


def test_a_folder_is_for_its_owner_alone(tmp_path):
    """Unless another mode is asked for; the rest of its laws: tests/data_prep/test_atomic.py."""
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "file").touch()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_secret_is_private_from_birth(tmp_path):
    """A secret file has mode 0600 under any umask and is never replaced."""
    write_secret(tmp_path / "x", b"secret")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    assert read_secret(tmp_path / "x") == b"secret"
    with pytest.raises(KeyFileExists):
        write_secret(tmp_path / "x", b"other")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileExists):
        write_secret(tmp_path / "link", b"other")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "x"]
    assert read_secret(tmp_path / "x") == b"secret"


def test_secrets_that_are_not_read(tmp_path):
    """Folders, links, huge and open files are refused."""
    write_secret(tmp_path / "x", b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "huge").touch(mode=0o600)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_SECRET_BYTES + 1)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "huge", "missing", ".", "pipe"):
        with pytest.raises(BadKeyFile):
            read_secret(tmp_path / name)


def test_a_file_of_another_user_is_refused(tmp_path, monkeypatch):
    """Who owns a file can change its mode and read it at any time."""
    write_secret(tmp_path / "x", b"secret")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(BadKeyFile, match="belongs to user"):
        read_secret(tmp_path / "x")


def test_private_folder(tmp_path):
    """New folders are for the owner alone; existing ones must not be writable by others."""
    make_private_folder(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    (tmp_path / "a").chmod(0o755)
    make_private_folder(tmp_path / "a")
    (tmp_path / "a").chmod(0o775)
    with pytest.raises(BadKeyFile):
        make_private_folder(tmp_path / "a")


def test_a_process_with_keys_leaves_no_core_dump(tmp_path: Path) -> None:
    """A process that has read private keys, and those that it starts, have a limit of 0 bytes for core dumps."""
    PrivateKeys.generate("ash", "partner").save(tmp_path)
    code = (
        "import resource, subprocess, sys; from pathlib import Path; from secure.keys.keys import load_private_keys\n"
        "_, most = resource.getrlimit(resource.RLIMIT_CORE); resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        "load_private_keys(Path(sys.argv[1])); print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)\n"
        "subprocess.run(['/bin/sh', '-c', 'ulimit -c'], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0"]


def test_what_is_removed_for_good_survives_no_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder is synced after the file is gone, also if it was gone before; a folder that never was is no error."""
    path, synced = tmp_path / "seed", list[tuple[int, bool]]()
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append((os.fstat(descriptor).st_ino, path.exists())))
    for _ in range(2):
        remove_for_good(path)
    assert synced == [(tmp_path.stat().st_ino, False)] * 2
    remove_for_good(tmp_path / "never" / "seed")
