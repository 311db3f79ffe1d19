"""Several processes give what one gives, in order, and leave nothing running."""

import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from secure.errors import BadContainer
from secure.sealing import workers
from secure.sealing.workers import Workers, n_workers_for
from tests.support.secure.trial_work import Doubling, Leaving

N = 300_000  # some blocks


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 7])
def test_results_come_in_order(n, n_tasks):
    """Whatever the number of workers and tasks, in this process or in others."""
    with Workers(Doubling, (2,), n) as team:
        results = list(team.in_order(range(1, n_tasks + 1)))
    assert [result for result, _ in results] == [2 * task for task in range(1, n_tasks + 1)]
    assert {pid for _, pid in results} == {os.getpid()} or n > 1 or n_tasks == 0
    assert len({pid for _, pid in results}) == min(n, n_tasks)
    assert not multiprocessing.active_children()


def test_work_that_is_built_here_is_not_built_again():
    """Without other processes the work that this one has built is called."""
    with Workers(Doubling, (2,), 1, here=Doubling(5)) as team:
        assert [result for result, _ in team.in_order([1, 2])] == [5, 10]


@pytest.mark.parametrize("n", [1, 2])
def test_typed_errors_are_raised_here(n):
    """What a worker refuses is refused as if there were no worker, and no process stays."""
    with pytest.raises(BadContainer, match="-3 is negative"), Workers(Doubling, (2,), n) as team:
        list(team.in_order([1, 2, -3, 4]))
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_an_error():
    """A worker that dies, as by want of memory, ends the work with a clear message; nothing waits for ever."""
    with pytest.raises(ChildProcessError, match="-9"), Workers(Doubling, (2,), 2) as team:
        list(team.in_order([1, 0, 3, 4]))
    assert not multiprocessing.active_children()


@pytest.mark.timeout(60)
def test_a_worker_that_stands_still_does_not_hold_up_the_end():
    """After SIGSTOP it takes no other signal but SIGKILL."""
    with ExitStack() as afterwards:
        with Workers(Doubling, (2,), 2) as team:
            (_, standing), _ = team.in_order([1, 2])
            afterwards.callback(_go_on, os.pidfd_open(standing))
            os.kill(standing, signal.SIGSTOP)
        assert not multiprocessing.active_children()


@pytest.mark.timeout(60)
def test_a_worker_that_closes_its_pipe_and_stays_is_an_error(monkeypatch):
    """It is given time to end, and is killed then."""
    monkeypatch.setattr(workers, "_END_S", 0.5)
    with pytest.raises(ChildProcessError, match="-9"), Workers(Leaving, (), 2) as team:
        list(team.in_order([1, 2]))
    assert not multiprocessing.active_children()


def _go_on(pidfd: int) -> None:
    """Let a process that stands still take its signals, if it is there yet: else this one would wait for it."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)
    os.close(pidfd)


def test_workers_end_with_a_killed_parent(tmp_path):
    """After kill -9 of the parent its workers end by themselves: they see their pipe closed."""
    code = """
import os, sys
from secure.sealing.workers import Workers
from tests.support.secure.trial_work import Doubling
if __name__ == "__main__":
    with Workers(Doubling, (2,), 2) as team:
        print([pid for _, pid in team.in_order([1, 2])], flush=True)
        sys.stdin.read()
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    ) as parent:
        children = [os.pidfd_open(pid) for pid in json.loads(parent.stdout.readline())]
        parent.kill()
    for child in children:
        assert _ended(child)


def _ended(pidfd: int) -> bool:
    """Whether the process ends, however long that takes on a busy machine; a pidfd can be read when it has."""
    try:
        return bool(select.select([pidfd], [], [], 240)[0])
    finally:
        os.close(pidfd)


def test_small_updates_start_no_process():
    """A worker is started for half a second of work or more."""
    assert n_workers_for(10, 8) == 1
    assert n_workers_for(128, 8) == 2
    assert n_workers_for(10**6, 8) == 8
    assert n_workers_for(10**6, 1) == 1


@pytest.mark.slow
def test_a_round_is_the_same_with_workers(trio, tmp_path, monkeypatch):
    """Sealing, adding and opening with two workers give the sum, residual and bytes that one process gives."""
    monkeypatch.setattr(workers, "_FEWEST_BLOCKS", 1)
    rng = np.random.default_rng(0)
    changes = {name: rng.uniform(-0.2, 0.2, N).astype(np.float32) for name in trio.partners}
    reports = {
        (name, n): trio.seal(name, changes[name], tmp_path / f"{name}{n}", workers=n)
        for name in trio.partners
        for n in (1, 2)
    }
    opened = []
    for n in (1, 2):
        files = [tmp_path / f"{name}{n}" for name in trio.partners]
        sums = [trio.add(files, tmp_path / f"sum{n}{workers}", workers=workers) for workers in (1, 2)]
        assert sums[0].digest == sums[1].digest
        opened += [trio.open(tmp_path / f"sum{n}1", N, workers=workers) for workers in (1, 2)]
    for other in opened[1:]:
        np.testing.assert_array_equal(other.total, opened[0].total)
    for name in trio.partners:
        np.testing.assert_array_equal(reports[name, 1].residual, reports[name, 2].residual)
        assert reports[name, 1].clipped_share == reports[name, 2].clipped_share > 0


def test_the_residual_may_take_the_place_of_the_change(trio, tmp_path):
    """Sealing in place gives the same residual without memory for another vector."""
    change = np.random.default_rng(1).uniform(-0.2, 0.2, N).astype(np.float32)
    carried = np.random.default_rng(2).uniform(-0.01, 0.01, N).astype(np.float32)
    apart = trio.seal("ash", change, tmp_path / "a", residual=carried)
    for number in range(2):
        inputs = [change.copy(), carried.copy()]
        report = trio.seal("ash", inputs[0], tmp_path / f"b{number}", residual=inputs[1], residual_out=inputs[number])
        assert report.residual is inputs[number]
        np.testing.assert_array_equal(report.residual, apart.residual)
