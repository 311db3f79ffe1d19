"""How a step machine is driven: until it is done, or once and no further than others allow."""

import time
from collections.abc import Callable
from typing import Protocol

from pipeline.console import Narrator
from pipeline.errors import ExchangeError, NotYet

_RAREST = 10  # looks grow up to this many times rarer while nothing comes


class Machine(Protocol):
    """A member whose state is the files that exist."""

    def advance(self) -> bool:
        """Do the next step; False when nothing is left. Raises NotYet when it depends on others."""


def drive(machine: Machine, narrator: Narrator, *, once: bool, poll_s: float, idle: Callable[[], None]) -> None:
    """Advance until done. With `once`, NotYet is handed to the caller instead of being waited out.

    idle is called after every step that changed something, e.g. to hand metrics on.
    """
    pause = poll_s
    while True:
        try:
            if not machine.advance():
                return
        except (NotYet, ExchangeError) as wait:  # a storage that fails for a while is waited out as well
            if once:
                raise
            narrator.say(str(wait))
            time.sleep(pause)
            pause = min(pause * 1.2, _RAREST * poll_s)
        else:
            pause = poll_s
            idle()
