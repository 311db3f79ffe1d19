"""The file of a sealed update or sum: an Arrow IPC stream with one column of ciphertexts of fixed size.

The schema's metadata hold, under the key "hocket", the header as canonical JSON: plan, round, attempt, roster, members
and parameters, to which the ciphertexts are bound. Record batches have BLOCK_CHUNKS rows, the last one the remaining
ones. Any Arrow reader can read the file.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa

from secure.ciphertexts.packing import Block, blocks
from secure.ciphertexts.parameters import SealParameters
from secure.encoding.canonical import canonical_json, is_digest
from secure.encoding.json_fields import is_name, parse_document
from secure.encoding.roster import Roster
from secure.errors import (
    BadContainer,
    ParameterMismatch,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRoster,
    WrongRound,
)
from secure.files import atomic_file
from secure.messages.messages import PayloadDigest

Kind = Literal["hocket.sealed-update", "hocket.sealed-sum"]
UPDATE: Kind = "hocket.sealed-update"
SUM: Kind = "hocket.sealed-sum"
MAX_PARAMS = 1 << 36
VERSION = 2  # 1 had no release stream
_KEY = b"hocket"
_KEYS = {"format", "version", "plan", "round", "attempt", "roster", "members", "n_params", "parameters"}
_MAX_SCHEMA_BYTES = 1 << 18
_MAX_BATCH_OVERHEAD = 1 << 10
_ALIGNMENT = 8  # of the buffers in an Arrow stream
_CONTINUATION = b"\xff\xff\xff\xff"  # before every message of a stream, followed by its length
_LENGTHS = 8
_END = _CONTINUATION + bytes(4)


@dataclass(frozen=True, slots=True)
class Header:
    """The claims of a sealed file; only the tag proves them, when a sum is opened."""

    kind: Kind
    plan: str
    round_no: int
    attempt: int
    roster: str  # digest of the roster
    members: tuple[str, ...]  # members whose updates are inside: one in an update, the whole roster in a sum
    n_params: int
    parameters: dict[str, object]  # SealParameters.to_dict()

    def to_bytes(self) -> bytes:
        """Return the canonical JSON in the schema's metadata."""
        return canonical_json(
            {
                "format": self.kind,
                "version": VERSION,
                "plan": self.plan,
                "round": self.round_no,
                "attempt": self.attempt,
                "roster": self.roster,
                "members": list(self.members),
                "n_params": self.n_params,
                "parameters": self.parameters,
            }
        )


def make_header(
    kind: Kind, roster: Roster, members: tuple[str, ...], n_params: int, parameters: SealParameters
) -> Header:
    """Return the header of a file for one attempt."""
    description = parameters.to_dict()
    return Header(kind, roster.plan, roster.round_no, roster.attempt, roster.digest, members, n_params, description)


def check_header(header: Header, kind: Kind, roster: Roster | Header, parameters: SealParameters, where: str) -> None:
    """Raise an error for the first field of the header that differs from this attempt and these parameters."""
    roster_digest = roster.digest if isinstance(roster, Roster) else roster.roster
    if header.kind != kind:
        raise WrongKind(f"{where}: a {header.kind}, expected a {kind}")
    if canonical_json(header.parameters) != canonical_json(parameters.to_dict()):  # True == 1 == 1.0
        raise ParameterMismatch(f"{where}: sealed with {header.parameters}, expected {parameters.to_dict()}")
    if header.plan != roster.plan:
        raise WrongPlan(f"{where}: sealed for plan {header.plan[:12]}, expected {roster.plan[:12]}")
    if header.round_no != roster.round_no:
        raise WrongRound(f"{where}: sealed for round {header.round_no}, expected {roster.round_no}")
    if header.attempt != roster.attempt:
        raise WrongAttempt(f"{where}: sealed for attempt {header.attempt}, expected {roster.attempt}")
    if header.roster != roster_digest:
        raise WrongRoster(f"{where}: sealed for roster {header.roster[:12]}, expected {roster_digest[:12]}")


class ChunkWriter:
    """Writes blocks of chunks and computes the digest of the file."""

    def __init__(self, file: BinaryIO, header: Header, chunk_bytes: int) -> None:
        self._file = _HashingFile(file)
        self._schema = _schema(header, chunk_bytes)
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), self._schema)

    def write(self, chunks: np.ndarray) -> None:
        """Write a block. chunks : (n, chunk_bytes) uint8."""
        self._stream.write_batch(_batch(self._schema, chunks))

    def close(self) -> PayloadDigest:
        """Write the end mark; return digest and size of the file."""
        self._stream.close()
        return self._file.digest()


