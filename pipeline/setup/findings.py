"""The findings of `hocket doctor`: one line each, with advice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import ExitCode
from pipeline.runtime.exit_codes import REFUSALS, exit_code_of

FindingLevel = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact or problem of a set-up; never contains a secret, a label or a structure."""

    about: str  # keys, exchange, ...
    text: str
    level: FindingLevel = "ok"
    advice: str = ""  # what to do
    code: ExitCode = ExitCode.DONE  # doctor's exit code if this were the only finding

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return {
            "about": self.about,
            "level": self.level,
            "text": self.text,
            "advice": self.advice,
            "code": int(self.code),
        }


def note(about: str, text: str, advice: str = "") -> Finding:
    """A finding that is worth knowing and no failure."""
    return Finding(about, text, "note", advice)


def wrong(about: str, text: str, advice: str = "", code: ExitCode = ExitCode.CONFIGURATION) -> Finding:
    """A finding at which a run would fail."""
    return Finding(about, text, "wrong", advice, code)


def refused(about: str, error: Exception) -> Finding:
    """The finding for an error: its message, its notes as advice, its exit code; NotYet is no failure."""
    advice = "; ".join(getattr(error, "__notes__", []))
    code = exit_code_of(error)
    if code == ExitCode.NOT_YET:
        return note(about, str(error), advice)
    return wrong(about, str(error), advice, code)


def examined(about: str, steps: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Run one check and collect its findings; an error becomes the last one."""
    findings: list[Finding] = []
    try:
        findings += (finding for finding in steps())  # one by one, to keep those before an error
    except REFUSALS as error:
        findings.append(refused(about, error))
    return findings


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """The exit code for all findings: security before data before configuration, 0 if nothing is wrong."""
    return max((finding.code for finding in findings), default=ExitCode.DONE)
