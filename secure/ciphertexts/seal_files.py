"""Read and write files of Microsoft SEAL 4 in memory.

SEAL's Python binding saves and loads by path only, so files in memory stand in. It saves with zstd, which gains
nothing on uniform numbers; files to load are uncompressed, which SEAL accepts as well. Layout (little-endian), as
in SEAL's serialization.h, ciphertext.cpp and plaintext.cpp:

    header      5e a1, header size 10, major, minor, compression (0 none, 2 zstd), 00 00, total size (8 bytes)
    array       header, number of words (8), words
    plaintext   header, parms_id (32), number of coefficients (8), scale (8), array; a secret key is one
    ciphertext  header, parms_id (32), is NTT (1), polynomials (8), degree (8), primes (8), scale (8),
                correction factor (8), array; a fresh one holds one polynomial, then header, generator (1), seed (64)
"""

import os
import struct
import weakref
from typing import Any

import pyarrow as pa

from secure.ciphertexts.parameters import N_SLOTS, SEED_BYTES
from secure.errors import ParameterMismatch

POLYNOMIAL_BYTES = 8 * N_SLOTS  # as SEAL writes it
_HEADER_BYTES = 16
_MAGIC = b"\x5e\xa1\x10"
_COMPRESSION = 5  # position in the header
_ZSTD = 2
_BLAKE2XB = b"\x01"  # SEAL's default generator, which expands the seed of a fresh ciphertext
_MAX_FILE = 4 * POLYNOMIAL_BYTES


class _MemoryFile:
    """A file in memory with a path, closed with the object."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("hocket")
        self.path = f"/proc/self/fd/{self.descriptor}"
        weakref.finalize(self, os.close, self.descriptor)


class SealInput:
    """A file in memory that SEAL loads from: a fixed beginning, then the content to load."""

    def __init__(self, context: Any, head: bytes) -> None:  # noqa: ANN401 -- SEAL's binding has no types
        self._context, self._position, self._file = context, len(head), _MemoryFile()
        os.pwrite(self._file.descriptor, head, 0)

    def load(self, thing: Any, content: Any) -> None:  # noqa: ANN401 -- no types, any buffer
        """Load `thing`; SEAL raises RuntimeError or ValueError if the file is not valid for the context."""
        os.pwrite(self._file.descriptor, content, self._position)
        thing.load(self._context, self._file.path)


class SealOutput:
    """A file in memory that SEAL saves to."""

    def __init__(self) -> None:
        self._file = _MemoryFile()
        self._saved = memoryview(bytearray(_MAX_FILE))
        self._codec = pa.Codec("zstd")

    def save(self, thing: Any, head: bytes, n_bytes: int) -> memoryview:  # noqa: ANN401 -- SEAL's binding has no types
        """Return the n_bytes that SEAL saves after `head`; raises ParameterMismatch if SEAL uses another layout."""
        thing.save(self._file.path)
        saved = self._saved[: os.preadv(self._file.descriptor, [self._saved], 0)]
        if saved[_COMPRESSION] != _ZSTD:
            raise ParameterMismatch(f"SEAL saved with compression {saved[_COMPRESSION]}, expected zstd")
        n_before = len(head) - _HEADER_BYTES
        content = memoryview(self._codec.decompress(saved[_HEADER_BYTES:], n_before + n_bytes)).cast("B")
        if content[:n_before] != head[_HEADER_BYTES:]:
            raise ParameterMismatch("this version of SEAL lays out its files in another way than expected")
        return content[n_before:]


class SealHeads:
    """The fixed beginnings of all files that hocket needs, for a context's parms_id and SEAL's version."""

    def __init__(self, parms_id: bytes, sample: Any) -> None:  # noqa: ANN401 -- SEAL's binding has no types
        file = _MemoryFile()
        sample.save(file.path)
        self._version = os.pread(file.descriptor, _HEADER_BYTES, 0)[3:5]
        ciphertext = parms_id + struct.pack("<BQQQdQ", 0, 2, N_SLOTS, 1, 1.0, 1)
        plain = struct.pack("<Qd", N_SLOTS, 1.0)
        self.fresh_tail = self._header(1 + SEED_BYTES) + _BLAKE2XB
        n_tail = len(self.fresh_tail) + SEED_BYTES
        self.fresh = self._file_head(ciphertext + self._array_head(N_SLOTS), POLYNOMIAL_BYTES + n_tail)
        self.sum = self._file_head(ciphertext + self._array_head(2 * N_SLOTS), 2 * POLYNOMIAL_BYTES)
        self.key = self._file_head(parms_id + plain + self._array_head(N_SLOTS), POLYNOMIAL_BYTES)
        self.plain = self._file_head(bytes(32) + plain + self._array_head(N_SLOTS), POLYNOMIAL_BYTES)

    def _header(self, n_bytes: int) -> bytes:
        return _MAGIC + self._version + bytes(3) + struct.pack("<Q", _HEADER_BYTES + n_bytes)

    def _array_head(self, n_words: int) -> bytes:
        return self._header(8 + 8 * n_words) + struct.pack("<Q", n_words)

    def _file_head(self, numbers: bytes, n_bytes_after: int) -> bytes:
        return self._header(len(numbers) + n_bytes_after) + numbers
