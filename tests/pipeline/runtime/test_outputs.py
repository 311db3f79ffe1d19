"""A failure to write is one message with the path that was asked for, and leaves nothing new."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.runtime.outputs import writing


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EROFS, "may write"), (errno.ENOSPC, "free"), (errno.EIO, "another place")]
)
def test_the_message_has_path_reason_and_advice(tmp_path: Path, number: int, advice: str):
    """Not the temporary file that the system names."""
    with pytest.raises(ConfigError) as refused, writing(tmp_path / "wanted"):
        raise OSError(number, "raw", str(tmp_path / ".temporary"))
    assert str(refused.value) == f"{tmp_path / 'wanted'}: cannot be written: {os.strerror(number)}"
    assert advice in refused.value.__notes__[0]


def fail(file: Path, error: Exception) -> None:
    """Write a file, then fail."""
    file.parent.mkdir(parents=True)
    file.touch()
    raise error


@pytest.mark.parametrize("whole", [False, True])
def test_new_folders_are_removed(tmp_path: Path, *, whole: bool):
    """Empty ones always, those with files if the folder was to be written whole; what was there stays."""
    (tmp_path / "old").mkdir()
    folder = tmp_path / "old" / "a" / "b"
    with pytest.raises(ConfigError), writing(folder, whole=whole):
        fail(folder / "c" / "file", OSError(errno.ENOSPC, "full"))
    assert (tmp_path / "old").is_dir()
    assert (tmp_path / "old" / "a").exists() == (not whole)
    with pytest.raises(ConfigError), writing(tmp_path / "old", whole=whole):
        raise OSError(errno.ENOSPC, "full")
    assert (tmp_path / "old").is_dir()


def test_other_errors_pass(tmp_path: Path):
    """A refusal of another kind keeps its type and its files."""
    with pytest.raises(ValueError, match="other"), writing(tmp_path / "a"):
        fail(tmp_path / "a" / "file", ValueError("other"))
    assert (tmp_path / "a").is_dir()
