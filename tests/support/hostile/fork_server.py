"""A process that has loaded hocket, and forks for each command, which then starts in milliseconds instead of seconds.

Each command has a process of its own, whose end, time and memory are measured. It differs from one that a user starts
in two things: all libraries are loaded, and MLflow's process, which no file of this suite reaches, is not started.
"""

import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from unittest.mock import patch

import data_prep
import partners
import pipeline
import pipeline.runs.jobs
import secure
from pipeline.cli import main
from tests.support.tracking.no_tracker import NoTracker

_PACKAGES = (data_prep, partners, pipeline, secure)
# they load Dask, NVFlare and MLflow
_NOT_LOADED = ("data_prep.structures.cluster", "pipeline.transport.nvflare", "pipeline.tracking.")
_SELF = str(os.getpid())
# of allocators, which start theirs again after a fork, and one of polars that removes files which hocket never has
_OF_LIBRARIES = {"jemalloc_bg_thd", "polars-ooc-clea"}
_MOST_MEMORY = 6 << 30  # bytes of address space beyond what is in use: a child that wants more ends with a traceback
_LARGEST_FILE = 3 << 30  # bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A command to carry out."""

    arguments: list[str]
    folder: str  # in which it runs
    out: str  # file for its standard output
    err: str
    limit_s: float


def load() -> None:
    """Import everything that commands import. Raises RuntimeError for a thread that a child would need and not have."""
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_NOT_LOADED):
                importlib.import_module(module.name)
    names = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir() if task.name != _SELF}
    if names - _OF_LIBRARIES:
        raise RuntimeError(f"found threads {names} after all imports, expected none but {_OF_LIBRARIES}")
    gc.freeze()


def serve(requests: TextIO, answers: TextIO) -> Request | None:
    """Fork for each request and answer how the child ended; returns the request in a child, None at the end."""
    while line := requests.readline():
        request = Request(**json.loads(line))
        child = os.fork()
        if child == 0:
            return request
        answers.write(json.dumps(_end_of(child, request.limit_s)) + "\n")
        answers.flush()
    return None


def _end_of(child: int, limit_s: float) -> dict[str, object]:
    descriptor = os.pidfd_open(child)
    ended, _, _ = select.select([descriptor], [], [], limit_s)
    os.close(descriptor)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # also what it may have left running
    if not ended:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "hangs": not ended, "peak_mb": used.ru_maxrss / 1024}


def become(request: Request) -> None:
    """Make this child the process of a command: its session, one core, limits, folder, streams and arguments."""
    os.setsid()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one worker: no process of its own for each core
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + _MOST_MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE,) * 2)
    os.chdir(request.folder)
    for stream, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request.out, os.O_WRONLY),
        (2, request.err, os.O_WRONLY),
    ):
        descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    sys.argv = ["hocket", *request.arguments]


def code_of_command() -> int:
    """Carry out the command; an error that it does not turn into an exit code ends this process with a traceback."""
    try:
        main(prog_name="hocket")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def end(code: int) -> None:
    """End this process without freeing what it shares with the server, which takes longer than most commands."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    load()
    if (wanted := serve(sys.stdin, sys.stdout)) is not None:
        become(wanted)
        with patch.object(pipeline.runs.jobs, "Tracker", NoTracker):
            end(code_of_command())
