"""When an NVFlare job is over, and how its child process, a member's run, is started, restarted and stopped."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import ExitCode, RunFailed, SitesLost
from pipeline.plan.plan import Rounds
from pipeline.transport.child_process import ChildRun
from pipeline.transport.job_monitor import JobMonitor
from tests.support.federation import AGGREGATOR, Federation
from tests.support.marked_process import Marked, marked
from tests.support.waiting import wait_until


@dataclass
class FakeLink:
    """A link as the test wants it."""

    site: str
    heard_at: float = 0.0
    n_moved: int = 0
    is_finished: bool = False
    has_failed: bool = False


class Monitored:
    """A monitor with some links, and a clock."""

    def __init__(self, n_partners: int = 3, **rounds: float) -> None:
        self.now = 0.0
        self.links = [FakeLink(f"P{i:02d}") for i in range(1, n_partners + 1)]
        self.monitor = JobMonitor(
            self.links,
            Rounds(n_rounds=9, local_steps=1, min_partners=3, **rounds),
            silence_s=10,
            stall_s=60,
            clock=lambda: self.now,
        )

    def later(self, seconds: float, *silent: str) -> None:
        """Let time pass; all but the silent answer at its end."""
        self.now += seconds
        for link in self.links:
            if link.site not in silent:
                link.heard_at = self.now


def test_a_job_is_over_when_all_are_done() -> None:
    """The aggregator being done is not enough: every site must be, too."""
    monitored = Monitored()
    assert not monitored.monitor.is_over(None)
    assert not monitored.monitor.is_over(ExitCode.DONE)
    for link in monitored.links:
        link.is_finished = True
    assert not monitored.monitor.is_over(None)
    assert monitored.monitor.is_over(ExitCode.DONE)


@pytest.mark.parametrize("lost", [{"has_failed": True}, {"heard_at": -100.0}])
def test_a_done_federation_does_not_wait_for_a_lost_site(lost: dict[str, object]) -> None:
    """A site that failed or fell silent catches up in another job."""
    monitored = Monitored()
    for link in monitored.links:
        link.is_finished = link.site != "P02"
    assert not monitored.monitor.is_over(ExitCode.DONE)
    for key, value in lost.items():
        setattr(monitored.links[1], key, value)
    assert monitored.monitor.is_over(ExitCode.DONE)


def test_a_silent_site_stops_nobody_while_there_is_news() -> None:
    """Only when too few are left and nothing comes for stall_s is the job given up, and the site named."""
    monitored = Monitored()
    for _ in range(20):
        monitored.later(30, "P03")
        monitored.links[0].n_moved += 1
        assert not monitored.monitor.is_over(None)
    monitored.later(59, "P03")
    assert not monitored.monitor.is_over(None)
    monitored.later(2, "P03")
    with pytest.raises(SitesLost, match="P03"):
        monitored.monitor.is_over(None)


@pytest.mark.parametrize("rounds", [{}, {"ready_deadline_s": 7200.0, "update_deadline_s": 600.0}])
def test_enough_sites_may_take_the_plan_s_deadlines(rounds: dict[str, float]) -> None:
    """With `min_partners` left, a round closes or is void by its deadlines: until then no news is no reason to end."""
    monitored = Monitored(4, **rounds)
    deadline_s = max(rounds.values(), default=86_400.0)
    monitored.later(deadline_s + 50, "P04")
    assert not monitored.monitor.is_over(None)
    monitored.later(20, "P04")
    with pytest.raises(SitesLost, match="P04"):
        monitored.monitor.is_over(None)


def test_an_outage_in_long_training_has_its_time() -> None:
    """Without messages for an hour, one site too few is no end yet: it may come back within stall_s."""
    monitored = Monitored(4)
    monitored.later(3600)
    assert not monitored.monitor.is_over(None)
    for _ in range(2):
        monitored.later(29, "P03", "P04")
        assert not monitored.monitor.is_over(None)
    monitored.later(1)
    assert not monitored.monitor.is_over(None)
    monitored.later(59, "P03", "P04")
    assert not monitored.monitor.is_over(None)
    monitored.later(2, "P03", "P04")
    with pytest.raises(SitesLost, match="P03, P04"):
        monitored.monitor.is_over(None)


def test_long_training_is_no_loss() -> None:
    """Sites that answer may be without news for as long as they like."""
    monitored = Monitored()
    monitored.later(1e6)
    assert not monitored.monitor.is_over(None)


def test_nobody_waits_where_all_have_failed() -> None:
    """With every site refused, the job ends at once."""
    monitored = Monitored()
    for link in monitored.links:
        link.has_failed = True
    with pytest.raises(SitesLost, match="P01, P02, P03"):
        monitored.monitor.is_over(None)


@pytest.mark.parametrize(("code", "expected"), [(4, ExitCode.SECURITY), (1, ExitCode.BUG), (77, ExitCode.BUG)])
def test_the_aggregator_s_error_ends_the_job(code: int, expected: ExitCode) -> None:
    """Its exit code is handed on."""
    with pytest.raises(RunFailed, match=f"exit code {code}") as error:
        Monitored().monitor.is_over(code)
    assert error.value.exit_code == expected


def test_a_run_that_fails_is_not_started_again(tmp_path: Path) -> None:
    """A wrong configuration ends the run for good, with its exit code and its reason in the log."""
    config, log = tmp_path / "aggregator.toml", tmp_path / "run.log"
    config.write_text("name = 3\n")
    run = ChildRun("aggregator", config, log, lambda _: None)
    try:
        wait_until(lambda: run.poll() is not None, log.read_text)
        assert run.poll() == ExitCode.CONFIGURATION
        assert "aggregator.toml" in log.read_text()
    finally:
        run.stop()


@pytest.mark.slow
def test_a_run_that_was_killed_is_started_again(enrolled: Federation, tmp_path: Path) -> None:
    """After kill -9, another process goes on; a stop ends that one."""
    federation = enrolled.moved(tmp_path / "federation")
    log, said = tmp_path / "run.log", []
    run = ChildRun("aggregator", federation.config(AGGREGATOR), log, said.append)
    try:
        wait_until(lambda: "to be ready" in log.read_text(), log.read_text)
        first = run._process
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        wait_until(lambda: run.poll() is None and run._process is not first, log.read_text)
        assert "goes on" in said[0]
    finally:
        run.stop()
    assert run._process.poll() is not None


@pytest.mark.slow
def test_a_run_ends_with_the_process_it_is_a_child_of(enrolled: Federation, tmp_path: Path) -> None:
    """After kill -9 of the job process no run is left behind, and the home is free."""
    federation = enrolled.moved(tmp_path / "federation")
    log = tmp_path / "run.log"
    code = (
        "import sys, time; from pathlib import Path; from pipeline.transport.child_process import ChildRun\n"
        "run = ChildRun('aggregator', Path(sys.argv[1]), Path(sys.argv[2]), print); time.sleep(1000)"
    )
    job: Marked = marked([sys.executable, "-c", code, str(federation.config(AGGREGATOR)), str(log)])
    try:
        wait_until(lambda: log.exists() and "to be ready" in log.read_text(), job.alive)
        assert len(job.alive()) >= 2
        job.popen.kill()
        job.popen.communicate()
        wait_until(lambda: not job.alive(), job.alive)
    finally:
        job.popen.kill()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if job.mark in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
            except OSError:
                continue
    done = federation.hocket("aggregator", "run", "--once", str(federation.config(AGGREGATOR)))
    assert done.returncode == ExitCode.NOT_YET
    assert "in this home" not in done.stderr
