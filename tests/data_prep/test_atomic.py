"""Folders that appear whole or not at all."""

import errno
import os

import pytest

from data_prep.atomic import PART, atomic_folder, folder_lock


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path):
    """The new content is there, the old is gone, and nothing else lies about."""
    for text in ("old", "new"):
        (tmp_path / f".out{PART}").mkdir()
        (tmp_path / f".out{PART}" / "left by a killed one").touch()
        with atomic_folder(tmp_path / "out") as folder:
            (folder / f"{text}.txt").write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.txt"]


def test_a_full_disk_leaves_the_earlier_folder_and_says_where(tmp_path):
    """The error names the folder, which is as it was."""
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "old.txt").write_text("old")

    def write_on_a_full_disk() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "new.txt").write_text("new")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as refused:
        write_on_a_full_disk()
    assert any(str(tmp_path / "out") in note for note in refused.value.__notes__)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "old.txt").read_text() == "old"


def test_a_folder_has_one_holder(tmp_path):
    """Without waiting a held lock gives False, and so does a missing folder."""
    with folder_lock(tmp_path) as first, folder_lock(tmp_path, waits=False) as second:
        assert (first, second) == (True, False)
    with folder_lock(tmp_path, waits=False) as again, folder_lock(tmp_path / "nowhere") as nothing:
        assert (again, nothing) == (True, False)
