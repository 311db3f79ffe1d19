"""What travels to a worker: it says nothing of its texts, and is refused by another version. No process is started."""

from data_prep.cluster import Chunk, DaskCluster, versions
from data_prep.errors import ClusterError
from data_prep.watchdog import guarded
from tests.data_prep.trial_steps import Trial

TEXTS = ["a-text-of-mine", "die", "b"]


def test_a_chunk_is_made_as_here():
    """A worker of the same version answers what the guarded step answers."""
    assert Chunk(Trial(), TEXTS, 60.0, versions()).made() == guarded(Trial(), TEXTS, 60.0)


def test_another_version_makes_nothing():
    """It says what it has, and the caller says what is expected."""
    said = Chunk(Trial(), TEXTS, 60.0, versions() | {"rdkit": "2020.1"}).made()
    assert isinstance(said, str)
    assert f"rdkit {versions()['rdkit']}" in said
    error = DaskCluster("tcp://head:8786")._differs({"tcp://worker:1": said})
    assert isinstance(error, ClusterError)
    assert "tcp://head:8786: 1 unfit worker(s); tcp://worker:1: it has hocket" in str(error)


def test_a_chunk_hides_its_texts():
    """Dask writes the repr of what failed into logs, so it holds no text."""
    assert "a-text-of-mine" not in repr(Chunk(Trial(), TEXTS, 60.0, versions()))
