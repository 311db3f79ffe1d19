"""One half of keeping two mirrors alike, over any line that carries small dictionaries there and back.

Each side offers what the other has not confirmed; offers are repeated until it has, so nothing that is lost on the way
matters. Manifests travel in the dictionary, payloads as a reference by which the receiver pulls the file. Payloads are
pulled by a thread of its own, one after the other, so that a turn is always short.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import BadTransfer, PipelineError, TransferFailed
from pipeline.runtime.retry import FULL
from pipeline.transport.mirror import Mirror
from secure.errors import SecureError
from secure.messages.message_name import MessageName
from secure.messages.messages import MAX_BYTES, Manifest

MOST_MESSAGES = 64  # in one turn and direction; the next turn brings more
_MESSAGES, _KEPT, _MORE = "messages", "kept", "more"
_LONGEST_REFERENCE = 200  # characters
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # before another try

Wire = dict[str, Any]


class Courier(Protocol):
    """Carries files; the engine's part."""

    def offer(self, file: Path) -> str:
        """A reference by which the peer may pull the file; the same again while it holds."""

    def withdraw(self, file: Path) -> None:
        """The peer has the file, or needs it no more."""

    def pull(self, reference: str, target: Path, n_bytes: int) -> None:
        """Bring the peer's file or leave nothing. Raises TransferFailed, BadTransfer for more than n_bytes, OSError."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may send what.

    peer           : name of the member at the other end
    takes_all      : messages of all members are taken from the peer (it is the aggregator), or only its own
    needs_payload  : a message whose payload the peer does not have is not taken
    gives_payload  : which messages' payloads the peer gets
    """

    peer: str
    takes_all: bool
    needs_payload: bool
    gives_payload: Callable[[MessageName], bool]


def rules_at_site(aggregator: str) -> Rules:
    """What holds at a partner's site: the aggregator brings everything, and gets everything."""
    return Rules(aggregator, takes_all=True, needs_payload=False, gives_payload=lambda _: True)


def rules_at_server(site: str) -> Rules:
    """What holds at the server: a partner brings its own messages alone, and gets nobody's sealed update."""
    return Rules(
        site,
        takes_all=False,
        needs_payload=True,
        gives_payload=lambda name: name.kind != "update" and name.sender != site,
    )


