"""Post a run's own signs of life and trouble, and read the other members' trouble."""

from collections.abc import Callable
from threading import Lock

from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.signs import ALIVE_S, FINISHED, Sign, SignBoard
from pipeline.runtime.progress import ProgressReporter


class OwnSigns:
    """The signs of the run in this process; called by two threads.

    A trouble that an earlier run left stands until this one waits for others, is finished, or has worked for ALIVE_S:
    a run that ends with the same error as soon as it starts withdraws nothing.
    """

    def __init__(self, mailbox: Mailbox, reporter: ProgressReporter, clock: Callable[[], float]) -> None:
        self._mailbox, self._reporter, self._clock = mailbox, reporter, clock
        self._board = SignBoard(mailbox.plan, mailbox.exchange)
        self._began = clock()
        self._last: Sign | None = None
        self._lock = Lock()

    @property
    def is_in_trouble(self) -> bool:
        """Whether this member's trouble stands."""
        return self._last is not None and self._last.exit_code is not None

    def alive(self, *, goes_on: bool = False) -> None:
        """Post a sign of life if the last one is old, or if it is trouble that goes_on withdraws.

        Raises ExchangeError, or secure.errors.SecureError for a wrong sign under this member's name.
        """
        with self._lock:
            if self._mailbox.is_begun and self._is_due(goes_on=goes_on):
                self._post()

    def finished(self) -> None:
        """Post the last sign of life."""
        self._reporter.step = FINISHED
        with self._lock:
            self._post()

    def trouble(self, exit_code: int) -> None:
        """Post that this run ends with an error; the same trouble as before keeps its time."""
        with self._lock:
            if not self._mailbox.is_begun:
                return
            self._last = self._board.latest(self._mailbox.me)
            if not self._now(exit_code).is_same_trouble(self._last):
                self._post(exit_code)

    def others_in_trouble(self) -> dict[str, Sign]:
        """The trouble of every other member that is in trouble. Raises as `alive`."""
        others = (name for name in self._mailbox.plan.cards if name != self._mailbox.me)
        signs = {name: self._board.latest(name) for name in others}
        return {name: sign for name, sign in signs.items() if sign is not None and sign.exit_code is not None}

    def _is_due(self, *, goes_on: bool) -> bool:
        if self._last is None:
            self._last = self._board.latest(self._mailbox.me)
        if self._last is None or (goes_on and self.is_in_trouble):
            return True
        since = max(self._last.time, self._began) if self.is_in_trouble else self._last.time
        return self._clock() - since >= ALIVE_S

    def _post(self, exit_code: int | None = None) -> None:
        self._last = self._board.post(self._mailbox.keys, self._now(exit_code))

    def _now(self, exit_code: int | None) -> Sign:
        return Sign(int(self._clock()), *self._reporter.place, self._reporter.step, exit_code)
