"""Federations in the middle of a round."""

from pathlib import Path

import pytest

from tests.support.federation import Federation


@pytest.fixture
def delivered(sealed: Federation, tmp_path: Path) -> Federation:
    """All updates of round 1 are posted; the aggregator has posted neither sum nor void."""
    return sealed.moved(tmp_path / "federation")
