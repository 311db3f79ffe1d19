"""Files that are there completely or not at all, and files that nobody else may read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from secure.errors import BadKeyFile, KeyFileExists

MAX_SECRET_BYTES = 1 << 20
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def atomic_file(path: Path, mode: int = 0o644, *, is_new: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; rename it to `path` at the end, remove it on failure.

    is_new : raise FileExistsError rather than replace what is there at the end
    """
    temporary = _temporary(path)
    try:
        with _create(temporary, mode) as file:
            yield file
            _sync(file)
        if is_new:
            os.link(temporary, path)  # unlike rename, refuses to replace
        else:
            temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_secret(path: Path, secret: bytes) -> None:
    """Write a file of mode 0600 that did not exist; raises KeyFileExists instead of overwriting."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with _create(temporary, 0o600) as file:
            file.write(secret)
            _sync(file)
        os.link(temporary, path)  # unlike rename, refuses to replace
    except FileExistsError as error:
        refused = KeyFileExists(f"{path}: exists, and secrets are never overwritten")
        refused.add_note("move the old file away first if it is really no longer needed")
        raise refused from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read_secret(path: Path) -> bytes:
    """Read a file of mode 0600; raises BadKeyFile if others could read or own it, or if it is no plain small file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe must not make us wait
    except OSError as error:
        raise BadKeyFile(f"{path}: cannot be opened ({error.strerror}), expected a file with secrets") from error
    try:
        _check_plain(path, os.fstat(descriptor))
        check_private(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Make a folder of mode 0700; raises BadKeyFile for an existing folder in which others may write."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = stat.S_IMODE(folder.stat().st_mode)
    if found & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadKeyFile(f"{folder}: has mode {found:04o}, expected 0700: others can replace files in it")


def check_private(path: Path, status: os.stat_result) -> None:
    """Raise BadKeyFile for an open file that belongs to someone else, or that group or others can touch."""
    if status.st_uid != os.geteuid():
        raise BadKeyFile(f"{path}: belongs to user {status.st_uid}, expected {os.geteuid()}, who runs this")
    if status.st_mode & _GROUP_AND_OTHERS:
        found = stat.S_IMODE(status.st_mode)
        refused = BadKeyFile(f"{path}: has mode {found:04o}, expected 0600: group or others can read it")
        refused.add_note(f"chmod 600 {path}  -- and think of it as lost if somebody may have read it")
        raise refused


def _check_plain(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SECRET_BYTES:
        raise BadKeyFile(f"{path}: not a plain file of at most {MAX_SECRET_BYTES} bytes")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{token_hex(8)}.tmp")


def _create(path: Path, mode: int) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
