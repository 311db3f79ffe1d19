"""Offers of messages as a peer makes them, and links that have greeted."""

from pipeline.transport.mirror import Mirror
from secure.messages.message_name import MessageName
from tests.support.federation import Federation
from tests.support.transport.line_in_process import Line

READY = MessageName("ready", 1, 1, "P02")
UPDATE = MessageName("update", 1, 1, "P02")


def sent(over: tuple[Federation, Mirror], *names: MessageName, reference: str = "") -> dict[str, object]:
    """The dictionary in which a peer would offer these messages."""
    return {
        "messages": [[name.manifest, over[1].manifest(name), reference] for name in names],
        "kept": [],
        "more": False,
    }


def greeted(line: Line, site: str) -> None:
    """Let the server and a site prove their identity; the site then accepts messages."""
    line.links[site].turn()
    line.links[site].turn()
    assert not line.links[site].refused
