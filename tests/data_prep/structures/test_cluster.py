"""Structures on a Dask cluster: the same as here, whatever dies, and a clear word where the cluster is of no use."""

import errno
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dask as dask_module
import psutil
import pytest
from distributed import Client

from data_prep.errors import ClusterError
from data_prep.preparation.prepare import prepare
from data_prep.settings import Chemistry, Fingerprint, Preparation
from data_prep.structures import cluster as cluster_module
from data_prep.structures.cluster import DaskCluster
from data_prep.structures.steps import StepResult
from data_prep.structures.structures import standardise_all
from data_prep.structures.watchdog import guarded
from tests.support.data_prep import dask_stranger
from tests.support.data_prep.dask_processes import ROOT, DaskProcesses
from tests.support.data_prep.trial_steps import Trial
from tests.support.other_account import asked_as_another, needs_root
from tests.support.ports import free_port

pytestmark = pytest.mark.slow  # real processes, each of which takes seconds to start
KEEP = Preparation(chemistry=Chemistry(tautomers="keep"))
SEED = bytes(range(32))
SMILES = [f"{'C' * (i % 40 + 1)}{'O' * (i // 40)}N{'c1ccccc1' * (i % 2)}" for i in range(240)]
SLOW = "Nc1nc(N)nc(Nc2nc(N)nc(Nc3nc(N)nc(Nc4nc(N)nc(N)n4)n3)n2)n1"
ENDLESS = Chemistry(max_tautomers=100_000, max_transforms=100_000)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler and two workers, for all tests that leave them as they are."""
    with DaskProcesses(tmp_path_factory.mktemp("dask")) as processes:
        yield processes.add_worker().add_worker()


@pytest.fixture
def cluster(dask: DaskProcesses) -> Iterator[DaskCluster]:
    """Both workers, connected."""
    with DaskCluster(dask.address) as connected:
        dask.wait_for(lambda: connected.n_workers == 2)
        yield connected


def texts_in_order(cluster, texts, size=4):
    chunks = [list(range(start, min(start + size, len(texts)))) for start in range(0, len(texts), size)]
    made = dict[int, StepResult]()
    for places, outcomes in cluster.results(Trial(), texts, chunks, 60.0):
        assert not made.keys() & set(places)
        made |= dict(zip(places, outcomes, strict=True))
    return [made[i] for i in range(len(texts))]


def same(left, right):
    parts = ("smiles", "murcko", "reasons")
    assert [getattr(left, part) for part in parts] == [getattr(right, part) for part in parts]
    for part in ("bits", "counts", "starts"):
        assert getattr(left, part).tobytes() == getattr(right, part).tobytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_prepared_folder_is_the_same_bit_for_bit(cluster, tables, tmp_path):
    """Every file of the folder has the bytes that one process here gives it, and so has every later run's."""
    here = prepare(*tables, KEEP, SEED, tmp_path / "here")
    there = prepare(*tables, KEEP, SEED, tmp_path / "there", workers=cluster, cache=tmp_path / "cache")
    assert here.name == there.name
    assert contents(here) == contents(there)
    from_cache = prepare(*tables, KEEP, SEED, tmp_path / "again", workers=1, cache=tmp_path / "cache")
    assert contents(from_cache) == contents(here)


def test_structures_are_the_same_and_refused_for_the_same_reasons(cluster, golden):
    """Real structures, and those that are refused, come out as here, in their order."""
    smiles = [*golden["smiles"].gather_every(8), "no structure", "", "CC.[Na+]", None]
    same(standardise_all(smiles, KEEP.chemistry, Fingerprint(), workers=cluster),
         standardise_all(smiles, KEEP.chemistry, Fingerprint()))  # fmt: skip


def test_texts_that_end_processes_are_left_out_alone(cluster, tmp_path):
    """Crashes cost a child of a worker, never the worker, and end with the same reasons as here."""
    texts = ["a", "die", "b", "segfault", "c", f"die once {tmp_path / 'once'}", "d"]
    made = texts_in_order(cluster, texts)
    assert [one.text or one.reason for one in made[:5]] == ["A", "crashed", "B", "crashed", "C"]
    assert made == guarded(Trial(), texts, 60.0)


