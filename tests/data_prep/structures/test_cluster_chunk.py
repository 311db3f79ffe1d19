"""What travels to a worker and back: it says nothing of its texts, and what went wrong is told as what it is."""

import errno
from concurrent.futures import CancelledError

import pytest
from distributed.scheduler import KilledWorker

from data_prep.errors import ChildError, ClusterError
from data_prep.structures import cluster
from data_prep.structures.cluster import Chunk, DaskCluster, library_versions
from data_prep.structures.steps import StepResult
from data_prep.structures.watchdog import guarded
from tests.support.data_prep.trial_steps import Trial

TEXTS = ["a-text-of-mine", "die", "b"]


def test_a_chunk_is_made_as_here():
    """A worker of the same version answers what the guarded step answers."""
    assert Chunk(Trial(), TEXTS, 60.0, library_versions()).made() == guarded(Trial(), TEXTS, 60.0)


def test_another_version_makes_nothing():
    """It says what it has, and the caller says what is expected."""
    said = Chunk(Trial(), TEXTS, 60.0, library_versions() | {"rdkit": "2020.1"}).made()
    assert isinstance(said, str)
    assert f"rdkit {library_versions()['rdkit']}" in said
    error = DaskCluster("tcp://head:8786")._differs({"tcp://worker:1": said})
    assert isinstance(error, ClusterError)
    assert str(error).startswith("tcp://head:8786: 1 ")
    assert f"tcp://worker:1: {said}" in str(error)


def test_a_chunk_hides_its_texts():
    """Dask writes the repr of what failed into logs, so neither a chunk's nor its work's holds a text."""
    chunk = Chunk(Trial(), TEXTS, 60.0, library_versions())
    for said in (repr(chunk), repr(chunk.made)):
        assert "Chunk(step=Trial(" in said
        assert not [text for text in TEXTS[:2] if text in said]


def test_a_machine_without_room_for_processes_is_told_as_that(monkeypatch):
    """The refusal reaches the caller with its words and its advice, and not as another version."""
    refused = ChildError("no room")
    refused.add_note("raise the limit")

    def refusing(*_: object) -> list[StepResult]:
        raise refused

    monkeypatch.setattr(cluster, "guarded", refusing)
    made = Chunk(Trial(), TEXTS, 60.0, library_versions()).made()
    assert made is refused
    assert made.__traceback__ is None  # its frames hold the texts
    with pytest.raises(ClusterError, match=f"^tcp://head:8786: .*{refused}") as raised:
        DaskCluster("tcp://head:8786")._result(Done("finished", made=made))
    assert raised.value.__notes__ == ["raise the limit"]


class Done:
    """Stands for a future that is done; `later` is its status once its result was asked for."""

    def __init__(self, status: str, *, made: object = None, failed: Exception | None = None, later: str = "") -> None:
        self.status, self._later, self._made, self._failed = status, later or status, made, failed

    def result(self, timeout: float) -> object:
        """Return or raise as a future does, within the time."""
        assert timeout > 0
        self.status = self._later
        if self._failed:
            raise self._failed
        return self._made

    def exception(self, timeout: float) -> Exception | None:
        """What the task raised."""
        assert timeout > 0
        return self._failed if self.status == "error" else None


FAILURES = [
    (OSError(errno.EMFILE, "a-text-of-mine"), "OSError (Too many open files)"),
    (OSError("a-text-of-mine", "a-text-of-mine"), "OSError"),
    (TimeoutError("a-text-of-mine"), "TimeoutError"),
    (CancelledError("a-text-of-mine"), "CancelledError"),
]


@pytest.mark.parametrize("status", ["error", "finished"])
@pytest.mark.parametrize(("failed", "named"), FAILURES)
def test_what_a_task_raises_is_named_by_its_type(failed, named, status):
    """It is neither a lost scheduler nor a lost result, also where the result was lost and its second making failed."""
    with pytest.raises(ClusterError) as raised:
        DaskCluster("tcp://head:8786")._result(Done(status, failed=failed, later="error"))
    assert str(raised.value).startswith("tcp://head:8786: ")
    assert f" {named}, " in str(raised.value)
    assert "a-text-of-mine" not in str(raised.value)
    assert raised.value.__notes__
    assert raised.value.__suppress_context__ or raised.value.__context__ is None  # no traceback shows the text


@pytest.mark.parametrize("failed", [OSError("connection closed"), TimeoutError("too late"), CancelledError("lost")])
def test_what_the_connection_raises_stays_what_it_is(failed):
    """A result that does not come is a matter of scheduler and workers."""
    with pytest.raises(type(failed)) as raised:
        DaskCluster("tcp://head:8786")._result(Done("finished", failed=failed, later="lost"))
    assert raised.value is failed


@pytest.mark.parametrize("status", ["error", "finished"])
def test_a_task_whose_workers_died_has_no_outcomes(status):
    """None, so that its texts are made again, each alone."""
    killed = KilledWorker("made-1", None, 3)
    assert DaskCluster("tcp://head:8786")._result(Done(status, failed=killed, later="error")) is None
