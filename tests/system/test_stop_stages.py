"""SIGTERM at every stage of a federation: each process ends within ten seconds with code 6, and nothing is lost."""

import glob
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import tests.support.federation
from pipeline.home.paths import Home
from pipeline.report.report import read_report
from tests.support.federation import AGGREGATOR, PLAN, Federation, run_all
from tests.support.marked_process import Marked, marked

N_ROUNDS = 2
WITHIN_S = 10.0


class Member:
    """A member's process, started again after each SIGTERM."""

    def __init__(self, federation: Federation, name: str) -> None:
        self.name, self.home = name, federation.home(name)
        role = "aggregator" if name == AGGREGATOR else "partner"
        self._command = federation.command(role, "run", str(federation.config(name)))
        self._log = federation.folder / name / "run.log"
        self.process = self._start()

    def _start(self) -> Marked:
        self._started = self._log.stat().st_size if self._log.exists() else 0
        return marked(self._command, log=self._log)

    def said(self, text: str) -> bool:
        """Whether the process wrote this text."""
        return text in self._log.read_text()[self._started :]

    def stop(self) -> None:
        """SIGTERM; it must end in time, with code 0 or 6, alone; then it is started again."""
        self.process.popen.send_signal(signal.SIGTERM)
        code = self.process.end(WITHIN_S)
        assert code in (0, 6), self._log.read_text()
        assert self.process.alive() == []
        self.process = self._start()

    @property
    def is_done(self) -> bool:
        """Whether it ended by itself; it must have ended well."""
        code = self.process.popen.poll()
        assert code in (None, 0), self._log.read_text()
        return code == 0


def newest(home: Home, pattern: str) -> bool:
    """Whether there is such a file below the newest round. Path.glob fails where a folder goes meanwhile."""
    return bool(glob.glob(pattern, root_dir=home.folder, recursive=True))  # noqa: PTH207


def is_adding(member: Member) -> bool:
    """The sum's file is being written, its manifest is not there."""
    folder = member.home.folder
    sums = glob.glob("outbox/round-*/attempt-*/sum.*.arrow", root_dir=folder)  # noqa: PTH207
    return any(not (folder / path).with_suffix(".json").exists() for path in sums)


def is_opening(member: Member) -> bool:
    """The sum was fetched, and its round has not ended."""
    return newest(member.home, "inbox/round-*/attempt-*/sum.*.arrow") and not member.said("finished")


PARTNER: dict[str, Callable[[Member], bool]] = {
    "importing": lambda member: "torch" in member.process.libraries() and not member.said("enrolled"),
    "preparing": lambda member: any("data_prep.structures.child" in line for line in member.process.alive()),
    "training": lambda member: member.said("prepared ") and not newest(member.home, "rounds/*/*/trained.safetensors"),
    "waiting": lambda member: member.said("for the roster"),
    "sealing": lambda member: newest(member.home, "rounds/**/.update.unposted.*.part"),
    "sealing in workers": lambda member: any("multiprocessing.spawn" in line for line in member.process.alive()),
    "opening": is_opening,
    "tracking": lambda member: member.home.finished.exists(),
}
STAGES = dict.fromkeys(("P01", "P02", "P03"), PARTNER) | {
    AGGREGATOR: {"waiting": lambda member: member.said("waiting for "), "adding": is_adding}
}


@pytest.mark.slow
def test_stopped_at_every_stage_the_end_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Preparing, training, sealing in workers, adding, opening, waiting, tracking: the trunks of an undisturbed run."""
    # 8.9 M parameters: sealing starts two workers from 8.4 M on
    large = PLAN.replace("n_bits = 512", "n_bits = 32768").replace("hidden = [16]", "hidden = [272]")
    monkeypatch.setattr(tests.support.federation, "PLAN", large)
    federation = Federation(tmp_path / "stopped", n_rounds=N_ROUNDS)
    undisturbed = federation.moved(tmp_path / "undisturbed")
    run_all(undisturbed.members())
    for name in (*federation.partners, AGGREGATOR):
        config = federation.config(name)
        config.write_text(f"workers = 2\n{config.read_text()}")
    left = {(name, stage) for name, stages in STAGES.items() for stage in stages}
    members = {name: Member(federation, name) for name in STAGES}
    try:
        while not all(member.is_done for member in members.values()):
            for name, stage in sorted(left):
                if not members[name].is_done and STAGES[name][stage](members[name]):
                    left.discard((name, stage))
                    members[name].stop()
    finally:
        for member in members.values():
            member.process.popen.kill()
    met = {(name, stage) for name, stages in STAGES.items() for stage in stages} - left
    assert {stage for _, stage in met} == {*PARTNER, *STAGES[AGGREGATOR]}, "stages that no look met"
    assert len(left) <= 3  # a short stage may pass between two looks, not at everybody
    for round_no in range(1, N_ROUNDS + 1):
        assert federation.trunks(round_no) == undisturbed.trunks(round_no)
    for name in federation.partners:
        assert read_report(federation.home(name)).trunk == read_report(undisturbed.home(name)).trunk
    assert not list(federation.exchange.rglob(".*"))
