"""The exchange folder: the only place where members meet, on any storage that fsspec knows."""

import copy
import errno
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ExchangeConflict, ExchangeError, ExchangeUnreachable
from pipeline.runtime.redact import without_password
from secure.files import PART, atomic_file, atomic_path

_PIECE = 1 << 20  # bytes
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LARGEST_MANIFEST = 1 << 20  # bytes; a manifest lists members, not data
# These show an object only when it is whole; a file server shows what has come so far.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
_S3 = frozenset({"s3", "s3a"})
# another try without a change by a person will fail as well
_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_LASTING_OF_BOTOCORE = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError"}
)


def _failures_of(protocols: Collection[str]) -> tuple[type[Exception], ...]:
    """Errors by which the storage of a file system that is open says that it failed."""
    if _S3.isdisjoint(protocols):
        return (OSError,)
    from aiohttp import ClientError  # noqa: PLC0415 -- is there where s3fs is
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped] # noqa: PLC0415

    return (OSError, BotoCoreError, ClientError)


def _is_lasting(error: Exception) -> bool:
    """Whether only a person can help: rights, credentials, a name that cannot be."""
    return isinstance(error, _LASTING) or type(error).__name__ in _LASTING_OF_BOTOCORE


def _copy(source: BinaryIO, target: BinaryIO, n_bytes: int | None) -> None:
    """Copy all, or one byte more than n_bytes at the most."""
    left = float("inf") if n_bytes is None else n_bytes + 1
    while left > 0 and (piece := source.read(int(min(left, _PIECE)))):
        target.write(piece)
        left -= len(piece)


def _failed(where: str, done: str, error: Exception) -> ExchangeError:
    kind = ExchangeError if _is_lasting(error) else ExchangeUnreachable
    return kind(f"{where}: cannot be {done}: {error}")


class Exchange:
    """Files by relative path; a file appears whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = without_password(url)
        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False)
        except (ValueError, TypeError, NotImplementedError, ImportError) as error:
            raise ExchangeError(f"{self.url}: not a place that fsspec can open: {error}") from error
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._shows_whole = bool(protocols & _OBJECT_STORES)
        self._failures = _failures_of(protocols)

    def below(self, folder: str) -> "Exchange":
        """A folder of this exchange as an exchange of its own; "" is this one."""
        lower = copy.copy(self)
        if folder:
            lower.url = f"{self.url.rstrip('/')}/{folder}"
            lower._root = f"{self._root}/{folder}"  # noqa: SLF001 -- its own twin
        return lower

    def where(self, path: str) -> str:
        """The file as a person would name it."""
        return f"{self.url.removeprefix('file://').rstrip('/')}/{path}"

    def has(self, path: str) -> bool:
        """Whether there is such a file.

        Raises ExchangeUnreachable when the storage fails, ExchangeError where that will last.
        """
        try:
            return bool(self._fs.isfile(f"{self._root}/{path}"))
        except self._failures as error:
            raise _failed(self.where(path), "looked up", error) from error

    def read(self, path: str) -> bytes | None:
        """Content of a small file, or None where there is none yet.

        Raises ExchangeUnreachable when the storage fails, ExchangeError where that will last.
        """
        try:
            with self._fs.open(f"{self._root}/{path}", "rb") as file:
                return bytes(file.read(_LARGEST_MANIFEST))
        except FileNotFoundError:
            return None
        except self._failures as error:
            raise _failed(self.where(path), "read", error) from error

    def fetch(self, path: str, target: Path, n_bytes: int | None = None) -> bool:
        """Copy a file to `target` (whole or not at all, and on the disk); False where there is none.

        n_bytes : the expected size; of a larger file no more than one byte beyond it is copied
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            place = f"{self._root}/{path}"
            with atomic_path(target) as part, self._fs.open(place, "rb") as posted, part.open("wb") as copy:
                _copy(posted, copy, n_bytes)
        except FileNotFoundError:
            return False
        except self._failures as error:
            if isinstance(error, OSError) and error.errno in _OF_WRITING:  # the copy's disk, not the exchange
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise _failed(self.where(path), "fetched", error) from error
        return True

    def send(self, source: Path, path: str) -> None:
        """Post a file under its final name, once; posting the same file again changes nothing.

        Raises ExchangeConflict where another content stands under that name, ExchangeUnreachable or ExchangeError
        as the others.
        """
        target = f"{self._root}/{path}"
        try:
            if self._fs.exists(target):
                self._check_same(source, path)
                return
            if self._shows_whole:  # there are no folders; s3fs would make a bucket that is not there
                self._fs.put_file(str(source), target)
                return
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            if self._local:
                self._send_to_folder(source, target)
            else:
                temporary = f"{target.rsplit('/', 1)[0]}/.{secrets.token_hex(8)}{PART}"
                self._fs.put_file(str(source), temporary)
                self._fs.mv(temporary, target)
        except self._failures as error:
            raise _failed(self.where(path), "written", error) from error

    def list_files(self) -> list[str]:
        """Relative paths of all files, sorted.

        Raises ExchangeUnreachable when the storage fails, ExchangeError where that will last or the exchange is a file.
        """
        try:
            found = self._fs.find(self._root)
        except FileNotFoundError:
            return []
        except self._failures as error:
            raise _failed(self.url, "listed", error) from error
        paths = [str(path).removeprefix(self._root).lstrip("/") for path in found]
        if "" in paths:
            raise ExchangeError(f"{self.url}: found a file, expected a folder")
        return sorted(path for path in paths if not path.rsplit("/", 1)[-1].startswith("."))

    def list_folders(self) -> list[str]:
        """Names of the folders of the exchange itself, without those inside them.

        Raises ExchangeUnreachable when the storage fails, ExchangeError where that will last.
        """
        try:
            found = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        except self._failures as error:
            raise _failed(self.url, "listed", error) from error
        return sorted(str(one["name"]).rsplit("/", 1)[-1] for one in found if one["type"] == "directory")

    def _send_to_folder(self, source: Path, target: str) -> None:
        """Copy beside the target, fsync, rename: a reader on a shared folder never sees half a file."""
        place = Path(target)
        for leftover in place.parent.glob(f".{place.name}.*{PART}"):  # of this sender, killed: nobody else posts this
            leftover.unlink(missing_ok=True)
        # whoever can write to the exchange could plant a link under a name that can be guessed
        with source.open("rb") as own, atomic_file(place) as copy:
            _copy(own, copy, None)

    def _check_same(self, source: Path, path: str) -> None:
        """Compare byte for byte in pieces; a member never replaces what it posted."""
        with self._fs.open(f"{self._root}/{path}", "rb") as posted, source.open("rb") as own:
            while True:
                left, right = posted.read(1 << 20), own.read(1 << 20)
                if left != right:
                    error = ExchangeConflict(f"{self.where(path)}: differs from what this member posted ({source})")
                    error.add_note(
                        "someone changed it, or two homes run under this name: stop both, and see secure/KEYS.md"
                    )
                    raise error
                if not left:
                    return


def exchange_at(place: str, folder: Path) -> Exchange:
    """Open a URL, or a path relative to `folder`."""
    return open_exchange(place if "://" in place else f"file://{(folder / place).resolve()}")


def open_exchange(url: str) -> Exchange:
    """Open the exchange and make sure its place can be reached.

    Raises ExchangeError where it cannot.
    """
    exchange = Exchange(url)
    exchange.list_files()
    return exchange
