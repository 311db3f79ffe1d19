"""Runs without MLflow."""

from typing import Self


class NoTracker:
    """Stands in for the process that writes to MLflow."""

    failed = False

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self) -> None:
        """Nothing is started."""

    start_rest = start

    def poke(self) -> None:
        """Nobody listens."""
