"""A federation in the middle of a round, for the tests of status."""

from pathlib import Path

import pytest

from tests.support.federation import Federation


@pytest.fixture
def delivered(sealed: Federation, tmp_path: Path) -> Federation:
    """A copy of the federation whose four partners have delivered; a test may change it."""
    return sealed.moved(tmp_path / "federation")
