"""The finished federation as the tests of its model use it, and structures to predict."""

from pathlib import Path

import pytest

from tests.support.federation import Federation
from tests.support.partner_tables import write_structures


@pytest.fixture(scope="module")
def finished(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A copy for each module, as each prediction adds to the cache of structures."""
    return finished.moved(tmp_path_factory.mktemp("model") / "federation")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Structures of the partners' kind, and some that cannot be used."""
    return write_structures(tmp_path_factory.mktemp("new") / "new.csv", 40, 5, "bad,C1CC", ",CCO", "empty,")
