"""Metrics of the round in progress: seconds of each part, bytes sent and received, losses and scores."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_BUSY = ("train", "seal", "open", "validate")  # all other seconds of a round are waiting


class RoundMeasures:
    """The metrics of one round at a partner, since this process began."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._began = time.monotonic()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Measure the seconds of a part; an error gives none, and a repeated part adds to the first."""
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._metrics[f"seconds_{part}"] = self._metrics.get(f"seconds_{part}", 0.0) + seconds

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add these metrics."""
        self._metrics |= metrics

    def finished(self) -> dict[str, float]:
        """All finite metrics, with the seconds of the whole round and of its waiting."""
        seconds = time.monotonic() - self._began
        busy = sum(self._metrics.get(f"seconds_{part}", 0.0) for part in _BUSY)
        metrics = self._metrics | {"seconds_round": seconds, "seconds_wait": seconds - busy}
        return {name: value for name, value in metrics.items() if math.isfinite(value)}
