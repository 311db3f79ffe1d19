"""Settings of MLflow for the tests of tracking."""

import pytest

from pipeline.tracking.tracker import QUIET


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the tracking process."""
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)
