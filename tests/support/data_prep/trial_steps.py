"""A step whose texts are commands such as `die` or `slow`, and results, for tests of the watchdog and the cache."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from data_prep.structures.steps import StepResult


@dataclass(frozen=True, slots=True)
class Trial:
    """`die`: the process is killed; `die once PATH`: only the first time; `segfault`; `orphan`: its parent is killed.

    `slow`: it takes a quarter of a minute. Any other text comes back in capitals.
    """

    name: str = "trial"

    def make(self, text: str | None) -> StepResult:
        """Carry out the command in the text."""
        text = text or ""
        once = Path(text.removeprefix("die once ")) if text.startswith("die once ") else None
        if text == "die" or (once and not once.exists()):
            if once:
                once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "orphan":
            os.kill(os.getppid(), signal.SIGKILL)
        if text == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if text == "slow":
            time.sleep(15)
        if text == "pid":
            return StepResult(str(os.getpid()))
        return StepResult(text.upper(), None, None, b"\1\0\0\0" * len(text))

    def identity(self) -> bytes:
        """Return the name."""
        return self.name.encode()


def many_results(n: int = 300) -> dict[str, StepResult]:
    """Results of all sizes, by text."""
    return {
        f"text {i}": StepResult(f"C{i}" * 20, None if i % 3 else "c1", None, b"\1\2\3\4" * (i % 50)) for i in range(n)
    }
