"""Federations over mirrors, within one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.plan.plan import read_plan
from pipeline.transport.mirror import Mirror
from tests.support.federation import Federation, step
from tests.support.transport.line_in_process import Line
from tests.support.transport.nvflare_sites import own_mirrors


@pytest.fixture
def apart(enrolled: Federation, tmp_path: Path) -> Federation:
    """A federation whose members have mirrors; the custodian has posted its first messages in its mirror."""
    federation = enrolled.moved(tmp_path / "apart")
    own_mirrors(federation)
    assert step(federation.partner("P01")) == "waiting"
    return federation


@pytest.fixture
def line(finished: Federation, tmp_path: Path) -> Iterator[Line]:
    """Members with empty mirrors, connected; `over` has messages that they signed."""
    federation = finished.moved(tmp_path / "empty")
    own_mirrors(federation)
    joined = Line(federation)
    yield joined
    joined.close()


@pytest.fixture(scope="module")
def over(finished: Federation) -> tuple[Federation, Mirror]:
    """A finished federation and its exchange as a mirror. For reading only."""
    return finished, Mirror(read_plan(finished.plan_file), finished.exchange)
