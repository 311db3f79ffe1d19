"""Write files and folders atomically; read and write secret files.

secure, partners and pipeline write every file that a killed process must not leave half-done this way: under a hidden
name that ends in PART, synced, renamed, and the folder synced. data_prep, which imports no other folder, has its own
`atomic.py` with the same suffix. The run that locks a home removes the temporary files of killed runs from it
(pipeline.home.paths). Files with another suffix, as `update.unposted` of the rounds, have a meaning and stay.
"""

import errno
import os
import resource
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from secure.errors import BadKeyFile, KeyFileExists

PART = ".part"  # how the name of every temporary file and folder ends
MAX_SECRET_BYTES = 1 << 20
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TooLarge(OSError):
    """A file that is larger than any of its kind."""


class NotPlainFile(OSError):
    """A link, a named pipe, a socket, a device or a folder under the name of a file."""


def open_plain(path: Path) -> BinaryIO:
    """Open a file that somebody else may have put there; a link that a user named is followed.

    Raises NotPlainFile for a named pipe, which would hold up who opens it as usual, a socket, a device or a folder.
    """
    with _naming_sockets(str(path)):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return _as_plain(descriptor, str(path))


def plain_file(name: str, shown: str, folder: int) -> BinaryIO:
    """Open a file in an open folder that others can write to, and follow no link.

    shown : its path, for errors
    Raises NotPlainFile as `open_plain`, and for a link.
    """
    try:
        with _naming_sockets(shown):
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPlainFile(errno.ELOOP, "it is a link", shown) from error
        raise
    return _as_plain(descriptor, shown)


def read_plain(path: Path, most: int) -> bytes:
    """Read a file that somebody else may have made; no more than `most` bytes of it are ever in memory.

    Raises NotPlainFile for a named pipe, a socket, a device or a folder, TooLarge for a larger file.
    """
    with open_plain(path) as file:
        is_small = os.fstat(file.fileno()).st_size <= most
        content = file.read(most + 1) if is_small else b""
    if not is_small or len(content) > most:  # it can have grown meanwhile
        raise TooLarge(errno.EFBIG, f"has more than {most:,} bytes, the most that such a file can have", str(path))
    return content


@contextmanager
def _naming_sockets(shown: str) -> Iterator[None]:
    """Raise NotPlainFile for what cannot be opened because it is a socket: no retry opens it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotPlainFile(errno.ENXIO, "it is a socket", shown) from error
        raise


def _as_plain(descriptor: int, shown: str) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlainFile(errno.EINVAL, "it is no plain file", shown)
    return os.fdopen(descriptor, "rb")


@contextmanager
def atomic_file(path: Path, mode: int = 0o644, *, is_new: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path` for writing; rename it to `path` at the end, remove it on failure.

    mode   : reduced by the umask, as for any file
    is_new : raise FileExistsError if `path` exists at the end, instead of replacing it
    Several processes may write the same path: each has another temporary file, with a name that cannot be guessed.
    """
    temporary = path.with_name(f".{path.name}.{token_hex(8)}{PART}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            os.link(temporary, path)  # unlike rename, refuses to replace
        else:
            temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Temporary path to write a file to; renamed to `path` at the end, removed on failure.

    For one writer of `path` at a time: the temporary name is always the same, so that the file of a killed process is
    replaced by the next one.
    """
    temporary = path.with_name(f".{path.name}{PART}")
    try:
        yield temporary
        _place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _place(temporary: Path, path: Path) -> None:
    """Rename a written file so that no power cut takes it back."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, see `atomic_path`, and make its folder.

    Raises OSError with the file's name, which the error of a full disk lacks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_for_good(path: Path) -> None:
    """Remove a file, if it is there, so that no power cut brings it back."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():  # also if a process was killed after it had removed the file
        _sync(path.parent)


@contextmanager
def atomic_path_in_folder(path: Path) -> Iterator[Path]:
    """Temporary path for a program that makes other files next to the one that it writes, as a database's journal.

    The path has the name of `path`, in a temporary folder of mode 0700; see `atomic_path`. For one writer at a time.
    """
    with _temporary_folder(path, 0o700) as folder:
        yield folder / path.name
        _place(folder / path.name, path)


@contextmanager
def atomic_folder(folder: Path, mode: int = 0o700) -> Iterator[Path]:
    """Make a temporary folder to write into; it replaces `folder` at the end and is removed on failure.

    mode : reduced by the umask, as for any folder
    For one writer at a time; the temporary folder of a killed process is removed by the next one.
    """
    replaced = folder.with_name(f".{folder.name}.replaced{PART}")
    try:
        with _temporary_folder(folder, mode) as temporary:
            yield temporary
            for path in (*temporary.rglob("*"), temporary):
                _sync(path)
            shutil.rmtree(replaced, ignore_errors=True)
            if folder.exists():
                folder.rename(replaced)  # a kill finds the old folder whole or gone, never some of its files
            temporary.rename(folder)
            _sync(folder.parent)
            shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:  # the error of a full disk lacks the path
        error.add_note(f"while writing {folder}; the earlier files are unchanged")
        raise


@contextmanager
def _temporary_folder(path: Path, mode: int) -> Iterator[Path]:
    """Make a temporary folder next to `path`, in place of that of a killed process; remove what is left of it."""
    temporary = path.with_name(f".{path.name}{PART}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=mode, parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new file of mode 0600; raises KeyFileExists instead of overwriting."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with atomic_file(path, 0o600, is_new=True) as file:
            file.write(secret)
    except FileExistsError as error:
        refused = KeyFileExists(f"{path}: exists, and secrets are never overwritten")
        refused.add_note("move the old file away first if it is really no longer needed")
        raise refused from error


def read_secret(path: Path) -> bytes:
    """Read a file of mode 0600; raises BadKeyFile if others can read or own it, or if it is not a small plain file."""
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


def forbid_core_dumps() -> None:
    """Let a crash of this process, and of those that it starts, leave no file with its memory, keys included."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


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


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network mounts sync no folders, and say so (PostgreSQL's fsync_fname goes on there as well)
        if error.errno != errno.EINVAL or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)
