"""The server's word to a site that there is news, so that a site that has none may rest over a question.

NVFlare takes 60 ms of CPU for a question and its answer: without rest, three idle sites and their server kept a third
of a core busy. What is rung says nothing else: whoever rings without cause makes a site answer, and nothing more.
"""

import threading
import time
from collections.abc import Callable

from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.utils import new_cell_message

_CHANNEL, _TOPIC = "hocket", "news"
_REST_S = 5.0  # at most; shorter than any time after which a site counts as silent
_LOOK_S = 0.25  # between two looks for news of one's own


class Wakeup:
    """Hears the server at a site."""

    def __init__(self, cell: Cell, stop: Signal) -> None:
        self._stop, self._rung = stop, threading.Event()
        cell.register_request_cb(channel=_CHANNEL, topic=_TOPIC, cb=self._hear)

    def wait_for_news(self, has_news: Callable[[], bool]) -> None:
        """Until this site has news, or the server rings, or is to hear again that all is well."""
        until = time.monotonic() + _REST_S
        while not has_news() and not self._stop.triggered and time.monotonic() < until:
            if self._rung.wait(_LOOK_S):
                break
        self._rung.clear()

    def _hear(self, _: object) -> None:
        self._rung.set()


def notify(cell: Cell, site: str) -> None:
    """Let a site answer now. A word that is lost costs the rest of its rest."""
    cell.fire_and_forget(channel=_CHANNEL, topic=_TOPIC, targets=site, message=new_cell_message({}, {}), optional=True)
