"""What holds for a member's run that another process starts: when it is started again, and how it is ended for good."""

import subprocess

from pipeline.errors import ExitCode
from pipeline.runtime.signals import GRACE_S

_MOST_STARTS = 100  # of one run; a machine that kills it more often has another problem
_MOST_WAIT_S = GRACE_S + 4  # for a run to end by itself; it has its own grace inside


def may_start_again(code: int, n_starts: int) -> bool:
    """Whether a run that ended so goes on from its files: it was killed, or its home was in use."""
    return (code < 0 or code == ExitCode.NOT_YET) and n_starts < _MOST_STARTS


def wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a run that was asked to end; one that stands still (SIGSTOP) takes no other signal than SIGKILL."""
    try:
        process.wait(_MOST_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
