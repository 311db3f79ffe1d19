"""Ports for the servers that tests start."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

# Below those that Linux gives to connections by itself: one of them would be taken now and then before a server that
# takes seconds to start listens there, the more so where tests run side by side.
_PORTS = range(10_000, 20_000)


def free_port() -> int:
    """A port of this machine on which nobody listens now."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def port_in_use() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]
