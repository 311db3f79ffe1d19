"""A process whose descendants can all be found, wherever they went: they inherit a mark in their environment."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import wait_until

_MARK = "HOCKET_TEST_MARK"
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Marked:
    """A process and its mark."""

    popen: "subprocess.Popen[str]"
    mark: bytes

    def alive(self) -> list[str]:
        """Command lines of all processes with the mark that have not ended, this one's too.

        One that was killed does nothing more, though on a busy machine it takes a moment until it is gone.
        """
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark in (folder / "environ").read_bytes() and not is_killed(folder):  # an ended one has none
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it ended, or is not ours
                continue
        return found

    def end(self, within_s: float) -> int:
        """Exit code, once the process has ended; fails where that takes longer than it may.

        How long the processes that it started queue for a processor, one after another, does not count: others keep
        the machine busy then.
        """
        began, before, queued = time.monotonic(), self._queued_s(), dict[str, float]()
        while True:
            try:
                return self.popen.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                queued |= self._queued_s()  # those that have ended since, too
                waited_s = sum(now - before.get(process, 0.0) for process, now in queued.items())
                assert time.monotonic() - began < within_s + waited_s, self.alive()

    def _queued_s(self) -> dict[str, float]:
        """Seconds for which a thread of each process with the mark has waited for a processor, that of the longest."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark in (folder / "environ").read_bytes():
                    threads = (folder / "task").iterdir()
                    found[folder.name] = max(int((one / "schedstat").read_text().split()[1]) / 1e9 for one in threads)
            except OSError:  # it ended, or is not ours
                continue
        return found

    def libraries(self) -> str:
        """Paths of the libraries that the process has loaded so far."""
        try:
            return Path(f"/proc/{self.popen.pid}/maps").read_text()
        except OSError:  # it ended
            return ""

    def wait_for_processes(self, n: int) -> None:
        """Wait until so many are alive."""
        wait_until(lambda: len(self.alive()) >= n, self.alive, pause_s=0)

    def wait_for_work(self, seconds: float) -> None:
        """Wait until the process has used so much more of a processor."""
        least = _seconds_worked(self.popen.pid) + seconds
        wait_until(lambda: _seconds_worked(self.popen.pid) >= least, self.alive, pause_s=0)


def is_killed(process: Path) -> bool:
    """Whether SIGKILL has been sent to it; Linux shows that from then on until it is gone."""
    pending = int((process / "status").read_text().split("ShdPnd:")[1].split()[0], 16)
    return bool(pending >> (signal.SIGKILL - 1) & 1)


def _seconds_worked(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def marked(command: Sequence[str], log: Path | None = None) -> Marked:
    """Start the command; its streams are pipes, or stderr the end of the log."""
    mark = secrets.token_hex(8)
    with log.open("a") if log else nullcontext(subprocess.PIPE) as stderr:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {_MARK: mark},
        )
    return Marked(popen, mark.encode())
