"""Commands that are started through the fork server, with how each ended."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.hostile.fork_server import Request

_ROOT = Path(__file__).parents[3]
_LIMIT_S = 60.0  # the longest command of the suite takes some seconds
_SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int  # exit code; negative: number of the signal that ended it
    hangs: bool  # it was killed after _LIMIT_S
    peak_mb: float  # largest resident memory of it or of a process that it started
    out: str
    err: str


class Commands:
    """A context in which `hocket` commands can be run, each in a process of its own."""

    def __enter__(self) -> Self:
        # strict, as the streams of a terminal are
        environment = os.environ | _SINGLE | {"PYTHONPATH": str(_ROOT), "PYTHONIOENCODING": "utf-8:strict"}
        command = [sys.executable, "-P", "-m", "tests.support.hostile.fork_server"]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=environment
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def run(self, folder: Path, *arguments: str) -> Ended:
        """Run a command in a folder and wait for its end."""
        out, err = folder / ".stdout", folder / ".stderr"
        for stream in (out, err):
            stream.unlink(missing_ok=True)
        request = Request(list(arguments), str(folder), str(out), str(err), _LIMIT_S)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asdict(request)) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks for commands has ended; its standard error has the reason"
        return Ended(**json.loads(answer), out=out.read_text("utf-8", "replace"), err=err.read_text("utf-8", "replace"))