def test_a_structure_that_takes_too_long_is_left_out_alone(cluster):
    """The clock runs on the worker: exactly that row is `timeout`."""
    found = standardise_all(["CCO", SLOW, "CCN"], ENDLESS, Fingerprint(), workers=cluster, timeout_s=3.0)
    assert found.reasons == [None, "timeout", None]


def test_nothing_is_connected_where_nothing_is_left_to_make(tmp_path, tables):
    """With a full cache, a cluster that has gone for good is not missed."""
    cache = tmp_path / "cache"
    here = prepare(*tables, KEEP, SEED, tmp_path / "here", cache=cache)
    with DaskCluster("tcp://127.0.0.1:9") as nobody:
        assert contents(prepare(*tables, KEEP, SEED, tmp_path / "there", workers=nobody, cache=cache)) == contents(here)


def test_workers_keep_no_processes_of_ours(dask, cluster):
    """When the caller has left, no process for structures stays behind on a worker."""
    assert texts_in_order(cluster, ["a"] * 40)[0].text == "A"
    with Client(dask.address) as client:
        pids = client.run(os.getpid).values()
        assert any(psutil.Process(pid).children() for pid in pids)
        cluster.__exit__(None, None, None)
        assert not any(psutil.Process(pid).children() for pid in pids)


def test_a_killed_worker_costs_no_rows(dask, cluster, tmp_path):
    """Kill -9 of a worker in the middle: every structure comes out once, as here, and the cache holds them all."""
    expected = standardise_all(SMILES, KEEP.chemistry, Fingerprint())
    killed = list[int]()

    def kill_one(done: int, _total: int) -> None:
        if done and not killed:
            with Client(dask.address) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    cache = tmp_path / "cache"
    found = standardise_all(
        SMILES, KEEP.chemistry, Fingerprint(), workers=cluster, progress=kill_one, cache=cache
    )  # fmt: skip
    assert killed
    same(found, expected)
    heard = list[tuple[int, int]]()
    standardise_all(SMILES, KEEP.chemistry, Fingerprint(), cache=cache, progress=lambda *told: heard.append(told))
    assert heard == [(240, 240)]


def test_a_text_that_kills_its_workers_is_left_out_alone(tmp_path):
    """Worker after worker dies of one text: it is `crashed`, and whatever died with it gets its answer."""
    often = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    texts = [*"abcdefgh", "orphan", *"ijklmnop"]
    with DaskProcesses(tmp_path, environment=often) as dask, DaskCluster(dask.add_worker().address) as cluster:
        made = texts_in_order(cluster, texts)
    assert [one.text or one.reason for one in made] == [*"ABCDEFGH", "crashed", *"IJKLMNOP"]


def test_a_scheduler_that_goes_is_told_and_the_rest_goes_on_from_the_cache(tmp_path):
    """It is an error that says so; what was done is remembered, and a run elsewhere does only the rest."""
    cache, heard = tmp_path / "cache", list[tuple[int, int]]()
    with DaskProcesses(tmp_path) as dask, DaskCluster(dask.add_worker().address) as cluster:

        def kill(*told: int) -> None:
            heard.append(told)
            if len(heard) == 1:
                dask.kill_scheduler()

        with pytest.raises(ClusterError, match="is gone"):
            standardise_all(SMILES, KEEP.chemistry, Fingerprint(), workers=cluster, cache=cache, progress=kill)
    done = heard[-1][0]
    assert 0 < done < len(SMILES)
    heard.clear()
    found = standardise_all(
        SMILES, KEEP.chemistry, Fingerprint(), cache=cache, progress=lambda *told: heard.append(told)
    )
    assert heard[0] == (done, len(SMILES))
    same(found, standardise_all(SMILES, KEEP.chemistry, Fingerprint()))


