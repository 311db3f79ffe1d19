"""How far a long step is, for who wants to know."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # chunks done, chunks in all


class ProgressCounter:
    """Counts what is done and tells it on."""

    __slots__ = ("_n_all", "_n_done", "_progress")

    def __init__(self, progress: Progress | None, n_all: int) -> None:
        self._progress, self._n_all, self._n_done = progress, n_all, 0

    def __call__(self, n: int) -> None:
        """Tell that n more are done."""
        self._n_done += n
        if self._progress:
            self._progress(self._n_done, self._n_all)
