"""Kinds of tampering as rows of tables, and what must hold for each."""

import copy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import split

from pipeline.errors import ExitCode
from pipeline.home.round_metrics import read_records
from tests.support.federation import Federation
from tests.support.hostile.commands import Commands, Ended

# in the folders of members whose command does not run; large, and of nobody else's interest
_NOT_OF_OTHERS = ("prepared", "baseline", "model", "audit", "structures.cache", "T[012].csv")
MOST_MB = 500.0  # memory beyond that of the same command on untouched files

Change = Callable[[Federation], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tampering: what is changed, which command meets it, and how that has to end."""

    name: str
    change: Change
    code: ExitCode
    named: str = ""  # must stand in what the command says: the file or the setting at fault
    command: str = ""  # empty: that of the table
    stage: str = ""  # empty: that of the table
    is_harmless: bool = False  # the run gets as far as on untouched files


@dataclass(frozen=True, slots=True)
class Untouched:
    """What a command does on the untouched files of a stage."""

    ended: Ended
    trunks: frozenset[tuple[str, int, str]]  # partner, round, digest


class Bench:
    """Copies of a federation's stages, and what each command does on an untouched copy."""

    def __init__(self, commands: Commands, stages: Callable[[str], Federation], folder: Path) -> None:
        self._commands, self._stages, self._folder = commands, stages, folder
        self._untouched: dict[tuple[str, str], Untouched] = {}
        self._n_copies = 0

    def check(self, kind: Kind, stage: str, command: str, *, output: str = "") -> None:
        """Change a copy and run the command: it must end in time, as expected, without a traceback or much memory.

        output : relative path of what the command writes, and must not write if it refuses
        No trunk is another than after the untouched run; if the tampering is harmless, none is missing.
        """
        stage, command = kind.stage or stage, kind.command or command
        untouched = self._of_untouched(stage, command)
        with _copied(self._stages(stage), self._next_folder(), command) as federation:
            kind.change(federation)
            ended = self._commands.run(federation.folder, *split(command))
            result = f"exit code {ended.code}, {ended.peak_mb:.0f} MB\n{ended.out[-2000:]}\n{ended.err[-4000:]}"
            assert not ended.hangs, result
            assert "Traceback" not in ended.err, result
            assert ended.code == kind.code, result
            assert kind.named in ended.out + ended.err, result
            assert ended.peak_mb < untouched.ended.peak_mb + MOST_MB, result
            assert not output or ended.code == ExitCode.DONE or not (federation.folder / output).exists(), result
            if ended.code == untouched.ended.code:
                trunks = trunks_of(federation)
                assert trunks <= untouched.trunks, result
                assert trunks == untouched.trunks or not (kind.is_harmless or ended.code == ExitCode.DONE), result

    def _of_untouched(self, stage: str, command: str) -> Untouched:
        if (stage, command) not in self._untouched:
            with _copied(self._stages(stage), self._next_folder(), command) as federation:
                ended = self._commands.run(federation.folder, *split(command))
                assert ended.code in (ExitCode.DONE, ExitCode.NOT_YET), ended
                self._untouched[stage, command] = Untouched(ended, trunks_of(federation))
        return self._untouched[stage, command]

    def _next_folder(self) -> Path:
        self._n_copies += 1
        return self._folder / str(self._n_copies)


@contextmanager
def _copied(stage: Federation, folder: Path, command: str) -> Iterator[Federation]:
    """A copy of a stage for a command, removed in the end; `rm` removes folders deeper than Python can walk."""
    twin = copy.copy(stage)
    twin.folder, twin.exchange, twin.plan_file = folder, folder / "exchange", folder / stage.plan_file.name
    folder.mkdir()
    try:
        for path in stage.folder.iterdir():
            ignored = None if f"{path.name}/" in command else shutil.ignore_patterns(*_NOT_OF_OTHERS)
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=ignored)
            else:
                shutil.copyfile(path, folder / path.name)
        yield twin
    finally:
        subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


def trunks_of(federation: Federation) -> frozenset[tuple[str, int, str]]:
    """Partner, round and digest of each trunk that a partner of the federation has recorded."""
    return frozenset(
        (name, record.step, record.facts["trunk"])
        for name in federation.partners
        for record in read_records(federation.home(name).metrics)
        if "trunk" in record.facts
    )


def by_name(*tables: list[Kind]) -> dict[str, Kind]:
    """The kinds of some tables by name; each name stands for one kind."""
    kinds = [kind for table in tables for kind in table]
    named = {kind.name: kind for kind in kinds}
    assert len(named) == len(kinds), sorted(kind.name for kind in kinds if named[kind.name] is not kind)
    return named
