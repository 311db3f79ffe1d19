"""Keep two mirrors alike, over any connection that carries small dictionaries both ways.

Each side offers the messages that the other has not confirmed, and repeats the offer until it has: a dictionary that is
lost does no harm. Manifests travel in the dictionary, payloads as a reference with which the receiver pulls the file. A
thread pulls the payloads one by one, so a turn is always short.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import BadTransfer, PipelineError, TransferFailed
from pipeline.runtime.retry import FULL
from pipeline.transport.mirror import Mirror, version_of
from secure.errors import SecureError
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import SIGNS
from secure.messages.messages import MAX_BYTES, Manifest

MOST_MESSAGES = 64  # in one turn and direction; the next turn brings more
_MESSAGES, _KEPT, _MORE = "messages", "kept", "more"
_LONGEST_REFERENCE = 200  # characters
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # before a retry

Wire = dict[str, Any]


class Transfer(Protocol):
    """Carries payload files; see pipeline.transport.nvflare.file_transfer.FileTransfer."""

    def offer(self, file: Path) -> str:
        """Return a reference with which the peer may pull the file; the same one while it is valid."""

    def withdraw(self, file: Path) -> None:
        """End the offer: the peer has the file or no longer needs it."""

    def pull(self, reference: str, target: Path, n_bytes: int) -> None:
        """Write the peer's file to target, or nothing.

        Raises TransferFailed, BadTransfer for more than n_bytes, OSError.
        """


@dataclass(frozen=True, slots=True)
class Rules:
    """Which messages two members exchange.

    peer           : name of the member at the other end
    takes_all      : if true, messages of all members are taken from the peer (the aggregator), else only its own
    needs_payload  : if true, a message is refused if the peer does not have its payload
    gives_payload  : true for the messages whose payload the peer gets
    """

    peer: str
    takes_all: bool
    needs_payload: bool
    gives_payload: Callable[[MessageName], bool]


def rules_at_site(aggregator: str) -> Rules:
    """Rules at a partner's site: the aggregator sends the messages of all members, and gets all of this partner's."""
    return Rules(aggregator, takes_all=True, needs_payload=False, gives_payload=lambda _: True)


def rules_at_server(site: str) -> Rules:
    """Rules at the server: a partner sends only its own messages, and gets no sealed update of another partner."""
    return Rules(
        site,
        takes_all=False,
        needs_payload=True,
        gives_payload=lambda name: name.kind != "update" and name.sender != site,
    )


class MirrorSync:
    """The exchange of messages with one peer. One thread calls `outgoing` and `incoming`."""

    def __init__(
        self,
        mirror: Mirror,
        transfer: Transfer,
        rules: Rules,
        *,
        me: str,
        report: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._mirror, self._transfer, self._rules, self._me = mirror, transfer, rules, me
        self._report, self._clock = report, clock
        self._peer_has: set[str] = set()  # versions (Mirror.version) of messages that the peer has
        self._to_confirm: set[str] = set()  # versions that the peer offered and that are here
        self._offered: set[str] = set()  # versions offered in the last turn
        self._pulling: set[str] = set()
        self._postponed: dict[str, tuple[int, float]] = {}  # number of tries, earliest time of the next
        self._to_pull: queue.SimpleQueue[_Pull | None] = queue.SimpleQueue()
        self._failure: PipelineError | SecureError | OSError | None = None
        self.n_moved = 0  # messages that were received or confirmed, without signs, which come also if nothing goes on
        self.has_all_of_peer = False  # the peer has offered all its messages, and this member's own among them are here
        self._lock = threading.Lock()
        self._puller = threading.Thread(target=self._pull_all, daemon=True)
        self._puller.start()

    def close(self) -> None:
        """Let the thread end after the file it is pulling."""
        self._to_pull.put(None)

    @property
    def is_settled(self) -> bool:
        """Whether the peer has confirmed every message it should get, and no payload is being pulled."""
        return not self._pulling and not self._pending()

    @property
    def has_news(self) -> bool:
        """Whether the next turn would carry something new."""
        if self._failure or not self._puller.is_alive():
            return True
        return bool(self._to_confirm) or not self._offered.issuperset(map(self._mirror.version, self._pending()))

    def outgoing(self) -> Wire:
        """Return the offers and confirmations for the peer in this turn."""
        with self._lock:
            kept, self._to_confirm = sorted(self._to_confirm), set()
        pending = self._pending()
        self._offered = set(map(self._mirror.version, pending[:MOST_MESSAGES]))
        offers = [self._offer(path) for path in pending[:MOST_MESSAGES]]
        return {_MESSAGES: offers, _KEPT: kept[: 2 * MOST_MESSAGES], _MORE: len(pending) > MOST_MESSAGES}

    def incoming(self, wire: object) -> None:
        """Take the peer's offers and confirmations.

        Raises BadTransfer, Equivocation, secure.errors.SecureError, naming the message.
        """
        if self._failure is not None:
            raise self._failure
        if not self._puller.is_alive():  # else no payload would come any more, without a message
            raise BadTransfer(f"{self._rules.peer}: one of its answers ended the transfers; see the log")
        messages, kept, more = _list(wire, _MESSAGES), _list(wire, _KEPT), _flag(wire, _MORE)
        for path in kept:
            self._confirmed(path)
        for message in messages:
            self._receive(*_message(message))
        self.has_all_of_peer |= not more and not self._lacks_own

    @property
    def _lacks_own(self) -> bool:
        """Whether the peer has a message of this member that could not be stored here because the disk is full."""
        return any(self._mirror.message(path).sender == self._me for path in list(self._postponed))

    def _pending(self) -> list[str]:
        """Messages to offer that the peer has not confirmed: a partner offers its own, the aggregator all."""
        paths = [path for path in self._mirror.paths() if self._mirror.version(path) not in self._peer_has]
        if self._rules.takes_all:
            return [path for path in paths if self._mirror.message(path).sender == self._me]
        return paths

    def _offer(self, path: str) -> list[object]:
        name = self._mirror.message(path)
        payload = self._mirror.payload(name) if self._rules.gives_payload(name) else None
        return [path, self._mirror.manifest(name), self._transfer.offer(payload) if payload else ""]

    def _confirmed(self, version: object) -> None:
        name = self._mirror.name_of(version.partition("#")[0] if isinstance(version, str) else version)
        if version in self._peer_has or self._mirror.manifest(name) is None:
            return
        if version != self._mirror.version(name.manifest):  # a sign that was replaced meanwhile
            return
        self._peer_has.add(version)
        self.n_moved += name.kind not in SIGNS
        payload = self._mirror.payload(name)
        if payload:
            self._transfer.withdraw(payload)

    def _receive(self, path: object, data: bytes, reference: str) -> None:
        name = self._mirror.name_of(path)
        if not self._rules.takes_all and name.sender != self._rules.peer:
            raise BadTransfer(f"{name.manifest}: sent by {self._rules.peer}, which may send only its own messages")
        if name.manifest in self._pulling or self._clock() < self._postponed.get(name.manifest, (0, 0.0))[1]:
            return
        try:
            self._take(name, data, reference)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._postpone(name, error)

    def _take(self, name: MessageName, data: bytes, reference: str) -> None:
        if self._mirror.has(name, data):
            self._record(name, data)
            return
        manifest = self._mirror.check(name, data)
        if manifest.payload is None or not (reference or self._rules.needs_payload):
            self._mirror.keep(name, data)
            self._record(name, data)
        elif reference:
            self._pulling.add(name.manifest)
            self._to_pull.put(_Pull(name, data, manifest, reference))
        else:
            self._report(f"{name.payload}: {self._rules.peer} no longer has the payload; the message is refused")

    def _record(self, name: MessageName, data: bytes) -> None:
        """Record that both this side and the peer have the message."""
        version = version_of(name.manifest, data)
        with self._lock:
            self.n_moved += version not in self._peer_has and name.kind not in SIGNS
            self._peer_has.add(version)
            self._to_confirm.add(version)
            self._postponed.pop(name.manifest, None)

    def _postpone(self, name: MessageName, error: PipelineError | OSError) -> None:
        """Take the message only when it is offered again: the connection broke, or this side's disk is full."""
        n_tries = self._postponed.get(name.manifest, (0, 0.0))[0] + 1
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(n_tries - 1, 10), _LONGEST_PAUSE_S)  # a disk may stay full for days
        self._postponed[name.manifest] = n_tries, self._clock() + pause_s
        self._report(f"{name.manifest}: {error}; next try in {pause_s:g} s")

    def _pull_all(self) -> None:
        while (pull := self._to_pull.get()) is not None:
            try:
                if self._failure is None:  # else the next `incoming` refuses the peer
                    self._pull(pull)
            except TransferFailed as error:
                self._postpone(pull.name, error)
            except (PipelineError, SecureError, OSError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    self._postpone(pull.name, error)
                else:
                    self._failure = error
            finally:
                self._pulling.discard(pull.name.manifest)

    def _pull(self, pull: "_Pull") -> None:
        name, payload = pull.name, pull.manifest.payload
        if payload is not None and not self._mirror.has_payload(name, pull.manifest):
            with self._mirror.receive_payload(name, pull.manifest) as received:
                self._transfer.pull(pull.reference, received, payload.size)
        self._mirror.keep(name, pull.data)
        self._record(name, pull.data)


@dataclass(frozen=True, slots=True)
class _Pull:
    """A message with a verified manifest, whose payload is still to be pulled."""

    name: MessageName
    data: bytes
    manifest: Manifest
    reference: str


def _list(wire: object, key: str) -> list[object]:
    value = wire.get(key) if isinstance(wire, dict) else None
    if not isinstance(value, list) or len(value) > MOST_MESSAGES * 2:
        raise BadTransfer(f"{key}: expected a list of at most {MOST_MESSAGES * 2}")
    return value


def _flag(wire: object, key: str) -> bool:
    value = wire.get(key) if isinstance(wire, dict) else None
    if not isinstance(value, bool):
        raise BadTransfer(f"{key}: expected true or false")
    return value


def _message(offer: object) -> tuple[object, bytes, str]:
    if not isinstance(offer, list | tuple) or len(offer) != 3:  # noqa: PLR2004 -- path, manifest, reference
        raise BadTransfer("an offered message is no list of path, manifest and reference")
    path, data, reference = offer
    if not isinstance(data, bytes) or len(data) > MAX_BYTES:
        raise BadTransfer(f"a manifest is not bytes, or longer than {MAX_BYTES} bytes")
    if not isinstance(reference, str) or len(reference) > _LONGEST_REFERENCE:
        raise BadTransfer(f"a reference is no text of at most {_LONGEST_REFERENCE} characters")
    return path, data, reference
