"""kill -9 of any member at any moment, then starting it again, changes nothing of the result."""

import random
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.reporting import read_report
from tests.pipeline.federation import AGGREGATOR, Federation, run_all

N_KILLS = 20
N_ROUNDS = 4
LONGEST_S = 6.0  # between two kills: from before the first import to well into the rounds


class Processes:
    """The members' processes, started again when they are killed."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self.names = [*federation.partners, AGGREGATOR]
        self._running = {name: self._start(name) for name in self.names}

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        role = "aggregator" if name == AGGREGATOR else "partner"
        command = self._federation.command(role, "run", str(self._federation.config(name)))
        with (self._federation.folder / name / "run.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, name: str, after_s: float) -> bool:
        """Kill -9 after so long and start again; False if it had ended by itself before."""
        process = self._running[name]
        try:
            code = process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self._running[name] = self._start(name)
            return True
        assert code == 0, self.log(name)
        return False

    def log(self, name: str) -> str:
        """What a member said."""
        return (self._federation.folder / name / "run.log").read_text()

    def finish(self) -> None:
        """Wait for all; each must end well."""
        for name, process in self._running.items():
            assert process.wait(timeout=240) == 0, self.log(name)

    def stop(self) -> None:
        """Leave no process behind."""
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.mark.slow
def test_twenty_kills_over_all_roles_end_with_the_same_trunk(tmp_path: Path) -> None:
    """Killed at 20 random moments over all roles, federations end with the undisturbed trunk and report."""
    undisturbed = Federation(tmp_path / "undisturbed", n_rounds=N_ROUNDS)
    run_all(undisturbed.members())
    rng = random.Random(20)
    n_kills, killed = 0, set[str]()
    while n_kills < N_KILLS:
        federation = Federation(tmp_path / f"killed-{n_kills}", n_rounds=N_ROUNDS)
        processes = Processes(federation)
        try:
            alive = list(processes.names)
            while n_kills < N_KILLS and alive:
                name = rng.choice(alive)
                if processes.kill(name, rng.uniform(0, LONGEST_S)):
                    n_kills, killed = n_kills + 1, killed | {name}
                else:
                    alive.remove(name)
            processes.finish()
        finally:
            processes.stop()
        _assert_same(federation, undisturbed)
    assert killed == {*undisturbed.partners, AGGREGATOR}


def _assert_same(federation: Federation, undisturbed: Federation) -> None:
    for round_no in range(1, N_ROUNDS + 1):
        assert federation.trunks(round_no) == undisturbed.trunks(round_no)
    for name in federation.partners:
        found, expected = read_report(federation.home(name)), read_report(undisturbed.home(name))
        for key in ("trunk", "local", "federated", "tasks"):
            assert found[key] == expected[key]
