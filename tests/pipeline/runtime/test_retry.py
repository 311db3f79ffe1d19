"""Retries: after which errors a member waits, how long, and how it gives up."""

import errno
import itertools
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import pipeline.runtime.retry
from pipeline.errors import ExchangeError, ExchangeUnreachable, ExitCode, NotYet
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import RetryPolicy, drive
from secure.encoding.canonical import digest
from secure.messages.message_name import MessageName
from tests.support.cli_runner import finished_process
from tests.support.federation import AGGREGATOR, Federation, step
from tests.support.full_disk import fill
from tests.support.marked_process import Marked, marked
from tests.support.signed_transcripts import say

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "home/file")
QUOTA = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "home/file")
NOT_YET, UNREACHABLE = NotYet("waiting for P02"), ExchangeUnreachable("s3://room: cannot be read")


class World:
    """A clock that only sleeping moves, and a disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.free, self.naps = 0.0, 0, list[float]()
        self.at_nap: Callable[[], None] = lambda: None
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep)
        monkeypatch.setattr(pipeline.runtime.retry, "time", clock)
        disk = lambda _: SimpleNamespace(f_bavail=self.free, f_frsize=1)  # noqa: E731 -- one expression
        monkeypatch.setattr(pipeline.runtime.retry, "os", SimpleNamespace(statvfs=disk))

    def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        self.at_nap()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Replace clock and disk, so that no test waits."""
    return World(monkeypatch)


class Steps:
    """A step machine that returns or raises the given values in order."""

    def __init__(self, *outcomes: Exception | bool) -> None:
        self._outcomes = iter(outcomes)

    def advance(self) -> bool:
        """Return or raise the next value."""
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def policy(folder: Path, *, once: bool = False, timeout_s: float | None = None) -> RetryPolicy:
    """A policy as in a run, with a pause of one second."""
    return RetryPolicy(ProgressReporter("P01"), folder, once=once, poll_s=1.0, timeout_s=timeout_s)


def run(outcomes: list[Exception | bool], how: RetryPolicy) -> int:
    """Drive such a machine and return the number of successful steps."""
    n_done = [0]

    def count() -> None:
        n_done[0] += 1

    drive(Steps(*outcomes), how, idle=count)
    return n_done[0]


@pytest.mark.parametrize("wait", [NOT_YET, UNREACHABLE, ExchangeError("no right"), FULL, QUOTA], ids=repr)
def test_without_a_limit_all_is_waited_out(world: World, tmp_path: Path, wait: Exception):
    """A run waits for others, for an exchange with any error, and for a full disk or quota."""
    assert run([True, *[wait] * 50, True, False], policy(tmp_path)) == 2
    assert world.now > 50


def test_looks_become_rarer_and_frequent_again(world: World, tmp_path: Path):
    """Pauses grow up to ten times the first one, and begin again after a successful step."""
    run([*[NOT_YET] * 40, True, NOT_YET, False], policy(tmp_path))
    assert world.naps[0] == world.naps[-1] == 1.0
    assert world.naps[:-1] == sorted(world.naps[:-1])
    assert max(world.naps) == 10.0


