"""A member's ordinary run as a child process of NVFlare's job process, which it never outlives.

The command is `hocket partner|aggregator run CONFIG --end-with-stdin`. The job process holds the other end of the run's
standard input. When the job process ends, even by kill -9, the run stops as by SIGTERM.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.runtime.restart import may_start_again, wait_or_kill

_PAUSE_S = 2.0  # before a restart


class ChildRun:
    """A member's run, which is restarted if it was killed or its home was in use."""

    def __init__(self, role: str, config_file: Path, log_file: Path, report: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-P", "-m", "pipeline.cli", role, "run", str(config_file)]
        self._command.append("--end-with-stdin")
        self._role, self._log_file, self._report = role, log_file, report
        self._n_starts = 0
        self._again_at: float | None = None  # time of the next start, seconds of time.monotonic
        self._start()

    def poll(self) -> int | None:
        """Exit code of the run if it has ended and is not restarted, else None."""
        code = self._process.poll()
        if code is None or not may_start_again(code, self._n_starts):
            return code
        if self._again_at is None:
            self._again_at = time.monotonic() + _PAUSE_S
        elif time.monotonic() >= self._again_at:
            self._report(f"the {self._role}'s run ended with {code}; it is restarted and goes on from its files")
            self._start()
        return None

    def stop(self) -> None:
        """Stop the run; its state is in its files."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # the run stops as if this process had ended
        wait_or_kill(self._process)

    def _start(self) -> None:
        self._n_starts += 1
        self._again_at = None
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log)
