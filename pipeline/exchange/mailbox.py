"""A member's outbox and mailbox: signed messages, posted from the home, received into it, and never changed."""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import Equivocation, ExchangeUnreachable, NotYet
from pipeline.exchange.begun import deal_explained, deal_of, is_begun, nothing_here
from pipeline.exchange.storage import Exchange
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan, round_name
from secure.encoding.derive import KEY_BYTES
from secure.errors import PayloadMismatch
from secure.files import atomic_path, write_atomically
from secure.keys import envelopes
from secure.keys.group import secret_bytes
from secure.keys.handover import most_handover_bytes
from secure.keys.keys import PrivateKeys
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import WITH_PAYLOAD
from secure.messages.messages import (
    Expected,
    Manifest,
    PayloadDigest,
    check_payload,
    manifest_digest,
    payload_digest,
    sign_manifest,
    verify_manifest,
)
from secure.sealing.container import SUM, UPDATE, most_bytes


class Outbox:
    """The messages that one member signs: each once, with the time of signing, and kept in the home."""

    def __init__(self, plan: Plan, keys: PrivateKeys, home: Home, clock: Callable[[], float]) -> None:
        self.plan = plan
        self.me = keys.name
        self.keys = keys
        self.home = home
        self._clock = clock  # seconds since 1970
        self._signed_at: float | None = None

    def sign(self, name: MessageName, body: dict[str, object]) -> None:
        """Sign a message, over its payload if the outbox has one, unless it was signed before.

        Raises Equivocation if another message of this name was signed before.
        """
        payload_file, manifest_file = self.home.outbox(name.payload), self.home.outbox(name.manifest)
        if manifest_file.exists():
            if self.own(name).body != body:
                error = Equivocation(f"{manifest_file}: this member already signed another {_named(name)}")
                error.add_note("was the home restored from a backup? Then see secure/KEYS.md")
                raise error
            return
        data = sign_manifest(
            self.keys,
            kind=name.kind,
            plan=self.plan.digest,
            round_no=name.round_no,
            attempt=name.attempt,
            time=int(self._clock()),
            body=body,
            payload=payload_digest(payload_file) if payload_file.exists() else None,
        )
        write_atomically(manifest_file, data)
        self._signed_at = self._clock()

    @property
    def signed_at(self) -> float | None:
        """When this member last signed a message of this plan, seconds since 1970, after restarts too; None: never."""
        if self._signed_at is None:
            self._signed_at = last_signed_at(self.home)
        return self._signed_at

    def has(self, name: MessageName) -> bool:
        """Whether this member has signed the message."""
        return self.home.outbox(name.manifest).exists()

    def own(self, name: MessageName) -> Manifest:
        """A message that this member has signed."""
        path = self.home.outbox(name.manifest)
        return self._verified(name, path.read_bytes(), str(path))

    def _verified(self, name: MessageName, data: bytes, where: str) -> Manifest:
        sender = self.plan.cards[name.sender]
        if name != deal_of(self.plan):
            return verify_manifest(data, sender, self._expected(name), where)
        with deal_explained(self.plan, self.home, self.me):
            return verify_manifest(data, sender, self._expected(name), where)

    def _expected(self, name: MessageName) -> Expected:
        return Expected(kind=name.kind, plan=self.plan.digest, round_no=name.round_no, attempt=name.attempt)


