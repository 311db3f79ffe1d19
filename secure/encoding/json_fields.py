"""Parse base64 text and JSON objects that must have exactly the expected keys."""

import base64
import binascii
import re
from collections.abc import Mapping

from secure.encoding.canonical import parse_canonical
from secure.errors import NotCanonical, SecureError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def is_name(value: object) -> bool:
    """Return whether `value` is a valid member name: 1 to 32 of A-Z a-z 0-9 _ -."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def to_base64(data: bytes) -> str:
    """Return standard base64 text."""
    return base64.b64encode(data).decode()


def from_base64(text: object, size: int | None, where: str, error: type[SecureError]) -> bytes:
    """Return the bytes of canonical base64 text; raises `error` for other text, or not exactly `size` bytes."""
    if not isinstance(text, str):
        raise error(f"{where}: found {type(text).__name__}, expected base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise error(f"{where}: not base64") from cause
    if to_base64(data) != text:
        raise error(f"{where}: base64 with stray bits, expected its canonical spelling")
    if size is not None and len(data) != size:
        raise error(f"{where}: {len(data)} bytes, expected {size}")
    return data


def expect_keys(value: object, keys: set[str], where: str, error: type[SecureError]) -> dict[str, object]:
    """Return `value` if it is an object with exactly these keys; raises `error` otherwise."""
    if not isinstance(value, Mapping):
        raise error(f"{where}: found {type(value).__name__}, expected an object")
    unknown, missing = sorted(map(str, set(value) - keys)), sorted(keys - set(value))
    if unknown or missing:
        raise error(f"{where}: unknown keys {unknown[:5]}, missing keys {missing}, expected exactly {sorted(keys)}")
    return dict(value)


def parse_document(data: bytes, keys: set[str], where: str, error: type[SecureError]) -> dict[str, object]:
    """Parse canonical JSON of an object with exactly these keys; raises `error` otherwise."""
    try:
        return expect_keys(parse_canonical(data, where), keys, where, error)
    except NotCanonical as cause:
        raise error(str(cause)) from cause
