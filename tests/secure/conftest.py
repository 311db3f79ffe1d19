"""A consortium of three that many tests share; making keys is the slow part."""

import pytest

from tests.support.secure.consortium import Consortium, make_consortium


@pytest.fixture(scope="session")
def trio() -> Consortium:
    """Three partners, 16 bits, equal weights."""
    return make_consortium(3)
