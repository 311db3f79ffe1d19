"""Work for worker processes, which import it: it doubles, refuses, dies, or goes without an end."""

import os
import signal
import time
from pathlib import Path

from secure.errors import BadContainer


class Doubling:
    """Work on numbers: doubles them, refuses negative ones, ends its process for zero."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, task: int) -> tuple[int, int]:
        """The product and who made it."""
        if task < 0:
            raise BadContainer(f"{task} is negative")
        if task == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return task * self.factor, os.getpid()


class Leaving:
    """Work that closes its process's pipe and takes long."""

    def __call__(self, _task: int) -> int:
        """A quarter of an hour."""
        for fd in Path("/proc/self/fd").iterdir():
            if fd.is_symlink() and "socket" in str(fd.readlink()):
                os.close(int(fd.name))
        time.sleep(900)
        return 0