def test_a_scheduler_that_stands_still_is_told(tmp_path, monkeypatch):
    """Its connections hold and nothing comes: an error after a while, and the end of the block holds nobody up."""
    with DaskProcesses(tmp_path) as dask, DaskCluster(dask.add_worker().address) as cluster:
        outcomes = cluster.results(Trial(), ["a"] * 40, [[i] for i in range(40)], 60.0)
        next(outcomes)
        monkeypatch.setattr(cluster_module, "_CONNECT_S", 3.0)  # not before: a busy machine may take longer
        dask.stop_scheduler()
        with pytest.raises(ClusterError, match="is gone"):
            list(outcomes)


def test_without_workers_for_too_long_it_gives_up(tmp_path):
    """The last worker goes and none comes: an error, after the patience, instead of a wait without end."""
    with DaskProcesses(tmp_path) as dask, DaskCluster(dask.add_worker().address) as cluster:
        outcomes = cluster.results(Trial(), ["a"] * 40, [[i] for i in range(40)], 60.0)
        next(outcomes)
        cluster._patience_s = 4.0  # not before: a busy machine may take longer
        dask.kill_workers()
        with pytest.raises(ClusterError, match="no worker for"):
            list(outcomes)


def test_nobody_there_is_said_at_once(monkeypatch):
    """An address where no scheduler answers is an error that says what to do."""
    monkeypatch.setattr(cluster_module, "_CONNECT_S", 2.0)
    refused_at(f"tcp://127.0.0.1:{free_port()}", "no Dask scheduler")


@pytest.mark.parametrize(
    ("address", "settings", "reason"),
    [
        ("tls://127.0.0.1:9", {}, "TLS is not"),
        (
            "tls://127.0.0.1:9",
            {"tls.ca-file": "/none.pem", "tls.client.cert": "/none.pem"},
            os.strerror(errno.ENOENT),
        ),
        ("tcp://127.0.0.1:9", {"require-encryption": True}, "expected .*tls://"),
    ],
)
def test_settings_that_do_not_suit_are_said_at_once(address, settings, reason):
    """Certificates that are missing, and encryption that is demanded but not there, are errors that say what to do."""
    with dask_module.config.set({f"distributed.comm.{name}": value for name, value in settings.items()}):
        refused_at(address, reason)


def refused_at(address: str, reason: str) -> None:
    """Raises ClusterError, with advice; no client is left that only the garbage collector would close: it may hang."""
    with DaskCluster(address) as unfit, pytest.raises(ClusterError, match=reason) as raised:
        standardise_all(["C"], KEEP.chemistry, Fingerprint(), workers=unfit)
    assert raised.value.__notes__
    assert all(one.status == "closed" for one in gc.get_objects() if isinstance(one, Client))


def test_a_scheduler_without_workers_is_said(tmp_path, monkeypatch):
    """Nobody at work there is an error too."""
    monkeypatch.setattr(cluster_module, "_FIRST_WORKER_S", 5.0)
    with (
        DaskProcesses(tmp_path) as dask,
        DaskCluster(dask.address) as lonely,
        pytest.raises(ClusterError, match=r"no worker .*\b5 s\b"),
    ):
        standardise_all(["C"], KEEP.chemistry, Fingerprint(), workers=lonely)


def other_hocket(folder: Path, version_file: str) -> dict[str, str]:
    """Environment of a machine whose data_prep differs in one file."""
    environment = copied_hocket(folder)
    (folder / "data_prep" / version_file).write_text("CODE_VERSION = FORMAT_VERSION = 99\n")
    return environment


