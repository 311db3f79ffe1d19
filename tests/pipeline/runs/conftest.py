"""A clock and a federation for the tests of a run."""

from pathlib import Path

import pytest

from tests.support.federation import Federation
from tests.support.runs.attended_runs import Clock


@pytest.fixture
def clock() -> Clock:
    """The clock of every run in a test."""
    return Clock()


@pytest.fixture
def federation(ready: Federation, tmp_path: Path) -> Federation:
    """Four partners that are ready for round 1; a test may change it."""
    return ready.moved(tmp_path / "federation")
