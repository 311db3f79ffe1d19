"""A child process of the watchdog: runs a step on one text after the other; a text that takes too long kills it.

RDKit's C++ cannot be interrupted from Python, so the alarm keeps its default action, which ends the process at once.
"""

import mmap
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from rdkit import rdBase

from data_prep.structures.steps import Step, StepResult

_BATCH_S = 0.02  # results are collected for this long, then sent together


def main() -> None:
    """Answer messages (step, timeout_s, texts) with lists of StepResult until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and closes the connection
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the program that started the run may ignore or block it;
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # exec passes both on, and no time limit would work
    connection = Connection(int(sys.argv[1]))
    current_index = mmap.mmap(int(sys.argv[2]), mmap.PAGESIZE)
    connection.send(None)  # ready: from here on stderr is discarded, since a library's message may show a structure
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    with rdBase.BlockLogs():
        try:
            while True:
                _answer(connection, current_index, *connection.recv())
        except (EOFError, OSError):  # the parent has ended
            return


def _answer(
    connection: Connection, current_index: mmap.mmap, step: Step, timeout_s: float, texts: list[str | None]
) -> None:
    waiting: list[StepResult] = []
    sent = time.monotonic()
    for i, text in enumerate(texts):
        current_index[:8] = i.to_bytes(8, "little")
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        waiting.append(step.make(text))
        signal.setitimer(signal.ITIMER_REAL, 0)
        if time.monotonic() - sent > _BATCH_S or i == len(texts) - 1:
            connection.send(waiting)
            waiting, sent = [], time.monotonic()


if __name__ == "__main__":
    main()