def copied_hocket(folder: Path) -> dict[str, str]:
    """Environment of a machine with a data_prep of its own."""
    shutil.copytree(ROOT / "data_prep", folder / "data_prep", ignore=shutil.ignore_patterns("__pycache__"))
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("file", "reason"), [("version.py", "preparation 99"), ("structures/watchdog.py", "ImportError")]
)
def test_other_versions_are_refused_before_any_work(file, reason, tmp_path):
    """A worker with another hocket, or with a broken one, is named with what it has and what is expected."""
    other = other_hocket(tmp_path / "other", file)
    with DaskProcesses(tmp_path) as dask, DaskCluster(dask.add_worker(other).address) as cluster:
        with pytest.raises(ClusterError, match=reason) as raised:
            standardise_all(["C"], KEEP.chemistry, Fingerprint(), workers=cluster)
        assert f"expected hocket {cluster_module.library_versions()['hocket']}" in str(raised.value)


@pytest.mark.parametrize(("file", "is_refused"), [("version.py", True), ("structures/watchdog.py", False)])
def test_a_worker_of_another_version_that_comes_later_makes_nothing(file, is_refused, tmp_path):
    """Versions travel with every chunk, so it is found out; one that cannot even read a chunk leaves, without harm."""
    with DaskProcesses(tmp_path) as dask, DaskCluster(dask.add_worker().address) as cluster:
        assert cluster.n_workers == 1
        dask.add_worker(other_hocket(tmp_path / "other", file))
        dask.wait_for(lambda: cluster.n_workers == 2)
        if is_refused:
            with pytest.raises(ClusterError, match="preparation 99"):
                standardise_all(SMILES, Chemistry(), Fingerprint(), workers=cluster)
        else:
            found = standardise_all(SMILES, KEEP.chemistry, Fingerprint(), workers=cluster)
            same(found, standardise_all(SMILES, KEEP.chemistry, Fingerprint()))