@contextmanager
def write_chunks(path: Path, header: Header, chunk_bytes: int, *, is_new: bool = False) -> Iterator[ChunkWriter]:
    """Write a sealed file atomically: `path` holds the complete file, or none.

    is_new : raise FileExistsError rather than replace a file
    """
    with atomic_file(path, is_new=is_new) as file:
        yield ChunkWriter(file, header, chunk_bytes)


def most_bytes(kind: Kind, n_params: int, parameters: SealParameters) -> int:
    """Return the largest possible size in bytes of a sealed file of this kind."""
    n_chunks = parameters.n_chunks(n_params)
    return n_chunks * (_chunk_bytes(kind, parameters) + _MAX_BATCH_OVERHEAD) + _MAX_SCHEMA_BYTES


def _chunk_bytes(kind: Kind, parameters: SealParameters) -> int:
    return parameters.sum_chunk_bytes if kind == SUM else parameters.update_chunk_bytes


class ChunkReader:
    """Reads a sealed file block by block; refuses every byte that ChunkWriter would not write."""

    def __init__(self, file: BinaryIO, size: int, where: str, *, with_digest: bool = True) -> None:
        self.where = where
        self._file, self._size = _HashingFile(file, is_hashed=with_digest), size
        self._head = self._read_head()
        with self._typed_errors():
            metadata = pa.ipc.read_schema(pa.py_buffer(self._head)).metadata or {}
        if set(metadata) != {_KEY} or len(metadata[_KEY]) > _MAX_SCHEMA_BYTES:
            raise BadContainer(f"{where}: metadata of the schema, expected exactly the key 'hocket'")
        self.header = parse_header(metadata[_KEY], where)

    def expect_shape(self, parameters: SealParameters) -> None:
        """Raise BadContainer unless schema and file size are right for the header, which has been checked before."""
        self._chunk_bytes = _chunk_bytes(self.header.kind, parameters)
        self._schema = _schema(self.header, self._chunk_bytes)
        if self._head != self._schema.serialize().to_pybytes():  # Arrow would accept other bytes of the same meaning
            raise BadContainer(
                f"{self.where}: schema, expected one column of {self._chunk_bytes} bytes, serialised as hocket does"
            )
        least = parameters.n_chunks(self.header.n_params) * self._chunk_bytes
        most = most_bytes(self.header.kind, self.header.n_params, parameters)
        if not least < self._size <= most:  # each batch is checked when it is read
            raise BadContainer(f"{self.where}: {self._size} bytes, expected between {least} and {most}")
        self._blocks, self._heads = list(blocks(self.header.n_params, parameters)), dict[int, bytes]()

    @property
    def n_blocks(self) -> int:
        """Number of record batches; call expect_shape first."""
        return len(self._blocks)

    def __iter__(self) -> Iterator[tuple[Block, np.ndarray]]:
        """Yield blocks with their chunks, (n_chunks, chunk_bytes) uint8; raises BadContainer."""
        for block in self._blocks:
            yield block, self._next_chunks(block)
        if self._file.read(len(_END) + 1) != _END:
            raise BadContainer(f"{self.where}: no end mark after the expected {len(self._blocks)} record batches")

    def digest(self) -> PayloadDigest:
        """Return digest and size of the bytes read so far; of the whole file after iteration.

        Raises ValueError if the file was opened without digest.
        """
        return self._file.digest()

    def _read_head(self) -> bytes:
        """Read the stream's first message, the schema; a length beyond the possible one is refused, not read."""
        start = self._file.read(_LENGTHS)
        n_bytes = int.from_bytes(start[len(_CONTINUATION) :], "little")
        if not start.startswith(_CONTINUATION) or n_bytes > _MAX_SCHEMA_BYTES:
            raise BadContainer(f"{self.where}: not an Arrow stream of ciphertexts")
        return start + self._file.read(n_bytes)

    def _next_chunks(self, block: Block) -> np.ndarray:
        """Return the next batch's chunks; Arrow does not decode it, as the sizes it states could exhaust memory."""
        head, n_bytes = self._batch_head(block.n_chunks), block.n_chunks * self._chunk_bytes
        if self._file.read(len(head)) != head:
            raise BadContainer(
                f"{self.where}: record batch {block.number} is not a plain one of {block.n_chunks} rows "
                "(no compression, no validity map, no metadata)"
            )
        body, padding = self._file.read(n_bytes), self._file.read(-n_bytes % _ALIGNMENT)
        if len(body) != n_bytes or padding != bytes(-n_bytes % _ALIGNMENT):
            raise BadContainer(f"{self.where}: record batch {block.number} is truncated or badly padded")
        return np.frombuffer(body, dtype=np.uint8).reshape(block.n_chunks, self._chunk_bytes)

    def _batch_head(self, n_rows: int) -> bytes:
        """Return the bytes before n_rows ciphertexts: lengths and layout, the same for all contents."""
        if n_rows not in self._heads:
            n_bytes = n_rows * self._chunk_bytes
            message = _batch(self._schema, np.zeros((n_rows, self._chunk_bytes), np.uint8)).serialize()
            self._heads[n_rows] = message[: message.size - n_bytes - -n_bytes % _ALIGNMENT].to_pybytes()
        return self._heads[n_rows]

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise BadContainer(f"{self.where}: not an Arrow stream of ciphertexts ({type(error).__name__})") from error


