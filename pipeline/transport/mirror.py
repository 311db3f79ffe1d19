"""A member's local copy of the exchange, for an engine that carries messages between members without a shared folder.

The mirror is an ordinary exchange in a local folder, and the ordinary runs of partner and aggregator use it. Only
complete messages that their sender signed for this plan and this path are stored in it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BadTransfer, ConfigError, Equivocation, ExchangeConflict
from pipeline.exchange.mailbox import check_payload_size
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import check_sender, message_of
from pipeline.plan.member_configs import MemberConfig
from pipeline.plan.plan import Plan
from pipeline.transport.manifest_listing import ManifestListing
from secure.encoding.canonical import digest
from secure.files import atomic_path, write_atomically
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import SIGNS
from secure.messages.messages import (
    Expected,
    Manifest,
    check_payload,
    parse_manifest,
    payload_digest,
    verify_manifest,
)

_LONGEST_PATH = 200  # characters
_SIGNS = "signs/"  # folder of the messages that their sender replaces
_UNREAD = ((0, 0), "")


class Mirror:
    """The messages of one plan in a local folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self._exchange = Exchange(f"file://{folder}").below(plan.folder)
        self._folder = folder / plan.folder
        self._listing = ManifestListing(self._folder)
        self._versions: dict[str, tuple[tuple[int, int], str]] = {}  # of signs, by path, with the file's state

    def paths(self) -> list[str]:
        """Relative manifest paths of all complete messages, sorted. Raises ExchangeError if they cannot be read."""
        return self._listing.paths()

    def message(self, path: str) -> MessageName:
        """Name of the message of one of `paths`. Raises ExchangeConflict for any other file."""
        name, _ = message_of(path, self._exchange)
        check_sender(name, self.plan.cards, self._exchange.where(path))
        return name

    def version(self, path: str) -> str:
        """What a peer confirms of a message: its path, and of a sign, which its sender replaces, the digest too."""
        if not path.startswith(_SIGNS):
            return path
        try:
            status = os.stat(f"{self._folder}/{path}")  # noqa: PTH116 -- asked for several times a second
        except FileNotFoundError:
            return path
        state = (status.st_mtime_ns, status.st_ino)  # a sign is replaced by another file
        if self._versions.get(path, _UNREAD)[0] != state:
            self._versions[path] = state, version_of(path, self._exchange.read(path) or b"")
        return self._versions[path][1]

    def name_of(self, path: object) -> MessageName:
        """Name of the message of a manifest path that a peer sent. Raises BadTransfer for anything else."""
        if not isinstance(path, str) or len(path) > _LONGEST_PATH:
            raise BadTransfer(f"found {type(path).__name__}, expected the relative path of a manifest")
        try:
            name = self.message(path)
        except ExchangeConflict:  # its text names a folder of this member
            raise BadTransfer(f"{path!r}: is no message of this federation that its sender may send") from None
        if path != name.manifest:
            raise BadTransfer(f"{path}: is a payload, expected a manifest")
        return name

    def manifest(self, name: MessageName) -> bytes | None:
        """Bytes of a message's manifest, None if the message is missing."""
        return self._exchange.read(name.manifest)

    def payload(self, name: MessageName) -> Path | None:
        """Path of a message's payload, None if there is none."""
        file = self._folder / name.payload
        return file if file.is_file() else None

    def check(self, name: MessageName, data: bytes) -> Manifest:
        """Return the manifest if its sender signed it for this path. Raises secure.errors.SecureError."""
        expected = Expected(kind=name.kind, plan=self.plan.digest, round_no=name.round_no, attempt=name.attempt)
        manifest = verify_manifest(data, self.plan.cards[name.sender], expected, name.manifest)
        check_payload_size(self.plan, manifest, name.manifest)
        return manifest

    def has(self, name: MessageName, data: bytes) -> bool:
        """Whether this message, or a newer one of a sign, is in the mirror.

        Raises Equivocation if it holds another version of a message that is no sign.
        """
        kept = self.manifest(name)
        if kept is not None and name.kind in SIGNS:
            return parse_manifest(kept, name.manifest).time >= parse_manifest(data, name.manifest).time
        if kept is not None and kept != data:
            error = Equivocation(f"{name.manifest}: {name.sender} sends another message than the one that is here")
            error.add_note(
                "a member signs only one version of a message: was its home restored from a backup? See secure/KEYS.md"
            )
            raise error
        return kept is not None

    def has_payload(self, name: MessageName, manifest: Manifest) -> bool:
        """Whether the payload is stored already, by a process that was killed before it stored the manifest."""
        file = self.payload(name)
        return file is not None and payload_digest(file) == manifest.payload

    @contextmanager
    def receive_payload(self, name: MessageName, manifest: Manifest) -> Iterator[Path]:
        """Temporary path for a payload; checked and renamed at the end.

        Raises BadTransfer or secure.errors.PayloadMismatch, and then stores nothing.
        """
        file = self._folder / name.payload
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as received:
            yield received
            if manifest.payload is None:
                raise BadTransfer(f"{name.payload}: came with a message that has no payload")
            check_payload(received, manifest.payload, name.payload)

    def keep(self, name: MessageName, data: bytes) -> None:
        """Store the manifest, which makes the message visible."""
        write_atomically(self._folder / name.manifest, data)


def version_of(path: str, data: bytes) -> str:
    """The version (see Mirror.version) of a message with these bytes as its manifest."""
    return f"{path}#{digest(data)}" if path.startswith(_SIGNS) else path


def mirror_folder(config: MemberConfig) -> Path:
    """Folder of the exchange in a member's configuration.

    Raises ConfigError if it is no local folder: an engine carries messages only between local folders.
    """
    protocol, _, place = config.exchange_url.partition("://")
    if protocol != "file":
        error = ConfigError(f"{config.name}: exchange is at {protocol}://, expected a local folder of its own")
        error.add_note('with an engine, write for example: exchange = "mirror"')
        raise error
    return Path(place)
