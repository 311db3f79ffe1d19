"""The aggregator of a dry run, `python -m pipeline.runs.tries.mock_aggregator TASK`, with an aggregator's imports."""

import json
import sys
import time
from pathlib import Path

from pipeline.plan.plan import read_plan
from pipeline.runtime.memory import most_memory
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.roster import Roster
from secure.sealing.add import add_updates


def main(task_file: str) -> None:
    """Add the updates that the task lists; seconds and memory go to standard output as JSON."""
    task = json.loads(Path(task_file).read_text())
    plan, round_no, attempt, members, digest = task["roster"]
    roster = Roster(plan, round_no, attempt, tuple(members), digest)
    parameters = seal_parameters(read_plan(Path(task["plan"])).seal)
    started = time.monotonic()
    add_updates(list(map(Path, task["files"])), parameters, Path(task["sum"]), roster=roster, workers=task["workers"])
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - started, "memory": most_memory()}))


if __name__ == "__main__":
    main(sys.argv[1])
