"""Log the trials of `hocket try` to MLflow, in a separate process that never delays or fails the command."""

import subprocess
import sys
from pathlib import Path

from pipeline.tracking.tracker import environment, read_member

_LONGEST_S = 600.0  # for a store that is slow to answer; the next call of the command logs the rest


def log_tries(config_file: Path, folder: Path) -> bool:
    """Log a finished search to the member's store; False if that failed, which the log next to the folder explains."""
    member = read_member(config_file, "partner")
    command = [sys.executable, "-P", "-m", "pipeline.runs.tries.mlflow_runs", str(member.config_file), str(folder)]
    with (folder.parent / "tracking.log").open("ab") as log:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                timeout=_LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
