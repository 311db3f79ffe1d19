"""Files below a folder that others can write to: no link below it is followed, and no named pipe is waited for.

A member that follows a link which somebody put into the exchange would read or write wherever it may itself.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import BinaryIO

from secure.files import PART, NotPlainFile, plain_file

_DEEPEST = 8  # folders inside one another; a message is in at most three
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_OF_FILE_SYSTEM = "lost+found"  # at the top of a mounted disk, closed to all users, and of no message


class LocalFolder:
    """A folder, whose own path may be a link, or a folder below it, where nothing may."""

    def __init__(self, top: str, below: str = "") -> None:
        self._top, self._below = top, below

    def lower(self, folder: str) -> "LocalFolder":
        """A folder below this one."""
        return LocalFolder(self._top, f"{self._below}/{folder}".lstrip("/"))

    def is_file(self, path: str) -> bool:
        """Whether there is a plain file, no link."""
        return stat.S_ISREG(self._mode(path))

    def exists(self, path: str) -> bool:
        """Whether something that is no link has this name; a link is replaced, as a file that is not there is made."""
        return not stat.S_ISLNK(mode := self._mode(path)) and mode != 0

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        Raises NotPlainFile for a link, a named pipe, a device or a folder, FileNotFoundError, and other OSError.
        """
        with self._folder_of(path) as folder:
            return plain_file(PurePosixPath(path).name, str(PurePosixPath(self._top, self._below, path)), folder)

    @contextmanager
    def replace(self, path: str) -> Iterator[BinaryIO]:
        """Write a file and its folders; it gets its name, synced, at the end, in place of an earlier file or link.

        A reader of a shared folder never sees half a file.
        """
        name = PurePosixPath(path).name
        # a name that can be foretold could be a link, planted by anyone who can write to the exchange
        temporary = f".{name}.{token_hex(8)}{PART}"
        with self._folder_of(path, make=True) as folder:
            _remove_leftovers(folder, name)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                _sync(folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)

    def files(self) -> list[str]:
        """Relative paths of all that is no folder, sorted, without hidden files; none if the folder is missing.

        A folder that is deeper than those of messages is a path too. Raises OSError for a folder that cannot be read.
        """
        paths, pending = list[str](), [""]
        while pending:
            entries = self._entries(pending.pop())
            folders = [path for path, is_folder in entries if is_folder and path.count("/") < _DEEPEST]
            paths += [path for path, _ in entries if path not in folders]
            pending += [path for path in folders if path != _OF_FILE_SYSTEM]
        return sorted(path for path in paths if not path.rpartition("/")[2].startswith("."))

    def folders(self) -> list[str]:
        """Names of the folders directly in this one, sorted. Raises OSError if it cannot be read."""
        return sorted(path for path, is_folder in self._entries("") if is_folder)

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        """Path of each entry, and whether it is a folder; none if the folder is missing."""
        try:
            with self._opened(folder) as descriptor, os.scandir(descriptor) as entries:
                below = f"{folder}/" if folder else ""
                return [(f"{below}{entry.name}", entry.is_dir(follow_symlinks=False)) for entry in entries]
        except FileNotFoundError:
            return []

    def _mode(self, path: str) -> int:
        """The type and mode of an entry; 0 if there is none."""
        try:
            with self._folder_of(path) as folder:
                return os.stat(PurePosixPath(path).name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return 0

    @contextmanager
    def _folder_of(self, path: str, *, make: bool = False) -> Iterator[int]:
        with self._opened(path.rpartition("/")[0], make=make) as folder:
            yield folder

    @contextmanager
    def _opened(self, path: str, *, make: bool = False) -> Iterator[int]:
        """Descriptor of a folder, opened step by step. Raises NotPlainFile for a link on the way."""
        if make:
            Path(self._top).mkdir(parents=True, exist_ok=True)
        descriptor, steps = os.open(self._top, os.O_RDONLY | os.O_DIRECTORY), PurePosixPath(self._below, path).parts
        try:
            for number, step in enumerate(steps):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(step, dir_fd=descriptor)
                above, descriptor = (
                    descriptor,
                    self._step(step, descriptor, str(PurePosixPath(self._top, *steps[: number + 1]))),
                )
                os.close(above)
            yield descriptor
        finally:
            os.close(descriptor)

    def _step(self, name: str, folder: int, shown: str) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and _is_link(name, folder):
                raise NotPlainFile(errno.ELOOP, "found a link, expected a folder", shown) from error
            raise OSError(error.errno, error.strerror, shown) from error


def _is_link(name: str, folder: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _remove_leftovers(folder: int, name: str) -> None:
    """Remove what this member left when it was killed: no other member posts this file."""
    for entry in os.listdir(folder):
        if entry.startswith(f".{name}.") and entry.endswith(PART):
            with suppress(FileNotFoundError):
                os.unlink(entry, dir_fd=folder)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network mounts sync no folders
            raise
