"""A member's run as another process starts it: when to start it again, and how to end it."""

import subprocess

from pipeline.errors import ExitCode
from pipeline.runtime.signals import GRACE_S

_MOST_STARTS = 100  # of one run; if it is killed more often, starting again does not help
_MOST_WAIT_S = GRACE_S + 4  # for a run to end by itself, which takes it up to GRACE_S


def may_start_again(code: int, n_starts: int) -> bool:
    """Whether a run with this exit code can go on from its files: it was killed, or its home was in use."""
    return (code < 0 or code == ExitCode.NOT_YET) and n_starts < _MOST_STARTS


def wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a run that was asked to end, then kill it: a process stopped by SIGSTOP obeys only SIGKILL."""
    try:
        process.wait(_MOST_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
