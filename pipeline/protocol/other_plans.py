"""Releases under other plans of the federation, in the exchange and in a partner's home.

The other plans are not at hand, so a signature is checked only for what this home has: it was checked before it was
written there.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from pipeline.exchange.storage import Exchange
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan, round_name
from secure.errors import WrongKind, WrongSender
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest, manifest_digest, parse_manifest

_OF_PLAN = re.compile(r"(?:(?P<revision>revision-\d{2})/)?(?P<path>round-.*)", re.ASCII)
_RELEASE = re.compile(r"round-(?P<round>\d{4})/attempt-(?P<attempt>\d{2,})/release\.(?P<sender>[\w-]+)\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a round under a plan."""

    revision: str
    path: str  # below the plan's folder
    folder: Exchange
    is_verified: bool

    @property
    def where(self) -> str:
        return self.folder.where(self.path)

    def read(self) -> bytes:
        return self.folder.read(self.path) or b""


@dataclass(frozen=True, slots=True)
class OtherRelease:
    """A release under another plan."""

    name: MessageName
    file: _File

    @property
    def revision(self) -> str:
        """Plan.folder of its plan."""
        return self.file.revision

    @property
    def where(self) -> str:
        """Path or URL of the file, for messages."""
        return self.file.where

    @property
    def is_verified(self) -> bool:
        """Whether it is in this home, and so its signature was checked."""
        return self.file.is_verified

    def __str__(self) -> str:
        """As shown to users: only a release that was verified is its sender's."""
        released = f"{self.name.sender} released for {round_name(self.name.round_no)}"
        return f"{self.where}: {released}" if self.is_verified else f"{self.where}: a file says that {released}"

    def manifest(self) -> Manifest:
        """Its content; raises secure.errors.SecureError, naming the file, for what is no release of its sender."""
        manifest = parse_manifest(self.file.read(), self.where)
        if manifest.kind != "release":
            raise WrongKind(f"{self.where}: a {manifest.kind}, expected a release")
        if manifest.sender != self.name.sender:
            raise WrongSender(f"{self.where}: from {manifest.sender}, expected {self.name.sender}")
        return manifest


class OtherPlans:
    """The messages of all plans but one."""

    def __init__(self, plan: Plan, home: Home, exchange: Exchange) -> None:
        """List them. exchange : of all plans; raises ExchangeError."""
        self._files = [file for file in (*_in_home(home), *_in_exchange(exchange)) if file.revision != plan.folder]

    def releases(self, rounds: Container[int]) -> Iterator[OtherRelease]:
        """All releases for these rounds, by the names of their files."""
        for file in self._files:
            if match := _RELEASE.fullmatch(file.path):
                name = MessageName("release", int(match["round"]), int(match["attempt"]), match["sender"])
                if name.round_no in rounds:
                    yield OtherRelease(name, file)

    def members_of(self, release: OtherRelease) -> set[str]:
        """Names on the roster of which a release gives the digest, empty if that roster is nowhere.

        Raises secure.errors.SecureError, naming the file, for a release or roster that is none.
        """
        digest = release.manifest().text("roster")
        for file in self._files:
            if file.revision == release.revision and file.path.startswith(f"{release.name.folder}/roster."):
                data = file.read()
                if manifest_digest(data) == digest:
                    return _members(parse_manifest(data, file.where), file.where)
        return set()


def _members(roster: Manifest, where: str) -> set[str]:
    if roster.kind != "roster":
        raise WrongKind(f"{where}: a {roster.kind}, expected a roster")
    return set(roster.named_digests("members"))


def _in_home(home: Home) -> Iterator[_File]:
    for plan in home.of_every_plan():
        for box in (plan.outbox(""), plan.inbox("")):
            folder = Exchange(f"file://{box}")
            yield from (_File(plan.revision, path, folder, is_verified=True) for path in folder.list_files())


def _in_exchange(exchange: Exchange) -> Iterator[_File]:
    for match in filter(None, map(_OF_PLAN.fullmatch, exchange.list_files())):
        revision = match["revision"] or ""
        yield _File(revision, match["path"], exchange.below(revision), is_verified=False)
