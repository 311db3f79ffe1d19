"""A partner with a full disk reports it, waits or ends, and later reaches the same trunk."""

import errno
import itertools
import os
import shutil
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.home.paths import Home
from tests.support.federation import AGGREGATOR, Federation, run_all, run_to, step
from tests.support.full_disk import fill
from tests.support.marked_process import Marked, marked
from tests.support.tracking.tracking_reader import use_store


@pytest.fixture
def half_way(fresh: Federation, tmp_path: Path) -> Federation:
    """The federation at the start of round 2, its first partner's store elsewhere."""
    use_store(fresh, "P01", f"sqlite:///{tmp_path}/store.db")
    run_to(fresh, 2)
    return fresh


@pytest.fixture
def undisturbed(half_way: Federation, tmp_path: Path) -> Federation:
    """The same run to its end with space enough."""
    federation = half_way.moved(tmp_path / "undisturbed")
    run_all(federation.members())
    return federation


@pytest.fixture
def full(undisturbed: Federation, half_way: Federation, small_disk: Path) -> Path:
    """The ballast that leaves no space on the disk of the first partner's home."""
    assert undisturbed.home("P01").finished.parent != small_disk
    folder = half_way.home("P01").folder
    shutil.move(folder, small_disk / "home")
    folder.symlink_to(small_disk / "home")
    return fill(small_disk)


def partner(federation: Federation, *options: str) -> Marked:
    """The first partner's process."""
    return marked(federation.command("partner", "run", str(federation.config("P01")), *options))


def files(home: Home) -> dict[str, bytes]:
    """Files of its rounds that a partner keeps."""
    found = sorted(path for path in home.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(home.folder)): path.read_bytes() for path in found if "rounds" in path.parts}


def model(home: Home) -> dict[str, bytes]:
    """The finished model's weights."""
    return {path.name: path.read_bytes() for path in home.model.glob("*.safetensors")}


def others_go_on(federation: Federation, process: Marked) -> None:
    """Drive all but the first partner until its process ends."""
    machines = {name: federation.partner(name) for name in federation.partners[1:]}
    rest = itertools.cycle((machines | {AGGREGATOR: federation.aggregator()}).values())
    while process.popen.poll() is None:
        step(next(rest))


@pytest.mark.slow
def test_a_partner_waits_for_space_and_comes_to_the_same_trunk(
    half_way: Federation, undisturbed: Federation, full: Path
):
    """It reports the full disk; with space again it trains, and trunk and model are those of an undisturbed run."""
    process = partner(half_way)
    assert process.popen.stderr is not None
    for line in process.popen.stderr:
        if "waiting for space" in line:
            assert os.strerror(errno.ENOSPC) in line
            break
    else:
        pytest.fail("the process ended")
    full.unlink()
    others_go_on(half_way, process)
    rest = process.popen.stderr.read()
    assert process.popen.returncode == ExitCode.DONE, rest
    assert process.alive() == []
    assert half_way.trunks(2) == undisturbed.trunks(2)
    assert len(half_way.trunks(2)) == 1
    assert len(model(half_way.home("P01"))) == 3
    assert model(half_way.home("P01")) == model(undisturbed.home("P01"))


@pytest.mark.slow
def test_a_partner_that_may_not_wait_ends_and_keeps_what_it_had(
    half_way: Federation, undisturbed: Federation, full: Path
):
    """Exit code 2 and the reason, with its rounds unchanged; the next start reaches the same trunk."""
    home = half_way.home("P01")
    before = files(home)
    process = partner(half_way, "--once")
    _, said = process.popen.communicate()
    assert process.popen.returncode == ExitCode.CONFIGURATION, said
    assert os.strerror(errno.ENOSPC) in said.splitlines()[-1]
    assert files(home) == before
    full.unlink()
    process = partner(half_way)
    others_go_on(half_way, process)
    _, said = process.popen.communicate()
    assert process.popen.returncode == ExitCode.DONE, said
    assert half_way.trunks(2) == undisturbed.trunks(2)
    assert model(home) == model(undisturbed.home("P01"))
