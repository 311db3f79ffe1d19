"""The watchdog: no text stalls or ends a run, or changes the result of another text."""

import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from data_prep.errors import ChildError
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures import watchdog
from data_prep.structures.steps import ScaffoldStep, StepResult, StructureStep
from data_prep.structures.structures import fold_scaffolds, standardise_all
from data_prep.structures.watchdog import guarded, worker_pool
from tests.support.data_prep.trial_steps import Trial
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
ENDLESS = Chemistry(max_tautomers=100_000, max_transforms=100_000)
# Four melamines in a row: tautomers by the ten thousand, all of them inside one call of RDKit.
SLOW = "Nc1nc(N)nc(Nc2nc(N)nc(Nc3nc(N)nc(Nc4nc(N)nc(N)n4)n3)n2)n1"
FEW = ["CCO", None, "c1ccccc1C(=O)O", "C1CC", "", "CC(=O)[O-].[Na+]", "Oc1ccccn1"]
THREE = 3.0  # seconds; others take milliseconds, and the machine may be busy


def script(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


def test_a_structure_that_takes_too_long_is_left_out_alone():
    """RDKit is stopped within a call: exactly that row is `timeout`, the others have their usual results."""
    alone = standardise_all(FEW, ENDLESS, Fingerprint())
    structures = standardise_all([*FEW[:3], SLOW, *FEW[3:]], ENDLESS, Fingerprint(), timeout_s=THREE)
    assert structures.reasons == [*alone.reasons[:3], "timeout", *alone.reasons[3:]]
    assert structures.smiles == [*alone.smiles[:3], None, *alone.smiles[3:]]
    np.testing.assert_array_equal(structures.bits, alone.bits)


def test_a_scaffold_that_takes_too_long_is_refused(monkeypatch):
    """The scaffold step runs under the watchdog too, and gives the reason for a missing scaffold."""
    monkeypatch.setattr(watchdog, "_idle_or_new_child", lambda: _dead_by(signal.SIGALRM))
    assert fold_scaffolds(["c1ccccc1"]).refused == {"c1ccccc1": "timeout"}


def _dead_by(number: signal.Signals) -> "watchdog._Child":
    child = watchdog._Child()
    child.wait_until_ready()
    child._process.send_signal(number)
    child._process.wait()
    return child


def test_a_killed_process_loses_no_rows(tmp_path):
    """If a child is killed once, by any signal, all texts get their results, in order."""
    texts = ["a", f"die once {tmp_path / 'one'}", "b", f"die once {tmp_path / 'two'}", *"cdefgh"]
    results = guarded(Trial(), texts, 60.0)
    assert [result.text for result in results] == [text.upper() for text in texts]


def test_a_text_that_always_kills_is_left_out():
    """A text that ends its child twice, by a segmentation fault too, is `crashed`."""
    results = guarded(Trial(), ["a", "die", "b", "segfault", "c"], 60.0)
    assert [result.text or result.reason for result in results] == ["A", "crashed", "B", "crashed", "C"]


@pytest.mark.parametrize("n_texts", [0, 1, 1000])
def test_any_number_of_texts(n_texts):
    """Results come in order for none, one and many texts."""
    texts = [f"text {i}" for i in range(n_texts)]
    assert [result.text for result in guarded(Trial(), texts, 60.0)] == [text.upper() for text in texts]


def test_a_killed_idle_child_is_replaced():
    """A child that died while idle is replaced, and no text is rejected."""
    with worker_pool():
        pid = int(guarded(Trial(), ["pid"], 60.0)[0].text)
        os.kill(pid, signal.SIGKILL)
        results = guarded(Trial(), ["pid", "a"], 60.0)
    assert results[1] == Trial().make("a")
    assert int(results[0].text) != pid


def test_however_many_idle_children_are_killed_no_text_is_blamed():
    """Two children that died while idle are not two crashes of the next text."""
    with worker_pool():
        with watchdog._borrowed() as first, watchdog._borrowed() as other:
            pass
        for child in (first, other):
            child._process.kill()
            child._process.wait()
        assert guarded(Trial(), ["a"], 60.0) == [Trial().make("a")]


def test_ctrl_c_is_the_parents_to_handle():
    """A child ignores SIGINT."""
    with worker_pool():
        pid = guarded(Trial(), ["pid"], 60.0)[0].text
        os.kill(int(pid), signal.SIGINT)
        assert guarded(Trial(), ["pid"], 60.0)[0].text == pid


def test_nothing_stays_behind_a_call():
    """After a call for a whole table no child process or zombie is left."""
    done = subprocess.run(
        script("""
            from pathlib import Path
            from data_prep.settings import Chemistry, Fingerprint
            from data_prep.structures.structures import standardise_all
            found = standardise_all(["C"] * 200, Chemistry(), Fingerprint(), workers=2)
            assert found.smiles == ["C"] * 200
            print(*(task.joinpath("children").read_text() for task in Path("/proc/self/task").iterdir()))
        """),
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == []


def test_children_end_with_a_killed_parent():
    """Kill -9 of the parent leaves no child behind."""
    command = script("""
        from data_prep.structures.watchdog import guarded, worker_pool
        from tests.support.data_prep.trial_steps import Trial
        with worker_pool():
            print(guarded(Trial(), ["pid"], 60.0)[0].text, flush=True)
            input()
    """)
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        child = Path("/proc", parent.stdout.readline().strip())
        assert child.exists()
        parent.kill()
    wait_until(lambda: not _runs(child), lambda: "the child outlives its parent", patience_s=60)


def test_ctrl_c_ends_everything_at_once():
    """A run that is interrupted by Ctrl-C while it standardises ends at once, with its child processes."""
    command = script(f"""
        from pathlib import Path
        from data_prep.settings import Chemistry, Fingerprint
        from data_prep.structures.structures import standardise_all
        from data_prep.structures import watchdog
        take = watchdog._idle_or_new_child
        def announced_child():
            child = take()
            print(child._process.pid, flush=True)
            return child
        watchdog._idle_or_new_child = announced_child
        endless = Chemistry(max_tautomers=100_000, max_transforms=100_000)
        standardise_all([{SLOW!r}] * 200, endless, Fingerprint(), workers=2, timeout_s=3600.0)
    """)
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as parent:  # fmt: skip
        try:
            children = [Path("/proc", parent.stdout.readline().strip()) for _ in range(2)]
            parent.send_signal(signal.SIGINT)
            assert parent.wait() == -signal.SIGINT
        finally:
            parent.kill()
    # long before the hour that each structure may take
    wait_until(lambda: not any(map(_runs, children)), lambda: "a child outlives the interrupted run")


def _runs(process: Path) -> bool:
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_every_joblib_backend_gives_the_same(backend):
    """An outer joblib.parallel_config changes where the work is done, not the results."""
    smiles = [*FEW, *(f"{'C' * i}N" for i in range(1, 90))]
    here = standardise_all(smiles, Chemistry(), Fingerprint())
    try:
        with joblib.parallel_config(backend=backend):
            there = standardise_all(smiles, Chemistry(), Fingerprint(), workers=2)
    finally:
        get_reusable_executor().shutdown(wait=True)  # loky's processes would outlive this test
    assert (here.smiles, here.murcko, here.reasons) == (there.smiles, there.murcko, there.reasons)
    np.testing.assert_array_equal(here.bits, there.bits)
    np.testing.assert_array_equal(here.starts, there.starts)


def test_a_process_that_cannot_start_is_an_error(monkeypatch):
    """A broken installation stops the run with a reason instead of rejecting every structure."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(watchdog, "_idle", watchdog.deque())
    with pytest.raises(ChildError, match=r"\bexit code 1\b"):
        guarded(Trial(), ["a"], 60.0)


@contextmanager
def files_left(n_left: int) -> Iterator[None]:
    """Limit the process to this number of further open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_files()) + 1 + n_left, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(n_left):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)


