"""The time limit of a child process, for all inherited signal settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "deaf",
    ["signal.signal(signal.SIGALRM, signal.SIG_IGN)", "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})"],
    ids=["ignored", "blocked"],
)
def test_a_text_takes_too_long_though_alarms_were_off(deaf):
    """The time limit works if the starting program ignores or blocks SIGALRM, which child processes inherit."""
    code = (
        f"import signal\n{deaf}\n"
        "from data_prep.structures.watchdog import guarded, worker_pool\n"
        "from tests.support.data_prep.trial_steps import Trial\n"
        "with worker_pool():\n"
        "    print(*(result.text or result.reason for result in guarded(Trial(), ['a', 'slow', 'b'], 0.5)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "A timeout B\n"