def test_processes_of_this_machine_are_for_it_alone_and_leave_nothing(tables, tmp_path):
    """`local:2`: equal bytes; whatever listens does so on 127.0.0.1; no process stays."""
    me = psutil.Process()
    here = prepare(*tables, KEEP, SEED, tmp_path / "here")
    before = {child.pid for child in me.children(recursive=True)}  # with those that the session keeps
    with DaskCluster("local:2") as cluster:
        there = prepare(*tables, KEEP, SEED, tmp_path / "there", workers=cluster)
        assert cluster.n_workers == 2
        members = [me, *(child for child in me.children(recursive=True) if child.pid not in before)]
        listening = [c.laddr.ip for one in members for c in one.net_connections() if c.status == psutil.CONN_LISTEN]
        assert len(listening) >= 3
        assert set(listening) == {"127.0.0.1"}
    assert contents(here) == contents(there)
    left = [one for one in members[1:] if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert [one.cmdline() for one in left if "resource_tracker" not in str(one.cmdline())] == []


@needs_root
def test_another_account_runs_nothing_in_processes_of_this_machine(tmp_path):
    """`local:1`: at no port of scheduler, nanny and worker, with TLS or without, and no page tells it anything."""
    me = psutil.Process()
    before = {child.pid for child in me.children(recursive=True)}
    open_before = {c.laddr.port for c in me.net_connections() if c.status == psutil.CONN_LISTEN}
    with DaskCluster("local:1") as cluster:
        assert cluster.n_workers == 1
        members = [me, *(child for child in me.children(recursive=True) if child.pid not in before)]
        ports = {c.laddr.port for one in members for c in one.net_connections() if c.status == psutil.CONN_LISTEN}
        question = {"ports": sorted(ports - open_before), "folder": str(tmp_path)}
        found = asked_as_another(dask_stranger.__name__, question)
        assert texts_in_order(cluster, ["a"])[0].text == "A"  # its tries did no harm
    assert list(tmp_path.iterdir()) == []
    assert len(found) == 5  # scheduler, nanny, worker, and the bare pages of scheduler and worker
    assert {answer for answers in found.values() for answer in answers} == {"refused"}


def test_the_folder_of_processes_of_this_machine_is_ours_alone(tmp_path, monkeypatch):
    """Dask puts it into sys.path: another account that made the one of the usual name gets no code of its into it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = tmp_path / "dask-scratch-space"
    theirs.mkdir()
    theirs.chmod(0o777)
    before = list(sys.path)
    with DaskCluster("local:1") as cluster:
        [on_worker] = cluster._connected().run(lambda: list(sys.path)).values()
        [ours] = tmp_path.glob("hocket-*")
        assert ours.stat().st_mode & 0o777 == 0o700
        added = [Path(place) for place in {*on_worker, *sys.path} - set(before) if "scratch" in place]
        assert len(added) == 3
        assert all(place.is_relative_to(ours) for place in added)
    assert sys.path == before
    assert list(tmp_path.iterdir()) == [theirs]
    assert list(theirs.iterdir()) == []


def test_encryption_that_is_demanded_is_there_in_processes_of_this_machine():
    """`local:1` needs no certificates of this machine."""
    with dask_module.config.set({"distributed.comm.require-encryption": True}), DaskCluster("local:1") as cluster:
        assert texts_in_order(cluster, ["a"])[0].text == "A"


# Appended to the watchdog of a worker: it fails itself, and not a child of its own, which Dask would never hear of. The
# last failure shows the repr of what Dask was given to do, as the errors of pickle do.
FAILING = """
import types

def no_process(*_, **__):
    raise BlockingIOError(11, "Resource temporarily unavailable")

subprocess = types.SimpleNamespace(Popen=no_process, DEVNULL=subprocess.DEVNULL)
unfailing = guarded

def guarded(step, texts, timeout_s):
    if texts == ["CS"]:
        return unfailing(step, texts, timeout_s)
    failures = {"CO": OSError(28, "CO"), "CN": TimeoutError("CN"), "CF": ValueError("CF")}
    work = sys._getframe(1).f_locals["self"].made
    raise failures.get(texts[0], RuntimeError(f"cannot pickle {work!r}"))
"""


NO_ROOM = "[Errno 11] Resource temporarily unavailable"


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler and one worker on which every task fails."""
    folder = tmp_path_factory.mktemp("failing")
    environment = copied_hocket(folder / "other")
    with (folder / "other" / "data_prep" / "structures" / "watchdog.py").open("a") as watchdog:
        watchdog.write(FAILING)
    with DaskProcesses(folder) as processes:
        yield processes.add_worker(environment)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CO", f"failed with OSError ({os.strerror(errno.ENOSPC)}), "),
        ("CN", "failed with TimeoutError, "),
        ("CF", "failed with ValueError, "),
        ("CS", f"cannot be started: {NO_ROOM}, "),
    ],
)
def test_what_fails_on_a_worker_is_told_as_that(smiles, reason, failing):
    """The scheduler is there, and the worker is no other version: the error says neither, and comes at once."""
    with DaskCluster(failing.address) as cluster, pytest.raises(ClusterError) as raised:
        standardise_all([smiles], KEEP.chemistry, Fingerprint(), workers=cluster)
    message = str(raised.value)
    assert message.startswith(f"{failing.address}: ")
    assert reason in message
    assert smiles not in message.replace(failing.address, "")
    assert len(raised.value.__notes__) == 1


def test_no_structure_is_in_the_log_of_what_failed(failing):
    """Dask writes of a task that fails on a worker, also what it was given to do, but none of its texts."""
    with DaskCluster(failing.address) as cluster, pytest.raises(ClusterError, match="failed with RuntimeError"):
        standardise_all(["CCSCCOCCN"], KEEP.chemistry, Fingerprint(), workers=cluster)
    failing.wait_for(lambda: "Chunk.made of Chunk(step=" in failing.log())
    assert "Compute Failed" in failing.log()
    assert "CCSCCOCCN" not in failing.log()


def test_no_structure_is_in_the_log_after_crashes(cluster, dask):
    """Children that end leave no text in the logs of scheduler and workers."""
    texts = ["die", "a-text-of-mine", "segfault"]
    texts_in_order(cluster, texts)
    assert "a-text-of-mine" not in dask.log()
