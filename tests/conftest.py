"""Fixtures that every part of the tests may use."""

import faulthandler
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.federation_fixtures"]

_ROOT = Path(__file__).resolve().parents[1]
_TEARDOWN_S = 600.0
_STDERR = pytest.StashKey[int]()

# Here and not in a folder below: a test takes the settings that are the default when its module is imported.
settings.register_profile("hocket", deadline=None)  # a busy machine is no failure
settings.load_profile("hocket")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr, as tests are run with another."""
    config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """End the process where a teardown hangs, with what it does: a failed test has used up pytest-timeout's timer."""
    faulthandler.dump_traceback_later(_TEARDOWN_S, exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the peers' golden values and real data; beside the checkout, or where HOCKET_SHARED says."""
    folder = Path(os.environ.get("HOCKET_SHARED", _ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the golden files and data of {folder}, which is not here (set HOCKET_SHARED)")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["/usr/bin/mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["/usr/bin/umount", "--lazy", str(place)], check=True)
