"""One small federation before its first round and one after its last, built once for all tests."""

from pathlib import Path

import pytest

from pipeline.home.json_files import write_json
from pipeline.plan.plan import read_plan
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation, run_all, step, until_waiting
from tests.support.signed_transcripts import federation_with_a_void


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


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Four partners, all ready for round 1; the aggregator has not looked. For reading only."""
    federation = Federation(
        tmp_path_factory.mktemp("ready") / "federation", n_partners=4, extra='[seal]\nweights = "equal"'
    )
    until_waiting(federation, federation.partners)
    return federation


@pytest.fixture(scope="session")
def sealed(ready: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """The same when all have posted their sealed updates of round 1. For reading only."""
    federation = ready.moved(tmp_path_factory.mktemp("sealed") / "federation")
    step(federation.aggregator())
    until_waiting(federation, federation.partners)
    return federation


@pytest.fixture(scope="session")
def sealed_again(sealed: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """The same one round later. For reading only."""
    federation = sealed.moved(tmp_path_factory.mktemp("again") / "federation")
    step(federation.aggregator())  # adds
    until_waiting(federation, federation.partners)
    aggregator = federation.aggregator()
    while step(aggregator) == "on" and not federation.posted(MessageName("roster", 2, 1, AGGREGATOR)).exists():
        pass
    until_waiting(federation, federation.partners)
    return federation


@pytest.fixture
def fresh(enrolled: Federation, tmp_path: Path) -> Federation:
    """A copy of the enrolled federation that a test may change."""
    return enrolled.moved(tmp_path / "federation")


@pytest.fixture
def done(finished: Federation, tmp_path: Path) -> Federation:
    """A copy of the finished federation that a test may change."""
    return finished.moved(tmp_path / "federation")
