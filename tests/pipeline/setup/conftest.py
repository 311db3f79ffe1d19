"""The doctor without its slowest check."""

import pytest

import pipeline.setup.doctor_machine as machine


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries take seconds to load; one test loads them."""
    monkeypatch.setattr(machine, "_LOADED", {"partner": (("json",),), "aggregator": (("json",),)})
