"""Canonical JSON, the one byte form of a value that every signature and digest covers."""

import hashlib
import json

from secure.errors import NotCanonical

MAX_DEPTH = 8  # no message nests deeper


def canonical_json(value: object) -> bytes:
    """Return `value` as JSON bytes with sorted keys, no white space, UTF-8.

    Only dict (with str keys), list, tuple, str, int, float, bool and None. Raises NotCanonical for anything
    else, and for NaN, infinities and lone surrogates.
    """
    _check(value, MAX_DEPTH)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, UnicodeEncodeError) as error:
        raise NotCanonical(f"no canonical JSON: {type(error).__name__}") from error


def parse_canonical(data: bytes, where: str) -> object:
    """Return the value of canonical JSON bytes; raises NotCanonical for any other form, repeated keys included."""
    try:
        value: object = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"{where}: not JSON ({type(error).__name__}), expected canonical JSON") from error
    try:
        written = canonical_json(value)
    except NotCanonical as error:
        raise NotCanonical(f"{where}: {error}") from error
    if written != data:
        raise NotCanonical(f"{where}: JSON, but not in the canonical form (sorted keys, no white space, no repeats)")
    return value


def digest(data: bytes) -> str:
    """Return the SHA-256 as 64 hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def is_digest(value: object) -> bool:
    """Return whether `value` is the text of a SHA-256: 64 characters 0-9a-f."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")  # noqa: PLR2004 -- 2 x 32


def _check(value: object, depth: int) -> None:
    if depth < 0:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:  # json would turn 1 into "1"
                raise NotCanonical(f"a key of type {type(key).__name__}, expected str")
            _check(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth - 1)
    elif value is not None and type(value) not in (str, int, float, bool):
        raise NotCanonical(f"a value of type {type(value).__name__}, expected JSON types")
