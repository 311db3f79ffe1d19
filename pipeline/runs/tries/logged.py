"""Log the trials of `hocket try` to MLflow, in a separate process that never delays or fails the command."""

import sys
from pathlib import Path

from pipeline.tracking.tracker import read_member, run_to_its_end


def log_tries(config_file: Path, folder: Path) -> bool:
    """Log a finished search to the member's store; False if that failed, which the log next to the folder explains."""
    member = read_member(config_file, "partner")
    command = [sys.executable, "-P", "-m", "pipeline.runs.tries.mlflow_runs", str(member.config_file), str(folder)]
    return run_to_its_end(command, folder.parent / "tracking.log") == 0
