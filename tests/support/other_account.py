"""Another account of this machine, which has no right to anything of ours: what it can do, it must not get by it."""

import encodings.idna  # noqa: F401 -- sockets want it at their first connection
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account of this machine")


def asked_as_another(module: str, question: object) -> Any:  # noqa: ANN401 -- any JSON value
    """Return what a module of tests prints when it is run with a question, both JSON; it calls `become_nobody` itself.

    For interpreter and libraries may lie where another account cannot read: what it imports has to be there before.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", module],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def become_nobody() -> None:
    """Give up every right of this process."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    assert os.getuid() == os.geteuid() == NOBODY
