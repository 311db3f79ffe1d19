"""Files and folders that appear whole or not at all, whenever the process is killed."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEXT_TO_NOTHING = 1 << 20  # bytes


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary name, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say which file
    flush(path.parent)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a hidden folder to write into; on success it takes the place of `folder`, on failure it vanishes.

    What a killed process left behind is removed by the next one. Processes that write the same parent take turns.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".{folder.name}.unfinished"
    with _turn(folder.parent):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            yield unfinished
            for path in (*unfinished.rglob("*"), unfinished):
                flush(path)
            replaced = folder.parent / f".{folder.name}.replaced"
            shutil.rmtree(replaced, ignore_errors=True)
            if folder.exists():
                folder.rename(replaced)  # a kill finds the old folder whole or gone, never some of its files
            unfinished.rename(folder)
            flush(folder.parent)
            shutil.rmtree(replaced, ignore_errors=True)
        except OSError as failure:  # a full disk does not say where, and numpy not even that it is full
            if failure.errno is None and is_full(unfinished):
                failure.errno = errno.ENOSPC
            failure.add_note(f"while writing {folder}; what was there before is as it was")
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system gives it back when the process ends in whatever way."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_full(folder: Path) -> bool:
    """Whether next to nothing more can be written there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _NEXT_TO_NOTHING


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
