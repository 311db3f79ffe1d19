"""The processes of a demo's members always end with it."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.demo.processes import MemberProcess, run_members
from pipeline.errors import DemoFailed
from pipeline.runtime import restart as child_runs
from pipeline.runtime.log import Log


@dataclass(frozen=True, slots=True)
class Scripted(MemberProcess):
    """A member whose run is a piece of Python; with `stands` it has been stopped by SIGSTOP when it is started."""

    code: str = ""
    stands: bool = False
    started: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start(self, *, log_json: bool) -> "subprocess.Popen[bytes]":  # noqa: ARG002 -- as any member
        """Start the process."""
        with self.log_file.open("ab") as log:
            process = subprocess.Popen([sys.executable, "-c", self.code], stdout=log, stderr=log)
        if self.stands:
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)  # returns when it stands
        self.started.append(process)
        return process


def scripted(folder: Path, name: str, code: str, *, stands: bool = False) -> Scripted:
    """A member with a folder of its own."""
    (folder / name).mkdir()
    return Scripted(name, "partner", folder / "none.toml", folder / name, code, stands)


@pytest.mark.timeout(60)
def test_a_member_that_takes_no_signal_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If one fails while another is stopped, the failure is reported, and no process is left."""
    monkeypatch.setattr(child_runs, "_MOST_WAIT_S", 0.5)
    standing = scripted(tmp_path, "P01", "import time; time.sleep(900)", stands=True)
    failing = scripted(tmp_path, "P02", "import sys; sys.exit('no such thing')")
    try:
        with pytest.raises(DemoFailed, match=r"^P02 .*exit code 1\b"):
            run_members([standing, failing], Log(as_json=True))
        assert [process.poll() for process in standing.started] == [-signal.SIGKILL]
    finally:
        for process in standing.started:
            process.kill()
