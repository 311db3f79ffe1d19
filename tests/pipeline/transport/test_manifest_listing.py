"""Manifests of a folder that grows: always those that a walk finds, and settled folders are not read again."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ExchangeError
from pipeline.transport import manifest_listing as listing_module
from pipeline.transport.manifest_listing import ManifestListing

NAMES = st.sampled_from(["a.json", "b.json", ".c.json", "d.arrow"])
FOLDERS = st.sampled_from(["", "enrol", "round-0001/attempt-01", "round-0001/attempt-02", "revision-02/enrol"])


def walked(top: Path) -> list[str]:
    """The expected listing, by walking the folder."""
    found = [path.relative_to(top) for path in top.rglob("*.json") if not path.name.startswith(".")]
    return sorted(str(path) for path in found if path.parts[0] != "revision-02")


def by_a_coarse_clock(top: Path, now: float, given: dict[Path, int]) -> None:
    """Give every folder that has changed a time of change as of a file system whose clock ticks every two seconds."""
    for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
        if folder.stat().st_mtime_ns != given.get(folder):
            given[folder] = int(now // 2 * 2e9)
            os.utime(folder, ns=(given[folder], given[folder]))


@given(st.lists(st.tuples(FOLDERS, NAMES, st.booleans(), st.sampled_from([0.0, 1.0, 5.0])), max_size=12))
def test_it_is_what_a_walk_finds(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    """After any sequence of changes, however fast, the next listing is right."""
    top, now, times = tmp_path_factory.mktemp("top"), 0.0, dict[Path, int]()
    listing = ManifestListing(top, clock=lambda: now)
    for folder, name, is_kept, pause_s in steps:
        now += pause_s
        (top / folder).mkdir(parents=True, exist_ok=True)
        (top / folder / name).touch()
        if not is_kept:
            (top / folder / name).unlink()
        by_a_coarse_clock(top, now, times)
        assert listing.paths() == walked(top)


def test_a_change_within_a_clock_s_grain_is_seen(tmp_path: Path) -> None:
    """A folder that has not settled is read again whatever its time of change is."""
    now, top = 0.0, tmp_path / "top"
    top.mkdir()
    listing = ManifestListing(top, clock=lambda: now)
    times = (top.stat().st_atime_ns, top.stat().st_mtime_ns)
    for name in ("a.json", "b.json", "c.json"):
        assert listing.paths() == walked(top)
        (top / name).touch()
        os.utime(top, ns=times)
        now += 1.0
    assert listing.paths() == walked(top) != []


def test_a_settled_folder_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two folders only the changed one is read; a removed one is no longer listed."""
    now, read = 0.0, list[str]()
    scandir = os.scandir
    monkeypatch.setattr(listing_module.os, "scandir", lambda place: (read.append(Path(place).name), scandir(place))[1])
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").touch()
        os.utime(tmp_path / name, ns=(0, 0))  # long ago: what comes now may come within a tick of the file system's
    listing = ManifestListing(tmp_path, clock=lambda: now)
    for _ in range(2):
        listing.paths()
        now += 3.0
    read.clear()
    assert listing.paths() == ["new/a.json", "old/a.json"]
    assert read == []
    (tmp_path / "new/b.json").touch()
    assert listing.paths() == ["new/a.json", "new/b.json", "old/a.json"]
    assert read == ["new"]
    (tmp_path / "old/a.json").unlink()
    (tmp_path / "old").rmdir()
    assert listing.paths() == ["new/a.json", "new/b.json"]


def test_a_passing_shortage_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many open files the last listing counts; a folder never read or not readable is an error."""
    (tmp_path / "a.json").touch()
    listing = ManifestListing(tmp_path)
    assert listing.paths() == ["a.json"]

    def fail(_: str) -> None:
        raise OSError(number, os.strerror(number), "folder")

    monkeypatch.setattr(listing_module.os, "scandir", fail)
    number = errno.EMFILE
    assert listing.paths() == ["a.json"]
    with pytest.raises(ExchangeError, match=os.strerror(errno.EMFILE)):
        ManifestListing(tmp_path).paths()
    number = errno.EACCES
    with pytest.raises(ExchangeError, match=os.strerror(errno.EACCES)):
        listing.paths()