def open_files() -> set[int]:
    return {int(file.name) for file in Path("/proc/self/fd").iterdir() if file.exists()}


@pytest.mark.parametrize("n_left", range(7))
def test_no_file_left_for_a_process_is_said_and_leaves_nothing(n_left, monkeypatch):
    """If a process cannot start for want of files, a ChildError with advice is raised and no file stays open."""
    monkeypatch.setattr(watchdog, "_idle", watchdog.deque())
    gc.collect()  # what other tests left closes now and not in between
    before = open_files()
    with files_left(n_left), pytest.raises(ChildError, match=os.strerror(errno.EMFILE)) as raised:
        guarded(Trial(), ["a"], 60.0)
    assert "ulimit -n" in raised.value.__notes__[0]
    assert open_files() == before


def test_no_room_for_a_process_is_said_and_leaves_nothing(monkeypatch):
    """A limit on processes raises the same error; without it, work continues."""
    monkeypatch.setattr(watchdog, "_idle", watchdog.deque())
    gc.collect()
    before = open_files()
    with monkeypatch.context() as full:
        full.setattr(watchdog.subprocess, "Popen", no_process)
        with pytest.raises(ChildError, match=os.strerror(errno.EAGAIN)):
            guarded(Trial(), ["a"], 60.0)
    assert open_files() == before
    assert guarded(Trial(), ["a"], 60.0) == [Trial().make("a")]
    watchdog.end_idle()


def no_process(*_: object, **__: object) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(timeout_s):
    """A time limit of 0, less or NaN is refused."""
    with pytest.raises(ValueError, match="timeout_s: found"):
        standardise_all(["C"], Chemistry(), Fingerprint(), timeout_s=timeout_s)


def test_steps_answer_refusals():
    """A rejection within a step is returned as a reason, not raised."""
    assert ScaffoldStep().make("c1ccc") == StepResult(reason="scaffold_failed")
    step = StructureStep(Chemistry(tautomers="keep"), Fingerprint())
    assert step.make("C(") == StepResult(reason="unparsable")
    assert step.make("\ud800") == StepResult(reason="unparsable")
