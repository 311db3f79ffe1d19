"""Ports that tests hand to servers stay free until those listen."""

import socket
from pathlib import Path

import pytest

from tests.support import ports
from tests.support.ports import free_port


def test_a_port_in_use_is_not_free(monkeypatch):
    """Of two ports one of which is taken, the other is found."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used, free = taken.getsockname()[1], free_port()
        monkeypatch.setattr(ports, "_PORTS", [used, free])
        assert {free_port() for _ in range(30)} == {free}


def test_no_connection_takes_a_free_port():
    """The system gives other ports to connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if first < 20_000:
        pytest.skip(f"needs a system that gives connections ports from 20,000 on; this one begins at {first}")
    assert max(free_port() for _ in range(200)) < first
