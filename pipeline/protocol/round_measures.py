"""Numbers of the round in progress: what each part took, how large what was sent and received is, how well it went."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_BUSY = ("train", "seal", "open", "validate")  # what is left of a round's seconds is waiting


class RoundMeasures:
    """The metrics of one round at a partner, as far as this process saw it."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._began = time.monotonic()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Measure the seconds of a part that comes to its end; done once more, the last counts."""
        started = time.monotonic()
        yield
        self._metrics[f"seconds_{part}"] = time.monotonic() - started

    def add(self, metrics: Mapping[str, float]) -> None:
        """Keep these numbers by name."""
        self._metrics |= metrics

    def finished(self) -> dict[str, float]:
        """All that is finite, with the seconds of the whole round and of its waiting."""
        seconds = time.monotonic() - self._began
        busy = sum(self._metrics.get(f"seconds_{part}", 0.0) for part in _BUSY)
        found = self._metrics | {"seconds_round": seconds, "seconds_wait": seconds - busy}
        return {name: value for name, value in found.items() if math.isfinite(value)}
