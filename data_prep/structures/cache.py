"""A cache of step results in one SQLite file, so that later runs standardise no structure again.

Runs do not depend on the file: damaged results are computed again, and a file that cannot be used causes a warning.
Every result has a checksum over itself and its key, because a page of another row, or of an older state of the file,
would otherwise pass for a result.
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
_LOCKED_S = 2.0  # seconds to wait while another process writes
_TABLE = "outcomes_1"  # the number changes with the columns and the packed format
_MAKE_TABLE = f"CREATE TABLE IF NOT EXISTS {_TABLE} (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID"
_READ = f"SELECT key, content FROM {_TABLE} WHERE key IN "  # noqa: S608 - constants
_WRITE = f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?)"  # noqa: S608 - constants
_HEAD = struct.Struct("<diiii")  # limit of a timeout in seconds; bytes of text, murcko, reason (-1: None) and numbers


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
    """Open the cache in a file, created if missing (mode 0600); with None, a cache that stores nothing."""
    cache = Cache(path)
    try:
        yield cache
    finally:
        cache.close()


class Cache:
    """Results by key. No method fails because of the file: the cache warns and then stores nothing more."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None  # None: stores nothing
        self._writes = True
        self._was_replaced = False
        if path is not None:
            self._open(path)

    def lookup(self, keys: Sequence[bytes], timeout_s: float) -> dict[bytes, StepResult]:
        """Return the intact results of `keys`, except timeouts with a shorter limit than `timeout_s`."""
        results: dict[bytes, StepResult] = {}
        try:
            for start in range(0, len(keys) if self._file else 0, _KEYS_PER_QUERY):
                for key, content in self._rows(keys[start : start + _KEYS_PER_QUERY]):
                    result = _read(key, content, timeout_s) if isinstance(content, bytes) else None
                    if result is not None:
                        results[key] = result
        except sqlite3.Error as failure:
            self._handle_failure(failure)
        return results

    def store(self, keys: Sequence[bytes], results: Sequence[StepResult], timeout_s: float) -> None:
        """Store results, on disk when this returns, except those of crashed processes, which are computed again."""
        if self._file is None or not self._writes:
            return
        kept = [(key, result) for key, result in zip(keys, results, strict=True) if result.reason != CRASHED]
        rows = [(key, _content(key, result, timeout_s)) for key, result in kept]
        try:
            with self._file:
                self._file.execute("BEGIN IMMEDIATE")
                self._file.executemany(_WRITE, rows)
        except sqlite3.Error as failure:
            self._handle_failure(failure)

    def close(self) -> None:
        """Close the file; the cache stores nothing afterwards."""
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
            self._handle_failure(failure)

    def _open_to_read(self, path: Path) -> None:
        try:
            self._connect(path.absolute().as_uri() + "?mode=ro")
        except sqlite3.Error:
            self.close()

    def _connect(self, uri: str) -> None:
        self._file = sqlite3.connect(uri, uri=True, timeout=_LOCKED_S, isolation_level=None)
        self._file.text_factory = bytes  # a damaged column may claim to be text and not be UTF-8
        if self._writes:
            self._file.execute("PRAGMA journal_mode = WAL")  # transactions stay complete if the process is killed
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(_MAKE_TABLE)
        self._file.execute(_READ + "(?)", (b"",)).fetchone()  # fails if the file is no such database

    def _handle_failure(self, failure: sqlite3.Error) -> None:
        """Continue without writing, without the file or with a new file, depending on the failure."""
        if isinstance(failure, sqlite3.OperationalError):  # locked, full, read-only, another table under this name
            if self._writes:
                self._warn(f"not written any more: {failure}")
            else:
                self.close()
            self._writes = False
            return
        self.close()
        if self._path is None or self._was_replaced:
            return
        self._was_replaced = True
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self._warn(f"damaged ({failure}): renamed to {aside.name}, a new one is started")
        try:
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return
        self._open(self._path)

    def _warn(self, state: str) -> None:
        warnings.warn(f"{self._path}: the cache of structures is {state}", CacheWarning, stacklevel=3)


def _content(key: bytes, result: StepResult, timeout_s: float) -> bytes:
    texts = [b"" if text is None else text.encode() for text in (result.text, result.murcko, result.reason)]
    sizes = [-1 if text is None else len(packed) for text, packed in zip(result[:3], texts, strict=True)]
    limit_s = timeout_s if result.reason == TIMEOUT else math.inf
    content = b"".join([_HEAD.pack(limit_s, *sizes, len(result.numbers)), *texts, result.numbers, result.counts])
    return _checksum(key, content) + content


def _read(key: bytes, content: bytes, timeout_s: float) -> StepResult | None:
    """Return the result, or None for a damaged one or a timeout with a shorter limit than `timeout_s`."""
    checked = content[_CHECKSUM_BYTES:]
    if content[:_CHECKSUM_BYTES] != _checksum(key, checked):
        return None
    limit_s, *sizes, n_bytes = _HEAD.unpack_from(checked)
    if limit_s < timeout_s:
        return None
    offset = _HEAD.size
    texts: list[str | None] = []
    for size in sizes:
        texts.append(None if size < 0 else checked[offset : offset + size].decode())
        offset += max(size, 0)
    text, murcko, reason = texts
    return StepResult(text, murcko, reason, checked[offset : offset + n_bytes], checked[offset + n_bytes :])


def _checksum(key: bytes, content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM_BYTES, key=key).digest()
