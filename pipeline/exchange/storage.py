"""The exchange: the folder or bucket that all members read and write, on any storage that fsspec knows."""

import copy
import errno
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, cast

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ExchangeConflict, ExchangeError, ExchangeUnreachable
from pipeline.exchange.local_folder import LocalFolder
from pipeline.runtime.redact import without_password
from secure.errors import BadManifest, PayloadMismatch
from secure.files import PART, NotPlainFile, atomic_path

_PIECE = 1 << 20  # bytes
_DEEPEST = 8  # folders inside one another that are listed; a message is in at most three
_NOT_PLAIN = "found a link, a named pipe, a socket, a device or a folder, expected a file"
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LARGEST_MANIFEST = 1 << 20  # bytes; a manifest lists members, not data
# These show an object only when it is complete; a file server also shows a file that is being written.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
_S3 = frozenset({"s3", "s3a"})
# a retry fails too until a person has changed something
_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError, NotPlainFile)
_LASTING_OF_BOTOCORE = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError"}
)


def _failures_of(protocols: Collection[str]) -> tuple[type[Exception], ...]:
    """Errors that an open file system of these protocols raises if its storage fails."""
    if _S3.isdisjoint(protocols):
        return (OSError,)
    from aiohttp import ClientError  # noqa: PLC0415 -- installed with s3fs
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped] # noqa: PLC0415

    return (OSError, BotoCoreError, ClientError)


def _is_lasting(error: Exception) -> bool:
    """Whether a retry is useless: wrong rights, credentials or name."""
    return isinstance(error, _LASTING) or type(error).__name__ in _LASTING_OF_BOTOCORE


def _copy(source: BinaryIO, target: BinaryIO, n_bytes: int | None) -> None:
    """Copy all, or at most one byte more than n_bytes."""
    left = float("inf") if n_bytes is None else n_bytes + 1
    while left > 0 and (piece := source.read(int(min(left, _PIECE)))):
        target.write(piece)
        left -= len(piece)


def _failed(where: str, verb: str, error: Exception) -> ExchangeError:
    kind = ExchangeError if _is_lasting(error) else ExchangeUnreachable
    return kind(f"{where}: cannot be {verb}: {error}")


