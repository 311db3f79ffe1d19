"""The files of Microsoft SEAL 4 that hocket reads and writes, in memory and uncompressed.

SEAL's Python binding saves and loads by path only, so a file in memory stands in. It saves with zstd, which gains
nothing on uniform numbers; what is loaded here is uncompressed, which SEAL accepts as well. Layout (little-endian), as
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

from secure.errors import ParameterMismatch
from secure.parameters import N_SLOTS, SEED_BYTES

WORDS_BYTES = 8 * N_SLOTS  # of a polynomial as SEAL writes it
_HEADER_BYTES = 16
_MAGIC = b"\x5e\xa1\x10"
_COMPRESSION = 5  # position in the header
_ZSTD = 2
_BLAKE2XB = b"\x01"  # SEAL's default generator, which expands the seed of a fresh ciphertext
_MAX_FILE = 1 << 17


class SealFiles:
    """Reads and writes SEAL objects as bytes; knows the beginnings of all files hocket needs."""

    def __init__(self, parms_id: bytes, sample: Any) -> None:  # noqa: ANN401 -- SEAL's binding has no types
        self._descriptor = os.memfd_create("hocket")
        self._path = f"/proc/self/fd/{self._descriptor}"
        self._codec = pa.Codec("zstd")
        weakref.finalize(self, os.close, self._descriptor)
        sample.save(self._path)
        self._version = os.pread(self._descriptor, _HEADER_BYTES, 0)[3:5]
        numbers = parms_id + struct.pack("<BQQQdQ", 0, 2, N_SLOTS, 1, 1.0, 1)
        key_numbers = parms_id + struct.pack("<Qd", N_SLOTS, 1.0)
        self.fresh_tail = self._header(1 + SEED_BYTES) + _BLAKE2XB
        tail_bytes = len(self.fresh_tail) + SEED_BYTES
        self.fresh_head = self._file_head(numbers + self._array_head(N_SLOTS), WORDS_BYTES + tail_bytes)
        self.sum_head = self._file_head(numbers + self._array_head(2 * N_SLOTS), 2 * WORDS_BYTES)
        self.key_head = self._file_head(key_numbers + self._array_head(N_SLOTS), WORDS_BYTES)

    def save(self, thing: Any, head: bytes, n_bytes: int) -> bytes:  # noqa: ANN401 -- SEAL's binding has no types
        """Return the n_bytes after `head` of what SEAL saves; raises ParameterMismatch if SEAL saves otherwise."""
        thing.save(self._path)
        saved = os.pread(self._descriptor, _MAX_FILE, 0)
        if saved[_COMPRESSION] != _ZSTD:
            raise ParameterMismatch(f"SEAL saved with compression {saved[_COMPRESSION]}, expected zstd")
        size = len(head) - _HEADER_BYTES + n_bytes
        content: bytes = self._codec.decompress(saved[_HEADER_BYTES:], decompressed_size=size, asbytes=True)
        if not content.startswith(head[_HEADER_BYTES:]):
            raise ParameterMismatch("this version of SEAL lays out its files in another way than expected")
        return content[len(head) - _HEADER_BYTES :]

    def load(self, thing: Any, context: Any, file: bytes) -> None:  # noqa: ANN401 -- SEAL's binding has no types
        """Load an uncompressed file; SEAL raises RuntimeError or ValueError if it is not valid for the context."""
        self.load_again(thing, context, file, 0)

    def load_again(self, thing: Any, context: Any, part: bytes, position: int) -> None:  # noqa: ANN401 -- no types
        """Load the file loaded last, with another part at `position`."""
        os.pwrite(self._descriptor, part, position)  # SEAL does not read what may follow the file
        thing.load(context, self._path)

    def _header(self, n_bytes: int) -> bytes:
        return _MAGIC + self._version + bytes(3) + struct.pack("<Q", _HEADER_BYTES + n_bytes)

    def _array_head(self, n_words: int) -> bytes:
        return self._header(8 + 8 * n_words) + struct.pack("<Q", n_words)

    def _file_head(self, numbers: bytes, n_bytes_after: int) -> bytes:
        return self._header(len(numbers) + n_bytes_after) + numbers
