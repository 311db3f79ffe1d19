"""A lock file: one process at a time in a home, or in a part of it, with a note of which process holds it."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import Self

from pipeline.errors import ConfigError, HomeInUse
from secure.messages.messages import utc

_LONGEST = 4096  # bytes read of a note
_NUMBERS = 1 << 37  # numbers of processes and seconds since 1970 are below


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    host: str
    since: int  # seconds since 1970

    @classmethod
    def this(cls) -> Self:
        """This process, now."""
        return cls(os.getpid(), socket.gethostname(), int(time()))

    @property
    def is_possible(self) -> bool:
        """Whether a process can have written this: its note can be damaged, and goes to a terminal."""
        numbers = all(type(n) is int and 0 <= n < _NUMBERS for n in (self.pid, self.since))
        return numbers and isinstance(self.host, str) and self.host.isprintable()

    def __str__(self) -> str:
        """As shown to users."""
        return f"process {self.pid} on {self.host}, since {utc(self.since)}"


@contextmanager
def hold(lock_file: Path, *, waits: bool = False) -> Iterator[Holder | None]:
    """Hold the lock; the system releases it when this process ends, even if it is killed.

    waits : wait until the holder, if there is one, has ended, instead of raising HomeInUse, which names it
    Yields the last holder if it did not release the lock, because it was killed. If that ran on another host, and the
    file system does not share locks between hosts, it may still run. Raises ConfigError for a file that cannot be used.
    """
    try:
        handle = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"{lock_file.parent}: the home cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        holder = _read(handle)
        os.close(handle)
        busy = HomeInUse(f"{lock_file.parent}: another hocket process works in this home: {holder or 'it just began'}")
        busy.add_note("wait for it to end, or stop it")
        raise busy from None
    before = _read(handle)
    try:
        _write(handle, Holder.this())
        yield before
    finally:
        _write(handle, None)
        os.close(handle)


def _read(handle: int) -> Holder | None:
    """The holder in the note; None if there is none, or the note is damaged."""
    try:
        holder = Holder(**json.loads(os.pread(handle, _LONGEST, 0)))
    except (ValueError, TypeError, RecursionError):
        return None
    return holder if holder.is_possible else None


def _write(handle: int, holder: Holder | None) -> None:
    """Write the note. It is only for people, so a full disk is no error here."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        if holder:
            os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)
