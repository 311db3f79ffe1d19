"""A call in a forked process of its own, whose memory and libraries end with it."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


class EndedWithoutResult(Exception):
    """The process ended before it had a result: an error that it has printed, or no memory."""


def forked(call: Callable[[], Result]) -> Result:
    """Result of a call in a forked process. Raises EndedWithoutResult."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(call, theirs))
    process.start()
    theirs.close()
    try:
        result: Result = ours.recv()
    except EOFError:
        raise EndedWithoutResult("a forked process ended without a result; without an error above: no memory") from None
    finally:
        process.join()
    return result


def _send(call: Callable[[], object], connection: Connection) -> None:
    connection.send(call())


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MiB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
