"""The plan of the small federation."""

import tomllib

import pytest

from tests.support.federation import Federation
from tests.support.plan.plan_tables import Table


@pytest.fixture(scope="module")
def table(enrolled: Federation) -> Table:
    """The small federation's plan as parsed TOML."""
    return tomllib.loads(enrolled.plan_file.read_text())
