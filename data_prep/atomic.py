"""Write files and folders atomically.

Only for data_prep, which imports no other folder; the others use secure.files, with the same suffix.
"""

import errno
import fcntl
import glob
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

PART = ".part"  # how the name of every temporary file and folder ends
_FULL_BELOW = 1 << 20  # bytes


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Make a temporary folder to write into; it replaces `folder` on success and is removed on failure.

    The temporary folder of a killed process is removed by the next call. Processes that write into the same parent
    folder take turns.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".{folder.name}{PART}"
    with folder_lock(folder.parent):
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
        except OSError as failure:  # the error of a full disk lacks the path, and numpy's also the error number
            if failure.errno is None and is_full(unfinished):
                failure.errno = errno.ENOSPC
            failure.add_note(f"while writing {folder}; the earlier files are unchanged")
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def atomic_files(*paths: Path) -> Iterator[list[Path]]:
    """Temporary paths to write to, with the same endings; all files appear at the end, or none.

    paths : in one folder; they appear in this order, so if the last exists, all exist
    Several processes may write the same paths. The next call with the same last path removes the temporary files of
    killed processes.
    """
    with _locked_folder(paths[-1]) as folder:
        parts = [folder / f"{number}.{path.name}" for number, path in enumerate(paths)]
        yield parts
        try:
            for part in parts:
                flush(part)
        except OSError as error:  # the error of a full disk lacks the path
            raise OSError(error.errno, error.strerror, str(paths[-1])) from error
        _place(parts, paths)
        flush(paths[-1].parent)


def _place(parts: Sequence[Path], paths: Sequence[Path]) -> None:
    renamed: list[Path] = []
    try:
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
            renamed.append(path)
    except OSError:
        for path in renamed:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _locked_folder(path: Path) -> Iterator[Path]:
    """Make a hidden, locked folder next to the path; remove the folders of killed processes."""
    prefix = f".{path.name}."
    for other in path.parent.glob(f"{glob.escape(prefix)}*{PART}"):
        with folder_lock(other, waits=False) as is_held:
            if is_held:
                shutil.rmtree(other)
    while True:
        folder = Path(mkdtemp(prefix=prefix, suffix=PART, dir=path.parent))
        with folder_lock(folder) as is_held:
            if is_held and folder.exists():  # else another process removed it before it was locked
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder)
                return


@contextmanager
def folder_lock(folder: Path, *, waits: bool = True) -> Iterator[bool]:
    """Lock a folder; False if another process holds it, or if there is no such folder.

    waits : wait while another process holds the lock
    The system frees the lock when the process ends, also when it is killed.
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
    """Whether less than 1 MiB is free on the folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _FULL_BELOW


def flush(path: Path) -> None:
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
