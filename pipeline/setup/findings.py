"""What `hocket doctor` finds: one line each, with what to do where something is to be done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import ExitCode
from pipeline.runtime.exit_codes import REFUSALS, exit_code_of

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a set-up; never a secret, a label or a structure."""

    about: str  # keys, exchange, ...
    text: str
    level: Level = "ok"
    advice: str = ""  # what to do
    code: ExitCode = ExitCode.DONE  # what a batch system would see if this were all

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "about": self.about,
            "level": self.level,
            "text": self.text,
            "advice": self.advice,
            "code": int(self.code),
        }


def note(about: str, text: str, advice: str = "") -> Finding:
    """Worth knowing, and no failure."""
    return Finding(about, text, "note", advice)


def wrong(about: str, text: str, advice: str = "", code: ExitCode = ExitCode.CONFIGURATION) -> Finding:
    """A run would fail here."""
    return Finding(about, text, "wrong", advice, code)


def refused(about: str, error: Exception) -> Finding:
    """The finding that an error is: its message, its notes as advice, its exit code; waiting is no failure."""
    advice = "; ".join(getattr(error, "__notes__", []))
    code = exit_code_of(error)
    if code == ExitCode.NOT_YET:
        return note(about, str(error), advice)
    return wrong(about, str(error), advice, code)


def examined(about: str, steps: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What an examination finds; where it is stopped by a refusal, that is its last finding."""
    found: list[Finding] = []
    try:
        found += (finding for finding in steps())  # one by one, so that those before a refusal are kept
    except REFUSALS as error:
        found.append(refused(about, error))
    return found


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """Of all findings together: security before data before configuration, 0 where nothing is wrong."""
    return max((finding.code for finding in findings), default=ExitCode.DONE)
