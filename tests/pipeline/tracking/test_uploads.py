"""Files for MLflow: each is sent once, however often sending is interrupted, and the note has what remains."""

import json
import os
import re
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.home.paths import Home
from pipeline.tracking import tracker as tracking
from pipeline.tracking.descriptions import experiment_name
from pipeline.tracking.process import _make_store
from pipeline.tracking.sync import _send_patiently
from pipeline.tracking.tracker import QUIET, Tracker
from pipeline.tracking.uploads import Remaining, Upload, send
from tests.support.federation import Federation
from tests.support.tracking.tracking_reader import client_of, member_of, runs_of
from tests.support.tracking.tracking_servers import ArtifactServer, artifact_server


class Ended(Exception):
    """Raised in place of a kill while a file is sent."""


class Taker:
    """A store that takes files until it is killed."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.may_take = 0

    def uploads(self, folder: Path, names: set[str]) -> list[Upload]:
        """Uploads of these files."""
        return [Upload(folder / name, name, partial(self._take, name)) for name in sorted(names)]

    def _take(self, name: str) -> None:
        if not self.may_take:
            raise Ended
        self.may_take -= 1
        self.taken[name] += 1


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.binary(max_size=9), min_size=1),
    st.lists(st.integers(0, 3), max_size=9),
)
def test_each_file_is_sent_once_over_all_starts(files: dict[str, bytes], starts: list[int]):
    """Whenever a start is ended: no file twice, none left out, and the note says how much is left."""
    with TemporaryDirectory() as name:
        folder, taker = Path(name), Taker()
        note = folder / "sent.json"
        for file, content in files.items():
            (folder / file).write_bytes(content)
        for taker.may_take in [*starts, len(files)]:
            try:
                send(taker.uploads(folder, set(files)), note, "run")
            except Ended:
                left = files.keys() - taker.taken.keys()
                assert Remaining.read(note) == Remaining(len(left), sum(len(files[file]) for file in left))
        assert taker.taken == dict.fromkeys(files, 1)
        assert Remaining.read(note) == Remaining(0, 0)


def test_what_changed_is_sent_again(tmp_path: Path):
    """Only changed files are sent again; another run gets all."""
    taker = Taker()
    taker.may_take = 99
    for name in "abc":
        (tmp_path / name).write_text(name)
    note = tmp_path / "sent.json"
    for change, run in ((None, "1"), ("b", "1"), (None, "2")):
        if change:
            (tmp_path / change).write_text("changed")
        send(taker.uploads(tmp_path, set("abc")), note, run)
    assert taker.taken == {"a": 2, "b": 3, "c": 2}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"run": "1"}', '{"run": "1", "files": 3}'])
def test_a_damaged_note_costs_only_time(tmp_path: Path, damage: str):
    """After a damaged note all files are sent again, and the note is correct."""
    taker, note = Taker(), tmp_path / "sent.json"
    taker.may_take = 99
    (tmp_path / "a").write_text("a")
    note.write_text(damage)
    assert Remaining.read(note) is None
    send(taker.uploads(tmp_path, {"a"}), note, "1")
    assert taker.taken == {"a": 1}
    assert json.loads(note.read_text())["run"] == "1"


def test_what_is_left_is_said_in_words():
    """Files and their size."""
    assert str(Remaining(1, 0)) == "1 file (0.0 MB)"
    assert str(Remaining(12, 3_456_700_000)) == "12 files (3,456.7 MB)"


@pytest.mark.parametrize(
    ("n_bytes", "before", "seconds"), [(9, "20", "20"), (900_000_000, "20", "900"), (9, None, "20")]
)
def test_a_large_file_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int, before: str | None, seconds: str
):
    """A server that has all of it may still have to store it; for other requests the patience is as before."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    monkeypatch.setenv(name, before) if before else monkeypatch.delenv(name, raising=False)
    with (tmp_path / "model").open("wb") as file:
        file.truncate(n_bytes)
    seen: list[str | None] = []
    _send_patiently(Upload(tmp_path / "model", "model", lambda: seen.append(os.environ.get(name))))
    assert seen == [seconds]
    assert os.environ.get(name) == before


# ------------------------------------------------------------------------------------------------- real processes


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the tracking process, with a short wait at a run's end."""
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setattr(tracking, "_LONGEST_WAIT_S", 0.1)


def _until_it_holds(federation: Federation, server: ArtifactServer) -> list[str]:
    """Let the tracking process of P01's end run until the server holds it; what is said when its time is up."""
    said: list[str] = []
    server.holds.clear()
    with Tracker(federation.config("P01"), "partner", federation.home("P01"), said.append, said.append) as tracker:
        tracker.start()
        assert server.holds.wait(timeout=240), tracker.log_file.read_text()
    return said


def _files(home: Home) -> dict[Path, bytes]:
    """What a run computes: all but what tracking writes."""
    tracked = ("mlflow.db", "tracking.", "tracked.json", "sent.json", "lock", "model.packed")
    found = (path for path in home.folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if not str(path.relative_to(home.folder)).startswith(tracked)}


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_sending_goes_on_over_starts(done: Federation):
    """With a slow server each start sends some more files, and the last one registers the model.

    No file is sent twice, what is said to be left is what is left, and the last start, a plain `hocket partner run`,
    computes nothing.
    """
    member = member_of(done, "P01")
    with artifact_server(n_quick=9) as server:
        _make_store(member)
        client = client_of(member)
        client.create_experiment(experiment_name(member.plan), artifact_location=server.uri)
        before = _files(member.home)
        for server.n_quick in (9, 12):
            (said,) = _until_it_holds(done, server)
            left = Remaining.read(member.home.sent)
            assert left is not None
            assert re.search(rf"{re.escape(str(left))} .*report and model", said)
            assert server.n_taken == server.n_quick
            assert not member.home.tracked.exists()
        n_left = left.n_files
        server.n_quick = 999
        ended = done.hocket("partner", "run", str(done.config("P01")))
        assert ended.returncode == 0, ended.stderr
        assert "sending to MLflow" in ended.stderr
        assert server.n_taken == 12 + n_left + 1  # the card of the model, written when that is registered
        assert {name: len(times) for name, times in server.taken.items() if len(times) > 1} == {}
        assert member.all_sent
        assert _files(member.home) == before
        assert not (member.home.folder / "model.packed").exists()
        (run,) = runs_of(member)
        assert run.info.status == "FINISHED"
        (registered,) = client.search_model_versions()
        assert registered.run_id == run.info.run_id
        weights = next(content for name, content in server.taken.items() if name.endswith("/federated.safetensors"))
        assert weights == [(member.home.model / "federated.safetensors").read_bytes()]
    again = done.hocket("partner", "run", str(done.config("P01")))  # the server is gone, and nobody needs it
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("\n") == 2  # it has finished, and how to use the model