class Mailbox(Outbox):
    """A member's access to the exchange: posts its own messages, and verifies every message that it receives."""

    def __init__(
        self, plan: Plan, keys: PrivateKeys, home: Home, exchange: Exchange, clock: Callable[[], float]
    ) -> None:
        super().__init__(plan, keys, home, clock)
        self.exchange = exchange
        self._knows_deal = False  # whether the exchange's deal was verified, by this process
        self._posted: set[MessageName] = set()  # by this process
        self._checked: set[MessageName] = set()  # payloads in the inbox, by this process

    def post(self, name: MessageName, body: dict[str, object]) -> None:
        """Sign a message (see `sign`) and post it, its payload first; posting it again posts the same bytes."""
        if not self.has(name):
            self.check_not_posted(name)
        self.sign(name, body)
        self.repost(name)

    def check_not_posted(self, name: MessageName) -> None:
        """Raise Equivocation if the exchange has this message but the outbox does not: the home is an old copy."""
        for path in (name.manifest, name.payload) if name.kind in WITH_PAYLOAD else (name.manifest,):
            file = self.home.outbox(path)
            if not file.exists() and self.exchange.has(path):
                error = Equivocation(f"{self.exchange.where(path)}: was posted, but this home lacks its own {file}")
                error.add_note("was the home restored from a backup? Then it needs a revision: secure/KEYS.md")
                raise error

    def repost(self, name: MessageName) -> bool:
        """Post a message that was signed before, if the exchange lacks it; False if it was never signed."""
        payload_file, manifest_file = self.home.outbox(name.payload), self.home.outbox(name.manifest)
        if name in self._posted:
            return True
        if not manifest_file.exists():
            return False
        self.expect_begun()
        if payload_file.exists():
            self.exchange.send(payload_file, name.payload)
        self.exchange.send(manifest_file, name.manifest)
        self._posted.add(name)
        return True

    @property
    def is_begun(self) -> bool:
        """Whether the exchange has the deal of this plan; its signature is verified once."""
        if self._knows_deal:
            return self.exchange.has(deal_of(self.plan).manifest)
        self._knows_deal = is_begun(self.plan, self.exchange)
        return self._knows_deal

    def expect_begun(self) -> None:
        """Raise ExchangeUnreachable if this home has received messages of the plan and the exchange has none of them.

        A share that is not mounted is an empty folder: a message that is posted there reaches nobody. A deal that is
        not as expected is refused by name when it is read.
        """
        if self.home.has_received and not self.exchange.has(deal_of(self.plan).manifest):
            error = ExchangeUnreachable(f"{nothing_here(self.plan, self.exchange)}, but it was once")
            error.add_note("is it mounted, and is the path in the configuration still right?")
            raise error

    def receive(self, name: MessageName) -> Manifest | None:
        """The message if it has come, else None.

        The first version is kept in the inbox and is the only one ever used, so a sender cannot change a message.
        Raises secure.errors.SecureError, naming the file, for a message that is not as expected.
        """
        kept = self.home.inbox(name.manifest)
        if kept.exists():
            return self._verified(name, kept.read_bytes(), str(kept))
        data = self.exchange.read(name.manifest)
        if data is None:
            return None
        manifest = self._verified(name, data, self.exchange.where(name.manifest))
        write_atomically(kept, data)
        return manifest

    def expect(self, name: MessageName) -> Manifest:
        """The message; raises NotYet if it has not come."""
        manifest = self.receive(name)
        if manifest is None:
            raise NotYet(f"waiting for {_named(name)}")
        return manifest

    def digest_of(self, name: MessageName) -> str:
        """Digest, hexadecimal, of the manifest of a received or own message."""
        return manifest_digest(self._kept(name).read_bytes())

    def accepted_at(self, name: MessageName) -> float:
        """When a message was received or signed, seconds since 1970; deadlines count from it, after restarts too."""
        return self._kept(name).stat().st_mtime

    def fetch_payload(self, name: MessageName, manifest: Manifest) -> Path:
        """Local copy of a message's payload, its size and digest checked.

        Raises NotYet while the exchange does not show it, secure.errors.PayloadMismatch for another file, or one larger
        than a payload of this kind can be.
        """
        if manifest.payload is None:
            raise ValueError(f"a {name.kind} has no payload")
        check_payload_size(self.plan, manifest, self.exchange.where(name.manifest))
        kept = self.home.inbox(name.payload)
        if name not in self._checked and kept.exists() and payload_digest(kept) != manifest.payload:
            kept.unlink()  # a power cut can leave a file without its content; the exchange still has it
        if not kept.exists():
            self._fetch(name, manifest.payload, kept)
        self._checked.add(name)
        return kept

    def _fetch(self, name: MessageName, payload: PayloadDigest, kept: Path) -> None:
        with atomic_path(kept) as incoming:  # gets its name only when it is checked
            if not self.exchange.fetch(name.payload, incoming, payload.size):
                raise NotYet(f"waiting for the payload of {_named(name)}")
            check_payload(incoming, payload, self.exchange.where(name.payload))

    def _kept(self, name: MessageName) -> Path:
        own = self.home.outbox(name.manifest)
        return own if own.exists() else self.home.inbox(name.manifest)


def last_signed_at(home: Home) -> float | None:
    """When the newest message in a home's outbox was signed, seconds since 1970; None if there is none."""
    manifests = home.outbox("").rglob("*.json")
    return max((path.stat().st_mtime for path in manifests), default=None)


def check_payload_size(plan: Plan, manifest: Manifest, where: str) -> None:
    """Raise PayloadMismatch for a payload larger than its kind can be, which would fill the receiver's disk."""
    parameters, n_partners = plan.seal_parameters(manifest.round), len(plan.partner_names)
    if manifest.kind == "handover":
        most = most_handover_bytes(len(plan.joiners), plan.most_state_bytes)
    elif manifest.kind in ("update", "sum"):
        kind = UPDATE if manifest.kind == "update" else SUM
        most = most_bytes(kind, plan.possible_lengths(manifest.round).longest, parameters)
    else:
        n_bytes = secret_bytes(parameters) if manifest.kind == "deal" else KEY_BYTES
        most = envelopes.most_envelope_bytes(n_partners, n_bytes)
    if manifest.payload is not None and manifest.payload.size > most:
        raise PayloadMismatch(f"{where}: announces {manifest.payload.size} bytes, expected at most {most}")


def _named(name: MessageName) -> str:
    if not name.attempt:
        return f"{name.kind} of {name.sender}"
    return f"{name.kind} of {name.sender} for {round_name(name.round_no, name.attempt)}"
