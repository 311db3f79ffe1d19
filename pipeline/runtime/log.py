"""Where lines about a run go: stderr, as text for people or as JSON lines for programs."""

import json
import re
import sys
import traceback
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

# where a line's own words say which round it is about, or that it is a warning
_ROUND = re.compile(r"(?:(?P<presence>presence round)|round (?P<round>\d+)(?: of \d+)?)(?:, attempt (?P<attempt>\d+))?")
_WARNING = "warning: "
PRESENCE = 0  # number of the presence round; pipeline.plan.plan says so too, but is slow to import


class Log:
    """Writes lines; its member is known once the configuration is read."""

    def __init__(self, *, as_json: bool = False, member: str = "") -> None:
        self.as_json, self.member = as_json, member

    def write(self, text: str, level: str = "info", **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """One line: in JSON with its time, level, member and message, and what else is known as fields."""
        if self.as_json:
            _put(json_line(self.member, text, level, **fields))
        else:
            _put(text)

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


def json_line(member: str, text: str, level: str = "info", **fields: object) -> str:
    """A JSON object on one line; times in UTC, ISO 8601."""
    if text.startswith(_WARNING):
        level, text = "warning", text.removeprefix(_WARNING)
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    about = {"time": now, "level": level, "member": member, "message": text}
    return json.dumps(about | _place(text) | fields, ensure_ascii=False)


def as_json_line(member: str, line: str) -> str:
    """A line of a member's log as it is where it is JSON, else wrapped: libraries write what they like."""
    try:
        return line if isinstance(json.loads(line), dict) else json_line(member, line)
    except ValueError:
        return json_line(member, line)


def _place(text: str) -> dict[str, Any]:
    match = _ROUND.match(text)
    if not match:
        return {}
    attempt = {"attempt": int(match["attempt"])} if match["attempt"] else {}
    return {"round": int(match["round"] or PRESENCE), **attempt}


def _put(line: str) -> None:
    """In one write, so that a killed process leaves no half of it."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
