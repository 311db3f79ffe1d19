"""The finished federation as the tests of its model use it."""

import pytest

from tests.support.federation import Federation


@pytest.fixture(scope="module")
def finished(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A copy for each module, as each prediction adds to the cache of structures."""
    return finished.moved(tmp_path_factory.mktemp("model") / "federation")
