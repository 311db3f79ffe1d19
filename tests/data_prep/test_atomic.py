"""Folders that appear whole or not at all, by both functions that write them: data_prep imports no other folder."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

import data_prep.atomic
import secure.files
from data_prep.atomic import PART, folder_lock

Writer = Callable[[Path], AbstractContextManager[Path]]


@pytest.fixture(params=[data_prep.atomic.atomic_folder, secure.files.atomic_folder], ids=["data_prep", "secure"])
def atomic_folder(request: pytest.FixtureRequest) -> Writer:
    """Each of the two."""
    return request.param


def test_both_end_temporary_names_alike():
    """One ending, so that one rule finds what a killed process left."""
    assert data_prep.atomic.PART == secure.files.PART


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path, atomic_folder):
    """The new content is there, the old is gone, and nothing else lies about."""
    for text in ("old", "new"):
        (tmp_path / f".out{PART}").mkdir()
        (tmp_path / f".out{PART}" / "left by a killed one").touch()
        with atomic_folder(tmp_path / "out") as folder:
            (folder / f"{text}.txt").write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.txt"]


def test_a_full_disk_leaves_the_earlier_folder_and_says_where(tmp_path, atomic_folder):
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


@pytest.mark.parametrize(("is_kind", "n_written"), [(stat.S_ISDIR, 1), (stat.S_ISREG, 0)])
def test_a_mount_that_syncs_no_folders_is_written(tmp_path, monkeypatch, atomic_folder, is_kind, n_written):
    """What it says of folders is no error; of a file it would be."""
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if is_kind(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    refusal = nullcontext() if n_written else pytest.raises(OSError, match=os.strerror(errno.EINVAL))
    with refusal, atomic_folder(tmp_path / "out") as folder:
        (folder / "file").touch()
    assert len(list(tmp_path.iterdir())) == n_written


def test_a_folder_has_one_holder(tmp_path):
    """Without waiting a held lock gives False, and so does a missing folder."""
    with folder_lock(tmp_path) as first, folder_lock(tmp_path, waits=False) as second:
        assert (first, second) == (True, False)
    with folder_lock(tmp_path, waits=False) as again, folder_lock(tmp_path / "nowhere") as nothing:
        assert (again, nothing) == (True, False)
