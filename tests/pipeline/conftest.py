"""One small federation before its first round and one after its last, built once for all tests of this folder."""

from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.home import write_json
from pipeline.plan import read_plan
from tests.pipeline.federation import AGGREGATOR, Federation, run_all
from tests.pipeline.transcripts import federation_with_a_void

settings.register_profile("hocket", deadline=None)  # a busy machine is no failure
settings.load_profile("hocket")


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Keys, plan, tables and the dealt secret; nobody has run yet. For reading only."""
    return Federation(tmp_path_factory.mktemp("enrolled"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation whose members are all done, as their commands would leave it. For reading only."""
    federation = Federation(tmp_path_factory.mktemp("finished"))
    run_all(federation.members())
    for name in (*federation.partners, AGGREGATOR):
        write_json(federation.home(name).finished, {"plan": read_plan(federation.plan_file).digest})
    return federation


@pytest.fixture(scope="session")
def voided(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """One round of four partners, of which P03 vanished after the first roster. For reading only."""
    return federation_with_a_void(tmp_path_factory.mktemp("voided") / "federation")


@pytest.fixture
def fresh(enrolled: Federation, tmp_path: Path) -> Federation:
    """A copy of the enrolled federation that a test may change."""
    return enrolled.moved(tmp_path / "federation")


@pytest.fixture
def done(finished: Federation, tmp_path: Path) -> Federation:
    """A copy of the finished federation that a test may change."""
    return finished.moved(tmp_path / "federation")
