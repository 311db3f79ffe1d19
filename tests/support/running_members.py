"""Members as real processes that can be stopped, killed and started again."""

import signal
import subprocess
from collections.abc import Callable
from typing import Self

from tests.support.federation import AGGREGATOR, Federation
from tests.support.waiting import wait_until

_PATIENCE_S = 600.0


class Running:
    """The processes of a federation's members; none is left behind when the block is left."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def start(self, *names: str) -> None:
        """Start these members' batch runs."""
        for name in names:
            role = "aggregator" if name == AGGREGATOR else "partner"
            command = self._federation.command(role, "run", str(self._federation.config(name)))
            with (self._federation.folder / name / "run.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def freeze(self, name: str) -> None:
        """The process stays, and does nothing more."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def kill(self, name: str) -> None:
        """Kill -9."""
        self._processes[name].kill()
        self._processes[name].wait()

    def stop(self, *names: str) -> None:
        """End these members' runs as a batch system does, and wait for them."""
        for name in names:
            self._processes[name].terminate()
        for name in names:
            self._processes[name].wait(_PATIENCE_S)
            del self._processes[name]

    def ends_within(self, name: str, seconds: float) -> bool:
        """Whether the member ends by itself in that time; it must end well then."""
        try:
            code = self._processes[name].wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        assert code == 0, self.log(name)
        return True

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, while no member ends with an error."""

        def holds() -> bool:
            for name, process in self._processes.items():
                assert process.poll() in (None, 0, -signal.SIGKILL), self.log(name)
            return condition()

        wait_until(holds, lambda: "\n".join(map(self.log, self._processes)), patience_s=_PATIENCE_S, pause_s=0.005)

    def finish(self) -> None:
        """Wait for all; each must end well."""
        for name in self._processes:
            assert self.ends_within(name, _PATIENCE_S), self.log(name)

    def log(self, name: str) -> str:
        """What a member said."""
        return (self._federation.folder / name / "run.log").read_text()
