"""One process that forks for every command, and the stages of a federation, for all tables of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.hostile.commands import Commands
from tests.support.hostile.kinds import Bench
from tests.support.hostile.stages import Stages


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Runs a command on a tampered copy of a stage."""
    stages = Stages(request.getfixturevalue, tmp_path_factory.mktemp("stages"))
    with Commands() as commands:
        yield Bench(commands, stages, tmp_path_factory.mktemp("kinds"))
