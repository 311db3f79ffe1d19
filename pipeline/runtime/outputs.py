"""Turn a failure to write what a command was asked for into a message with the path, the reason and what to do."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ConfigError

_FORBIDDEN = "choose a folder that you may write to"
_FULL = "free some space there, then start the same command again"
_ADVICE = {
    errno.EROFS: _FORBIDDEN,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}
_ELSEWHERE = "choose another place"


@contextmanager
def writing(path: Path, *, whole: bool = False) -> Iterator[None]:
    """Write a file or folder in this block; if that fails, empty folders that are new are removed again.

    path  : what the user asked for, named in the message instead of a temporary file
    whole : a folder that is new is removed with its files
    Raises ConfigError instead of OSError.
    """
    new: list[Path] = []
    try:
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        yield
    except OSError as error:
        if whole and path in new:
            shutil.rmtree(path, ignore_errors=True)
        for folder in new:
            with suppress(OSError):
                folder.rmdir()
        reason = os.strerror(error.errno) if error.errno else str(error)
        refused = ConfigError(f"{path}: cannot be written: {reason}")
        refused.add_note(_ADVICE.get(error.errno or 0, _ELSEWHERE))
        raise refused from error
