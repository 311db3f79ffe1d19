"""Post a run's own signs of life and trouble, and read the other members' trouble."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from pipeline.errors import ExchangeUnreachable
from pipeline.exchange.begun import nothing_here
from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.signs import ALIVE_S, FINISHED, Sign, SignBoard
from pipeline.runtime.progress import ProgressReporter

_LOCK_S = 5.0  # longest wait for the other thread, which a hung storage may hold up


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
        self._is_wrong = False  # a file under this member's name
        self._posted_at: float | None = None  # by this process; the last sign's time may be ahead of its clock
        self._warned: set[str] = set()
        self._lock = Lock()

    @property
    def is_in_trouble(self) -> bool:
        """Whether this member's trouble stands."""
        return self._last is not None and self._last.exit_code is not None

    def alive(self, *, goes_on: bool = False) -> None:
        """Post a sign of life if the last one is old.

        goes_on : whether the run goes on, which withdraws a trouble that stands

        Raises ExchangeError.
        """
        with self._alone():
            if self._mailbox.is_begun and self._is_due(goes_on=goes_on):
                self._post()

    def finished(self) -> None:
        """Post the last sign of life. Raises ExchangeError, also if the exchange has nothing of the plan."""
        self._reporter.step = FINISHED
        with self._alone():
            if not self._mailbox.is_begun:
                raise ExchangeUnreachable(nothing_here(self._mailbox.plan, self._mailbox.exchange))
            self._post()

    def trouble(self, exit_code: int) -> None:
        """Post that this run ends with an error; the same trouble as before keeps its time."""
        with self._alone():
            if not self._mailbox.is_begun:
                return
            self._read_last()
            if self._is_wrong or not self._now(exit_code).is_same_trouble(self._last):
                self._post(exit_code)

    def others_in_trouble(self) -> dict[str, Sign]:
        """The trouble of every other member that is in trouble; warns of wrong files. Raises as `alive`."""
        others = (name for name in self._mailbox.plan.cards if name != self._mailbox.me)
        signs = {name: self._latest_of(name) for name in others}
        return {name: sign for name, sign in signs.items() if sign is not None and sign.exit_code is not None}

    def _latest_of(self, name: str) -> Sign | None:
        sign, wrong = self._board.latest_valid(name)
        for error in wrong.values():
            if (text := f"a sign of {name} is wrong and ignored: {error}") not in self._warned:
                self._warned.add(text)
                self._reporter.warn(text)
        return sign

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock. Raises ExchangeUnreachable if the other thread does not release it."""
        if not self._lock.acquire(timeout=_LOCK_S):
            raise ExchangeUnreachable(f"{self._mailbox.exchange.url}: does not answer in {_LOCK_S:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def _read_last(self) -> None:
        self._last, wrong = self._board.latest_valid(self._mailbox.me)
        self._is_wrong = bool(wrong)

    def _is_due(self, *, goes_on: bool) -> bool:
        if self._last is None:
            self._read_last()
        if self._last is None or self._is_wrong or (goes_on and self.is_in_trouble):
            return True
        signed_at = self._last.time if self._posted_at is None else self._posted_at
        since = self._began if self.is_in_trouble else signed_at
        return not 0 <= self._clock() - since < ALIVE_S

    def _post(self, exit_code: int | None = None) -> None:
        self._last = self._board.post(self._mailbox.keys, self._now(exit_code))
        self._is_wrong, self._posted_at = False, self._clock()

    def _now(self, exit_code: int | None) -> Sign:
        return Sign(int(self._clock()), *self._reporter.place, self._reporter.step, exit_code)
