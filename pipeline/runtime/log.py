"""The log of a run on stderr: as text for people, or as JSON lines for programs."""

import json
import sys
import traceback
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

from pipeline.runtime.printable import printable

Level = Literal["info", "warning", "error"]


class Log:
    """Writes log lines; the member is set when the configuration is read, the round when it begins."""

    def __init__(self, *, as_json: bool = False, member: str = "") -> None:
        self.as_json, self.member = as_json, member
        self._round: dict[str, int] = {}

    def set_round(self, round_no: int | None = None, attempt: int | None = None) -> None:
        """Give round (0: the counting round) and attempt to all following lines; None: to none of them."""
        numbers = {"round": round_no, "attempt": attempt}
        self._round = {key: number for key, number in numbers.items() if number is not None}

    def write(self, text: str, level: Level = "info", **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Write one line; as JSON with time, level, member, message, round, attempt and these fields."""
        if self.as_json:
            _write_line(json_line(self.member, text, level, **(self._round | fields)))
        else:
            _write_line(as_text(text, level))

    def take_over(self) -> None:
        """If lines are JSON, write warnings and tracebacks of this process as JSON lines too."""
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


def as_text(text: str, level: Level) -> str:
    """The text for a terminal, with "warning: " before it if it is one."""
    return printable(f"warning: {text}" if level == "warning" else text)


def json_line(member: str, text: str, level: Level = "info", **fields: object) -> str:
    """A log line as a JSON object on one line; time in UTC, ISO 8601."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": now, "level": level, "member": member, "message": text}
    return json.dumps(line | fields, ensure_ascii=False)


def as_json_line(member: str, line: str) -> str:
    """A line of a member's log as JSON: unchanged if it is an object, else as a message (libraries print text)."""
    try:
        return line if isinstance(json.loads(line), dict) else json_line(member, line)
    except ValueError:
        return json_line(member, line)


def _write_line(line: str) -> None:
    """Write a line to stderr in one call, so that a killed process leaves no half line."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
