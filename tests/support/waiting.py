"""Wait for a condition of other processes or threads, however long it takes on a busy machine."""

import time
from collections.abc import Callable

_PATIENCE_S = 240.0
_PAUSE_S = 0.05


def wait_until(
    condition: Callable[[], object],
    shown: Callable[[], object] = str,
    *,
    patience_s: float = _PATIENCE_S,
    pause_s: float = _PAUSE_S,
) -> None:
    """Return once the condition holds; fail after patience_s with what `shown` returns.

    pause_s : between two looks at the condition, which may itself fail, for example if a process has ended
    """
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, shown()
        time.sleep(pause_s)
