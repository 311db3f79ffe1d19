"""A member's home: complete files, one process, and the leftovers of a killed one."""

import signal
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ExitCode, HomeInUse
from pipeline.home.paths import Home
from secure.files import PART, write_atomically
from secure.messages.message_name import MessageName
from tests.support.cli_runner import python_process
from tests.support.held_home import holder

# ------------------------------------------------------------------------------------------------------- the lock


def test_a_home_has_one_process_and_a_killed_one_frees_it(tmp_path: Path):
    """A second process is refused while the first lives; SIGKILL releases the home at once."""
    home = Home(tmp_path / "home")
    with holder(home.folder) as process:
        with pytest.raises(HomeInUse, match=str(home.folder)) as caught, home.alone():
            pytest.fail("two processes in one home")
        assert caught.value.exit_code == ExitCode.NOT_YET
        process.send_signal(signal.SIGKILL)
        process.wait()
        with home.alone():
            pass


def test_the_lock_is_free_after_an_error(tmp_path: Path):
    """The home is released when the holder's block ends, also by an error, and not before."""
    home = Home(tmp_path)
    with pytest.raises(ZeroDivisionError), home.alone():
        raise ZeroDivisionError
    with home.alone(), pytest.raises(HomeInUse), home.alone():
        pytest.fail("locked twice")
    with home.alone():
        pass


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path):
    """A file where the home should be."""
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError, match=f"^{tmp_path / 'home'}: "), Home(tmp_path / "home").alone():
        pytest.fail("a file is no home")


# ----------------------------------------------------------------------------------------------------- leftovers

LEFTOVERS = [
    ".finished.json.part",
    "outbox/enrol/.deal.P01.envelopes.part",
    "inbox/round-0001/attempt-01/.sum.agg.arrow.part",
    "inbox/round-0001/attempt-01/..sum.agg.arrow.part.part",
    "rounds/round-0002/.start.safetensors.part",
    ".group.secret.0123456789abcdef.part",
]
KEPT = [
    "finished.json",
    "lock",
    "group.secret",
    "pair.seeds",
    "keys/private.key",
    "outbox/enrol/deal.P01.envelopes",
    "inbox/round-0001/attempt-01/sum.agg.arrow",
    "rounds/round-0001/attempt-01/update.unposted",
    "rounds/round-0002/start.safetensors",
    "mlflow.db",
    "part",
    "notes.part",
    ".hidden",
    ".model.packed.part/model.json",  # of the tracking process, which works beside the holder
]


def test_only_what_was_half_written_is_swept(tmp_path: Path):
    """Half-written files of a killed process are removed with the lock, all others stay."""
    for name in (*LEFTOVERS, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with Home(tmp_path).alone():
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(KEPT)


KILLED = """
import os, pathlib, sys
import numpy as np
import secure.files as files
from partners.files.checkpoint import Checkpoint, save_checkpoint
from pipeline.exchange.storage import Exchange

def die(*_, **__):
    os._exit(9)

pathlib.Path.replace = os.replace = os.link = die
home, writer = pathlib.Path(sys.argv[1]), sys.argv[2]
home.mkdir(mode=0o700)
if writer == "send":
    Exchange(f"file://{home}").send(home.parent / "source", "file")
elif writer == "save":
    save_checkpoint(home / "file", Checkpoint(trunk=np.zeros(3, np.float32)))
elif writer == "atomic_file":
    with files.atomic_file(home / "file") as file:
        file.write(b"x")
elif writer == "atomic_path":
    with files.atomic_path(home / "file") as path:
        path.write_bytes(b"x")
else:
    getattr(files, writer)(home / "file", b"x")
"""


@pytest.mark.parametrize("writer", ["write_atomically", "atomic_file", "atomic_path", "write_secret", "send", "save"])
def test_every_temporary_name_of_a_writer_is_swept(tmp_path: Path, writer: str):
    """A process killed just before the rename leaves only a file that is removed later."""
    (tmp_path / "source").write_bytes(b"x")
    done = python_process(KILLED, tmp_path / "home", writer)
    assert done.returncode == 9
    left = [path.name for path in (tmp_path / "home").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".file.")
    assert left[0].endswith(PART)
    with Home(tmp_path / "home").alone():
        assert [path.name for path in (tmp_path / "home").iterdir()] == ["lock"]


def test_nobody_sweeps_without_the_lock(tmp_path: Path):
    """Without the lock nothing is removed: it may be the holder's file."""
    home = Home(tmp_path)
    with home.alone():
        (tmp_path / ".file.part").write_bytes(b"x")
        with pytest.raises(HomeInUse), home.alone():
            pytest.fail("locked twice")
        assert (tmp_path / ".file.part").exists()


# ------------------------------------------------------------------------------------------------- revisions


def test_each_revision_has_its_own_messages_secrets_and_attempts(tmp_path: Path):
    """Plans share only the start of a round; the first plan's files have no revision folder."""
    first, second = Home(tmp_path), Home(tmp_path, "revision-02")
    for home in (first, second):
        for path in (home.group_secret, home.inbox("a"), home.outbox("a"), home.pair_seeds, home.training(3) / "a"):
            write_atomically(path, home.revision.encode())
        assert home.group_secret.read_bytes() == home.training(3).joinpath("a").read_bytes() == home.revision.encode()
    assert first.start_file(3) == second.start_file(3)
    assert second.training(3).is_relative_to(first.round(3))
    assert [home.revision for home in second.of_every_plan()] == ["", "revision-02"]


def test_leftovers_are_the_payloads_of_earlier_plans_and_the_seeds_of_others(tmp_path: Path):
    """Payloads of the same and of later revisions stay, and all manifests; of release seeds only the plan's own."""
    name = MessageName("update", 3, 1, "P01")
    homes = [Home(tmp_path, revision) for revision in ("", "revision-02", "revision-03")]
    for home in homes:
        write_atomically(home.outbox(name.payload), b"x")
        write_atomically(home.outbox(name.manifest), b"x")
        write_atomically(home.release_seed(3, 1), b"x")
    homes[1].remove_leftovers()
    assert [home.outbox(name.payload).exists() for home in homes] == [False, True, True]
    assert [home.release_seed(3, 1).exists() for home in homes] == [False, True, False]
    assert all(home.outbox(name.manifest).exists() for home in homes)


def test_rounds_started_are_those_with_a_start(tmp_path: Path):
    """A round's folder without a start file is not a started round."""
    home = Home(tmp_path)
    write_atomically(home.start_file(3), b"x")
    home.training(4).mkdir(parents=True)
    assert home.rounds_started() == [3]
    assert home.start_file(3).parent == home.round(3)
    assert home.release_seed(4, 1).is_relative_to(home.round(4))