@contextmanager
def read_chunks(path: Path, *, with_digest: bool = True) -> Iterator[ChunkReader]:
    """Open a sealed file; raises BadContainer.

    with_digest : False saves the time for a digest that nobody asks for
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadContainer(f"{path.name}: cannot be read ({error.strerror}), expected a sealed file") from error
    with file:
        yield ChunkReader(file, os.fstat(file.fileno()).st_size, path.name, with_digest=with_digest)


def parse_header(data: bytes, where: str) -> Header:
    """Return the header in the metadata; raises BadContainer."""
    fields = parse_document(data, _KEYS, f"{where}: metadata", BadContainer)
    kind, members, parameters = fields["format"], fields["members"], fields["parameters"]
    version = fields["version"]
    if kind not in (UPDATE, SUM) or type(version) is not int or not isinstance(parameters, dict):
        raise BadContainer(f"{where}: not a sealed update or sum, version {VERSION}")
    if version != VERSION:
        earlier = ": an earlier hocket, without release, sealed it" if version == 1 else ""
        raise BadContainer(f"{where}: a sealed file of version {version}, expected version {VERSION}{earlier}")
    if not is_digest(fields["plan"]) or not is_digest(fields["roster"]):
        raise BadContainer(f"{where}: plan or roster is not a digest")
    if not isinstance(members, list) or not all(map(is_name, members)) or members != sorted(set(members)):
        raise BadContainer(f"{where}: members are not sorted unique names")
    if (len(members) == 1) != (kind == UPDATE) or not members:
        raise BadContainer(f"{where}: {len(members)} members in a {kind}")
    round_no, attempt, n_params = (_count(fields[key], f"{where}: {key}") for key in ("round", "attempt", "n_params"))
    if not 0 < n_params <= MAX_PARAMS:
        raise BadContainer(f"{where}: n_params = {n_params}, expected 1 to {MAX_PARAMS}")
    return Header(
        UPDATE if kind == UPDATE else SUM,
        str(fields["plan"]),
        round_no,
        attempt,
        str(fields["roster"]),
        tuple(members),
        n_params,
        parameters,
    )


def _schema(header: Header, chunk_bytes: int) -> pa.Schema:
    field = pa.field("chunk", pa.binary(chunk_bytes), nullable=False)
    return pa.schema([field], metadata={_KEY: header.to_bytes()})


def _batch(schema: pa.Schema, chunks: np.ndarray) -> pa.RecordBatch:
    content = pa.py_buffer(np.ascontiguousarray(chunks))
    column = pa.Array.from_buffers(schema.field(0).type, len(chunks), [None, content])
    return pa.record_batch([column], schema=schema)


def _count(value: object, where: str) -> int:
    if type(value) is not int or value < 0:
        raise BadContainer(f"{where}: expected a whole number from 0")
    return value


class _HashingFile:
    """A file that hashes and counts the bytes read or written, in order; hashing can be left out."""

    def __init__(self, file: BinaryIO, *, is_hashed: bool = True) -> None:
        self._file, self._sha256, self._size = file, hashlib.sha256() if is_hashed else None, 0
        self.closed = False

    def read(self, n: int = -1) -> bytes:
        part = self._file.read(n)
        self._hash_and_count(part)
        return part

    def write(self, data: bytes | pa.Buffer) -> int:
        self._file.write(data)
        self._hash_and_count(data)
        return len(data)

    def digest(self) -> PayloadDigest:
        if self._sha256 is None:
            raise ValueError("the file was opened without digest")
        return PayloadDigest(self._sha256.hexdigest(), self._size)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True  # the caller that opened the file closes it

    def _hash_and_count(self, part: bytes | pa.Buffer) -> None:
        if self._sha256 is not None:
            self._sha256.update(part)
        self._size += len(part)