def test_the_same_wait_is_said_once(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The same message is written once, so a log of days stays short."""
    run([*[NOT_YET] * 40, False], policy(tmp_path))
    assert capsys.readouterr().err.count("waiting for P02") == 1
    assert len(world.naps) == 40


@pytest.mark.parametrize("wait", [NOT_YET, UNREACHABLE, FULL], ids=repr)
def test_the_time_is_up(world: World, tmp_path: Path, wait: Exception):
    """After the timeout without progress the error ends the run, not later, with a note on what to do."""
    with pytest.raises(type(wait)) as caught:
        run([True, *[wait] * 100], policy(tmp_path, timeout_s=30.0))
    assert world.now == pytest.approx(30.0)
    assert "30 s (--timeout)" in caught.value.__notes__[-1]


def test_progress_starts_the_time_anew(world: World, tmp_path: Path):
    """Progress restarts the timeout, because a federation takes days."""
    outcomes = [*[NOT_YET] * 8, True, *[UNREACHABLE] * 8, True, *[NOT_YET] * 8, False]
    assert run(outcomes, policy(tmp_path, timeout_s=20.0)) == 2
    assert world.now > 40


def test_a_timeout_of_nothing_looks_once(world: World, tmp_path: Path):
    """--timeout 0 never sleeps."""
    with pytest.raises(NotYet):
        run([True, NOT_YET], policy(tmp_path, timeout_s=0.0))
    assert world.naps == []


@pytest.mark.parametrize("wait", [NOT_YET, UNREACHABLE, FULL], ids=repr)
def test_once_waits_for_nothing(world: World, tmp_path: Path, wait: Exception):
    """With `once` an error ends the run at once."""
    with pytest.raises(type(wait)):
        run([True, wait, True, False], policy(tmp_path, once=True))
    assert world.naps == []


def test_once_with_a_timeout_waits_for_machines_only(world: World, tmp_path: Path):
    """With `once` and a timeout a failing storage is waited for, other members are not."""
    assert run([UNREACHABLE, FULL, True, False], policy(tmp_path, once=True, timeout_s=60.0)) == 1
    with pytest.raises(NotYet):
        run([UNREACHABLE, NOT_YET], policy(tmp_path, once=True, timeout_s=60.0))
    assert world.now < 60


def test_another_error_of_the_system_is_no_wait(world: World, tmp_path: Path):
    """A file that is too large for the file system, or no right to write, ends the run at once."""
    for number in (errno.EFBIG, errno.EACCES, errno.EIO, errno.EROFS):
        with pytest.raises(OSError, match="no wait"):
            run([OSError(number, "no wait")], policy(tmp_path))
    assert world.naps == []


def test_on_a_full_disk_the_step_is_tried_when_space_was_given_back(world: World, tmp_path: Path):
    """A step is tried again when there is space, else rarely, because it may take hours."""
    steps = []

    class Machine:
        """Counts its tries."""

        def advance(self) -> bool:
            """Fails until there is space."""
            steps.append(world.now)
            if world.free < 1 << 30:
                raise FULL
            return False

    def give_back() -> None:
        world.free = 2 << 30 if world.now > 3600 else 0

    world.at_nap = give_back
    drive(Machine(), policy(tmp_path), idle=lambda: None)
    assert 3600 < steps[-1] < 3605
    assert len(steps) < 20  # in an hour of looks
    assert max(later - earlier for earlier, later in itertools.pairwise(steps)) <= 600


def test_opening_waits_for_what_comes_by_itself(world: World, tmp_path: Path):
    """A start waits for an exchange that does not answer, but not for one without access rights."""
    outcomes = iter([UNREACHABLE, FULL, UNREACHABLE])

    def act() -> str:
        for error in outcomes:
            raise error
        return "open"

    assert policy(tmp_path).call(act) == "open"

    def refuse() -> str:
        raise ExchangeError("s3://room: Forbidden")

    n_naps = len(world.naps)
    with pytest.raises(ExchangeError):
        policy(tmp_path).call(refuse)
    assert len(world.naps) == n_naps


# ------------------------------------------------------------------------------------------------- on a real full disk


@pytest.fixture
def all_ready(fresh: Federation) -> Federation:
    """A federation whose partners posted `ready` without training, which the aggregator cannot know."""
    assert step(fresh.partner("P01")) == "waiting"  # it has posted the deal, with which the plan begins
    for name in fresh.partners:
        body: dict[str, object] = {"trunk": digest(b"trunk"), "preparation": digest(b"preparation")}
        body["confirmations"] = {"P02": "A" * 22 + "=="}
        say(fresh, MessageName("ready", 1, 1, name), body, time=1_800_000_000)
    return fresh


@pytest.fixture
def on_small_disk(all_ready: Federation, small_disk: Path) -> Federation:
    """The aggregator's home, before the roster, on the small disk."""
    shutil.move(all_ready.home(AGGREGATOR).folder, small_disk / "home")
    config = all_ready.config(AGGREGATOR)
    config.write_text(f'home = "{small_disk / "home"}"\n{config.read_text()}')
    return all_ready


def aggregator(federation: Federation, *options: str) -> Marked:
    """The aggregator's process."""
    return marked(federation.command("aggregator", "run", str(federation.config(AGGREGATOR)), *options))


ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
CALLED = "waiting for the sealed update"  # what comes after the roster


def test_a_full_disk_is_waited_out(on_small_disk: Federation, small_disk: Path):
    """The process reports the full disk and waits; with space again it calls the roster."""
    ballast = fill(small_disk)
    process = aggregator(on_small_disk)
    assert process.popen.stderr is not None
    for line in process.popen.stderr:
        if "waiting for space" in line or "No space left" in line:
            break
    else:
        pytest.fail("the process ended")
    assert not on_small_disk.posted(ROSTER).exists()
    ballast.unlink()
    for line in process.popen.stderr:
        if CALLED in line:
            break
    process.popen.terminate()
    _, said = process.popen.communicate()
    assert process.popen.returncode == ExitCode.NOT_YET, said
    assert on_small_disk.posted(ROSTER).exists()
    assert process.alive() == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--once"], ["--timeout", "0.5"]], ids=" ".join)
def test_a_full_disk_ends_the_run_where_it_may_not_wait(
    on_small_disk: Federation, small_disk: Path, options: list[str]
):
    """Exit code 2, the file and the reason; nothing half-written is left, and the next start goes on."""
    ballast = fill(small_disk)
    process = aggregator(on_small_disk, *options)
    _, said = process.popen.communicate()
    assert process.popen.returncode == ExitCode.CONFIGURATION, said
    assert os.strerror(errno.ENOSPC) in said.splitlines()[-1 - ("--timeout" in options)]
    assert str(small_disk) in said
    assert not on_small_disk.posted(ROSTER).exists()
    ballast.unlink()
    process = aggregator(on_small_disk, "--once")
    _, said = process.popen.communicate()
    assert process.popen.returncode == ExitCode.NOT_YET, said
    assert on_small_disk.posted(ROSTER).exists()


def test_a_limit_on_file_sizes_is_an_error(all_ready: Federation):
    """Beyond `ulimit -f`, which cannot change during the run: exit code 2 at once, and no half file."""
    command = all_ready.command("aggregator", "run", str(all_ready.config(AGGREGATOR)))
    limit = "import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); os.execv(*sys.argv[1:2], sys.argv[1:])"  # noqa: E501
    done = finished_process([sys.executable, "-c", limit, *command])
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert done.returncode == ExitCode.CONFIGURATION, done.stderr
    assert "File too large" in done.stderr.splitlines()[-1]
    assert not all_ready.posted(ROSTER).exists()
