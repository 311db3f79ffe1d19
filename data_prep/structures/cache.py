"""Outcomes of earlier runs in one SQLite file, so that no structure is standardised twice.

The file is a convenience, never a condition: what is damaged in it is computed again, and a file that cannot be used
costs a warning. Every outcome carries a checksum over itself and its key, because a page of another row, or of an
older state, would otherwise pass for an answer.
"""

import math
import os
import sqlite3
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from data_prep.errors import CacheWarning
from data_prep.structures.steps import CRASHED, TIMEOUT, Step, StepResult

_KEY_BYTES, _CHECKSUM_BYTES = 16, 8
_KEYS_PER_QUERY = 500
_LOCKED_S = 2.0  # seconds to wait for another process that writes
_TABLE = "outcomes_1"  # the number belongs to the columns and what is packed into them
_MAKE_TABLE = f"CREATE TABLE IF NOT EXISTS {_TABLE} (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID"
_READ = f"SELECT key, content FROM {_TABLE} WHERE key IN "  # noqa: S608 - constants
_WRITE = f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?)"  # noqa: S608 - constants
_HEAD = struct.Struct("<diiii")  # limit of a timeout in seconds; bytes of text, murcko, reason (-1: None) and bits


def keys_of(step: Step, texts: Sequence[str | None]) -> list[bytes]:
    """Return the key of each text under this step, 16 bytes: equal only for equal text, settings and versions."""
    start = blake2b(step.identity(), digest_size=_KEY_BYTES)
    start.update(b"\0")
    keys = []
    for text in texts:
        key = start.copy()
        key.update((text or "").encode("utf-8", "surrogatepass"))
        keys.append(key.digest())
    return keys


@contextmanager
def opened(path: Path | None) -> "Iterator[Cache]":
    """Open the cache in a file, made where there is none (mode 0600); None is a cache that remembers nothing."""
    cache = Cache(path)
    try:
        yield cache
    finally:
        cache.close()


class Cache:
    """Outcomes by key. No method fails because of the file: it warns once and remembers nothing more."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None  # None: remembers nothing
        self._writes = True
        self._started_anew = False
        if path is not None:
            self._open(path)

    def lookup(self, keys: Sequence[bytes], timeout_s: float) -> dict[bytes, StepResult]:
        """Return the intact outcomes among those of `keys`, without timeouts after less time than `timeout_s`."""
        found: dict[bytes, StepResult] = {}
        try:
            for start in range(0, len(keys) if self._file else 0, _KEYS_PER_QUERY):
                for key, content in self._rows(keys[start : start + _KEYS_PER_QUERY]):
                    made = _read(key, content, timeout_s) if isinstance(content, bytes) else None
                    if made is not None:
                        found[key] = made
        except sqlite3.Error as failure:
            self._failed(failure)
        return found

    def store(self, keys: Sequence[bytes], made: Sequence[StepResult], timeout_s: float) -> None:
        """Keep outcomes, on disk when this returns; those of crashed processes are not worth keeping."""
        if self._file is None or not self._writes:
            return
        worth = [(key, one) for key, one in zip(keys, made, strict=True) if one.reason != CRASHED]
        rows = [(key, _content(key, one, timeout_s)) for key, one in worth]
        try:
            with self._file:
                self._file.execute("BEGIN IMMEDIATE")
                self._file.executemany(_WRITE, rows)
        except sqlite3.Error as failure:
            self._failed(failure)

    def close(self) -> None:
        """Close the file; the cache remembers nothing afterwards."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rows(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, object]]:
        if self._file is None:
            return ()
        return self._file.execute(f"{_READ}({','.join('?' * len(keys))})", keys)

    def _open(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._connect(path.absolute().as_uri())
        except OSError as failure:
            self._writes = False
            self._warn(f"only read: {failure.strerror}")
            self._open_to_read(path)
        except sqlite3.Error as failure:
            self._failed(failure)

    def _open_to_read(self, path: Path) -> None:
        try:
            self._connect(path.absolute().as_uri() + "?mode=ro")
        except sqlite3.Error:
            self.close()

    def _connect(self, uri: str) -> None:
        self._file = sqlite3.connect(uri, uri=True, timeout=_LOCKED_S, isolation_level=None)
        self._file.text_factory = bytes  # a damaged column may claim to be text and not be UTF-8
        if self._writes:
            self._file.execute("PRAGMA journal_mode = WAL")  # whole transactions, whenever the process is killed
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(_MAKE_TABLE)
        self._file.execute(_READ + "(?)", (b"",)).fetchone()  # whether it is such a file

    def _failed(self, failure: sqlite3.Error) -> None:
        """Go on without writing, without the file, or with a new one, whatever the failure leaves."""
        if isinstance(failure, sqlite3.OperationalError):  # locked, full, read-only, another table under this name
            if self._writes:
                self._warn(f"not written any more: {failure}")
            else:
                self.close()
            self._writes = False
            return
        self.close()
        if self._path is None or self._started_anew:
            return
        self._started_anew = True
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self._warn(f"damaged ({failure}): set aside as {aside.name}, a new one is started")
        try:
            self._path.replace(aside)
            for leftover in ("-wal", "-shm"):
                self._path.with_name(self._path.name + leftover).unlink(missing_ok=True)
        except OSError:
            return
        self._open(self._path)

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self._path}: the cache of structures is {what}", CacheWarning, stacklevel=3)


def _content(key: bytes, made: StepResult, timeout_s: float) -> bytes:
    texts = [b"" if text is None else text.encode() for text in (made.text, made.murcko, made.reason)]
    sizes = [-1 if text is None else len(packed) for text, packed in zip(made[:3], texts, strict=True)]
    limit_s = timeout_s if made.reason == TIMEOUT else math.inf
    content = b"".join([_HEAD.pack(limit_s, *sizes, len(made.bits)), *texts, made.bits, made.counts])
    return _checksum(key, content) + content


def _read(key: bytes, content: bytes, timeout_s: float) -> StepResult | None:
    """Return the outcome, or None for one that is damaged or a timeout after less time than there is now."""
    checked = content[_CHECKSUM_BYTES:]
    if content[:_CHECKSUM_BYTES] != _checksum(key, checked):
        return None
    limit_s, *sizes, n_bits = _HEAD.unpack_from(checked)
    if limit_s < timeout_s:
        return None
    at = _HEAD.size
    texts: list[str | None] = []
    for size in sizes:
        texts.append(None if size < 0 else checked[at : at + size].decode())
        at += max(size, 0)
    text, murcko, reason = texts
    return StepResult(text, murcko, reason, checked[at : at + n_bits], checked[at + n_bits :])


def _checksum(key: bytes, content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM_BYTES, key=key).digest()
