"""The most memory that this process has had, as Linux counts it."""

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")


def most_memory() -> int:
    """Largest resident memory of this process in bytes.

    Not ru_maxrss: that is inherited from the process that started this one (getrusage(2), exec).
    """
    match = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
