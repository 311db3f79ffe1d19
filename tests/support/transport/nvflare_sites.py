"""A federation on NVFlare with real processes on this machine: one server, one site per partner, mutual TLS."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.plan.plan import read_plan
from pipeline.transport.nvflare.export import ADMIN, ServerAddress, export_nvflare, project_name
from pipeline.transport.nvflare.names import AGGREGATOR_FILE, OUTCOME, PARTNER_FILE
from tests.support.federation import AGGREGATOR, Federation
from tests.support.ports import free_port
from tests.support.waiting import wait_until

HOST = "127.0.0.1"
_MARK = "HOCKET_TEST_MARK"
_PATIENCE_S = 180.0
_COMMAND_S = 120.0  # of nvflare; it takes seconds


def own_mirrors(federation: Federation) -> None:
    """Let every member have an exchange of its own, as engines want it."""
    for name in (*federation.partners, AGGREGATOR):
        config = federation.config(name)
        config.write_text(config.read_text().replace('"../exchange"', '"mirror"'))


def at_home(folder: Path) -> dict[str, str]:
    """An environment in which nvflare's own records go below a folder."""
    return os.environ | {"HOME": str(folder)}


class Sites:
    """Kits, processes and jobs of a federation whose members have mirrors."""

    def __init__(self, federation: Federation, *, job: dict[str, float] | None = None, ask_s: float = 0.1) -> None:
        self.federation, self.folder = federation, federation.folder / "nvflare"
        plan = read_plan(federation.plan_file)
        self._mark = secrets.token_hex(8)
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        export_nvflare(plan, ServerAddress(HOST, free_port(), str(federation.folder / "storage")), self.folder)
        self._set(job or {}, ask_s)
        self.kits = self._provision(project_name(plan))
        for name in (HOST, *federation.partners):
            shutil.copytree(self.folder / "local" / name, self.kits / name / "local", dirs_exist_ok=True)

    def start(self, *names: str) -> None:
        """Start the server (HOST) or partners' sites."""
        for name in names:
            self.start_as(name, name)

    def start_as(self, member: str, site: str) -> None:
        """Start a member's machine, with the kit in its folder, under a site's name."""
        side = "server" if member == HOST else "client"
        command = [sys.executable, "-u", "-m", f"nvflare.private.fed.app.{side}.{side}_train"]
        command += ["-m", str(self.kits / member), "-s", f"fed_{side}.json", "--set", "secure_train=true"]
        command += ["org=test", "config_folder=config", *([] if member == HOST else [f"uid={site}"])]
        variable = AGGREGATOR_FILE if member == HOST else PARTNER_FILE
        config = self.federation.config(AGGREGATOR if member == HOST else member)
        environment = os.environ | {_MARK: self._mark, variable: str(config), OUTCOME: "5"}
        environment["MALLOC_ARENA_MAX"] = "4"  # as start.sh
        with self.log(member).open("ab") as log:
            self.started[member] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.folder
            )

    def log(self, member: str) -> Path:
        """What the member's NVFlare process prints."""
        return self.folder / f"{member}.log"

    def need(self, n_sites: int) -> None:
        """Let the job begin with so many sites."""
        file = self.folder / "job/meta.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"min_clients": n_sites}))

    def submit(self) -> None:
        """Submit the job, as the README says; tried again until the server listens."""

        def submitted() -> bool:
            done = self.nvflare("job", "submit", "-j", str(self.folder / "job"))
            self._submitted = done.stdout + done.stderr
            return done.returncode == 0

        wait_until(submitted, lambda: self._submitted)

    def nvflare(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run an nvflare command with the admin's kit; one that takes too long ends with a code of its own."""
        command = [sys.executable, "-m", "nvflare.cli", *arguments, "--startup-kit", str(self.kits / ADMIN)]
        environment = at_home(self.folder)
        try:
            return subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd=self.folder,
                env=environment,
                timeout=_COMMAND_S,
            )
        except subprocess.TimeoutExpired as error:  # it may wait for a server without end
            return subprocess.CompletedProcess(command, -signal.SIGKILL, "", str(error))

    def processes(self, *words: str) -> dict[int, str]:
        """Number and command line of each process of this federation whose command line holds all words."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended, or is not ours
                if f"{_MARK}={self._mark}".encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if all(word in line for word in words):
                        found[int(folder.name)] = line
        return found

    def kill(self, *words: str) -> None:
        """Kill these processes as `kill -9` does, and wait until they are gone."""
        found = self.processes(*words)
        assert found, words
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._reap()
        wait_until(lambda: not set(self.processes()) & set(found), lambda: self.processes(*words))

    @contextmanager
    def frozen(self, *words: str) -> Iterator[None]:
        """Let these processes stay and do nothing in the block."""
        self.wait_for(lambda: self.processes(*words))
        found = self.processes(*words)
        for process in found:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in found:
                os.kill(process, signal.SIGCONT)

    def peak_mb(self, *words: str) -> int:
        """Largest resident memory so far of any such process, MB."""
        peaks = [0]
        for process in self.processes(*words):
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
                peaks.append(int(found[1]) // 1024 if found else 0)
        return max(peaks)

    def cpu_s(self) -> float:
        """CPU time so far of all processes that run, seconds."""
        total = 0.0
        for process in self.processes():
            with suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime of proc(5)
        return total

    def is_finished(self, names: Sequence[str] = ()) -> bool:
        """Whether these members, or all, are done."""
        members = names or (*self.federation.partners, AGGREGATOR)
        return all(self.federation.home(name).finished.exists() for name in members)

    def wait_for(self, holds: Callable[[], object], patience_s: float = _PATIENCE_S) -> None:
        """Wait for a condition; fails with the ends of all logs."""
        wait_until(holds, self.logs, patience_s=patience_s)

    def logs(self) -> str:
        """Ends of all logs."""
        logs = [*self.folder.glob("*.log"), *self.federation.folder.glob("*/run.log")]
        return "\n".join(f"== {log}\n" + "\n".join(log.read_text().splitlines()[-40:]) for log in logs)

    def stop(self) -> None:
        """Kill everything that was started, and what those started."""
        while found := self.processes():
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        for process in self.started.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)

    def _set(self, arguments: dict[str, float], ask_s: float) -> None:
        file = self.folder / "job/app/config/config_fed_server.json"
        job = json.loads(file.read_text())
        job["server"]["task_request_interval"] = ask_s
        job["workflows"][0]["args"] = arguments
        file.write_text(json.dumps(job))

    def _provision(self, project: str) -> Path:
        command = [sys.executable, "-m", "nvflare.cli", "provision", "-p", "project.yml", "-w", "kits", "--force"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.folder / "kits" / project / "prod_00"


@contextmanager
def sites(federation: Federation, *, job: dict[str, float] | None = None, ask_s: float = 0.1) -> Iterator[Sites]:
    """All sites of a federation; whatever was started is gone afterwards.

    job   : arguments of the job's controller
    ask_s : pause between two looks of a site for a question; small tables need none
    """
    own_mirrors(federation)
    made = Sites(federation, job=job, ask_s=ask_s)
    try:
        yield made
    finally:
        made.stop()
