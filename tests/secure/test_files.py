"""Files that are there completely or not at all."""

import os
import stat

import pytest

from secure.errors import BadKeyFile, KeyFileExists
from secure.files import MAX_SECRET_BYTES, atomic_file, make_private_folder, read_secret, write_secret


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
