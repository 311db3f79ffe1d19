"""Open files that a person named, none of which may hold up a run."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_plain(path: Path) -> BufferedReader:
    """Open a file for reading; raises OSError for a named pipe, a device or a folder, which have no end or no bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would be waited for
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "found a named pipe, a device or a folder, expected a file", str(path))
    return os.fdopen(descriptor, "rb")
