"""Golden transcripts: what commands say, word for word, in one text file for each command.

A transcript reads like a session in a terminal: `# a note`, `$ the command line`, what it prints, `2>` before each line
of stderr, and the exit code. What differs from run to run, or between machines, stands there by its name: FOLDER, TIME,
DIGEST, a version as VERSION, a size as N, a figure as n.nnn.
"""

import difflib
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from tests.support.cli_runner import hocket
from tests.support.command_lines import words_of

WIDTH = 100  # columns; paths are relative, so no line is broken elsewhere where the folder's name is longer
_SLOW = re.compile(  # lines that only a slow machine prints
    r"^\d\d:\d\d:\d\d [^:\n]+: [^:\n]+: (done in [\d.]+ s|\d+ of \d+(, .*)?)\n", re.MULTILINE
)


def _counts(found: re.Match[str]) -> str:
    """How many tasks are better and worse: they hang on the same last digits."""
    return "".join(f"{'n │':>{len(column)}}" for column in found.groups())


def _estimates(found: re.Match[str]) -> str:
    """Hits and percents, which hang on the last digits of scores."""
    hits = re.sub(r"[+-]?\b\d+(\.\d)?(?= with| at random|, 95 %| to |\))", "n", found[0])
    return re.sub(r"(?<!\()(?:about |over )?\b\d+(?= %)(?! % interval)", "n", hits)


_NAMES = (  # in this order
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"TIME to TIME"), "TIME"),  # of several members, some of whom did it in the same second
    (re.compile(r"^\d\d:\d\d:\d\d ", re.MULTILINE), "TIME "),
    (re.compile(r"\b\d+:\d\d:\d\d\b"), "DURATION"),
    (re.compile(r"\b[0-9a-f]{4}( [0-9a-f]{4}){7}\b"), "FINGERPRINT"),
    (re.compile(r"(?<!q: )\b([0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{12})\b"), "DIGEST"),
    (re.compile(r'"[A-Za-z0-9+/]{40,}={0,2}"'), '"BASE64"'),
    (re.compile(r"\bprocess \d+ on \S+,"), "process PID on HOST,"),
    (re.compile(r"\b[\d.,]+( GiB| MB| KB)\b"), r"N\1"),
    (re.compile(r"\b[\d.,]+( free\b| needed\b)"), r"N\1"),
    (re.compile(r"\b\d{3,}( bytes\b)"), r"N\1"),
    (re.compile(r"\b((?:size|bytes)\"?: )\d+\b"), r"\1N"),
    (re.compile(r"\b\d+( cores\b)"), r"N\1"),
    (re.compile(r"(?<![\d.])\d+\.\d+\.\d+(?!\.?\d)[\w.+]*"), "VERSION"),
    (re.compile(r"^(system +).*", re.MULTILINE), r"\1SYSTEM"),
    (re.compile(r"^(last_round: ).*", re.MULTILINE), r"\1DATE"),
    (re.compile(r"^\w+: (?:Hits in|The change is) .*", re.MULTILINE), _estimates),
    (re.compile(r"(?<![\d.])[+-]?\d+\.\d{3,}(?![\d.])"), lambda found: _shape(found[0])),
    (re.compile(r"(?<=[n-] │)( +(?:\d+|\?|< 5) │)( +(?:\d+|\?|< 5) │)$", re.MULTILINE), _counts),
)


class Transcript:
    """Runs command lines in a folder and writes down what they print."""

    def __init__(self, hidden: Mapping[str, str]) -> None:
        self._hidden = dict(hidden)
        self._parts: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._parts)

    def __call__(self, line: str, note: str = "") -> None:
        """Run a line as a shell would hand it over; what is no typed refusal is raised.

        note : what is special about this run, for the reader
        """
        done = hocket(*words_of(line)[1:])
        head = f"# {note}\n" if note else ""
        printed, complaint = self._normal(line, done.stdout), self._normal(line, done.stderr)
        complaint = "".join(f"{f'2> {one}'.rstrip()}\n" for one in complaint.splitlines())
        self._parts.append(f"{head}$ {self._hide(line)}\n{printed}{complaint}exit {done.exit_code}\n")

    def hide(self, found: object, name: str) -> None:
        """Write a name for what differs from run to run."""
        self._hidden[str(found)] = name

    def _normal(self, line: str, text: str) -> str:
        """The same text on every machine."""
        if "--help" in words_of(line):
            return _ended(text)
        text = _SLOW.sub("", self._hide(text))
        for pattern, name in _NAMES:
            text = pattern.sub(name, text)
        return _ended("".join(f"{one.rstrip()}\n" for one in text.splitlines()))

    def _hide(self, text: str) -> str:
        for found, name in self._hidden.items():
            text = text.replace(found, name)
        return text


class Golden:
    """The file that a transcript must equal, or is written to."""

    def __init__(self, file: Path, *, update: bool) -> None:
        self.file, self._update = file, update

    @contextmanager
    def session(self, folder: Path) -> Iterator[Transcript]:
        """A session in a folder, whose transcript is compared at the end."""
        names = {str(folder.resolve()): "FOLDER", str(folder): "FOLDER"}
        names |= {tempfile.gettempdir(): "TMP", f"{platform.system()} {platform.machine()}": "SYSTEM"}
        transcript = Transcript(names)
        with pytest.MonkeyPatch.context() as patch, chdir(folder):
            patch.setenv("COLUMNS", str(WIDTH))
            for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
                patch.delenv(name, raising=False)
            patch.setattr(sys, "excepthook", sys.excepthook)  # which --log-format json replaces for good
            patch.setattr(warnings, "showwarning", warnings.showwarning)
            yield transcript
        self._compare(str(transcript))

    def _compare(self, said: str) -> None:
        if self._update:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(said, encoding="utf-8")
            return
        expected = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        if said != expected:
            lines = difflib.unified_diff(expected.splitlines(), said.splitlines(), self.file.name, "now", lineterm="")
            diff = "\n".join(lines)
            pytest.fail(f"{diff}\nif that is meant: pytest --update-transcripts, and look at git diff", pytrace=False)


def _shape(figure: str) -> str:
    """How a figure is printed, whatever it is: a machine may compute another last digit, or another sign."""
    sign = "±" if figure[0] in "+-" else ""
    whole, decimals = figure.lstrip("+-").split(".")
    return f"{sign}{'n' * len(whole)}.{'n' * len(decimals) if len(decimals) <= 4 else 'nnn...'}"


def _ended(text: str) -> str:
    """With a line's end, where there is a line."""
    return text if not text or text.endswith("\n") else f"{text}\n"