class Exchange:
    """The files of an exchange by relative path; each appears complete or not at all."""

    def __init__(self, url: str) -> None:
        self.url = without_password(url)
        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False)
        except (ValueError, TypeError, NotImplementedError, ImportError) as error:
            raise ExchangeError(f"{self.url}: cannot be opened by fsspec: {error}") from error
        self._root = str(root).rstrip("/")
        self._local = LocalFolder(self._root) if isinstance(self._fs, LocalFileSystem) else None
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._shows_whole = bool(protocols & _OBJECT_STORES)
        self._failures = _failures_of(protocols)

    def below(self, folder: str) -> "Exchange":
        """A folder of this exchange as an exchange; "" is this one."""
        lower = copy.copy(self)
        if folder:
            lower.url = f"{self.url.rstrip('/')}/{folder}"
            lower._root = f"{self._root}/{folder}"  # noqa: SLF001 -- a copy of this object
            lower._local = self._local and self._local.lower(folder)  # noqa: SLF001 -- the same
        return lower

    def where(self, path: str) -> str:
        """Path or URL of a file, for messages."""
        return f"{self.url.removeprefix('file://').rstrip('/')}/{path}"

    def has(self, path: str) -> bool:
        """Whether there is such a file.

        Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too.
        """
        try:
            return self._local.is_file(path) if self._local else bool(self._fs.isfile(f"{self._root}/{path}"))
        except self._failures as error:
            raise _failed(self.where(path), "looked up", error) from error

    def read(self, path: str) -> bytes | None:
        """Content of a small file, or None if there is none yet.

        Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too, and
        secure.errors.BadManifest for a link, a named pipe, a device or a folder.
        """
        try:
            with self._open(path) as file:
                return bytes(file.read(_LARGEST_MANIFEST))
        except FileNotFoundError:
            return None
        except NotPlainFile as error:
            raise BadManifest(f"{self.where(path)}: {_NOT_PLAIN}") from error
        except self._failures as error:
            raise _failed(self.where(path), "read", error) from error

    def fetch(self, path: str, target: Path, n_bytes: int | None = None) -> bool:
        """Copy a file to `target` atomically; False if there is none.

        n_bytes : the expected size; of a larger file only one byte more is copied
        Raises secure.errors.PayloadMismatch for a link, a named pipe, a device or a folder.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(target) as part, self._open(path) as posted, part.open("wb") as copy:
                _copy(posted, copy, n_bytes)
        except FileNotFoundError:
            return False
        except NotPlainFile as error:
            raise PayloadMismatch(f"{self.where(path)}: {_NOT_PLAIN}") from error
        except self._failures as error:
            if isinstance(error, OSError) and error.errno in _OF_WRITING:  # the copy's disk, not the exchange
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise _failed(self.where(path), "fetched", error) from error
        return True

    def send(self, source: Path, path: str) -> None:
        """Post a file under its final name, once; posting the same file again changes nothing.

        Raises ExchangeConflict if a file of that name has another content, ExchangeUnreachable if the storage fails,
        ExchangeError if a retry would fail too.
        """
        target = f"{self._root}/{path}"
        try:
            if self._local.exists(path) if self._local else self._fs.exists(target):
                self._check_same(source, path)
                return
            if self._local:
                with source.open("rb") as own, self._local.replace(path) as copy:
                    _copy(own, copy, None)
                return
            if self._shows_whole:  # no folders to make: with makedirs s3fs would make a missing bucket
                self._fs.put_file(str(source), target)
                return
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            temporary = f"{target.rsplit('/', 1)[0]}/.{secrets.token_hex(8)}{PART}"
            self._fs.put_file(str(source), temporary)
            self._fs.mv(temporary, target)
        except NotPlainFile as error:
            raise ExchangeConflict(f"{self.where(path)}: {_NOT_PLAIN}") from error
        except self._failures as error:
            raise _failed(self.where(path), "written", error) from error

    def replace(self, content: bytes, path: str) -> None:
        """Post a small file in place of an earlier one of this name; a reader sees the whole old or the whole new one.

        Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too.
        """
        target = f"{self._root}/{path}"
        try:
            if self._local:
                with self._local.replace(path) as copy:
                    copy.write(content)
                return
            if self._shows_whole:
                self._fs.pipe_file(target, content)
                return
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            temporary = f"{target.rsplit('/', 1)[0]}/.{secrets.token_hex(8)}{PART}"
            self._fs.pipe_file(temporary, content)
            self._fs.mv(temporary, target)
        except self._failures as error:
            raise _failed(self.where(path), "written", error) from error

    def list_files(self) -> list[str]:
        """Relative paths of all files, sorted.

        Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too or it is a file.
        """
        try:
            if self._local:
                return self._local.files()
            # by default fsspec passes over a folder that it may not read
            strictly = {} if self._shows_whole else {"on_error": "raise", "maxdepth": _DEEPEST}
            listed = self._fs.find(self._root, **strictly)
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise ExchangeError(f"{self.url}: found a file, expected a folder") from error
        except self._failures as error:
            raise _failed(self.url, "listed", error) from error
        paths = [str(path).removeprefix(self._root).lstrip("/") for path in listed]
        if "" in paths:
            raise ExchangeError(f"{self.url}: found a file, expected a folder")
        return sorted(path for path in paths if not path.rsplit("/", 1)[-1].startswith("."))

    def list_folders(self) -> list[str]:
        """Names of the folders directly in the exchange.

        Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too.
        """
        try:
            if self._local:
                return self._local.folders()
            entries = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        except self._failures as error:
            raise _failed(self.url, "listed", error) from error
        return sorted(str(entry["name"]).rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")

    def _open(self, path: str) -> BinaryIO:
        """Open a file for reading. Raises NotPlainFile for what is no file in a local folder."""
        if self._local:
            return self._local.open(path)
        return cast("BinaryIO", self._fs.open(f"{self._root}/{path}", "rb"))

    def _check_same(self, source: Path, path: str) -> None:
        """Raise ExchangeConflict unless the posted file has the same bytes: a member never replaces what it posted."""
        with self._open(path) as posted, source.open("rb") as own:
            while True:
                theirs, ours = posted.read(_PIECE), own.read(_PIECE)
                if theirs != ours:
                    error = ExchangeConflict(f"{self.where(path)}: differs from what this member posted ({source})")
                    error.add_note(
                        "someone changed it, or two homes run as this member: stop both, and see secure/KEYS.md"
                    )
                    raise error
                if not theirs:
                    return


def exchange_at(url_or_path: str, folder: Path) -> Exchange:
    """Open the exchange at a URL, or at a path relative to `folder`."""
    # Path.resolve of Python 3.11 fails at a link to itself
    return open_exchange(url_or_path if "://" in url_or_path else f"file://{os.path.realpath(folder / url_or_path)}")


def open_exchange(url: str) -> Exchange:
    """Open an exchange and list it once, to see that it can be used.

    Raises ExchangeUnreachable if the storage fails, ExchangeError if a retry would fail too.
    """
    exchange = Exchange(url)
    exchange.list_files()
    return exchange
