"""A Dask scheduler and workers as processes of this machine, which end with their with block."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120.0


class DaskProcesses:
    """A scheduler and its workers; their logs are files of the folder."""

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        self._file = folder / "scheduler.json"
        self._options = ("--dashboard-address", "127.0.0.1:0", "--no-dashboard", *options)

    def __enter__(self) -> Self:
        address_options = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self._file))
        with ExitStack() as undo:
            undo.push(self)  # on failure here, __exit__ is not called by a with statement
            self._start("scheduler", *address_options, *self._options)
            self.wait_for(self._is_up)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):  # it ended, and a nanny ends with its worker
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def add_worker(self, environment: Mapping[str, str] = MappingProxyType({})) -> Self:
        """Start a worker under a nanny, which restarts it when it dies; return once the scheduler has registered it."""
        address_options = ("--host", "127.0.0.1", "--nthreads", "1", "--local-directory", str(self.folder))
        self._start("worker", self.address, *address_options, *self._options, environment=environment)
        log = self.folder / f"{len(self._processes) - 1}.log"
        self.wait_for(lambda: "Registered to:" in log.read_text())
        return self

    def kill_scheduler(self) -> None:
        """Kill the scheduler with SIGKILL."""
        self._processes[0].kill()
        self._processes[0].wait()

    def stop_scheduler(self) -> None:
        """Stop the scheduler with SIGSTOP; its connections stay open."""
        self._processes[0].send_signal(signal.SIGSTOP)

    def kill_workers(self) -> None:
        """Kill all workers, and the nannies that would start them again."""
        for nanny in self._processes[1:]:
            os.killpg(nanny.pid, signal.SIGKILL)
            nanny.wait()

    def log(self) -> str:
        """Return the logs of all processes."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, while no process ends."""

        def holds() -> bool:
            assert all(process.poll() is None for process in self._processes), self.log()
            return condition()

        wait_until(holds, self.log, patience_s=PATIENCE_S, pause_s=0.02)

    def _is_up(self) -> bool:
        with suppress(FileNotFoundError, json.JSONDecodeError):  # the scheduler is still writing it
            self.address = str(json.loads(self._file.read_text())["address"])
            return True
        return False

    def _start(self, command: str, *options: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        with (self.folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment | dict(environment),
                start_new_session=True,
            )
        self._processes.append(process)