class Correspondence:
    """One side's view of one peer. `outgoing` and `incoming` are called by one thread."""

    def __init__(
        self,
        mirror: Mirror,
        courier: Courier,
        rules: Rules,
        *,
        me: str,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._mirror, self._courier, self._rules, self._me = mirror, courier, rules, me
        self._tell, self._clock = tell, clock
        self._held: set[str] = set()  # manifests' paths that the peer has
        self._confirm: set[str] = set()  # what the peer offered and is here
        self._told: set[str] = set()  # what was offered in the last turn
        self._pulling: set[str] = set()
        self._put_off: dict[str, tuple[int, float]] = {}  # messages not to be taken before: tries so far, when again
        self._to_pull: queue.SimpleQueue[_Pull | None] = queue.SimpleQueue()
        self._failure: PipelineError | SecureError | OSError | None = None
        self.n_moved = 0  # messages that came or were confirmed
        self.has_heard_all = False  # the peer has offered, by now, all that it had; what is this side's own is here
        self._lock = threading.Lock()
        self._puller = threading.Thread(target=self._pull_all, daemon=True)
        self._puller.start()

    def close(self) -> None:
        """Let the thread end after the file that it is at."""
        self._to_pull.put(None)

    @property
    def is_settled(self) -> bool:
        """Whether the peer has all that it may have of this mirror, and nothing of its own is on its way."""
        return not self._pulling and not self._pending()

    @property
    def has_news(self) -> bool:
        """Whether the next turn would say more than the last one."""
        if self._failure or not self._puller.is_alive():
            return True
        return bool(self._confirm) or not self._told.issuperset(self._pending())

    def outgoing(self) -> Wire:
        """What the peer shall hear in this turn."""
        with self._lock:
            kept, self._confirm = sorted(self._confirm), set()
        pending = self._pending()
        self._told = set(pending[:MOST_MESSAGES])
        offers = [self._offer(path) for path in pending[:MOST_MESSAGES]]
        return {_MESSAGES: offers, _KEPT: kept[: 2 * MOST_MESSAGES], _MORE: len(pending) > MOST_MESSAGES}

    def incoming(self, wire: object) -> None:
        """Take what the peer says. Raises BadTransfer, Equivocation, secure.errors.SecureError, naming the message."""
        if self._failure is not None:
            raise self._failure
        if not self._puller.is_alive():  # nothing would be pulled ever again, and nobody would know
            raise BadTransfer(f"{self._rules.peer}: something in its answers ended the transfers; see this log")
        messages, kept, more = _list(wire, _MESSAGES), _list(wire, _KEPT), _flag(wire, _MORE)
        for path in kept:
            self._confirmed(self._mirror.name_of(path))
        for message in messages:
            self._receive(*_message(message))
        self.has_heard_all |= not more and not self._lacks_own

    @property
    def _lacks_own(self) -> bool:
        """Whether a message that this member once posted is at the peer, and finds no space here."""
        return any(self._mirror.message(path).sender == self._me for path in list(self._put_off))

    def _pending(self) -> list[str]:
        """What the peer has not confirmed: of a partner its own messages, of the aggregator all that it has."""
        paths = [path for path in self._mirror.paths() if path not in self._held]
        if self._rules.takes_all:
            return [path for path in paths if self._mirror.message(path).sender == self._me]
        return paths

    def _offer(self, path: str) -> list[object]:
        name = self._mirror.message(path)
        payload = self._mirror.payload(name) if self._rules.gives_payload(name) else None
        return [path, self._mirror.manifest(name), self._courier.offer(payload) if payload else ""]

    def _confirmed(self, name: MessageName) -> None:
        if name.manifest in self._held or self._mirror.manifest(name) is None:
            return
        self._held.add(name.manifest)
        self.n_moved += 1
        payload = self._mirror.payload(name)
        if payload:
            self._courier.withdraw(payload)

    def _receive(self, path: object, data: bytes, reference: str) -> None:
        name = self._mirror.name_of(path)
        if not self._rules.takes_all and name.sender != self._rules.peer:
            raise BadTransfer(f"{name.manifest}: sent by {self._rules.peer}, who may send its own messages only")
        if name.manifest in self._pulling or self._clock() < self._put_off.get(name.manifest, (0, 0.0))[1]:
            return
        try:
            self._take(name, data, reference)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._later(name, error)

    def _take(self, name: MessageName, data: bytes, reference: str) -> None:
        if self._mirror.has(name, data):
            self._note(name)
            return
        manifest = self._mirror.check(name, data)
        if manifest.payload is None or not (reference or self._rules.needs_payload):
            self._mirror.keep(name, data)
            self._note(name)
        elif reference:
            self._pulling.add(name.manifest)
            self._to_pull.put(_Pull(name, data, manifest, reference))
        else:
            self._tell(f"{name.payload}: {self._rules.peer} no longer has the payload; the message is not taken")

    def _note(self, name: MessageName) -> None:
        """The message is here, and at the peer, who sent it."""
        with self._lock:
            self.n_moved += name.manifest not in self._held
            self._held.add(name.manifest)
            self._confirm.add(name.manifest)
            self._put_off.pop(name.manifest, None)

    def _later(self, name: MessageName, error: PipelineError | OSError) -> None:
        """Take the message not now but when it is offered again: the line broke, or this side's disk is full."""
        n_tries = self._put_off.get(name.manifest, (0, 0.0))[0] + 1
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(n_tries - 1, 10), _LONGEST_PAUSE_S)  # a disk may stay full for days
        self._put_off[name.manifest] = n_tries, self._clock() + pause_s
        self._tell(f"{name.manifest}: {error}; tried again in {pause_s:g} s")

    def _pull_all(self) -> None:
        while (wanted := self._to_pull.get()) is not None:
            try:
                if self._failure is None:  # else the peer is refused
                    self._pull(wanted)
            except TransferFailed as error:
                self._later(wanted.name, error)
            except (PipelineError, SecureError, OSError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    self._later(wanted.name, error)
                else:
                    self._failure = error
            finally:
                self._pulling.discard(wanted.name.manifest)

    def _pull(self, wanted: "_Pull") -> None:
        name, payload = wanted.name, wanted.manifest.payload
        if payload is not None and not self._mirror.has_payload(name, wanted.manifest):
            with self._mirror.gathering(name, wanted.manifest) as gathered:
                self._courier.pull(wanted.reference, gathered, payload.size)
        self._mirror.keep(name, wanted.data)
        self._note(name)


@dataclass(frozen=True, slots=True)
class _Pull:
    """A message whose manifest is verified and whose payload is to be brought."""

    name: MessageName
    data: bytes
    manifest: Manifest
    reference: str


def _list(wire: object, key: str) -> list[object]:
    found = wire.get(key) if isinstance(wire, dict) else None
    if not isinstance(found, list) or len(found) > MOST_MESSAGES * 2:
        raise BadTransfer(f"{key}: expected a list of at most {MOST_MESSAGES * 2}")
    return found


def _flag(wire: object, key: str) -> bool:
    found = wire.get(key) if isinstance(wire, dict) else None
    if not isinstance(found, bool):
        raise BadTransfer(f"{key}: expected true or false")
    return found


def _message(found: object) -> tuple[object, bytes, str]:
    if not isinstance(found, list | tuple) or len(found) != 3:  # noqa: PLR2004 -- path, manifest, reference
        raise BadTransfer("a message is not a path, a manifest and a reference")
    path, data, reference = found
    if not isinstance(data, bytes) or len(data) > MAX_BYTES:
        raise BadTransfer(f"a manifest is not bytes, or more than {MAX_BYTES}")
    if not isinstance(reference, str) or len(reference) > _LONGEST_REFERENCE:
        raise BadTransfer("a reference is not a short text")
    return path, data, reference
