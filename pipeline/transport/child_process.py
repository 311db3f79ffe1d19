"""A member's ordinary run as a child process of the engine's: it ends when that process does, however it ends.

The command is `hocket partner|aggregator run CONFIG --end-with-stdin`. The engine's process holds the other end of its
standard input; when that process is gone, the run is stopped as by SIGTERM.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.runtime.restart import may_start_again, wait_or_kill

_PAUSE_S = 2.0  # before another start


class AttachedRun:
    """A run, started again where it was killed or its home was in use; `look` tells how it ended."""

    def __init__(self, role: str, config_file: Path, log_file: Path, tell: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-P", "-m", "pipeline.cli", role, "run", str(config_file)]
        self._command.append("--end-with-stdin")
        self._role, self._log_file, self._tell = role, log_file, tell
        self._n_starts = 0
        self._again_at: float | None = None  # seconds, of time.monotonic
        self._start()

    def look(self) -> int | None:
        """Exit code of the run if it has ended for good, else None."""
        code = self._process.poll()
        if code is None or not may_start_again(code, self._n_starts):
            return code
        if self._again_at is None:
            self._again_at = time.monotonic() + _PAUSE_S
        elif time.monotonic() >= self._again_at:
            self._tell(f"the {self._role}'s run ended with {code}; started again, it goes on from its files")
            self._start()
        return None

    def stop(self) -> None:
        """End the run where it stands: its files are its state."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # as if this process had gone
        wait_or_kill(self._process)

    def _start(self) -> None:
        self._n_starts += 1
        self._again_at = None
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log)
