"""`hocket serve` and `hocket ui` as a user starts them."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.support.federation import Federation
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class ServedCommand:
    """A command that serves until a signal ends it."""

    port: int
    printed: str  # what it printed when it began to serve
    process: "subprocess.Popen[bytes]"

    def members(self) -> list[psutil.Process]:
        """Its processes."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]


@contextmanager
def serving_command(federation: Federation, name: str, command: str, n_lines: int) -> Iterator[ServedCommand]:
    """The command of a member from its first lines of output until SIGTERM; `n_lines` of them."""
    port, folder = free_port(), federation.folder / name
    out_file, error_file = folder / f"{command}.out", folder / f"{command}.err"
    with out_file.open("wb") as out, error_file.open("wb") as err:
        process = subprocess.Popen(
            federation.command(command, str(federation.config(name)), "--port", str(port)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )

    def serves() -> bool:
        assert process.poll() is None, error_file.read_text()
        return out_file.read_text().count("\n") >= n_lines

    try:
        wait_until(serves, patience_s=_PATIENCE_S)
        yield ServedCommand(port, out_file.read_text(), process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
