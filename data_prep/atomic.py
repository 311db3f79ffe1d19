"""Folders that appear whole or not at all, whenever the process is killed.

For data_prep alone, which imports no other folder; all others write by secure.files, with the same suffix.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"  # how the name of every temporary file and folder ends
_NEXT_TO_NOTHING = 1 << 20  # bytes


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a hidden folder to write into; on success it takes the place of `folder`, on failure it vanishes.

    What a killed process left behind is removed by the next one. Processes that write the same parent take turns.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".{folder.name}{PART}"
    with held(folder.parent):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            yield unfinished
            for path in (*unfinished.rglob("*"), unfinished):
                flush(path)
            replaced = folder.parent / f".{folder.name}.replaced{PART}"
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
def held(folder: Path, *, waits: bool = True) -> Iterator[bool]:
    """Whether this process has the folder's lock; the system gives it back when the process ends in whatever way.

    waits : while another process has it
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock(descriptor, waits=waits)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, waits: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


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
