"""The files of a round: read as written, named if missing, and removed when the round is over."""

from pathlib import Path

import numpy as np
import pytest

from partners.training.training import seeded_state
from partners.training_data.task_keys import TaskKeys
from pipeline.errors import ConfigError
from pipeline.home.round_files import RoundFiles
from tests.support.partners.synthetic import TRAINING, small_set, small_trunk

LAYOUT, TRUNK, _ = small_trunk(6)


@pytest.fixture
def files(tmp_path: Path) -> RoundFiles:
    """The files of a round that has none yet."""
    return RoundFiles(tmp_path / "round-0001", LAYOUT)


def test_what_training_and_sealing_gave_comes_back(files: RoundFiles):
    """Change, heads, loss, residual and share, to the last bit."""
    state = seeded_state(small_set(), LAYOUT, TRAINING, 3)
    assert not files.is_trained
    tasks = TaskKeys(("A", "B"), ("C",))
    files.write_trained(TRUNK, state, 0.75, tasks)
    assert files.read_tasks() == tasks
    files.write_residual(TRUNK / 2, 0.25)
    assert files.is_trained
    np.testing.assert_array_equal(files.read_change(), TRUNK)
    private, loss = files.read_private()
    assert loss == 0.75
    for name, head in state.heads.items():
        np.testing.assert_array_equal(private.heads[name], head)
    residual, share = files.read_residual()
    np.testing.assert_array_equal(residual, TRUNK / 2)
    assert share == 0.25


@pytest.mark.parametrize("read", ["read_change", "read_private", "read_residual"])
def test_a_missing_file_is_named(files: RoundFiles, read: str):
    """A missing file is an error: the home was not restored completely."""
    with pytest.raises(ConfigError, match=r"round-0001/\w+\.safetensors: .*outbox"):
        getattr(files, read)()


def test_nothing_is_left_of_a_round_that_is_over(files: RoundFiles):
    """All files are removed, above all the change in the clear; removing again is no error."""
    files.write_trained(TRUNK, seeded_state(small_set(), LAYOUT, TRAINING, 3), 0.5)
    files.write_residual(TRUNK, 0.0)
    files.unposted.write_bytes(b"sealed")
    for _ in range(2):
        files.remove()
        assert not list(files.folder.iterdir())
