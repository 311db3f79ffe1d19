"""The exact fields that the body of each kind of message must have."""

import re
from collections.abc import Callable

from secure.encoding.canonical import is_digest
from secure.encoding.derive import CONFIRM_BYTES, KEY_BYTES
from secure.encoding.json_fields import expect_keys, from_base64, is_name
from secure.errors import BadManifest
from secure.keys.keys import Role

_Check = Callable[[object], bool]
_STEP = re.compile(r"[a-z]{1,16}")
_MAX_ROUND = 1 << 31


def _names_to_digests(value: object) -> bool:
    return isinstance(value, dict) and len(value) > 0 and all(is_name(k) and is_digest(v) for k, v in value.items())


def _is_base64(value: object, size: int) -> bool:
    try:
        return len(from_base64(value, size, "", BadManifest)) == size
    except BadManifest:
        return False


def _is_seed(value: object) -> bool:
    return _is_base64(value, KEY_BYTES)


def _names_to_confirmations(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(is_name(name) and _is_base64(text, CONFIRM_BYTES) for name, text in value.items())
    )


def _sorted_names(value: object) -> bool:
    return isinstance(value, list) and all(map(is_name, value)) and len(value) > 0 and value == sorted(set(value))


def _is_place(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_ROUND


def _is_step(value: object) -> bool:
    return isinstance(value, str) and _STEP.fullmatch(value) is not None


def _is_exit_code(value: object) -> bool:
    return type(value) is int and 1 <= value <= 255  # noqa: PLR2004 -- what a process can end with


_WHERE: dict[str, _Check] = {"round": _is_place, "attempt": _is_place, "step": _is_step}

BODIES: dict[str, dict[str, _Check]] = {
    "deal": {"group": is_digest},
    "pairing": {"group": is_digest},
    "handover": {"state": is_digest},
    "ready": {"trunk": is_digest, "preparation": is_digest, "confirmations": _names_to_confirmations},
    "roster": {"members": _names_to_digests, "trunk": is_digest},
    "update": {"roster": is_digest, "release_commitment": is_digest},
    "sum": {"roster": is_digest, "updates": _names_to_digests},
    "release": {"roster": is_digest, "seed": _is_seed},
    "void": {"roster": is_digest, "missing": _sorted_names},
    "alive": _WHERE,
    "trouble": {**_WHERE, "exit_code": _is_exit_code},
}
ENROLMENT = frozenset({"deal", "pairing", "handover"})
SIGNS = frozenset({"alive", "trouble"})  # a member's latest ones, which only it replaces
OUTSIDE_ROUNDS = ENROLMENT | SIGNS  # round 0, attempt 0
WITH_PAYLOAD = frozenset({"deal", "pairing", "handover", "update", "sum"})
_BY_AGGREGATOR = frozenset({"roster", "sum", "void"})


def sender_roles(kind: str) -> tuple[Role, ...]:
    """Return the roles of the members that send this kind of message."""
    if kind in SIGNS:
        return ("partner", "aggregator")
    return ("aggregator",) if kind in _BY_AGGREGATOR else ("partner",)


def check_body(kind: str, body: object, where: str) -> dict[str, object]:
    """Return the body if it has exactly the fields of its kind; raises BadManifest."""
    checks = BODIES[kind]
    fields = expect_keys(body, set(checks), f"{where}: body", BadManifest)
    for key, is_right in checks.items():
        if not is_right(fields[key]):
            raise BadManifest(f"{where}: body of a {kind}: {key} is not as expected")
    return fields
