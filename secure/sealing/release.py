"""The release seed: one more mask on a member's update, which stays in the sum until the member gives the seed away.

A member draws a seed for each attempt, commits to it in its `update` and gives it away in its `release`, for one roster
in a round, ever. So of two sums with one honest member at most one can be opened: THREAT_MODEL.md, "The release".
"""

import hashlib
import os
from pathlib import Path
from typing import Self

from secure.encoding.canonical import canonical_json
from secure.encoding.derive import KEY_BYTES, attempt_context, derive_key
from secure.encoding.json_fields import from_base64, parse_document, to_base64
from secure.encoding.roster import Roster
from secure.errors import BadKeyFile, BadManifest, WrongRelease, WrongRoster
from secure.files import read_secret, write_secret
from secure.keys.keys import PrivateKeys
from secure.messages.messages import Manifest

FORMAT = "hocket.release-seed"
WHAT = "release seed"
_DOMAIN = b"hocket/release/v2\0"


class ReleaseSeed:
    """A member's seed for one attempt; shown only by `to_text`, for the message that releases it."""

    __slots__ = ("_context", "_seed", "member")

    def __init__(self, seed: bytes, roster: Roster, member: str) -> None:
        if len(seed) != KEY_BYTES:
            raise BadKeyFile(f"release seed of {member}: {len(seed)} bytes, expected {KEY_BYTES}")
        self.member = member
        self._context = attempt_context(roster) | {"member": member}
        self._seed = seed

    @classmethod
    def generate(cls, roster: Roster, member: str) -> Self:
        """Draw a seed for one roster from the operating system's randomness."""
        return cls(os.urandom(KEY_BYTES), roster, member)

    @property
    def commitment(self) -> str:
        """The SHA-256 by which an `update` commits to this seed and its attempt, as 64 hexadecimal characters."""
        return hashlib.sha256(_DOMAIN + canonical_json(self._context) + self._seed).hexdigest()

    @property
    def stream_key(self) -> bytes:
        """Key of the stream that the member adds to its slots, 32 bytes."""
        return derive_key(self._seed, "hocket/release-stream/v2", self._context)

    def to_text(self) -> str:
        """Return the seed as base64 text, as it stands in a `release`."""
        return to_base64(self._seed)

    def save(self, path: Path, keys: PrivateKeys) -> None:
        """Write a new file of mode 0600, locked with the member's keys; raises KeyFileExists."""
        document = {"format": FORMAT, "version": 1, "context": self._context, "seed": self.to_text()}
        write_secret(path, keys.lock(canonical_json(document), WHAT))

    @classmethod
    def load(cls, path: Path, roster: Roster, keys: PrivateKeys) -> Self:
        """Read what save wrote for this roster; raises BadKeyFile, also for a seed of another attempt, or WrongKey."""
        data, fields = keys.unlock(read_secret(path), WHAT, str(path)), {"format", "version", "context", "seed"}
        document = parse_document(data, fields, str(path), BadKeyFile)
        seed = cls(from_base64(document["seed"], KEY_BYTES, str(path), BadKeyFile), roster, keys.name)
        if (document["format"], document["version"], document["context"]) != (FORMAT, 1, seed._context):
            raise BadKeyFile(f"{path}: not the release seed of {keys.name} for roster {roster.digest[:12]}")
        return seed

    def __repr__(self) -> str:
        return f"ReleaseSeed({self.member}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a release seed is not pickled")


def released_seed(release: Manifest, update: Manifest, roster: Roster, where: str) -> ReleaseSeed:
    """Return the seed that a verified `release` gives away.

    update : verified, of the same sender, to whose commitment the seed must fit
    Raises WrongRoster for a release for another roster, WrongRelease for another seed than that committed to.
    """
    found = release.text("roster")
    if found != roster.digest:
        raise WrongRoster(f"{where}: released for roster {found[:12]}, expected {roster.digest[:12]}")
    seed = ReleaseSeed(from_base64(release.text("seed"), KEY_BYTES, where, BadManifest), roster, release.sender)
    if update.sender != release.sender or seed.commitment != update.text("release_commitment"):
        raise WrongRelease(f"{where}: the seed is not the one to which the update of {release.sender} commits")
    return seed
