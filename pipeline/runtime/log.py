"""Where lines about a run go: stderr, as text for people or as JSON lines for programs."""

import json
import sys
import traceback
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

Level = Literal["info", "warning", "error"]


class Log:
    """Writes lines; its member is known once the configuration is read, its round once that begins."""

    def __init__(self, *, as_json: bool = False, member: str = "") -> None:
        self.as_json, self.member = as_json, member
        self._place: dict[str, int] = {}

    def at(self, round_no: int | None = None, attempt: int | None = None) -> None:
        """What is written from now on is about this round (0: the catalogue round) and attempt; None: about none."""
        place = {"round": round_no, "attempt": attempt}
        self._place = {key: number for key, number in place.items() if number is not None}

    def write(self, text: str, level: Level = "info", **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """One line: in JSON with its time, level, member, message and round, and what else is known as fields."""
        if self.as_json:
            _put(json_line(self.member, text, level, **(self._place | fields)))
        else:
            _put(for_people(text, level))

    def take_over(self) -> None:
        """As JSON: warnings and tracebacks of this process become lines as well."""
        if not self.as_json:
            return

        def warn(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,  # noqa: ARG001
            line: str | None = None,  # noqa: ARG001
        ) -> None:
            self.write(str(message), "warning", category=category.__name__, where=f"{filename}:{lineno}")

        def fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            lines = traceback.format_exception(kind, error, trace)
            self.write(f"{kind.__name__}: {error}", "error", traceback="".join(lines))

        warnings.showwarning = warn
        sys.excepthook = fail


def for_people(text: str, level: Level) -> str:
    """The text, as a warning where it is one."""
    return f"warning: {text}" if level == "warning" else text


def json_line(member: str, text: str, level: Level = "info", **fields: object) -> str:
    """A JSON object on one line; times in UTC, ISO 8601."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    about = {"time": now, "level": level, "member": member, "message": text}
    return json.dumps(about | fields, ensure_ascii=False)


def as_json_line(member: str, line: str) -> str:
    """A line of a member's log as it is where it is JSON, else wrapped: libraries write what they like."""
    try:
        return line if isinstance(json.loads(line), dict) else json_line(member, line)
    except ValueError:
        return json_line(member, line)


def _put(line: str) -> None:
    """In one write, so that a killed process leaves no half of it."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
