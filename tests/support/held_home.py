"""A real process that holds a member's home."""

import subprocess
import sys
from pathlib import Path

HOLD = """
import sys, pathlib, pipeline.home.paths
with pipeline.home.paths.Home(pathlib.Path(sys.argv[1])).alone():
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """A real process that holds the home until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process
