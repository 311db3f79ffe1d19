"""A consortium of three partners that many tests share, since generating keys is slow."""

import pytest

from tests.support.secure.consortium import Consortium, make_consortium


@pytest.fixture(scope="session")
def trio() -> Consortium:
    """Three partners, 16 bits, equal weights."""
    return make_consortium(3)
